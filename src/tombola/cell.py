"""The steps of one seed of a study: each is found done, or computes its result and publishes it whole."""

import contextlib
import dataclasses
import functools
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn

from tombola import controls
from tombola.anatomy import Anatomy, count_parameters
from tombola.checkpoint import save_shrunk
from tombola.config import StudyConfig
from tombola.cost import compare
from tombola.errors import TombolaError
from tombola.evaluation import Evaluation, evaluate
from tombola.precision import Precision
from tombola.progress import Bars
from tombola.results import NOTHING, Size, bytes_of, make_row
from tombola.search import Search, search_ticket
from tombola.store import publish, write_json
from tombola.subnetwork import Subnetwork, expanded, shrunk, whole
from tombola.tasks.base import Predictions, Task
from tombola.ticket import TICKETS, Pruning, Ticket, in_words
from tombola.training import retrain, train

TRAINING_COST = 2.2
"""Cost of training on an example, in forward passes: what the bars reckon with; no result depends on it."""
IMPORTANCE_COST = 2.0
SITES_PASSES, WEIGHTS_PASSES = 12.0, 9.0
"""Cost of a search in passes over the whole network, as expected."""
SITES_WEIGHT, WEIGHTS_WEIGHT = 1.3, 1.0
"""Cost of an example of a search: a pass with importance costs double, on a network that shrinks."""


SHRINKING_COST, TIMING_COST = 1000.0, 5000.0
"""Cost of writing a smaller model and of timing it, in forward passes of one example, as seen with MiniLM."""


def search_cost(pruning: Pruning, examples: int) -> float:
    """Expected cost of a search on so many examples, in forward passes of one example."""
    return examples * (WEIGHTS_PASSES if pruning == "weights" else SITES_PASSES)


def search_weight(pruning: Pruning) -> float:
    """Cost of each example that a search reports."""
    return WEIGHTS_WEIGHT if pruning == "weights" else SITES_WEIGHT


SAVED: Mapping[str, tuple[str, ...]] = {"none": (), "good": ("good",), "all": TICKETS}
"""For each `save`, the tickets whose retrained models are written."""

EVALUATION = "evaluation.safetensors"
COST = "cost.json"
"""What the good ticket's retrained model costs dense, masked and shrunk, see `tombola.cost`."""
SEARCH_EVALUATION = "evaluation-search.safetensors"


@dataclass(frozen=True)
class Setting:
    """What all seeds of a study share.

    Attributes:
        config: what is studied, with its precision resolved.
        task: the task.
        anatomy: of the whole model.
        device: where models run.
        precision: of forward passes.
        save: which retrained models are written: `none`, `good` or `all`.
        study: name of the study, for provenance.
        seeds: number of seeds that run together.
    """

    config: StudyConfig
    task: Task
    anatomy: Anatomy
    device: torch.device
    precision: Precision
    save: str
    study: str
    seeds: int


@dataclass(frozen=True)
class Cell:
    """One seed of a study: its folder, and what is read from it."""

    seed: int
    folder: Path

    @property
    def full(self) -> Path:
        """The fine-tuned model."""
        return self.folder / "full"

    def ticket(self, pruning: str, name: str) -> Path:
        """The folder of a ticket."""
        return self.folder / pruning / name

    def scored(self, prunings: tuple[Pruning, ...]) -> Iterator[Path]:
        """The folder of every model that has a score, in the order of rows."""
        places = [self.folder / "majority", self.full]
        for pruning in prunings:
            for name in TICKETS:
                places += [self.ticket(pruning, name) / stage for stage in ("pruned", "retrained")]
        return (place for place in places if (place / "score.json").is_file())


@dataclass(frozen=True)
class Step:
    """One step of a study.

    Attributes:
        what: for people.
        cost: expected, in forward passes of one example.
        weight: cost of each example that the step reports.
        done: whether its result is there.
        run: compute and publish it.
    """

    what: str
    cost: float
    weight: float
    done: Callable[[], bool]
    run: Callable[[Bars], None]


class CellRun:
    """One seed at work."""

    def __init__(self, setting: Setting, cell: Cell) -> None:
        self._setting = setting
        self._config = setting.config
        self._cell = cell
        self._cached: nn.Module | None = None

    def steps(self) -> Iterator[Step]:
        """All steps in order; later ones read what earlier ones published."""
        task, cell = self._setting.task, self._cell
        train_cost = TRAINING_COST * self._config.epochs * task.size("train")
        dev, searched = task.size("dev"), task.size(self._config.searched)
        label = f"seed {cell.seed}: " if self._setting.seeds > 1 else ""

        def step(what: str, folder: Path, cost: float, run: Callable[[Bars], None], weight: float = 1.0) -> Step:
            return Step(label + what, cost, weight, folder.is_dir, run)

        yield step("majority baseline", cell.folder / "majority", 1, self._majority)
        yield step(
            "fine-tune the full model",
            cell.full,
            train_cost + dev * IMPORTANCE_COST,
            self._full,
            TRAINING_COST,
        )
        for pruning in self._config.prunings:
            name = in_words(pruning)
            cost = search_cost(pruning, searched)
            if self._config.imp and pruning == "weights":
                cost += search_cost(pruning, 1) * train_cost
            yield step(
                f"search {name}",
                cell.ticket(pruning, "good"),
                cost,
                functools.partial(self._search, pruning),
                search_weight(pruning),
            )
            tickets = ("good", *controls.names(pruning))
            for control in tickets[1:]:
                draw = functools.partial(self._control, pruning, control)
                yield step(f"draw {control} {name}", cell.ticket(pruning, control), 1, draw)
            for ticket in tickets:
                pruned = functools.partial(self._pruned, pruning, ticket)
                yield step(f"score {ticket} {name}", cell.ticket(pruning, ticket) / "pruned", dev, pruned)
            for ticket in tickets:
                again = functools.partial(self._retrained, pruning, ticket)
                place = cell.ticket(pruning, ticket) / "retrained"
                # A shrunk network trains in about two thirds of the time.
                cost = (1.0 if pruning == "weights" else 0.65) * (train_cost + dev)
                yield step(
                    f"retrain {ticket} {name}",
                    place,
                    cost,
                    again,
                    cost / (self._config.epochs * task.size("train")),
                )
            if "good" in SAVED[self._setting.save]:
                home = cell.ticket(pruning, "good")
                smaller = functools.partial(self._shrunk, pruning)
                yield step(f"shrink good {name}", home / "shrunk", SHRINKING_COST, smaller)
                if pruning != "weights":
                    measure = functools.partial(self._measured, pruning)
                    yield Step(f"{label}time good {name}", TIMING_COST, 1.0, (home / COST).is_file, measure)

    def _majority(self, _: Bars) -> None:
        task, started = self._setting.task, time.perf_counter()
        predictions = {split: task.baseline(split) for split in ("dev", *(split for split, _ in task.more.values()))}
        with publish(self._cell.folder / "majority") as draft:
            self._write_row(draft, predictions, NOTHING, "none", "majority", "none", started)

    def _full(self, bars: Bars) -> None:
        setting, config, started = self._setting, self._config, time.perf_counter()
        rewinding = config.rewinding
        # The classical lottery ticket starts, and its reference trains, from the random initialisation.
        model = setting.task.load(config.model, seed=self._cell.seed, state=rewinding.start).to(setting.device)
        with publish(self._cell.full) as draft:
            keep = (rewinding.step, lambda m: rewinding.keep(m, draft)) if rewinding.to == "step" else None
            train(
                model,
                setting.task,
                config.recipe,
                seed=self._cell.seed,
                at_step=keep,
                precision=setting.precision,
                progress=bars,
            )
            self._write_score(draft, whole(model), "full", "none", started, bars)
            if config.search_split == "train":
                evaluation = self._evaluate(whole(model), "search", bars, importance=True)
                evaluation.write(draft / SEARCH_EVALUATION)
            setting.task.save(model, draft)
        self._cached = model

    def _search(self, pruning: Pruning, bars: Bars) -> None:
        setting, config = self._setting, self._config
        on_dev = config.search_split == "dev"

        def again(ticket: Ticket) -> nn.Module:
            return self._trained(ticket, bars).model

        found = search_ticket(
            self._model(),
            setting.task,
            pruning,
            options=config.search_options,
            split=config.searched,
            full=Evaluation.read(self._cell.full / (EVALUATION if on_dev else SEARCH_EVALUATION)),
            retrain=again if config.imp and pruning == "weights" else None,
            batch_size=config.eval_batch_size,
            precision=setting.precision,
            progress=bars,
        )
        found = dataclasses.replace(found, good=self._signed(found.good, "good"))
        found.save(self._cell.folder / pruning)

    def _control(self, pruning: Pruning, name: str, _: Bars) -> None:
        found = Search.load(self._cell.folder / pruning)
        if name == "bad":
            ticket = controls.bad(found, self._model())
        elif name == "random":
            ticket = controls.random(found.good, self._cell.seed)
        else:
            ticket = controls.random_layerwise(found.good, self._cell.seed)
        self._signed(ticket, name).save(self._cell.ticket(pruning, name))

    def _pruned(self, pruning: Pruning, name: str, bars: Bars) -> None:
        started = time.perf_counter()
        folder = self._cell.ticket(pruning, name)
        ticket = Ticket.load(folder)
        with publish(folder / "pruned") as draft:
            self._write_score(draft, shrunk(self._model(), ticket), name, "pruned", started, bars)

    def _retrained(self, pruning: Pruning, name: str, bars: Bars) -> None:
        started = time.perf_counter()
        folder = self._cell.ticket(pruning, name)
        ticket = Ticket.load(folder)
        subnetwork = self._trained(ticket, bars)
        with publish(folder / "retrained") as draft:
            self._write_score(draft, subnetwork, name, "retrained", started, bars)
            if name in SAVED[self._setting.save]:
                self._setting.task.save(expanded(subnetwork), draft)

    def _shrunk(self, pruning: Pruning, _: Bars) -> None:
        """The good ticket, retrained, as a model that really is smaller."""
        good = self._cell.ticket(pruning, "good")
        with _spared("the good ticket was not written as a smaller model"):
            save_shrunk(self._winner(pruning), Ticket.load(good), good / "shrunk", tokenizer=str(good / "retrained"))

    def _measured(self, pruning: Pruning, _: Bars) -> None:
        good = self._cell.ticket(pruning, "good")
        with _spared("the smaller model was not timed"):
            model = self._winner(pruning).to(self._setting.device)
            costs = compare(model, Ticket.load(good), folder=good / "shrunk", length=self._config.max_length, repeats=3)
            write_json(good / COST, costs.entry())

    def _winner(self, pruning: Pruning) -> nn.Module:
        """The retrained good ticket, in the original's shapes."""
        folder = self._cell.ticket(pruning, "good") / "retrained"
        return self._setting.task.load(str(folder), seed=self._cell.seed, state="trained")

    def _trained(self, ticket: Ticket, bars: Bars) -> Subnetwork:
        setting, config = self._setting, self._config
        model = config.rewinding.load(setting.task, config.model, seed=self._cell.seed, full=self._cell.full)
        return retrain(
            model.to(setting.device),
            ticket,
            setting.task,
            config.recipe,
            seed=self._cell.seed,
            start=config.rewinding.step,
            precision=setting.precision,
            progress=bars,
        )

    def _model(self) -> nn.Module:
        """The fine-tuned full model; kept for the steps of this seed."""
        if self._cached is None:
            full = self._cell.full
            try:
                model = self._setting.task.load(str(full), seed=self._cell.seed, state="trained")
            except (TombolaError, SafetensorError) as error:
                reason = str(error.__cause__ or error).splitlines()[0]
                raise TombolaError(f"{full} is damaged ({reason}); delete it and start again") from error
            self._cached = model.to(self._setting.device)
        return self._cached

    def _evaluate(self, subnetwork: Subnetwork, split: str, bars: Bars, *, importance: bool = False) -> Evaluation:
        return evaluate(
            subnetwork,
            self._setting.task,
            split,
            importance=importance,
            batch_size=self._config.eval_batch_size,
            precision=self._setting.precision,
            progress=bars,
        )

    def _signed(self, ticket: Ticket, name: str) -> Ticket:
        return ticket.with_provenance(
            ticket=name,
            task=self._config.task_name,
            model=self._config.model,
            seed=self._cell.seed,
            study=self._setting.study,
        )

    def _write_score(
        self, draft: Path, subnetwork: Subnetwork, name: str, stage: str, started: float, bars: Bars
    ) -> None:
        """Evaluate on the splits that judge, and write the row and what is behind it."""
        setting, ticket = self._setting, subnetwork.ticket
        # The full model's pass is also the first iteration of both searches.
        shared = name == "full" and self._config.search_split == "dev"
        evaluation = self._evaluate(subnetwork, "dev", bars, importance=shared)
        evaluation.write(draft / EVALUATION)
        predictions = {"dev": evaluation.predictions}
        for split in {split for split, _ in setting.task.more.values()} - {"dev"}:
            predictions[split] = self._evaluate(subnetwork, split, bars).predictions
        survivors = ticket.survivors(setting.anatomy)
        zeros = setting.anatomy.weights - survivors["weights"] if ticket.pruning == "weights" else 0
        size = Size(
            **survivors,
            sparsity=ticket.sparsity(setting.anatomy),
            parameters=count_parameters(subnetwork.model) - zeros,
            bytes=bytes_of(subnetwork.model),
        )
        pruning = "none" if name == "full" else ticket.pruning
        self._write_row(draft, predictions, size, pruning, name, stage, started)

    def _write_row(
        self,
        draft: Path,
        predictions: Mapping[str, Predictions],
        size: Size,
        pruning: str,
        name: str,
        stage: str,
        started: float,
    ) -> None:
        row = make_row(
            self._setting.task,
            predictions,
            size,
            model=self._config.model,
            name=self._config.task_name,
            seed=self._cell.seed,
            pruning=pruning,
            ticket=name,
            stage=stage,
            seconds=time.perf_counter() - started,
            resamples=self._config.resamples,
        )
        write_json(draft / "score.json", dataclasses.asdict(row))


@contextlib.contextmanager
def _spared(what: str) -> Iterator[None]:
    """What is only offered at the end of a study, and must not take its results: a failure becomes a warning."""
    try:
        yield
    except (TombolaError, SafetensorError, OSError, MemoryError, RuntimeError) as error:
        warnings.warn(f"{what}: {' '.join(str(error).split())[:300]}", stacklevel=2)
