"""Data of a report, read from a study's folder; a study in progress has parts of it."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from tombola.analysis.agreement.comparison import Comparison
from tombola.analysis.agreement.survival import Density, SiteSurvival, densities, mean_densities, site_survival
from tombola.analysis.locality.random_curve import NAME, RandomPoint, read_points
from tombola.architectures.anatomy import Places
from tombola.foundations.atomic_files import read_json
from tombola.foundations.json_dataclasses import JsonRecord, read
from tombola.foundations.slug import slug
from tombola.metrics.scores import bound, metric_title
from tombola.pruning.search.records import read_passes
from tombola.report.summary import Summary, read_rows, sites_of, summarise
from tombola.report.trajectory import Trajectory
from tombola.study.folder_layout import IMAGE_GRID, CrossSeedFolder, SeedFolder
from tombola.study.omitted_analyses import OmittedAnalysis
from tombola.study.results import Difference, Row, TicketVerdict
from tombola.study.step_list import STEPS, ListedStep, StepList
from tombola.study.step_record import StepRecord
from tombola.study.study_facts import StudyFacts, TaskFacts
from tombola.tickets.pruning_methods import METHODS, in_order
from tombola.tickets.ticket import Ticket

Analysis = TypeVar("Analysis", bound=JsonRecord)


@dataclass(frozen=True)
class StudyData:
    """Record of a study as it lies on disk: `study.json` and what it says of the task, the rows of `results.jsonl`.

    What is not asked of it is not read.
    """

    folder: Path
    facts: StudyFacts
    task: TaskFacts
    rows: tuple[Row, ...]

    @cached_property
    def verdicts(self) -> tuple[TicketVerdict, ...]:
        """Verdicts on tickets; none while the study runs."""
        path = self.folder / "verdicts.json"
        found = read_json(path).get("verdicts") if path.is_file() else []
        entries = read(list[dict[str, object]], found, str(path), name="verdicts")
        return tuple(TicketVerdict.of_entry(one, f"{path}, verdicts[{index}]") for index, one in enumerate(entries))

    @cached_property
    def trajectories(self) -> tuple[Trajectory, ...]:
        """The searches found so far, method by method, seed by seed."""
        return tuple(
            Trajectory(method, one.seed, read_passes(path))
            for method in in_order((*METHODS, *self.methods))
            for one in self.seed_folders
            if (path := one.folder / method / "search.jsonl").is_file()
        )

    def good_tickets(self, method: str) -> dict[int, Path]:
        """Seed → folder of a method's good ticket; without seeds that have none."""
        places = {one.seed: one.ticket(method, "good") for one in self.seed_folders}
        return {seed: place for seed, place in places.items() if (place / "ticket.json").is_file()}

    @cached_property
    def survival(self) -> tuple[SiteSurvival, ...]:
        """Survival of sites in the good tickets, of every kind that has one."""
        # Methods that are not standard find tickets of the same kinds by other means.
        methods = [name for name, method in METHODS.items() if method.standard and method.kind != "weights"]
        tickets = ([Ticket.load(place) for place in self.good_tickets(name).values()] for name in methods)
        return tuple(found for several in tickets if (found := site_survival(several)) is not None)

    @cached_property
    def density(self) -> tuple[Density, ...]:
        """Density of every matrix in the good tickets of weights, over seeds; empty until there is one."""
        # Only the densities are kept: the masks of a large model over five seeds would fill the memory.
        return mean_densities([densities(Ticket.load(place)) for place in self.good_tickets("weights").values()])

    @cached_property
    def summaries(self) -> tuple[Summary, ...]:
        """The rows over all seeds, in the order in which they are shown."""
        return summarise(self.rows)

    def summary(self, method: str, ticket: str, stage: str) -> Summary | None:
        """Summary of one model; None while it is not scored."""
        return next(
            (one for one in self.summaries if (one.method, one.ticket, one.stage) == (method, ticket, stage)), None
        )

    def final(self, method: str, ticket: str) -> Summary | None:
        """Summary of a ticket retrained, or pruned while it is not retrained; None while it is not scored."""
        return self.summary(method, ticket, "retrained") or self.summary(method, ticket, "pruned")

    def against(self, summary: Summary) -> Mapping[str, Difference]:
        """Paired differences of a ticket from its controls; empty while there is no verdict on it."""
        place = (summary.method, summary.ticket, summary.stage)
        return next((one.against for one in self.verdicts if (one.method, one.ticket, one.stage) == place), {})

    @property
    def full(self) -> Summary | None:
        """The full model."""
        return self.summary("none", "full", "none")

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that have results."""
        return in_order(row.method for row in self.rows)

    def searches(self, method: str) -> tuple[Trajectory, ...]:
        """The searches of one method, a seed each."""
        return tuple(one for one in self.trajectories if one.method == method)

    def importance(self, kind: str) -> tuple[tuple[tuple[float | None, ...], ...], int]:
        """Importance of the full model's sites of one kind, in rows, mean over seeds; and the number of those seeds.

        Two methods of a kind begin with the same model and the same importance, so that one of them tells it.
        """
        found: dict[int, list[list[float | None]]] = {}
        for search in self.trajectories:
            values = (search.full.importance or {}).get(kind)
            if values is not None:
                found.setdefault(search.seed, [row if isinstance(row, list) else [row] for row in values])
        by_row = (zip(*rows, strict=True) for rows in zip(*found.values(), strict=True))
        return tuple(tuple(_mean(site) for site in sites) for sites in by_row), len(found)

    @cached_property
    def places(self) -> Places:
        """Names of the model's layers."""
        found = self.facts.architecture
        return Places(found.layer_names, found.attention_names, found.residual_names)

    @cached_property
    def seed_folders(self) -> tuple[SeedFolder, ...]:
        """The folders of the seeds that have results."""
        return tuple(SeedFolder(seed, self.home / f"seed-{seed}") for seed in sorted({row.seed for row in self.rows}))

    def analyses(self, record: type[Analysis], name: str, method: str = "") -> dict[int, Analysis]:
        """Seed → what an analysis found of its full model, or of a method's tickets; without seeds that have none."""
        paths = {one.seed: one.analysis(name, method) for one in self.seed_folders}
        return {seed: record.read(path) for seed, path in paths.items() if path.is_file()}

    @cached_property
    def omitted_analyses(self) -> tuple[OmittedAnalysis, ...]:
        """Analyses that the study asks for and that could not be made."""
        asked: Any = self.facts.config.get("analyses", ())
        found = (one for home in self.seed_folders for one in OmittedAnalysis.below(home.folder / "analysis"))
        return tuple(one for one in found if one.analysis in asked)

    @cached_property
    def machines(self) -> Mapping[str, int]:
        """Device, processor and PyTorch that computed results → their number."""
        records = (StepRecord.read_if_whole(path) for path in sorted(self.home.rglob(".*.files.json")))
        return Counter(one.computed_on for one in records if one is not None and one.computed_on)

    @cached_property
    def steps(self) -> StepList | None:
        """Steps of the study; None of a single step, which has none."""
        path = self.folder / STEPS
        return StepList.read(path) if path.is_file() else None

    @cached_property
    def missing(self) -> tuple[ListedStep, ...]:
        """Steps that are not done."""
        return () if self.steps is None else tuple(self.steps.missing(self.folder))

    @cached_property
    def comparison(self) -> Comparison | None:
        """Survival and agreement across the seeds; None where they were not compared."""
        path = CrossSeedFolder.compared(self.home).comparison
        return Comparison.read(path) if path.is_file() else None

    @property
    def home(self) -> Path:
        """The folder of the seeds."""
        return self.folder / slug(self.task.name)

    @property
    def sites(self) -> tuple[str, ...]:
        """The kinds of sites whose number is worth showing, as `summary.sites_of`."""
        return sites_of(self.rows)

    @property
    def seeds(self) -> int:
        """Number of seeds that have results."""
        return len(self.seed_folders)

    @property
    def model(self) -> str:
        """The model, as the user named it."""
        return self.rows[0].model

    @property
    def metric(self) -> str:
        """The score's metric."""
        return self.rows[0].metric

    @property
    def metric_title(self) -> str:
        """The score's metric in words."""
        return metric_title(self.metric)

    @property
    def floors(self) -> Mapping[str, tuple[float, float]]:
        """Scores of real examples: metric → mean and standard deviation; none where there are none."""
        return self.task.floor.scores if self.task.floor else {}

    @property
    def floor_title(self) -> str:
        """Whose scores the floors are."""
        return self.task.floor.title if self.task.floor else "floor"

    def image_grid(self, place: str) -> Path | None:
        """Image grid of a model of the first seed, by its folder in the seed's; None where there is none."""
        path = self.seed_folders[0].folder / place / IMAGE_GRID
        return path if path.is_file() else None

    def random_curve(self, method: str) -> tuple[RandomPoint, ...]:
        """The random tickets along the searches of a method, of all seeds."""
        folders = (seed_folder.analysis(NAME, method).parent for seed_folder in self.seed_folders)
        return tuple(point for folder in folders for point in read_points(folder))

    def bound(self, full: float) -> float:
        """The worst score that a search accepts."""
        return bound(full, self.facts.threshold, self.facts.chance, higher_is_better=self.task.higher_is_better)


def read_study(folder: Path) -> StudyData:
    """Open a study's folder, finished or not.

    Raises:
        TombolaError: the folder holds no study, the study has no results yet, or a file is damaged.
    """
    rows, path = read_rows(folder), folder / "study.json"
    facts = StudyFacts.read(path)
    return StudyData(folder, facts, read(TaskFacts, facts.task, f"{path}, task"), rows)


def short_title(name: str) -> str:
    """A model or task in short: of a folder of a study which seed it is of, of any other path the last part."""
    parts = Path(name).parts
    for place, part in enumerate(parts):
        if part.startswith("seed-") and place > 1:
            return f"{parts[place - 2]}, {part.replace('-', ' ')}"
    return name if len(parts) < 3 else parts[-1]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
