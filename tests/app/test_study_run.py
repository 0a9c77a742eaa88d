"""Studies that a form begins: checked and planned in words, run beside the app, stopped, gone on with."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from builders import small_study
from tombola.app.given_data import GivenData
from tombola.app.study_draft import STUDY_FILE, StudyDraft
from tombola.app.study_run import StudyRun
from tombola.foundations.errors import TombolaError
from tombola.study.step_list import STEPS

ROW = b"sentence\tlabel\nlovely film\tgood\n"


def given(name: str, content: bytes = ROW) -> tuple[GivenData, str]:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    data = GivenData()
    return data, asyncio.run(data.receive(name, chunks()))


def draft(out: Path, data: Path) -> StudyDraft:
    """A draft of the small study, of one file that holds all rows."""
    settings = {**small_study.SETTINGS, "device": "cpu", "methods": "heads+mlps", "analyses": "none"}
    more = "\n".join(f"{name}: {json.dumps(value)}" for name, value in settings.items())
    return StudyDraft(str(small_study.model()), "", more=more, data=data, out=out)


def test_a_dropped_file_is_read_by_the_library_and_let_go() -> None:
    data, key = given("../../my Words.TSV")
    path = data.path(key)
    assert data.summary(key) == f"{path.name}: 1 row"
    assert path.name.endswith(".tsv")
    assert "/" not in path.name
    data.drop(key)
    assert not path.exists()
    with pytest.raises(TombolaError, match="choose it again"):
        data.path(key)
    with pytest.raises(TombolaError, match=r"cat\.png is no data file"):
        given("cat.png")
    broken, key = given("a.jsonl", b"{")
    with pytest.raises(TombolaError, match=r"^a\.jsonl, line 1"):
        broken.summary(key)


@pytest.mark.parametrize(
    ("form", "line"),
    [
        (StudyDraft("", "cola"), "type a model"),
        (StudyDraft("bert", " "), "type a task"),
        (StudyDraft("bert", "colla"), "unknown task 'colla'; did you mean cola"),
        (StudyDraft("bert", "cola", seeds="0,0"), "seeds must be different"),
        (StudyDraft("bert", "cola", more="epoch: 2"), "epochs"),
        (StudyDraft("bert", "cola", more="epochs"), "one `name: value` a line"),
        (StudyDraft("bert", "cola", more="a: [", data=None), "further settings"),
        (StudyDraft("bert", "cola", data=Path("x.tsv")), "leave the task empty"),
    ],
)
def test_a_wrong_form_is_answered_in_one_line(form: StudyDraft, line: str) -> None:
    with pytest.raises(TombolaError, match=line) as found:
        form.check()
    assert "\n" not in str(found.value)


def test_a_folder_that_is_none_or_broken_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TombolaError, match="not begun in the app"):
        StudyRun(tmp_path)
    (tmp_path / STUDY_FILE).touch()
    run = StudyRun(tmp_path)
    assert (run.standing().word, run.standing().steps) == ("stopped", 0)
    (tmp_path / STEPS).write_text("{")
    found = run.standing()
    assert (found.word, "\n" in found.line) == ("failed", False)
    assert STEPS in found.line


@pytest.mark.exhaustive
def test_a_study_is_planned_stopped_and_gone_on_with(tmp_path: Path) -> None:
    data = tmp_path / "moods.tsv"
    data.write_text((small_study.task() / "train.tsv").read_text())
    form = draft(tmp_path / "runs", data)
    plan = form.plan()
    assert plan.steps > 3
    assert plan.bytes > 0
    assert not (tmp_path / "runs").exists()
    form.write(plan.folder)
    data.unlink()
    assert (plan.folder / "data" / "moods.tsv").is_file()
    run = StudyRun(plan.folder)
    run.start()
    until = time.monotonic() + 120
    while run.standing().done < 1 and time.monotonic() < until:
        time.sleep(0.05)
    run.stop()
    found = run.standing()
    assert run.pid() is None
    assert 1 <= found.done < found.steps == plan.steps
    assert (found.word, found.left) == ("stopped", "")

    run.start()
    number = run.pid()
    run.start()
    assert run.pid() == number
    while run.pid() is not None and time.monotonic() < until:
        time.sleep(0.1)
    found = run.standing()
    assert (found.word, found.done) == ("done", plan.steps)
    assert [(len(curve.points) > 2, curve.points[0].holds, curve.over) for curve in found.curves] == [(True,) * 3]
    # Another run of the app finds it so.
    assert StudyRun(plan.folder).standing().word == "done"
    assert [path.name for path in plan.folder.parent.glob("[!.]*")] == [plan.folder.name]
