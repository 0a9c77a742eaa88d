"""Steps of a study: what each costs, what it needs, and whether it is done."""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError

from tombola.foundations.errors import DiskError, TombolaError, memory_errors, reason, system_errors
from tombola.foundations.progress import Progress
from tombola.foundations.settings import settings_read
from tombola.study.claim import Claim
from tombola.study.folder_layout import STAGES
from tombola.study.omitted_analyses import OmittedAnalysis
from tombola.study.seed_context import SeedContext
from tombola.study.step_record import MENDED, FileStamp, StepRecord
from tombola.study.study_facts import computed_on
from tombola.study.training_folder import training_folder
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
        in_passing: another step may have left its result, so that its own has only to take it over.
        mend: write the intervals of its scores anew; None where they are all that it is, or it has none.
        settings: all that there are and a result can depend on: name → JSON value, local files by their content.
        read: names of those that were read before the steps: to open the task.
        instead: names of settings that it reads → those of what it depends on of them.
        models: number of models that it writes, at most.
        trained: folder where it finds its model, where that was trained already and has to be scored anew alone.
        unchanged: raise a TombolaError where the local files among the settings are others by now.
        study: folder of the study that it is of.
        claim: claim it before it runs, see `tombola.study.step_locks`; None where no other study can make its result.
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
    in_passing: bool = False
    mend: Callable[[], None] | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    read: frozenset[str] = frozenset()
    instead: Mapping[str, str] = field(default_factory=dict)
    models: int = 0
    trained: Path | None = None
    unchanged: Callable[[], None] | None = None
    study: Path = Path()
    claim: "Callable[[StudyStep], Claim | None] | None" = None

    def __call__(self, progress: Progress) -> None:
        """Compute and publish the result; an analysis that cannot be made is left out, with a warning."""
        known = StepRecord.of(self.result)
        if known is not None and self.unlike(known) is None:
            # Its result was lost, and will be the same: what was made of it stays.
            record = dataclasses.replace(known, files=None)
        else:
            # Killed once the result is there and before it is known what was read, it is of all settings.
            record = StepRecord(self.settings, self.needs_made())
        record.write(StepRecord.path(self.result))
        OmittedAnalysis.path(self.result).unlink(missing_ok=True)
        _, _, plain = self.what.rpartition(": ")
        optional = warn_on_failure(f"{plain} left out", self._leave_out) if self.analysis else contextlib.nullcontext()
        doing = f"stopped at the step {self.what!r}, finished ones are kept"
        with self._named(), system_errors(), optional, memory_errors(doing), settings_read() as names:
            self.run(progress)
        training_folder(self.result).remove()
        try:
            if self.unchanged is not None:
                self.unchanged()
        except TombolaError:
            # Nobody knows what it read: without a record it is nothing.
            StepRecord.path(self.result).unlink(missing_ok=True)
            raise
        names = {self.instead.get(name, name) for name in names | self.read}
        read = {name: self.settings[name] for name in sorted(names) if name in self.settings}
        self._list(dataclasses.replace(record, settings=read, computed_on=computed_on(self._device)))

    @property
    def _device(self) -> torch.device:
        return torch.device("cpu") if self.context is None else self.context.setting.device

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Begin warnings and errors of the user's with the seed, where the job has several."""
        seed = self.what.rpartition(": ")[0]
        with warnings.catch_warnings():
            if seed:
                shown = warnings.showwarning
                warnings.showwarning = lambda message, *more, **options: shown(f"{seed}: {message}", *more, **options)
            try:
                yield
            except TombolaError as error:
                if seed and f"'{self.what}'" not in str(error):
                    raise type(error)(f"{seed}: {error}") from error
                raise

    def done(self) -> bool:
        """True if its result is there.

        Raises:
            TombolaError: a file of it is missing, or is another than was written. Others were made of it: it is not
                replaced unasked.
        """
        path, mend = StepRecord.path(self.result), f"delete {self.result} and start again"
        if not self.there() or not path.is_file():
            return False
        record = StepRecord.read(path)
        if record.files is None:
            # Results appear whole: it was killed before it could list them.
            self._list(record)
            return True
        touched = False
        for name, written in record.files.items():
            file = self.result.parent / name
            if not file.is_file():
                raise TombolaError(f"{file} is missing; {mend}")
            if not written.untouched(file):
                touched = True
                if FileStamp.of(file).sha256 != written.sha256:
                    raise TombolaError(f"{file} is damaged: it is not the file that was written; {mend}")
        if touched:
            # Copied, with the time of the copy: it need not be read again at the next start.
            record.stamped(record.files, self.result.parent).write(path)
        return True

    def there(self) -> bool:
        """True if its result stands there, whole or damaged; nothing is written, as `done` may."""
        return self.result.is_file() if self.result.suffix else self.result.is_dir()

    @property
    def trains(self) -> bool:
        """True if it fine-tunes a model, or trains a ticket again."""
        return self.what.rpartition(": ")[2].startswith(("fine-tune", "retrain")) and not self.in_passing

    def needs_made(self) -> dict[str, str]:
        """Identities of the results that it needs, of those that a step made; by their paths from its own folder."""
        records = {need: StepRecord.of(need) for need in self.needs}
        return {
            Path(os.path.relpath(need, self.result.parent)).as_posix(): record.identity
            for need, record in records.items()
            if record is not None
        }

    def unlike(self, record: StepRecord, needs: Mapping[str, str] | None = None) -> set[str] | None:
        """None if a result of this record is made from what there is now; else the settings that are others now.

        There are none of them where the results that it needs are others. Intervals can be mended. `needs_made` may be
        given, where many records are looked at.
        """
        changed = record.changed(self.settings)
        if self.mend is not None:
            changed -= MENDED
        return changed if changed or record.needs != (self.needs_made() if needs is None else needs) else None

    def outdated(self) -> bool:
        """True if its result stands there, and its intervals, and nothing else, were made from other settings."""
        record = StepRecord.of(self.result) if self.there() else None
        return record is not None and self.mend is not None and bool(record.changed(self.settings))

    def mend_scores(self) -> None:
        """Write the intervals of an `outdated` result anew.

        Raises:
            TombolaError: as `done`: a damaged file is not taken for what was written.
        """
        self.done()
        record = StepRecord.read(StepRecord.path(self.result))
        # Killed in the middle, the intervals are of nobody's settings, and written again whatever is asked for then.
        unknown = dict.fromkeys(MENDED & record.settings.keys())
        killed = dataclasses.replace(record, files=None, settings={**record.settings, **unknown})
        killed.write(StepRecord.path(self.result))
        if self.mend is not None:
            self.mend()
        now = {name: self.settings[name] for name in record.settings}
        self._list(dataclasses.replace(record, settings=now))

    def _leave_out(self, why: str) -> None:
        OmittedAnalysis(self.analysis, self.what.rpartition(": ")[2], why).write(OmittedAnalysis.path(self.result))

    def _list(self, record: StepRecord) -> None:
        """Write the record with what was published, by which `done` knows whether all of it is there and undamaged."""
        if not self.there():
            StepRecord.path(self.result).unlink(missing_ok=True)
            return
        found = list[str]()
        for place in (self.result, *self.beside):
            for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
                if file.is_file() and not (file != place and _of_another_step(file, place)):
                    found.append(file.relative_to(self.result.parent).as_posix())
        record.stamped(found, self.result.parent).write(StepRecord.path(self.result))


def _of_another_step(file: Path, place: Path) -> bool:
    """True for a file within a result that belongs to another step: its record, or what has a record of its own."""
    inner = file.relative_to(place).parts
    # What a search trained in passing is another step's, and has no record yet.
    if {*inner} & {*STAGES} or file.name.endswith(".files.json"):
        return True
    return any(StepRecord.path(one).is_file() for one in (file, *file.parents[: len(inner) - 1]))


def left_of(steps: Iterable[StudyStep]) -> list[StudyStep]:
    """Steps, each after those that it needs, without a result that was made from what there is now."""
    left, stale = list[StudyStep](), set[Path]()
    for step in steps:
        record = StepRecord.of(step.result)
        other = step.unlike(record) is not None if record is not None else not step.in_passing
        if other := other or not stale.isdisjoint(step.needs):
            stale.add(step.result)
        if other or not step.there():
            left.append(step)
    return left


@contextlib.contextmanager
def warn_on_failure(what: str, told: Callable[[str], None] | None = None) -> Iterator[None]:
    """Turn a failure of something optional into a warning, which `what` begins: it does not take the study along.

    The reason is `told` too.

    Raises:
        DiskError: what the operating system did not let be read or written is no reason to leave it out.
    """
    try:
        yield
    except (TombolaError, SafetensorError, OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, DiskError) or (isinstance(error, OSError) and error.errno is not None):
            # It could be made, and will be when the disk is mended.
            raise
        why = reason(error, 300)
        warnings.warn(f"{what}: {why}", stacklevel=2)
        if told is not None:
            told(why)
