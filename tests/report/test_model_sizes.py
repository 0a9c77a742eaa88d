"""The section on smaller models: its numbers by hand, and nothing where there is nothing."""

import ast
import re
from pathlib import Path

import pytest

from builders.fake_study import fake_study, spoil
from builders.model_costs import add, cost
from builders.report_pages import read
from tombola.foundations.errors import TombolaError
from tombola.report import build
from tombola.report.summary import read_rows
from tombola.study.results import Row


def test_means_and_ratios_are_those_of_the_seeds(tmp_path: Path) -> None:
    folder = fake_study(tmp_path / 'a "b"', seeds=(0, 1))
    for seed, seconds in enumerate(((0.8, 0.5), (1.2, 0.5))):
        add(folder, seed, "heads+mlps", (2_000_000, 1_000_000 + 200_000 * seed), cost(seconds))
        add(folder, seed, "weights", (2_000_000, 500_000), None)
    words = read(build(folder)).words
    # Halves, and 1.0 and 1.2 of 2 MB: ratios .5 and .6, standard deviation .0707.
    assert "parameters on disk, MB 2.0 1.1 (x 0.55 ± 0.07) 0.500 (x 0.25 ± 0.00)" in words
    assert "multiply-adds of an example, M 1,400 700 (x 0.50 ± 0.00) as the full model's" in words
    # .5 of 1.0 on average; .1 above and .1 below that of the seeds' own times, deviation .1414.
    assert "latency of a batch of 32, ms 1,000.0 500.0 (x 0.50 ± 0.14) as the full model's" in words
    assert "latency of a batch of 1, ms 100.0 50.0 (x 0.50 ± 0.14)" in words
    # 2 s of both seeds in 1 s.
    assert "runs 2.00 times as fast: 100 % of the theoretical speed-up, by multiply-adds." in words
    assert "Measured on 128 tokens, float32, cpu, 2 threads; a ratio" in words
    (quoted,) = re.findall(r"tombola\.load\((.*?[^\\]\")\)", words)
    # From anywhere, and as Python reads it.
    assert ast.literal_eval(quoted) == str(folder.resolve() / "rotten-tomatoes/seed-0/heads+mlps/good/shrunk")
    assert "smaller on disk only: its zeros are there again when it runs" in words


def test_only_seeds_with_a_smaller_model_count(tmp_path: Path) -> None:
    folder = fake_study(tmp_path, seeds=(0, 1))
    add(folder, 1, "heads+mlps", (2_000_000, 1_000_000), cost((0.8, 0.5)))
    rows = [row for row in read_rows(folder) if row.seed == 1]
    (full,) = (row for row in rows if row.ticket == "full")
    (good,) = (r for r in rows if (r.method, r.ticket, r.stage) == ("heads+mlps", "good", "retrained"))
    words = read(build(folder)).words
    assert f"accuracy, retrained {scored(full)} {scored(good)}" in words


def scored(row: Row) -> str:
    return f"{row.score:.3f} ({row.score_low:.3f} to {row.score_high:.3f})"


def test_weights_alone_have_sizes_and_no_times(tmp_path: Path) -> None:
    folder = fake_study(tmp_path, methods=("weights",))
    add(folder, 0, "weights", (2_000_000, 500_000), None)
    words = read(build(folder)).words
    assert "parameters on disk, MB 2.0 0.500 (x 0.25)" in words
    assert "latency" not in words
    assert "Measured on" not in words


def test_without_smaller_models_there_is_no_section(tmp_path: Path) -> None:
    assert "smaller models" not in read(build(fake_study(tmp_path))).words


def test_a_damaged_cost_is_named(tmp_path: Path) -> None:
    folder = fake_study(tmp_path)
    add(folder, 0, "heads+mlps", (2_000_000, 500_000), cost((0.8, 0.5)))
    spoil(next(folder.rglob("cost.json")), "variants", {"dense": "quick"})
    with pytest.raises(
        TombolaError, match=r"good/cost\.json, variants: 'dense' should be an object, but found 'quick'"
    ):
        build(folder)
