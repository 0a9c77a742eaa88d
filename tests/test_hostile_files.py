"""Every reader of files beside damaged ones: each is read, or refused in one printable line."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.hostile_files import damaged
from builders.readers import FAST, SLOW, STUDIES, sound
from tombola.foundations.errors import TombolaError


def check(name: str, data: st.DataObject) -> None:
    """Damage one file, read the folder, put the file back."""
    folder, reader = sound(name)
    paths = sorted({path for pattern in reader.files for path in folder.glob(pattern) if path.is_file()})
    path = data.draw(st.sampled_from(paths))
    content = path.read_bytes()
    path.write_bytes(data.draw(damaged(content)))
    said = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(folder)
    except TombolaError as error:
        said = str(error)
    finally:
        path.write_bytes(content)
    assert said.isprintable()


@pytest.mark.parametrize("name", FAST)
@given(data=st.data())
def test_whatever_a_file_holds_is_read_or_one_line(name: str, data: st.DataObject) -> None:
    check(name, data)


class TestModels:
    """A class, as another process than that of the rest may take them: they come late in a run, and take long."""

    @pytest.mark.slow
    @pytest.mark.parametrize("name", SLOW)
    @given(data=st.data())
    def test_whatever_a_model_holds_is_read_or_one_line(self, name: str, data: st.DataObject) -> None:
        check(name, data)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", STUDIES)
@given(data=st.data())
def test_whatever_a_study_holds_is_shown_or_one_line(name: str, data: st.DataObject) -> None:
    check(name, data)
