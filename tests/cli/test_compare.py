"""`tombola compare` and `tombola import-masks` as people and scripts use them."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from transformers import PreTrainedModel

from builders import small_study
from builders.ticket_trees import tree
from tombola.analysis.agreement.coefficients import STATISTICS
from tombola.analysis.agreement.comparison import compare
from tombola.architectures.dissect import dissect
from tombola.checkpoints.loading import load_model, outline
from tombola.cli import main
from tombola.cli.comparison_tables import tables
from tombola.tickets.import_masks import import_masks
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.filterwarnings("error")


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main([*map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    tree(tmp_path / "in", {"cola": ["0", "1", "2"], "rte [x]": ["0", "1", "2"]})
    assert main(["import-masks", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("6 tickets of 2 tasks for imported-3x4-")
    return tmp_path / "out"


def test_json_has_the_stated_fields(imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "compare", imported, "--draws", "50")
    of_kind = found["kinds"]["heads+mlps"]
    for task in ("cola", "rte [x]"):
        for kind in ("heads", "mlps"):
            assert {"n", "mean_survivors", *STATISTICS} <= of_kind["tasks"][task]["agreement"][kind].keys()
    assert of_kind["overlap"]["heads"]["tasks"] == ["cola", "rte [x]"]
    assert len(of_kind["overlap"]["heads"]["jaccard"]) == 2
    assert found["draws"] == 50


@pytest.mark.slow
def test_tables_for_people(imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    single = imported / "cola" / "seed-0" / "good"
    assert main(["compare", str(imported), "--draws", "20", "--out", str(tmp_path / "compared")]) == 0
    said = capsys.readouterr().out
    for part in ("heads: agreement", "MLPs: agreement", "rte [x]", "between tasks", "random", "layer-"):
        assert part in said
    assert "…\n" not in said
    assert Ticket.load(tmp_path / "compared" / "heads+mlps" / "cola" / "bad").provenance["ticket"] == "bad"
    assert main(["compare", str(single)]) == 0
    said = capsys.readouterr().out
    assert "undefined: a single ticket agrees with nothing" in said


def test_tables_are_whole_in_80_characters(imported: Path) -> None:
    console = Console(width=80, file=io.StringIO(), record=True)
    tree(imported.parent / "none", {"empty": ["0", "1", "2"]}, share=0)
    import_masks(imported.parent / "none", imported.parent / "empty")
    for part in tables(compare([imported, imported.parent / "empty"], draws=20)):
        console.print(part)
    said = console.export_text()
    assert "…" not in said
    assert r"\n" not in said
    assert max(map(len, said.splitlines())) <= 80
    assert len(re.findall(r"\d – ", said)) > 20
    for word in ("pairs not", " rejected", "undefined", "layer-matched:", "Cochran's"):
        assert re.search(rf"{word}\s", said)


def test_no_model_and_no_hub_are_needed(
    imported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(PreTrainedModel, "__init__", None)
    assert main(["compare", str(imported), "--draws", "5", "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert json.loads(said.out)["draws"] == 5


def test_masks_bound_to_a_model_by_its_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(small_study.model())
    whole = dissect(load_model(source))
    assert outline(source) == whole
    tree(tmp_path / "in", {"cola": ["0"]}, small_study.LAYERS, small_study.HEADS)
    found = run_json(capsys, "import-masks", tmp_path / "in", "--out", tmp_path / "out", "--model", source)
    assert found == {
        "out": str(tmp_path / "out"),
        "tickets": 1,
        "architecture": whole.signature,
        "shapes": {"heads": [3, 4], "mlps": [3]},
        "tasks": {"cola": ["0"]},
    }
    Ticket.load(tmp_path / "out" / "cola" / "seed-0" / "good").check(whole)


def test_bad_input_is_one_line(tmp_path: Path, imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["compare", tmp_path / "nowhere"],
        ["compare", tmp_path / "in"],
        ["compare", imported, "--ticket", "bad"],
        ["compare", imported, "--draws", "0"],
        ["compare", imported, "--draws", "5", "--out", imported],
        ["import-masks", tmp_path / "nowhere", "--out", tmp_path / "new"],
        ["import-masks", tmp_path / "in", "--out", imported],
        ["import-masks", tmp_path / "in", "--out", tmp_path / "new", "--model", tmp_path / "nowhere"],
    ):
        assert main(list(map(str, arguments))) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("tombola: error: ")
        assert said.err.count("\n") == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_study_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    study = small_study.finished()
    found = run_json(capsys, "compare", study.folder, "--draws", "20")["kinds"]
    assert set(found) == set(study.config.methods)
    (task,) = found["heads+mlps"]["tasks"]
    assert task == study.config.task_name
    assert found["heads+mlps"]["architecture"] == study.anatomy.signature
