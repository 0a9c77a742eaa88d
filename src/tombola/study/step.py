"""Steps of a study: what each costs, what it needs, and whether it is done."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from tombola.foundations.errors import TombolaError, reason
from tombola.foundations.progress import Progress
from tombola.study.seed_context import SeedContext
from tombola.tickets.pruning_methods import pruning_method

TRAINING_COST = 2.2
"""Cost of training on an example, in forward passes: what the bars reckon with; no result depends on it."""
IMPORTANCE_COST = 2.0


def search_cost(method: str, examples: float) -> tuple[float, float]:
    """Expected cost of a search on so many examples, in forward passes of one example, and of each that it reports."""
    # A search of sites makes passes with importance, which cost double, on a network that shrinks.
    passes, weight = (9.0, 1.0) if pruning_method(method).kind == "weights" else (12.0, 1.3)
    return passes * examples, weight


@dataclass(frozen=True)
class StudyStep:
    """Step of a study.

    Attributes:
        what: for people; no two steps of a job have the same.
        cost: expected, in forward passes of one example.
        weight: cost of each example that the step reports.
        result: what it publishes: a file, if the name has a suffix, else a folder.
        run: compute and publish it.
        needs: results of the steps that must come before; those that no step of the job makes are there already.
        context: whose full model it may leave in memory for others of the same seed.
        alone: it measures time, so that nothing else may run beside it.
        analysis: which of `config.ANALYSES` it belongs to; empty for what every study does.
        files: of a folder that it publishes, those without which it is damaged.
    """

    what: str
    cost: float
    weight: float
    result: Path
    run: Callable[[Progress], None]
    needs: tuple[Path, ...] = ()
    context: SeedContext | None = None
    alone: bool = False
    analysis: str = ""
    files: tuple[str, ...] = ()

    def __call__(self, progress: Progress) -> None:
        """Compute and publish the result; an analysis that cannot be made is left out, with a warning."""
        with warn_on_failure(f"{self.what} left out") if self.analysis else contextlib.nullcontext():
            self.run(progress)

    def done(self) -> bool:
        """True if its result is there.

        Raises:
            TombolaError: a file of it is missing. Others were made of it: it is not replaced unasked.
        """
        there = self.result.is_file() if self.result.suffix else self.result.is_dir()
        for name in self.files if there else ():
            if not (self.result / name).is_file():
                raise TombolaError(f"{self.result / name} is missing; delete {self.result} and start again")
        return there


@contextlib.contextmanager
def warn_on_failure(what: str) -> Iterator[None]:
    """Turn a failure of something optional into a warning, which `what` begins: it does not take the study along."""
    try:
        yield
    except (TombolaError, SafetensorError, OSError, MemoryError, RuntimeError) as error:
        warnings.warn(f"{what}: {reason(error, 300)}", stacklevel=2)
