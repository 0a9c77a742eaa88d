"""Records of a study's folder that somebody else wrote: none leads out of the folder, or to results of other steps."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from builders import small_study
from tombola.foundations.errors import TombolaError
from tombola.foundations.plain_table import PlainTable
from tombola.foundations.progress import SILENT
from tombola.report import build
from tombola.report.study_data import read_study
from tombola.study.config import StudyConfig
from tombola.study.finished_run import NAME, FinishedRun
from tombola.study.renewal import Renewal
from tombola.study.step import StudyStep
from tombola.study.step_record import FileStamp, StepRecord
from tombola.study.study import Study
from tombola.study.transfer_study import FinishedStudy


def writing(result: Path) -> StudyStep:
    def run(_: object) -> None:
        result.mkdir()
        (result / "a").write_text("a")

    return StudyStep("search", 1, 1, result, run)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "", ".", "a\0b", "a//b"])
def test_a_file_outside_the_folder_is_none_of_a_step(name: str, tmp_path: Path) -> None:
    step = writing(tmp_path / "good")
    step(SILENT)
    path = StepRecord.path(step.result)
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "files": {name: record["files"]["good/a"]}}))
    with pytest.raises(TombolaError, match="should be a path inside the folder, but found"):
        step.done()


def test_only_what_a_step_publishes_is_copied_from_another_study(tmp_path: Path) -> None:
    there, here = (writing(tmp_path / name / "good") for name in ("there", "here"))
    for step in (there, here):
        step.result.parent.mkdir()
    there(SILENT)
    (there.result.parent / "score.json").write_text("forged")
    record = StepRecord.read(StepRecord.path(there.result))
    record.stamped(["good/a", "score.json"], there.result.parent).write(StepRecord.path(there.result))
    (here.result.parent / "score.json").write_text("mine")
    Renewal(here.result.parent, [there.result.parent]).check([here])
    assert not here.there()
    assert (here.result.parent / "score.json").read_text() == "mine"
    record.write(StepRecord.path(there.result))
    Renewal(here.result.parent, [there.result.parent]).check([here])
    assert here.done()
    assert FileStamp.of(here.result / "a").size == 1


@pytest.mark.parametrize(
    "forged",
    [{}, {"title": 1}, {"columns": [["a", "nowhere", False]]}, {"lines": [[[["a", "link http://x"]], ""]]}],
)
def test_a_printed_table_is_read_as_it_was_or_not_at_all(forged: dict[str, Any], tmp_path: Path) -> None:
    config = StudyConfig.of("quick", device="cpu", precision="fp32")
    folder = tmp_path / f"{config.name}-{config.hash()}"
    folder.mkdir()
    table = PlainTable("scores [bold]")
    table.heads("ticket", numbers=("score",))
    table.line("good", "0.9", style="bold green")
    FinishedRun.record(folder, config.hash(), config.analyses, [0], "good", 1, [table.entry()], ["a\x1b[2Jb"])
    path = folder / NAME
    whole = json.loads(path.read_text())
    whole["tables"] = [{**whole["tables"][0], **forged}]
    path.write_text(json.dumps(whole))
    found = FinishedRun.find(config, tmp_path, [0], "good")
    if forged:
        assert found is None
    else:
        assert found is not None
        assert PlainTable.of_entry(found[1].tables[0]).entry() == table.entry()


@pytest.mark.parametrize("link", ["results.jsonl", "moods/seed-0/full/drawn.png", "moods/seed-0"])
def test_a_link_out_of_a_study_is_followed_by_nobody(link: str, tmp_path: Path) -> None:
    done, folder = small_study.finished(), tmp_path / small_study.finished().folder.name
    shutil.copytree(done.folder, folder, ignore=shutil.ignore_patterns("*.safetensors", "report.html"))
    (folder / "own").symlink_to("results.jsonl")
    (folder / "loop").symlink_to("loop")
    read_study(folder)
    place, secret = folder / link, tmp_path / "secret"
    shutil.copytree(place, secret) if place.is_dir() else secret.write_bytes(b"secret")
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    place.symlink_to(secret)
    for use in (build, read_study, FinishedStudy.read, lambda at: Study(done.config, out=at.parent)):
        with pytest.raises(TombolaError, match=f"{link} is a link that leads out of "):
            use(folder)
    assert not (folder / "report.html").exists()
