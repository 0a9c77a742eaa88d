"""Rankings of one's own: what they are asked, what they may answer, and a line for what they may not."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tombola
from builders import toy_rankings
from builders.encoders import classifier, synthetic
from tombola.foundations.errors import TombolaError
from tombola.pruning.activation_statistics import Norms
from tombola.pruning.evaluation import Evaluation, EvaluationOptions, evaluate
from tombola.pruning.importance import RankedSites, per_example
from tombola.pruning.importance_methods import IMPORTANCES
from tombola.pruning.search.options import SearchOptions
from tombola.pruning.weight_criteria import CRITERIA, Criterion, ScoredMatrix, WeightCut
from tombola.subnetworks.subnetwork import Subnetwork, masked, whole
from tombola.tasks.base import Task
from tombola.tickets.pruning_methods import METHODS, forget_criterion
from tombola.tickets.ticket import Ticket


def ranked(part: Subnetwork, task: Task) -> Evaluation:
    return evaluate(part, task, EvaluationOptions(importance="own"), importance=True)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    IMPORTANCES.forget("own")
    CRITERIA.forget("own")
    forget_criterion("own")


def zeros(sites: RankedSites) -> dict[str, Tensor]:
    return {kind: torch.zeros(sites.ticket.masks[kind].shape) for kind in sites.kinds}


def with_nan(sites: RankedSites) -> dict[str, Tensor]:
    found = zeros(sites)
    found["heads"][1, 2] = torch.nan
    return found


@pytest.mark.parametrize(
    ("ranking", "message"),
    [
        (lambda sites: torch.zeros(3), r"the importance own gave no mapping from kinds of sites to numbers: tensor"),
        (lambda sites: {"heads": zeros(sites)["heads"]}, "the importance own says nothing of mlps; give numbers for"),
        (
            lambda sites: {**zeros(sites), "mlps": [1.0]},
            r"own gave mlps of shape \[1\]; there are \[3\], of which",
        ),
        (lambda sites: {**zeros(sites), "mlps": "abc"}, "the importance own gave no numbers for mlps: 'abc'"),
        (with_nan, r"the importance own of heads \[1, 2\] is nan, which ranks nothing"),
    ],
)
def test_a_wrong_answer_is_one_line(ranking: Any, message: str) -> None:
    tombola.register_importance("own", ranking)
    with pytest.raises(TombolaError, match=message) as caught:
        ranked(whole(classifier()), synthetic())
    assert "\n" not in str(caught.value)


def test_what_is_asked_costs_no_second_pass_and_changes_no_score() -> None:
    part, task = whole(classifier()), synthetic()
    seen = []

    def own(sites: RankedSites) -> dict[str, Tensor]:
        seen.append(next(sites.gradients()))
        return {kind: -gradient.sum(0) for kind, gradient in seen[0].items()}

    tombola.register_importance("own", own)
    found, plain = ranked(part, task), evaluate(part, task)
    assert found.score == plain.score
    assert (found.predictions == plain.predictions).all()
    assert found.importance is not None
    torch.testing.assert_close(found.importance["heads"], -seen[0]["heads"].double().sum(0), rtol=1e-4, atol=1e-7)
    # Gates, modes and frozen parameters are as they were.
    assert all(parameter.requires_grad for parameter in part.model.parameters())
    assert not any(module._forward_pre_hooks for module in part.model.modules())


def test_a_ranking_may_run_the_model_and_sees_zeros_for_what_is_gone() -> None:
    model, task = classifier(), synthetic()
    ticket = Ticket.full(whole(model).anatomy, "heads+mlps").without({"heads": [[0, 1]], "mlps": [1]})

    def own(sites: RankedSites) -> dict[str, Tensor]:
        assert not evaluate(whole(sites.model), task).losses.max() > 1e9
        return dict(toy_rankings.output_norm(sites))

    tombola.register_importance("own", own)
    by_whole = ranked(whole(model), task).importance
    for part in (tombola.shrunk(model, ticket), masked(model, ticket)):
        found = ranked(part, task).importance
        assert found is not None
        assert by_whole is not None
        assert torch.equal(~found["heads"].isnan(), ticket.heads)
        torch.testing.assert_close(found["heads"][ticket.heads], by_whole["heads"][ticket.heads])


def test_the_ranking_of_the_docs_takes_shrunk_models_too() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "own-rankings.md").read_text(encoding="utf-8")
    code, names = page.partition("```python\n")[2].partition("tombola.register_importance")[0], dict[str, Any]()
    exec(code, names)
    model, task = classifier(), synthetic()
    every = [[2, head] for head in range(whole(model).anatomy.heads[1])]
    ticket = Ticket.full(whole(model).anatomy, "heads+mlps").without({"heads": [[0, 1], *every], "mlps": [1]})
    tombola.register_importance("own", names["output_norm"])
    entire = ranked(whole(model), task).importance
    small = ranked(whole(tombola.shrunk(model, ticket).model), task).importance
    assert entire is not None
    assert small is not None
    for kind, mask in ticket.masks.items():
        torch.testing.assert_close(small[kind][~small[kind].isnan()], entire[kind][mask])


def test_groups_count_by_the_sum_of_their_sites() -> None:
    tombola.register_importance("own", lambda sites: {kind: m.double() for kind, m in counted(sites).items()})
    found = tombola.search_ticket(
        classifier(), synthetic(), "layers", options=SearchOptions(importance="own", threshold=0.01)
    )
    # Layer 0 has the smaller numbers, and goes first.
    assert found.passes[1].removed["mlps"] == [0]


def counted(sites: RankedSites) -> dict[str, Tensor]:
    masks = sites.ticket.masks
    return {kind: torch.arange(mask.numel()).reshape(mask.shape) for kind, mask in masks.items()}


def test_the_same_ranking_by_another_name_finds_the_same_ticket() -> None:
    model, task = classifier(), synthetic()
    tombola.register_importance("own", per_example)
    tombola.register_criterion("own", lambda matrix: matrix.weight.abs())
    plain, own = (
        tombola.search_ticket(model, task, options=SearchOptions(importance=name, threshold=0.5)).good
        for name in ("per-example", "own")
    )
    assert plain == own
    for pattern in (None, "2:4"):
        share = None if pattern else 0.3
        first, second = (
            tombola.prune_weights(model, WeightCut(name, share, pattern=pattern)).ticket
            for name in ("magnitude", "own")
        )
        assert first == second


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda matrix: matrix.weight, r"the criterion own gives 0.query scores from -.* none below 0"),
        (lambda matrix: matrix.weight.abs() / 0, r"the criterion own gives 0.query scores from .* to inf; scores"),
        (
            lambda matrix: matrix.weight.abs()[0],
            r"the criterion own gives 0.query scores of shape \[\d+\]; its",
        ),
        (lambda matrix: None, r"the criterion own gives 0.query None; its weights are"),
    ],
)
def test_wrong_scores_are_one_line(score: Callable[[ScoredMatrix], Tensor], message: str) -> None:
    tombola.register_criterion("own", score)
    with pytest.raises(TombolaError, match=message):
        tombola.prune_weights(classifier(), WeightCut("own", 0.5))


def test_a_criterion_says_over_what_it_compares_and_what_it_wants_to_know() -> None:
    criterion = Criterion(lambda matrix: matrix.weight.abs() * matrix.statistic, statistic=Norms)
    tombola.register_criterion("own", criterion)
    model, task = classifier(), synthetic()
    batches = list(task.batches("dev", 8))
    assert WeightCut("own", 0.5).scope == "row"
    own, wanda = (
        tombola.prune_weights(model, WeightCut(name, 0.5), calibration=batches).ticket for name in ("own", "wanda")
    )
    assert own == wanda
    assert METHODS["own-2of4"].pattern == "2:4"
    with pytest.raises(TombolaError, match="this criterion can compare weights of a row or matrix, not global"):
        Criterion(lambda matrix: matrix.weight, scopes=("global",), statistic=Norms)
    with pytest.raises(TombolaError, match="either a score, or a solver and the statistic that this needs"):
        Criterion()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("magnitude", "the name magnitude is taken; choose another for your criterion"),
        ("heads", "the name heads is taken; choose another for your criterion"),
        ("My Own", "'My Own' is no name for criterion; write small letters, digits and single dashes"),
    ],
)
def test_names_that_cannot_be_are_refused(name: str, message: str) -> None:
    before = dict(METHODS)
    with pytest.raises(TombolaError, match=message):
        tombola.register_criterion(name, toy_rankings.noisy_size)
    assert dict(METHODS) == before
    assert name not in CRITERIA or name == "magnitude"


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TombolaError, match="the importance own is 3; give a function of the sites to rank"):
        tombola.register_importance("own", 3)  # type: ignore[arg-type]
    with pytest.raises(TombolaError, match="the criterion own is 3; give a function of a matrix, or a Criterion"):
        tombola.register_criterion("own", 3)  # type: ignore[arg-type]


def test_a_name_may_be_registered_again() -> None:
    tombola.register_criterion("own", lambda matrix: matrix.weight.abs())
    tombola.register_criterion("own", toy_rankings.noisy_size)
    assert CRITERIA["own"].score is toy_rankings.noisy_size
    assert [*METHODS].count("own") == 1
