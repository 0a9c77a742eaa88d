"""The sections on what tickets mean, of a tiny study with every analysis and two seeds."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from builders import small_study
from builders.report_pages import read
from tombola.analysis.agreement.coefficients import STATISTICS
from tombola.analysis.attention.attention_summary import (
    class_distribution,
    survival_correlation,
    survivors_against_pruned,
)
from tombola.analysis.attention.patterns import AttentionPatterns
from tombola.analysis.locality.interactions import Interactions
from tombola.analysis.locality.random_tickets import RandomTickets, above, winning
from tombola.analysis.locality.representations import Representations
from tombola.architectures.anatomy import Places
from tombola.cli.main import command_line
from tombola.foundations.errors import TombolaError
from tombola.report import build, number_format
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.sections.attention import StudyPatterns, attention_section
from tombola.study.config import ANALYSES
from tombola.study.folder_layout import CrossSeedFolder
from tombola.study.study import Study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def done() -> Study:
    return small_study.analysed()


@pytest.fixture(scope="module")
def patterns(done: Study) -> list[AttentionPatterns]:
    return [AttentionPatterns.read(done.seed_folder(seed).analysis("attention")) for seed in (0, 1)]


@pytest.fixture(scope="module")
def masks() -> list[torch.Tensor]:
    """Some heads of each seed; the tiny model's own tickets may have none."""
    return [torch.rand(3, 4, generator=torch.Generator().manual_seed(seed)) < 0.5 for seed in (0, 1)]


def test_every_section_is_there_and_every_chart_is_drawn(done: Study) -> None:
    page = read(done.folder / "report.html")
    for title in (
        "Is it the same in every seed?",
        "What the super-survivors can do",
        "How many tickets win",
        "What the survivors attend to",
        "Local or spread: who backs up whom",
        "What happens to representations",
    ):
        assert title in page.words
    places = {attributes["data-spec"] for tag, attributes in page.elements if attributes.get("class") == "plot"}
    assert places == set(page.specs)
    names = [attributes["data-name"] for tag, attributes in page.elements if attributes.get("class") == "plot"]
    assert len(names) == len(set(names))


def test_agreement_is_told_as_it_was_compared(done: Study) -> None:
    words = read(done.folder / "report.html").words
    compared = json.loads(CrossSeedFolder.compared(done.layout.home).comparison.read_text())["kinds"]
    weights = compared["weights"]["tasks"]["moods"]["agreement"]["weights"]
    shared, drawn = number_format.share(weights["jaccard"]), weights["null_distribution"]["random"]["jaccard"]
    assert weights["jaccard"] > drawn["high"]
    told = f"Weights: two good tickets share {shared} of their survivors, more than random ones"
    assert f"{told} ({number_format.share(drawn['mean'])}" in words
    heads = compared["heads+mlps"]["tasks"]["moods"]["agreement"]["heads"]
    assert all(heads[name] is not None or name in heads["undefined"] for name in STATISTICS)
    if heads["jaccard"] is None:
        assert f"Heads: undefined, as {heads['undefined']['jaccard']}" in words


def test_how_many_tickets_win_is_counted_over_seeds(done: Study) -> None:
    words = read(done.folder / "report.html").words
    for method in done.config.methods:
        found = [RandomTickets.read(done.seed_folder(seed).analysis("random-tickets", method)) for seed in (0, 1)]
        pruned = [(one, [size for size in one.sizes if size.stage == "pruned"][-1]) for one in found]
        if len({str(size.kept) for _, size in pruned}) == 1:
            wins = winning(pruned)
            assert f"Of {wins.n} random tickets of the good ticket’s size" in words
            assert f"{number_format.share(wins.value)} (95 % interval" in words
        again = [(one, one.sizes[-1]) for one in found]
        assert f"of {above(again).n} do as well as the good ticket" in words


def test_distribution_of_several_seeds_is_the_mean_of_theirs(
    patterns: list[AttentionPatterns], masks: list[torch.Tensor]
) -> None:
    found = class_distribution(patterns, masks)
    for label, (name, share) in enumerate(found.shares.items()):
        parts = [float(one.shares("raw")[mask][:, label].mean()) for one, mask in zip(patterns, masks, strict=True)]
        assert share is not None, name
        assert share[0] == pytest.approx(np.mean(parts))
        assert share[1] <= share[0] <= share[2]
    assert found.heads == sum(int(mask.sum()) for mask in masks)
    with pytest.raises(TombolaError, match="different inputs cannot be pooled"):
        class_distribution([patterns[0], dataclasses.replace(patterns[1], inputs=(0,))], masks)
    nobody = [torch.zeros_like(mask) for mask in masks]
    assert set(class_distribution(patterns, nobody).shares.values()) == {None}


def test_correlation_of_several_seeds_is_of_their_means(
    patterns: list[AttentionPatterns], masks: list[torch.Tensor]
) -> None:
    share = torch.stack([one.shares("norm")[..., -1] for one in patterns]).mean(0)
    survival = torch.stack([mask.double() for mask in masks]).mean(0)
    found = survival_correlation(patterns, masks, weighting="norm").value
    assert found == pytest.approx(spearmanr(share.flatten(), survival.flatten()).statistic)


def test_survivors_are_held_against_the_other_heads(
    patterns: list[AttentionPatterns], masks: list[torch.Tensor]
) -> None:
    found = survivors_against_pruned(patterns, masks)
    inside, outside = [], []
    for one, mask in zip(patterns, masks, strict=True):
        share = one.shares("raw")[..., -1]
        inside.append(float(share[mask].mean()))
        outside.append(float(share[~mask].mean()))
    assert found.value == pytest.approx(np.mean(inside) - np.mean(outside))
    # The bars beside the sentence say the same.
    bars = [
        class_distribution(patterns, chosen).shares["heterogeneous"] for chosen in (masks, [~mask for mask in masks])
    ]
    assert bars[0] is not None
    assert bars[1] is not None
    assert found.value == pytest.approx(bars[0][0] - bars[1][0])
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    assert survivors_against_pruned(patterns, [torch.ones_like(mask) for mask in masks]).value is None


def test_tokens_cannot_break_out_of_the_page(patterns: list[AttentionPatterns], done: Study, tmp_path: Path) -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    picture = patterns[0].example_maps[0]
    spoilt = dataclasses.replace(picture, tokens=[hostile[:12]] * len(picture.tokens), weighting="raw")
    section = attention_section(
        StudyPatterns((dataclasses.replace(patterns[0], example_maps=(spoilt,)),)), Places(), FigureRegistry()
    )
    assert "</script><im" not in section
    assert "<img" not in section
    assert "\\u003c/script>\\u003ci" in section


def test_one_seed_without_a_ticket_says_what_it_can(patterns: list[AttentionPatterns]) -> None:
    section = attention_section(StudyPatterns((patterns[0],)), Places(), FigureRegistry())
    assert "Of the maps of all heads" in section
    assert "survivors" not in section.replace("What the survivors attend to", "").replace("survivors are heads", "")


def test_the_files_are_read_back(done: Study) -> None:
    interactions = Interactions.read(done.seed_folder(0).analysis("interactions"))
    assert len(interactions.sites) == 3 * 4 + 3
    representations = Representations.read(done.seed_folder(0).analysis("representations", "weights"))
    assert list(representations.models) == [
        "full",
        *(f"{name} pruned" for name in ("good", "random", "layer-matched", "bad")),
        "good retrained",
    ]
    assert representations.models["good pruned"][0].cka == pytest.approx(1)


def test_a_damaged_analysis_is_named(done: Study, tmp_path: Path) -> None:
    shutil.copytree(done.folder, tmp_path / "study")
    path = tmp_path / "study" / "moods" / "seed-0" / "analysis" / "interactions.json"
    path.write_text("{}")
    with pytest.raises(TombolaError, match=r"interactions.json: 'architecture' is missing; delete it and start again"):
        build(tmp_path / "study")


def test_all_is_asked_for_by_one_word() -> None:
    asked = command_line("study")
    for word, expected in (("all", ("all",)), ("none", ()), ("attention,interactions", ("attention", "interactions"))):
        assert asked.parse_args(["study", "--analyses", word]).analyses == expected
    assert small_study.config(analyses=("all",)).analyses == tuple(
        one for one in ANALYSES if one not in ("random-curve", "text-generation")
    )
    assert small_study.config(analyses=("all",), sparsities=(0.5,)).analyses == ANALYSES[:-1]
    assert small_study.config(analyses=("all",)).hash() == small_study.config().hash()
