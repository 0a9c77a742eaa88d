import json
from pathlib import Path

import pytest

from builders.fake_study import fake_study
from tombola.report import build
from tombola.report.published import published

GLUE = {"CoLA", "MNLI", "MRPC", "QNLI", "QQP", "RTE", "SST-2", "STS-B", "WNLI"}


def test_the_source_is_told() -> None:
    found = published()
    assert "When BERT Plays the Lottery" in found.source
    assert (found.model, found.seeds, found.split) == ("bert-base-uncased", 5, "GLUE dev")
    assert "sample" in found.std


def test_every_glue_task_has_all_its_figures() -> None:
    assert {row.task for row in published().rows} == GLUE
    assert {len(published().task(task)) for task in GLUE} == {20}
    assert published().task("rotten-tomatoes") == ()


@pytest.mark.parametrize(
    ("task", "method", "ticket", "stage", "mean", "std"),
    [
        # Copied by hand from the authors' table.
        ("CoLA", "none", "full", "none", 0.56, 0.01),
        ("CoLA", "heads+mlps", "random", "retrained", 0.42, 0.23),
        ("SST-2", "weights", "good", "retrained", 0.92, 0.0),
        ("SST-2", "weights", "bad", "retrained", 0.82, 0.0),
        ("QNLI", "weights", "good", "retrained", 0.91, 0.0),
        ("STS-B", "weights", "bad", "pruned", 0.05, 0.07),
        ("WNLI", "super-survivors", "good", "retrained", 0.56, 0.0),
        ("MNLI", "none", "guessing", "none", 0.35, 0.0),
    ],
)
def test_figures(task: str, method: str, ticket: str, stage: str, mean: float, std: float) -> None:
    place = (method, ticket, stage)
    (row,) = (row for row in published().task(task) if (row.method, row.ticket, row.stage) == place)
    assert (row.mean, row.std) == (mean, std)


@pytest.mark.slow
def test_a_glue_study_shows_them_beside_its_own(tmp_path: Path) -> None:
    page = build(fake_study(tmp_path, glue="CoLA")).read_text(encoding="utf-8")
    specs = [json.loads(part.split("</script>")[0].split(">", 1)[1]) for part in page.split('id="spec-')[1:]]
    rows = [row for spec in specs for data in spec["datasets"].values() for row in data if row.get("who") == "paper"]
    shown = {(row["title"], row["score"]) for row in rows}
    assert ("full model", 0.56) in shown
    assert ("good, retrained", 0.54) in shown
    assert ("bad, pruned", 0.34) in shown
