"""Results of many studies as one table, beside what pandas makes of their files by hand; SQL that sees nothing else."""

import csv
import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyarrow import parquet

import tombola
from builders.fake_study import HOSTILE, fake_study
from builders.small_study import listing
from tombola.cli import main
from tombola.foundations.atomic_files import write_json
from tombola.foundations.errors import TombolaError

# An apostrophe goes before a formula.
FORMULA = "=1+1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies, one of them in progress and one deeper; what is none; and what a study set aside."""
    folder = tmp_path_factory.mktemp("home")
    fake_study(folder / "a", seeds=(0, 1), methods=("heads+mlps",), glue="CoLA")
    fake_study(folder / "b", methods=("weights",), finished=False, model=FORMULA)
    fake_study(folder / "more" / "c", methods=("heads+mlps",), hostile=True)
    (folder / "more" / "notes").mkdir()
    shutil.copytree(folder / "b", folder / "a" / ".set-aside" / "old")
    return folder


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def by_hand(home: Path) -> pd.DataFrame:
    found = {name: pd.DataFrame(lines(home / name, "results.jsonl")) for name in ("a", "b", "more/c")}
    return pd.concat([frame.assign(study=name) for name, frame in found.items()], ignore_index=True)


def test_every_row_of_every_study_stands_in_one_table(home: Path) -> None:
    found, expected = tombola.results(home), by_hand(home)
    pd.testing.assert_frame_equal(found[expected.columns], expected, check_dtype=False)
    finished = found.groupby("study")["finished"].unique()
    assert {name: value.tolist() for name, value in finished.items()} == {"a": [True], "b": [False], "more/c": [True]}
    assert set(found["regime"]) == {"fine_tuned"}
    # A study alone is named after its folder.
    assert set(tombola.results(home / "more" / "c")["study"]) == {"c"}


def test_verdicts_searches_and_settings(home: Path) -> None:
    verdicts = tombola.results(home, "verdicts")
    known = [
        one for name in ("a", "more/c") for one in json.loads((home / name / "verdicts.json").read_text())["verdicts"]
    ]
    assert len(known) == 8
    for name in ("method", "ticket", "stage", "sentence", "matches", "mean", "difference", "rule"):
        assert verdicts[name].tolist() == [one[name] for one in known]
    assert verdicts["against"][0]["random"].tolist() == known[0]["against"]["random"]
    searches, paths = tombola.results(home, "searches"), sorted(home.glob("[!.]*/**/search.jsonl"))
    passes = {path: lines(path.parent, path.name) for path in paths if ".set-aside" not in path.parts}
    assert len(searches) == sum(map(len, passes.values())) > 30
    assert sorted(searches["score"]) == sorted(one["score"] for found in passes.values() for one in found)
    assert searches.groupby(["study", "seed", "method"]).ngroups == len(passes) == 4
    studies = tombola.results(home, "studies").set_index("study")
    facts = json.loads((home / "a" / "study.json").read_text())
    assert studies.loc["a", "settings"]["learning_rate"] == str(facts["config"]["learning_rate"])
    assert studies.loc["a", "seconds"] == facts["seconds"]
    assert studies.loc["a", "seeds"].tolist() == [0, 1]
    with pytest.raises(TombolaError, match="unknown view 'row'; did you mean rows"):
        tombola.results(home, "row")


def test_sql_computes_what_pandas_computes(home: Path) -> None:
    pytest.importorskip("duckdb")
    asked = """
        SELECT study, ticket, avg(score) AS mean, avg(more['f1']) AS f1 FROM rows JOIN studies USING (study)
        WHERE stage = 'retrained' AND studies.settings['batch_size'] = '32' GROUP BY ALL ORDER BY ALL
    """
    rows = by_hand(home).query("stage == 'retrained'").assign(f1=lambda frame: [one["f1"] for one in frame["more"]])
    expected = rows.groupby(["study", "ticket"])[["score", "f1"]].mean().reset_index()
    found = tombola.results(home, sql=asked)
    assert len(found) == 8
    pd.testing.assert_frame_equal(found, expected.rename(columns={"score": "mean"}), check_dtype=False)
    counts = tombola.results(home, sql="SELECT (SELECT count(*) FROM verdicts), (SELECT count(*) FROM searches)")
    assert counts.to_numpy().tolist() == [[8, len(tombola.results(home, "searches"))]]


def test_the_queries_of_the_guide(home: Path) -> None:
    pytest.importorskip("duckdb")
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "results.md").read_text()
    queries = re.findall(r'--sql "(.+?)"', text, re.DOTALL)
    better, one_seed, smallest, rates = (tombola.results(home, sql=one) for one in queries)
    rows = by_hand(home).query("stage == 'retrained'").set_index(["study", "seed", "ticket"])["score"].unstack()
    gaps = (rows["good"] - rows["random"]).groupby("study").mean().sort_values(ascending=False)
    assert better["better"].tolist() == pytest.approx(gaps.tolist())
    assert set(one_seed["study"]) == {"more/c"}
    assert len(smallest) == 4
    assert rates["rate"].tolist() == [5e-5, 5e-5]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM '{}/secret.csv'",
        "SELECT * FROM read_csv('{}/secret.csv')",
        "SELECT * FROM read_text('{}/*')",
        "SELECT * FROM glob('{}/*')",
        "COPY rows TO '{}/written.csv'",
        "COPY (SELECT 1) TO '{}/written.parquet'",
        "EXPORT DATABASE '{}/written'",
        "ATTACH '{}/written.db'",
        "CREATE TABLE t (a INTEGER); COPY t FROM '{}/secret.csv'",
        "SET enable_external_access = true; SELECT * FROM '{}/secret.csv'",
        "RESET lock_configuration",
        "INSTALL httpfs",
        "LOAD '{}/secret.csv'",
        "SELECT * FROM expected",
        "SELECT getenv('HOME')",
        "SELECT",
        "",
        "SELECT 1 FROM nowhere\x1b[31m",
    ],
)
def test_sql_reaches_nothing_but_the_tables(home: Path, tmp_path: Path, sql: str) -> None:
    pytest.importorskip("duckdb")
    (tmp_path / "secret.csv").write_text("a\n1\n")
    expected, before = pd.DataFrame({"a": [1]}), listing(tmp_path)
    with pytest.raises(
        TombolaError, match=r"the query is wrong \(.+\); write it for the tables rows, verdicts,"
    ) as error:
        tombola.results(home, sql=sql.format(tmp_path))
    assert str(error.value).isprintable()
    assert listing(tmp_path) == before
    assert len(expected) == 1


def test_a_broken_study_costs_a_line(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "home"
    shutil.copytree(home, folder)
    whole = {view: tombola.results(folder, view) for view in ("rows", "searches")}
    # One that was not begun, one that is none, one with a damaged row, one that was stopped while it was made anew.
    for name in ("begun", "damaged", "renewed"):
        shutil.copytree(folder / "b", folder / name)
    (folder / "begun" / "results.jsonl").write_text("")
    (folder / "damaged" / "results.jsonl").write_text('{"score": 1}\n')
    write_json(
        folder / "renewed" / "study.json", {**json.loads((folder / "b" / "study.json").read_text()), "hash": "!1"}
    )
    (folder / "none").mkdir()
    (folder / "none" / "study.json").write_text("no JSON")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = tombola.results(folder)
    pd.testing.assert_frame_equal(found, whole["rows"])
    told = sorted(str(one.message) for one in caught)
    assert all(one.startswith("study left out: ") and one.isprintable() for one in told)
    names = {name for name in ("begun", "damaged", "none", "renewed") for one in told if f"/{name}" in one}
    assert len(told) == len(names) == 4
    # What is damaged beside the rows costs its own table alone.
    path = next(folder.glob("a/cola/seed-0/*/search.jsonl"))
    path.write_text("{}\n")
    with pytest.warns(UserWarning, match="searches left out: .*search.jsonl, line 1"):
        left = tombola.results(folder, "searches")
    assert set(left["study"]) == set(whole["searches"]["study"]) - {"a"}
    with pytest.raises(TombolaError, match="has no results yet"):
        tombola.results(folder / "begun")
    for name in ("begun", "none"):
        shutil.copytree(folder / name, tmp_path / "broken" / name)
    with pytest.raises(TombolaError, match=r"none of 2 studies can be read; the first: .*has no results yet"):
        tombola.results(tmp_path / "broken")
    for place in (tmp_path / "nowhere", folder / "more" / "notes"):
        with pytest.raises(TombolaError, match="holds no study"):
            tombola.results(place)


def test_files_hold_what_the_table_holds(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = by_hand(home)
    for name in ("x.csv", "x.json", "x.parquet", "x.md", "x.tex"):
        assert main(["results", str(home), "--out", str(tmp_path / name)]) == 0
    assert capsys.readouterr().out.count(f"{len(expected)} rows") == 5
    found = parquet.read_table(tmp_path / "x.parquet").to_pandas()
    assert found["score"].tolist() == expected["score"].tolist()
    cells = json.loads((tmp_path / "x.json").read_text())
    assert [one["more"] for one in cells] == expected["more"].tolist()
    with (tmp_path / "x.csv").open(newline="") as file:
        texts = list(csv.DictReader(file))
    assert [float(one["score"]) for one in texts] == expected["score"].tolist()
    assert {one["model"] for one in texts} == {"minilm", f"'{FORMULA}", f"minilm{HOSTILE}"}
    assert json.loads(texts[0]["more"]) == expected["more"].iloc[0]
    assert len((tmp_path / "x.md").read_text().splitlines()) == len(expected) + 2
    assert r"\begin{tabular}" in (tmp_path / "x.tex").read_text()
    # What is there is not replaced, and what has no format is not guessed.
    assert main(["results", str(home), "--out", str(tmp_path / "x.csv")]) == 2
    assert main(["results", str(home), "--out", str(tmp_path / "y")]) == 2
    assert main(["results", str(home), "--format", "parquet"]) == 2
    told = capsys.readouterr().err
    assert "x.csv exists already" in told
    assert "y is no file for a table; let it end in .csv" in told
    assert "parquet is not for a terminal; name a file (--out)" in told


def test_what_is_printed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results", str(home)]) == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == len(by_hand(home)) + 1
    assert "false" in shown
    assert main(["results", str(home / "a"), "--view", "verdicts", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 4
    pytest.importorskip("duckdb")
    odd = "SELECT '|<b>' AS a, 1e-5 AS a, 'nan'::DOUBLE AS x, NULL AS y, DATE '2020-01-02' AS day, true AS yes"
    assert main(["results", str(home), "--sql", odd, "--format", "markdown"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == r"| \|\<b\> | 0.0000100 | – |  | 2020-01-02 | true |"
    assert main(["results", str(home), "--sql", odd, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "|<b>,1e-05,,,2020-01-02,true"


def test_without_duckdb(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    assert len(tombola.results(home)) == len(by_hand(home))
    with pytest.raises(TombolaError, match=r"SQL needs DuckDB; pip install 'tombola\[results\]'"):
        tombola.results(home, sql="SELECT 1")
