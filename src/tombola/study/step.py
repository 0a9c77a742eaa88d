"""Steps of a study: what each costs, what it needs, and whether it is done."""

import contextlib
import hashlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from tombola.foundations.atomic_files import read_json, write_json
from tombola.foundations.errors import TombolaError, memory_errors, reason
from tombola.foundations.progress import Progress
from tombola.study.folder_layout import STAGES
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
        beside: what else it publishes beside that, where there is anything.
        models: number of models that it writes, at most.
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
    beside: tuple[Path, ...] = ()
    models: int = 0

    def __call__(self, progress: Progress) -> None:
        """Compute and publish the result; an analysis that cannot be made is left out, with a warning."""
        optional = warn_on_failure(f"{self.what} left out") if self.analysis else contextlib.nullcontext()
        with optional, memory_errors(f"stopped at the step {self.what!r}, finished ones are kept"):
            self.run(progress)
        if self.there():
            self._record()

    def done(self) -> bool:
        """True if its result is there.

        Raises:
            TombolaError: a file of it is missing, or is another than was written. Others were made of it: it is not
                replaced unasked.
        """
        if not self.there():
            return False
        if not self._list.is_file():
            # Results appear whole: it was killed before it could list them.
            self._record()
            return True
        mend = f"delete {self.result} and start again"
        for name, written in read_json(self._list, f"delete it, or {mend}").items():
            file = self.result.parent / name
            if not file.is_file():
                raise TombolaError(f"{file} is missing; {mend}")
            if _contents(file) != written:
                raise TombolaError(f"{file} is damaged: it is not the file that was written; {mend}")
        return True

    def there(self) -> bool:
        """True if its result stands there, whole or damaged; nothing is written, as `done` may."""
        return self.result.is_file() if self.result.suffix else self.result.is_dir()

    @property
    def _list(self) -> Path:
        return self.result.with_name(f".{self.result.name}.files.json")

    def _record(self) -> None:
        """List what was published, by which `done` knows whether all of it is there and undamaged."""
        found = dict[str, object]()
        for place in (self.result, *self.beside):
            for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
                # What a search trained in passing is another step's.
                if file.is_file() and not {*file.relative_to(place).parts} & {*STAGES}:
                    found[file.relative_to(self.result.parent).as_posix()] = _contents(file)
        write_json(self._list, found)


_DIGESTED = 2**20


def _contents(file: Path) -> str:
    """Size of a file, and the SHA-256 of its first MiB: models are not read whole at every start."""
    with file.open("rb") as opened:
        return f"{file.stat().st_size} {hashlib.sha256(opened.read(_DIGESTED)).hexdigest()}"


@contextlib.contextmanager
def warn_on_failure(what: str) -> Iterator[None]:
    """Turn a failure of something optional into a warning, which `what` begins: it does not take the study along."""
    try:
        yield
    except (TombolaError, SafetensorError, OSError, MemoryError, RuntimeError) as error:
        warnings.warn(f"{what}: {reason(error, 300)}", stacklevel=2)
