"""Folder of a study: its seeds, and the files at its top, `study.json`, `results.jsonl` and `verdicts.json`."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tombola.foundations.atomic_files import write_json, write_lines
from tombola.metrics import statistics
from tombola.pruning.evaluation import Evaluation
from tombola.pruning.search.records import read_passes
from tombola.study.config import StudyConfig
from tombola.study.folder_layout import EVALUATION, RENEWED, CrossSeedFolder, SeedFolder, seeds_of
from tombola.study.results import TicketVerdict, beside_controls, read_row
from tombola.study.seed_context import Setting
from tombola.study.step_record import StepRecord
from tombola.study.study_facts import ArchitectureFacts, StudyFacts, machine_facts, versions
from tombola.tasks.base import Predictions, Task
from tombola.tickets.kinds import SUPER_TICKETS, TICKETS
from tombola.tickets.pruning_methods import in_words, pruning_method

_SUPER = {
    "super-survivors": "the ticket of the super-survivors",
    "super-random": "a random ticket of the super-survivors' size",
    "super-bad": "a bad ticket of the super-survivors' size",
}
_CONTROLS = {TICKETS[0]: TICKETS[1:], SUPER_TICKETS[0]: SUPER_TICKETS[1:]}
Stage = Literal["pruned", "retrained"]
"""Stage at which a ticket is judged."""


@dataclass(frozen=True)
class StudyFolder:
    """Folder of a study, or of one step in a study's layout."""

    folder: Path
    config: StudyConfig

    @property
    def home(self) -> Path:
        """Folder of the seeds."""
        return self.folder / self.config.task_name

    def seed_folder(self, seed: int) -> SeedFolder:
        """The folder of one seed."""
        return SeedFolder(seed, self.home / f"seed-{seed}")

    def finished_seeds(self) -> list[int]:
        """Seeds of which the folder has a full model, of this run and of earlier ones."""
        return [seed for seed in self.seeds_begun() if self.seed_folder(seed).full.is_dir()]

    def seeds_begun(self) -> list[int]:
        """Seeds that have a folder."""
        # A copy under a name of its own, as `seed-0.bak`, is nobody's.
        found = ((path, seed) for path in self.home.glob("seed-*") for seed in seeds_of(path.name))
        return sorted(seed for path, seed in found if path == self.seed_folder(seed).folder)

    def searched_seeds(self) -> list[int]:
        """Finished seeds that have a good ticket of every method."""
        return [
            seed
            for seed in self.finished_seeds()
            if all((self._good(seed, method) / "ticket.json").is_file() for method in self.config.methods)
        ]

    def _good(self, seed: int, method: str) -> Path:
        return self.seed_folder(seed).ticket(method, "good")

    def rows(self, seeds: Sequence[int] | None = None) -> Iterator[dict[str, Any]]:
        """Rows (`tombola.study.results.Row`) of every scored model, in a fixed order; by default of finished seeds."""
        chosen = self.finished_seeds() if seeds is None else seeds
        survivors, seed_folders = CrossSeedFolder.compared(self.home), [*map(self.seed_folder, chosen)]
        places = [place for one in seed_folders for place in one.scored(self.config.methods)]
        places += [place for one in seed_folders for place in survivors.scored(self.config.methods, one.seed)]
        for place in places:
            yield read_row(place)

    def write_rows(self, seeds: Sequence[int] | None = None) -> None:
        """Write the rows that there are so far as `results.jsonl`."""
        write_lines(self.folder / "results.jsonl", self.rows(seeds))

    def verdicts(self, task: Task, stage: Stage) -> list[dict[str, object]]:
        """The verdict on every ticket of a stage, over the finished seeds that have it: each a `TicketVerdict`."""
        tickets = itertools.product(self.config.methods, (*TICKETS, *SUPER_TICKETS))
        found = (self._verdict(task, stage, method, name) for method, name in tickets)
        return [verdict.entry() for verdict in found if verdict is not None]

    def _verdict(self, task: Task, stage: Stage, method: str, name: str) -> TicketVerdict | None:
        have = self._scored(stage, method, name)
        if not have:
            return None
        full = _predictions(one.full for one in have)
        # Of seeds that share a model zero-shot, all judge alike; otherwise there is but one metric.
        metric, resamples = task.with_full_model(full[0]).metric, self.config.bootstrap_resamples
        references, shared = task.references("dev"), not task.trained or self._share_full(have)
        ticket = _predictions(have.values())
        kinds = pruning_method(method).sites or ("weights",)
        rows = [read_row(place) for place in have.values()]
        left = [_left(row, kinds) for row in rows]
        verdict = statistics.verdict(
            metric, full, ticket, references, seed=0, resamples=resamples, shared=shared, left=left
        )
        against = {}
        for control in _CONTROLS.get(name, ()):
            theirs = self._scored(stage, method, control)
            if both := [one for one in have if one in theirs]:
                ours, others = (np.stack(_predictions(found[one] for one in both)) for found in (have, theirs))
                against[control] = statistics.paired_difference(
                    metric, ours, others, references, seed=0, resamples=resamples
                )
        which = f"the {name} ticket" if name in TICKETS else _SUPER[name]
        sentence = verdict.sentence(f"{which} of {in_words(method)}", trained=stage == "retrained")
        more = beside_controls(against) if verdict.learned and not verdict.says_nothing else ""
        if verdict.learned and (verdict.empty or verdict.alike) and name == "good":
            # Of a search it is the threshold's doing; bad and random tickets may well be no better.
            more = "A threshold that it holds is held without it: take the threshold over chance (--over-chance)."
        return TicketVerdict(method, name, stage, f"{sentence} {more}".strip(), verdict, against)

    def _share_full(self, seeds: Iterable[SeedFolder]) -> bool:
        """True if the fine-tuned models that these seeds were given are one and the same."""
        if self.config.full is None:
            return False
        records = [StepRecord.of(one.full) for one in seeds]
        return len({None if record is None else str(record.settings.get("full")) for record in records}) == 1

    def _scored(self, stage: Stage, method: str, name: str) -> dict[SeedFolder, Path]:
        """Finished seeds that have a score of a ticket at a stage, with the folder of it."""
        survivors = CrossSeedFolder.compared(self.home)
        have: dict[SeedFolder, Path] = {}
        for one in map(self.seed_folder, self.finished_seeds()):
            # A single step has tickets of several seeds in the folder of its own.
            for place in (one.ticket(method, name), survivors.scores(method, name, one.seed)):
                if (place / stage).is_dir():
                    have.setdefault(one, place / stage)
        return have

    def write_verdicts(self, task: Task, stage: Stage) -> None:
        """Write the verdicts that there are so far as `verdicts.json`."""
        write_json(self.folder / "verdicts.json", {"verdicts": self.verdicts(task, stage)})

    def describe(self, setting: Setting, seeds: Sequence[int], command: str, workers: int, hash: str = "") -> None:
        """Write `study.json`: what is studied, and with what; seeds and commands of earlier runs stay.

        Its `hash` is empty for one step.
        """
        path, config, task = self.folder / "study.json", self.config, setting.task
        there = StudyFacts.read(path) if path.is_file() else None
        # Commands with other settings are of another study, whose results are set aside.
        earlier = there.command.split("\n") if there is not None and there.hash.removeprefix(RENEWED) == hash else []
        known = sorted({*seeds, *self.finished_seeds()})
        StudyFacts(
            name=config.name,
            hash=hash,
            command="\n".join(dict.fromkeys([*earlier, command])).strip(),
            config=config.settings(),
            threshold=config.search_options.threshold,
            chance=task.metric.chance(task.references(config.searched)) if config.search.over_chance else None,
            seeds=tuple(known),
            versions=versions(),
            machine=machine_facts(setting.device, workers),
            architecture=ArchitectureFacts.of(setting.anatomy),
            task=dict(self._relative(task).facts()),
            seconds=self._seconds(list(self.rows(known))),
        ).write(path)

    def _relative(self, task: Task) -> Task:
        """The task as it judges what is made of the full model, once there is one."""
        found = (self.seed_folder(seed).full / EVALUATION for seed in self.finished_seeds())
        path = next((path for path in found if path.is_file()), None)
        return task if path is None else task.with_full_model(Evaluation.read(path).predictions)

    def _seconds(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        seconds: dict[str, float] = {}
        for row in rows:
            what = row["ticket"] if row["stage"] == "none" else row["stage"]
            seconds[what] = seconds.get(what, 0.0) + row["seconds"]
        for seed in self.finished_seeds():
            for method in self.config.methods:
                path = self.seed_folder(seed).folder / method / "search.jsonl"
                if path.is_file() and (self._good(seed, method) / "ticket.json").is_file():
                    passes, chosen = read_passes(path), pruning_method(method)
                    # The pass over the full model is counted with the full model; only a search of neurons or groups,
                    # whose importance that pass does not have, makes one of its own.
                    own = passes if "neurons" in chosen.sites or chosen.grouping else passes[1:]
                    what = f"search {method}"
                    seconds[what] = seconds.get(what, 0.0) + sum(one.seconds for one in own)
        return {what: round(value, 2) for what, value in {"total": sum(seconds.values()), **seconds}.items()}


def _left(row: Mapping[str, Any], kinds: Iterable[str]) -> statistics.Left:
    """Extent of what it may prune that the ticket of a row leaves."""
    return "nothing" if not any(row[kind] for kind in kinds) else "all" if row["sparsity"] == 0 else "part"


def _predictions(folders: Iterable[Path]) -> list[Predictions]:
    return [Evaluation.read(folder / EVALUATION).predictions for folder in folders]
