"""What most tests of the command line begin with: a finished small study."""

import pytest

from builders import small_study
from tombola.study.folder_layout import SeedFolder
from tombola.study.study import Study


@pytest.fixture(scope="module")
def done() -> Study:
    return small_study.finished()


@pytest.fixture
def seed_folder(done: Study) -> SeedFolder:
    return done.seed_folder(0)
