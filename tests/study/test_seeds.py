"""Seeds that come later, or never got far, take nothing from those that are there."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from builders.small_study import read_rows, study_in, timeless
from tombola.report import build
from tombola.study.folder_layout import CrossSeedFolder
from tombola.study.step_record import StepRecord
from tombola.study.study import Study
from tombola.tickets.kinds import SUPER_TICKETS
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {
    "methods": ("heads+mlps",),
    "controls": ("random", "bad"),
    "analyses": ("survivors",),
}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = study_in(tmp_path_factory.mktemp("two"), seeds=(0, 1), save="none", **SETTINGS)
    study.run()
    return study


def copied(study: Study, out: Path) -> Path:
    shutil.copytree(study.folder, out / study.folder.name)
    return out


def test_a_seed_that_was_killed_early_does_not_stop_others(two: Study, tmp_path: Path) -> None:
    out = copied(two, tmp_path / "runs")
    again = study_in(out, seeds=(0, 1), save="none", **SETTINGS)
    shutil.copytree(two.seed_folder(1).full, again.seed_folder(2).full)
    shutil.copy2(StepRecord.path(two.seed_folder(1).full), StepRecord.path(again.seed_folder(2).full))
    before = timeless(read_rows(two.folder))
    again.run()
    after = timeless(read_rows(again.folder))
    assert [row for row in after if row["seed"] != 2 and row["ticket"] != "full"] == [
        row for row in before if row["ticket"] != "full"
    ]
    assert again.layout.searched_seeds() == [0, 1]
    assert again.layout.finished_seeds() == [0, 1, 2]


def test_a_seed_that_is_not_compared_leaves_the_super_survivors(two: Study, tmp_path: Path) -> None:
    out = copied(two, tmp_path / "runs")
    study = study_in(out, seeds=(2,), save="none", **{**SETTINGS, "analyses": ()})
    build(study.run())
    rows = timeless(read_rows(study.folder))
    kept = [row for row in timeless(read_rows(two.folder)) if row["ticket"] in SUPER_TICKETS]
    assert kept
    assert [row for row in rows if row["ticket"] in SUPER_TICKETS] == kept
    assert {row["seed"] for row in rows} == {0, 1, 2}
    assert "Is it the same in every seed?" in (study.folder / "report.html").read_text()


def test_seeds_are_read_off_the_name_of_their_folder(tmp_path: Path) -> None:
    assert CrossSeedFolder.compared(tmp_path).seed_folders == ()
    for seeds in ([3, 4], [0, 1, 2, 7, 9, 10], [1]):
        one = CrossSeedFolder.of(seeds, tmp_path)
        one.folder.mkdir()
    assert [seed_folder.seed for seed_folder in CrossSeedFolder.compared(tmp_path).seed_folders] == [0, 1, 2, 7, 9, 10]
    assert CrossSeedFolder.compared(tmp_path).folder.name == "seeds-0..2,7,9..10"


def test_a_study_draws_as_the_papers_code_does(tmp_path: Path) -> None:
    papers: dict[str, Any] = {
        **{"random_draw": "bernoulli", "bad_draw": "pruned", "super_random": "outside"},
        **{"normalise_over": "all", "importance": "accumulated", "emptied_attention": "nothing"},
    }
    study = study_in(tmp_path, seeds=(0, 1), save="none", **{**SETTINGS, **papers})
    build(study.run())
    for seed in (0, 1):
        home = study.seed_folder(seed).folder / "heads+mlps"
        good, random, bad = (Ticket.load(home / name) for name in ("good", "random", "bad"))
        drawn = Ticket.load(home / "random" / "retrained" / "drawn")
        assert drawn != random
        assert not any(one.attention_bias for one in (good, random, bad, drawn))
        assert bad.counts() == good.counts()
        rows = {
            row["stage"]: row["heads"]
            for row in read_rows(study.folder)
            if row["seed"] == seed and row["ticket"] == "random"
        }
        assert rows == {"pruned": random.counts()["heads"], "retrained": drawn.counts()["heads"]}
    found = {one.name: Ticket.load(one) for one in study.folder.glob("*/seeds-*/heads+mlps/super-*")}
    survivors, random = found["super-survivors"], found["super-random"]
    free = (~(survivors.heads | found["super-bad"].heads)).sum()
    assert int((random.heads & ~(survivors.heads | found["super-bad"].heads)).sum()) == min(
        int(free), survivors.counts()["heads"]
    )
