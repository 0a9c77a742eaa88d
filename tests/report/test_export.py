"""Figures and tables as files: they say what the page says, whatever the data contain."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.fake_study import HOSTILE, fake_study
from builders.model_costs import add, cost
from builders.report_exports import check, grid, typed, typeset
from builders.report_pages import MIXED
from builders.small_study import listing
from tombola.analysis.agreement.comparison import compare
from tombola.analysis.transfer import Transfer, TransferCell
from tombola.cli import main
from tombola.foundations.atomic_files import write_json
from tombola.foundations.errors import TombolaError
from tombola.report.charts.grids import task_matrix
from tombola.report.export import export, latex, table_csv
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.table import Block, Body, Column, Table
from tombola.tickets.import_masks import import_masks

pytestmark = pytest.mark.slow

HOSTILE_LATEX = r"<script> & 50 % of _all_ \input{/etc/passwd} ~ ^ # $x$ [a] | \\"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with every table that needs no real model."""
    folder = fake_study(tmp_path_factory.mktemp("study"), seeds=(0, 1), methods=MIXED, glue="CoLA")
    (folder / "cola").rename(folder / "rotten-tomatoes")
    for seed, seconds in enumerate(((0.8, 0.5), (1.2, 0.5))):
        add(folder, seed, "heads+mlps", (2_000_000, 1_000_000 + 200_000 * seed), cost(seconds))
        add(folder, seed, "weights", (2_000_000, 500_000), None)
    (folder / "rotten-tomatoes").rename(folder / "cola")
    return folder


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home, draw = tmp_path_factory.mktemp("compared"), np.random.default_rng(0)
    for task in ("cola", "a_b & <c> [%]"):
        for seed in ("0", "1", "2"):
            place = home / "in" / task / seed
            place.mkdir(parents=True)
            for name, shape in (("head", (3, 4)), ("mlp", (3,))):
                np.save(place / f"{name}_mask.npy", (draw.random(shape) < 0.6).astype(float))
    import_masks(home / "in", home / "tickets")
    compare([home / "tickets"], draws=20).write(home / "comparison.json")
    return home


@pytest.fixture(scope="module")
def transfer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transfer")
    cells = tuple(
        TransferCell(
            method, source, target, 2, 0.8, 0.01, 0.82, 0.02, 0.7, 0.03, 0.9, 0.5, 0.6,
            0.1, 0.05, 0.15, -0.02, -0.04, 0.01, share,
        )
        for method in ("heads+mlps", "weights")
        for source, target, share in (("sst2", HOSTILE_LATEX, -0.25), (HOSTILE_LATEX, "sst2", None))
    )  # fmt: skip
    metrics = {"sst2": "accuracy", HOSTILE_LATEX: "f1"}
    found = Transfer("minilm", ("sst2", HOSTILE_LATEX), (0, 1), metrics, cells)
    write_json(folder / "transfer.json", found.entry())
    return folder


def test_a_study_says_in_files_what_its_page_says(study: Path, tmp_path: Path) -> None:
    found = check(study, tmp_path / "out")
    assert found == ["results", "results-by-seed", "smaller", "finer-heads-neurons"]
    frame = pd.read_csv(tmp_path / "out" / "tables" / "results.csv")
    assert list(frame.columns[:5]) == ["method", "ticket", "stage", "Matthews correlation", "± std"]
    assert {str(kind) for kind in frame.dtypes[3:]} == {"float64"}
    good = frame[(frame.method == "Weights") & (frame.ticket == "good") & (frame.stage == "retrained")]
    rows = [json.loads(line) for line in (study / "results.jsonl").open()]
    own = [r for r in rows if (r["method"], r["ticket"], r["stage"]) == ("weights", "good", "retrained")]
    assert good["Matthews correlation"].item() == pytest.approx(sum(r["score"] for r in own) / 2, abs=5e-4)
    assert good["sparsity (%)"].item() == pytest.approx(100 * own[0]["sparsity"], abs=0.05)
    assert good["weights"].item() == own[0]["weights"]


@pytest.mark.parametrize(
    "asked",
    [
        {"finished": False, "methods": ("heads+mlps",)},
        *(pytest.param(one, marks=pytest.mark.exhaustive) for one in ({}, {"methods": ("neurons",)})),
    ],
)
def test_other_studies(tmp_path: Path, asked: dict[str, object]) -> None:
    assert check(fake_study(tmp_path / "study", **asked), tmp_path / "out") == ["results", "results-by-seed"]  # type: ignore[arg-type]


def test_a_comparison_says_in_files_what_its_page_says(compared: Path, tmp_path: Path) -> None:
    assert check(compared, tmp_path / "out") == ["agreement-seeds", "agreement-tasks"]
    frame = pd.read_csv(tmp_path / "out" / "tables" / "agreement-tasks.csv")
    assert list(frame.kind) == ["heads"] * 6 + ["MLPs"] * 6
    assert set(frame.tickets) == {"6 tickets"}
    assert frame["layer-matched random (95 %)"][6:].isna().all()


def test_a_transfer_says_in_files_what_its_page_says(transfer: Path, tmp_path: Path) -> None:
    assert check(transfer, tmp_path / "out") == ["transfer-heads-mlps", "transfer-weights"]
    frame = pd.read_csv(tmp_path / "out" / "tables" / "transfer-weights.csv")
    assert list(frame["ticket of"]) == ["sst2", HOSTILE_LATEX]
    assert list(frame["place"]) == ["-0.25", "undefined"]
    assert list(frame["sparsity (%)"]) == [50.0, 50.0]


def test_hostile_text_is_text_in_every_file(tmp_path: Path) -> None:
    check(fake_study(tmp_path / "study", hostile=True, methods=MIXED), tmp_path / "out")
    assert f"accuracy{HOSTILE}" in (tmp_path / "out" / "tables" / "results.csv").read_text()
    for path in [*(tmp_path / "out").rglob("*.svg"), *(tmp_path / "out").rglob("*.md")]:
        assert "<script" not in path.read_text().replace("\\<script", "")


@pytest.mark.parametrize("text", [HOSTILE_LATEX, HOSTILE, "a\n\nb", r"\end{tabular}", "& &", "% the end", "*[1em]"])
def test_no_text_is_a_command_of_latex(text: str) -> None:
    source = latex(Table.of(text, (Column(text, "head"), Column("n", "number")), [(text, "1"), ("b", text)]), "name")
    assert grid(source) == [[typeset(text), "n"], [typeset(text), "1"], ["b", typeset(text)]]
    (caption,) = re.findall(r"^\\caption\{(.*)\}$", source, re.MULTILINE)
    assert typed(caption) == typeset(text)
    assert "\\label{tab:name}\n" in source


@given(st.text(), st.text())
def test_any_text_is_set_as_it_is(one: str, other: str) -> None:
    source = latex(Table.of("t", (Column(one), Column(other)), [(one, other)]), "name")
    assert grid(source) == [[typeset(one), typeset(other)]] * 2


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1+1", "\n=1", " =1"])
def test_no_text_is_a_formula_of_a_spreadsheet(text: str) -> None:
    table = Table.of("t", (Column(text, "head"), Column("n", "number")), [(text, "−1.5"), ("b", "–")])
    head, *rows = csv.reader(io.StringIO(table_csv(table), newline=""))
    assert head == [f"'{text}", "n"]
    assert rows == [[f"'{text}", "-1.5"], ["b", ""]]


def test_no_text_begins_a_line_of_csv() -> None:
    text = table_csv(Table.of("t", (Column("a"), Column("b")), [("x\r=1", "y")]))
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["a", "b"], ["x\n=1", "y"]]


def test_a_renderer_that_crashes_costs_one_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    # Stands in for the renderer in its own process, and dies of a signal at one figure.
    (broken / "vl_convert.py").write_text(
        "import os\ndef vegalite_to_svg(spec, **_):\n    return os.abort() if 'weights removed' in spec else '<svg/>'\n"
        "def svg_to_png(svg, **_):\n    return b'png'\ndef svg_to_pdf(svg):\n    return b'pdf'\n"
    )
    folder = fake_study(tmp_path / "study", methods=("heads+mlps",))
    whole = export(folder, tmp_path / "whole")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    assert main(["report", str(folder), "--export", str(tmp_path / "out")]) == 0
    lost = [name for name in whole if name.startswith("figures/") and not (tmp_path / "out" / name).exists()]
    assert 0 < len(lost) < len([name for name in whole if name.startswith("figures/")])
    notes = [line for line in capsys.readouterr().err.splitlines() if "is left out, as it cannot be drawn" in line]
    assert 3 * len(notes) == len(lost)
    assert all((tmp_path / "out" / name).exists() for name in whole if name not in lost)
    index = (tmp_path / "out" / "index.md").read_text()
    assert not any(name in index for name in lost)


def test_a_name_of_several_lines_stands_once_in_latex() -> None:
    blocks = [Block((("cut", "1"), ("again", "2")), (name,)) for name in ("good", "bad")]
    columns = (Column("method", "group"), Column("ticket", "head"), Column("stage"), Column("n", "number"))
    table = Table("t", columns, tuple(Body(tuple(blocks), group) for group in ("", "Heads")))
    lines = grid(latex(table, "t"))[1:]
    assert [line[:2] for line in lines] == [
        ["", "good"], ["", ""], ["", "bad"], ["", ""], ["Heads", "good"], ["", ""], ["", "bad"], ["", ""],
    ]  # fmt: skip
    assert [row[:2] for row in table.rows()] == [
        (group, ticket) for group in ("", "Heads") for ticket in ("good", "good", "bad", "bad")
    ]


def test_a_folder_in_use_is_left_alone(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    (study / "report.html").write_text("old")
    before = listing(tmp_path, study)
    with pytest.raises(TombolaError, match=r"out exists already; delete it or choose another folder"):
        export(study, out)
    assert main(["report", str(study), "--export", str(out)]) == 2
    assert capsys.readouterr().out == ""
    assert listing(tmp_path, study) == before


def test_files_are_all_there_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = fake_study(tmp_path / "study", finished=False, methods=("weights",))
    before = listing(tmp_path)

    def broken(*_: object) -> str:
        raise RuntimeError("no more")

    monkeypatch.setattr("tombola.report.export.latex", broken)
    with pytest.raises(RuntimeError, match="no more"):
        export(study, tmp_path / "new" / "out")
    assert listing(tmp_path) == before


def test_what_is_no_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(TombolaError, match="holds no study"):
        export(tmp_path, tmp_path / "out")
    assert listing(tmp_path) == {}


def test_names_in_foreign_files_lead_nowhere(compared: Path, tmp_path: Path) -> None:
    found = json.loads((compared / "comparison.json").read_text())
    overlap = found["kinds"]["heads+mlps"]["overlap"]
    overlap["/../../../evil"] = overlap["heads"]
    write_json(tmp_path / "in" / "comparison.json", found)
    with pytest.raises(TombolaError, match="overlap must have"):
        export(tmp_path / "in", tmp_path / "deep" / "out")
    assert not [*tmp_path.rglob("*evil*"), *tmp_path.glob("deep/*")]
    # Whatever a later page may name its figures after.
    registry = FigureRegistry()
    registry.plot(task_matrix(("a", "b"), ((1, 0), (0, 1)), (("", ""), ("", "")), "x"), "overlap-/../../../evil", "y")
    assert list(registry.charts) == ["overlap--evil"]


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, out = fake_study(tmp_path / "study", finished=False, methods=("weights",)), tmp_path / "out"
    assert main(["report", str(study), "--export", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["report"] == str(study / "report.html")
    assert found["export"] == str(out)
    assert sorted(found["files"]) == sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert main(["report", str(study), "--export", str(tmp_path / "again")]) == 0
    said = capsys.readouterr().out
    assert said == f"{study / 'report.html'}\n{len(found['files'])} files in {tmp_path / 'again'}\n"
    assert main(["report", str(study), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(study / "report.html")}
