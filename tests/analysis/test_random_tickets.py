"""Random tickets beside what a search found at their sizes."""

import dataclasses
from pathlib import Path

import pytest
from scipy.stats import beta

import small
import tombola
from tombola.analysis.random_tickets import RandomTickets, Share, SizeScores, above, random_tickets, winning
from tombola.errors import TombolaError
from tombola.search import Search
from tombola.study import Study
from tombola.ticket import Pruning, Ticket


@pytest.fixture(scope="module")
def done() -> Study:
    return small.finished()


@pytest.mark.parametrize("pruning", ["heads+mlps", "weights"])
def test_sizes_and_scores_are_those_of_the_search(done: Study, pruning: Pruning) -> None:
    cell = done.cell(0)
    model, found = done.task.load(str(cell.full), seed=0, state="trained"), Search.load(cell.folder / pruning)
    seen: list[Ticket] = []

    def again(ticket: Ticket) -> float:
        seen.append(ticket)
        return 0.25

    result = random_tickets(model, found, done.task, 0.7, draws=3, sizes=2, seed=5, retrained=(0.8, again, 2))
    *pruned, retrained = result.sizes
    held = {step.sparsity: step for step in found.steps if step.holds}
    for size in pruned:
        step = held[size.sparsity]
        assert size.searched == step.score
        assert len(size.scores) == 3
        for kind, count in size.kept.items():
            assert count == getattr(step, kind)
    assert (
        pruned[-1].kept
        == retrained.kept
        == ({"weights": len(found.good)} if pruning == "weights" else found.good.counts())
    )
    assert (retrained.searched, retrained.scores) == (0.8, (0.25, 0.25))
    assert seen[0] != seen[1]
    assert all(ticket.counts() == found.good.counts() or len(ticket) == len(found.good) for ticket in seen)
    # The draws come from the seed alone, and their scores are those that anybody gets.
    same = random_tickets(model, found, done.task, 0.7, draws=3, sizes=2, seed=5)
    assert same.sizes == result.sizes[:-1]
    other = random_tickets(model, found, done.task, 0.7, draws=3, sizes=2, seed=6)
    assert other.sizes != same.sizes
    score = tombola.score(model, done.task, seen[0]).score
    assert 0 <= score <= 1


def test_it_is_read_as_it_was_written(done: Study, tmp_path: Path) -> None:
    sizes = (SizeScores("pruned", {"heads": 3, "mlps": 1}, 0.5, 0.9, (0.1, 0.2)),)
    found = RandomTickets("heads+mlps", "dev", 0.95, 0.85, True, sizes)
    found.write(tmp_path / "random.json")
    assert RandomTickets.read(tmp_path / "random.json") == found
    (tmp_path / "random.json").write_text('{"sizes": [{"scores": ["x"]}]}')
    with pytest.raises(TombolaError, match="should be a number"):
        RandomTickets.read(tmp_path / "random.json")


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_winners_are_counted_whichever_way_the_metric_goes(higher_is_better: bool) -> None:
    sign = 1 if higher_is_better else -1
    size = SizeScores("pruned", {"heads": 3}, 0.5, sign * 0.9, tuple(sign * score for score in (0.1, 0.8, 0.9, 0.95)))
    found = RandomTickets("heads", "dev", sign * 1.0, sign * 0.8, higher_is_better, (size,))
    worse = dataclasses.replace(size, scores=(sign * 0.2,) * 4)
    assert winning([(found, size), (found, worse)]) == Share(3, 8)
    assert above([(found, size), (found, worse)]) == Share(2, 8)


@pytest.mark.parametrize(("count", "n"), [(0, 20), (3, 20), (20, 20)])
def test_the_interval_of_a_share_is_clopper_and_pearsons(count: int, n: int) -> None:
    low = beta.ppf(0.025, count, n - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, n - count) if count < n else 1.0
    assert Share(count, n).interval == pytest.approx((low, high))
