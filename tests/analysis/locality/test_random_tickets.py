"""Random tickets beside what a search found at their sizes."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta, t

import tombola
from builders import small_study
from tombola import controls
from tombola.analysis.locality.random_tickets import (
    DrawOptions,
    RandomTickets,
    Share,
    SizeScores,
    above,
    random_tickets,
    winning,
)
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import EvaluationOptions
from tombola.pruning.search.records import Search
from tombola.study.study import Study
from tombola.tickets.kinds import TicketKind
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Searches of a model that learns all in one go: random tickets of their sizes do not all guess."""
    settings: dict[str, Any] = {"model": str(small_study.untrained()), "epochs": 6, "controls": (), "analyses": ()}
    study = small_study.study_in(tmp_path_factory.mktemp("searched"), save="none", **settings)
    study.run()
    return study


@pytest.mark.parametrize("kind", ["heads+mlps", "weights"])
def test_sizes_and_scores_are_those_of_the_search(done: Study, kind: TicketKind) -> None:
    cell = done.seed_folder(0)
    model, found = done.task.load(str(cell.full), seed=0, state="trained"), Search.load(cell.folder / kind)
    seen: list[Ticket] = []

    def again(ticket: Ticket) -> float:
        seen.append(ticket)
        return 0.25

    result = random_tickets(model, found, done.task, 0.7, drawing=DrawOptions(3, 2, 5), retrained=(0.8, again, 2))
    *pruned, retrained = result.sizes
    held = {step.sparsity: step for step in found.passes if step.holds}
    for size in pruned:
        step = held[size.sparsity]
        assert size.searched == step.score
        assert len(size.scores) == 3
        for name, count in size.kept.items():
            assert count == getattr(step, name)
    assert (
        pruned[-1].kept
        == retrained.kept
        == ({"weights": len(found.good)} if kind == "weights" else found.good.counts())
    )
    assert (retrained.searched, retrained.scores) == (0.8, (0.25, 0.25))
    assert seen[0] != seen[1]
    assert all(ticket.counts() == found.good.counts() or len(ticket) == len(found.good) for ticket in seen)
    # The draws come from the seed alone, and their scores are those that anybody gets.
    same = random_tickets(model, found, done.task, 0.7, drawing=DrawOptions(3, 2, 5))
    assert same.sizes == result.sizes[:-1]
    other = random_tickets(model, found, done.task, 0.7, drawing=DrawOptions(3, 2, 6))
    assert other.sizes != same.sizes
    # The bottom size is the good ticket's: its draws can be drawn again, and scored by anybody.
    for draw, score in enumerate(pruned[-1].scores):
        ticket = controls.random(found.good, int(np.random.SeedSequence((5, 1, draw)).generate_state(1)[0]))
        assert score == tombola.score(model, done.task, ticket).score
    # The tiny model at a quarter of its weights is at its majority, whichever they are.
    assert kind == "weights" or len(set(pruned[-1].scores)) > 1


def test_random_tickets_are_judged_on_the_split_of_the_search(done: Study) -> None:
    cell = done.seed_folder(0)
    model, found = done.task.load(str(cell.full), seed=0, state="trained"), Search.load(cell.folder / "heads+mlps")
    (size,) = random_tickets(
        model, found, done.task, 0.7, EvaluationOptions("train"), drawing=DrawOptions(4, 1, 5)
    ).sizes
    draws = [int(np.random.SeedSequence((5, 0, draw)).generate_state(1)[0]) for draw in range(4)]
    scores = [
        tombola.score(model, done.task, controls.random(found.good, one), EvaluationOptions("train")).score
        for one in draws
    ]
    assert list(size.scores) == scores


def test_after_iterative_pruning_the_bar_is_cut_out_too(done: Study) -> None:
    cell = done.seed_folder(0)
    model, found = done.task.load(str(cell.full), seed=0, state="trained"), Search.load(cell.folder / "weights")
    iterative = dataclasses.replace(found, good=found.good.with_provenance(stage="retrained"))
    (size,) = random_tickets(model, iterative, done.task, 0.7, drawing=DrawOptions(2, 3)).sizes
    assert size.searched == tombola.score(model, done.task, found.good).score
    assert size.kept == {"weights": len(found.good)}


def test_it_is_read_as_it_was_written(done: Study, tmp_path: Path) -> None:
    sizes = (SizeScores("pruned", {"heads": 3, "mlps": 1}, 0.5, 0.9, (0.1, 0.2)),)
    found = RandomTickets("heads+mlps", "dev", 0.95, 0.85, True, sizes)
    found.write(tmp_path / "random.json")
    assert RandomTickets.read(tmp_path / "random.json") == found
    text = (tmp_path / "random.json").read_text()
    (tmp_path / "random.json").write_text(text.replace("0.2", '"x"'))
    with pytest.raises(TombolaError, match=r"sizes\[0\]: 'scores\[1\]' should be a number"):
        RandomTickets.read(tmp_path / "random.json")


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_winners_are_counted_whichever_way_the_metric_goes(higher_is_better: bool) -> None:
    sign = 1 if higher_is_better else -1
    size = SizeScores("pruned", {"heads": 3}, 0.5, sign * 0.9, tuple(sign * score for score in (0.1, 0.8, 0.9, 0.95)))
    found = RandomTickets("heads", "dev", sign * 1.0, sign * 0.8, higher_is_better, (size,))
    worse = dataclasses.replace(size, scores=(sign * 0.2,) * 4)
    assert winning([(found, size), (found, worse)]) == Share(((3, 4), (0, 4)))
    assert above([(found, size), (found, worse)]) == Share(((2, 4), (0, 4)))


@pytest.mark.parametrize(("count", "n"), [(0, 20), (3, 20), (20, 20)])
def test_the_interval_of_a_share_is_clopper_and_pearsons(count: int, n: int) -> None:
    low = beta.ppf(0.025, count, n - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, n - count) if count < n else 1.0
    assert Share(((count, n),)).interval == pytest.approx((low, high))


def test_the_interval_of_several_seeds_covers_what_they_have_in_common() -> None:
    rng, seeds, n, plain, clustered = np.random.default_rng(0), 5, 20, 0, 0
    for _ in range(400):
        chances = rng.beta(3, 3, size=seeds)
        counts = rng.binomial(n, chances)
        low, high = Share(tuple((int(count), n) for count in counts)).interval
        clustered += low <= 0.5 <= high
        low, high = Share(((int(counts.sum()), seeds * n),)).interval
        plain += low <= 0.5 <= high
    assert clustered / 400 > 0.92
    assert plain / 400 < 0.75
    # Seeds that agree are worth all of their tickets, and no more.
    assert Share(((10, 20),) * 5).interval == Share(((50, 100),)).interval


def test_a_file_without_tickets_of_a_size_is_damaged(tmp_path: Path) -> None:
    size = SizeScores("pruned", {"heads": 2}, 0.5, 0.8, (0.7,))
    found = RandomTickets("heads+mlps", "dev", 0.9, 0.8, True, (size,))
    for number, sizes in enumerate(((size,), (dataclasses.replace(size, scores=()),), ())):
        dataclasses.replace(found, sizes=sizes).write(tmp_path / "x.json")
        with contextlib.nullcontext() if number == 0 else pytest.raises(TombolaError, match="without random tickets"):
            RandomTickets.read(tmp_path / "x.json")


def test_the_interval_of_two_seeds_is_korn_and_graubards_by_hand() -> None:
    # Shares .4 and .6 of 50 each: variance .01, where 100 independent tickets would have .25 / 100.
    worth = 25 * (t.ppf(0.975, 99) / t.ppf(0.975, 1)) ** 2
    low, high = beta.ppf(0.025, worth / 2, worth / 2 + 1), beta.ppf(0.975, worth / 2 + 1, worth / 2)
    assert Share(((20, 50), (30, 50))).interval == pytest.approx((low, high))
