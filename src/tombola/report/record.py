"""Everything that a report shows, read from a study's folder; a study in progress has parts of it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tombola.metrics import floor
from tombola.records import entry, read
from tombola.report.fields import Fields
from tombola.report.rows import Summary, read_rows, summarise
from tombola.report.survival import Density, SiteSurvival, densities, mean_densities, site_survival
from tombola.report.trajectory import Trajectory, read_trajectory
from tombola.results import Row, TicketVerdict
from tombola.store import read_json
from tombola.ticket import PRUNINGS, Pruning, Ticket


@dataclass(frozen=True)
class Record:
    """A study as it lies on disk.

    Attributes:
        folder: where it lies.
        facts: `study.json`.
        rows: `results.jsonl`.
        verdicts: `verdicts.json`; empty while the study runs.
        trajectories: the searches found so far, pruning by pruning, seed by seed.
        survival: survival of heads and MLPs in the good tickets, once there is one.
        density: density of every matrix in the good tickets of weights, mean over seeds; empty until there is one.
    """

    folder: Path
    facts: Fields
    rows: tuple[Row, ...]
    verdicts: tuple[TicketVerdict, ...]
    trajectories: tuple[Trajectory, ...]
    survival: SiteSurvival | None
    density: tuple[Density, ...]

    @cached_property
    def summaries(self) -> tuple[Summary, ...]:
        """The rows over all seeds, in the order in which they are shown."""
        return summarise(self.rows)

    def summary(self, pruning: str, ticket: str, stage: str) -> Summary | None:
        """One model's summary; None while it is not scored."""
        return next(
            (one for one in self.summaries if (one.pruning, one.ticket, one.stage) == (pruning, ticket, stage)),
            None,
        )

    @property
    def full(self) -> Summary | None:
        """The full model."""
        return self.summary("none", "full", "none")

    @property
    def prunings(self) -> tuple[Pruning, ...]:
        """The prunings that have results."""
        return tuple(pruning for pruning in PRUNINGS if any(row.pruning == pruning for row in self.rows))

    def searches(self, pruning: str) -> tuple[Trajectory, ...]:
        """The searches of one pruning, a seed each."""
        return tuple(one for one in self.trajectories if one.pruning == pruning)

    @property
    def seeds(self) -> int:
        """Number of seeds that have results."""
        return len({row.seed for row in self.rows})

    @property
    def model(self) -> str:
        """The model, as the user named it."""
        return self.rows[0].model

    @property
    def task_title(self) -> str:
        """The task in words."""
        task = self.facts.inside("task")
        return task.get("title", str) or task.get("name", str) or self.rows[0].task

    @property
    def glue(self) -> str | None:
        """The name that GLUE gives the task; None for another task."""
        return self.facts.inside("task").get("glue", str)

    @property
    def metric(self) -> str:
        """The score's metric."""
        return self.rows[0].metric

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger score is a better one."""
        return self.facts.inside("task").get("higher_is_better", bool) is not False

    @property
    def threshold(self) -> float:
        """Share of the full score that a search keeps."""
        value = self.facts.inside("config").get("threshold", float)
        return 0.9 if value is None else value

    def floor(self, full: float) -> float:
        """The worst score that a search accepts."""
        return floor(full, self.threshold, higher_is_better=self.higher_is_better)


def read_record(folder: Path) -> Record:
    """Read a study's folder, finished or not.

    Raises:
        TombolaError: the folder holds no study, the study has no results yet, or a file is damaged.
    """
    rows = read_rows(folder)
    facts = Fields(read_json(folder / "study.json"), str(folder / "study.json"))
    home = folder / (facts.inside("task").get("name", str) or rows[0].task)
    seeds = sorted({row.seed for row in rows})
    trajectories = []
    sites = []
    weights = []
    for pruning in PRUNINGS:
        for seed in seeds:
            place = home / f"seed-{seed}" / pruning
            trajectory = read_trajectory(place / "search.jsonl", pruning, seed)
            if trajectory is not None:
                trajectories.append(trajectory)
            if not (place / "good" / "ticket.json").is_file():
                continue
            ticket = Ticket.load(place / "good")
            if pruning == "weights":
                # Only the densities are kept: the masks of a large model over five seeds would fill the memory.
                weights.append(densities(ticket))
            else:
                sites.append(ticket)
    return Record(
        folder=folder,
        facts=facts,
        rows=rows,
        verdicts=_verdicts(folder / "verdicts.json"),
        trajectories=tuple(trajectories),
        survival=site_survival(sites),
        density=mean_densities(weights),
    )


def _verdicts(path: Path) -> tuple[TicketVerdict, ...]:
    if not path.is_file():
        return ()
    found = entry(read_json(path), "verdicts", list[dict[str, object]], str(path))
    return tuple(read(TicketVerdict, one, f"{path}, verdicts[{index}]") for index, one in enumerate(found))
