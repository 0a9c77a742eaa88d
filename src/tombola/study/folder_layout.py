"""Folders and files of a study: those of one seed, and those across several."""

import contextlib
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError
from tombola.tickets.kinds import SUPER_TICKETS, TICKETS

SAVED: Mapping[str, tuple[str, ...]] = {"none": (), "good": ("good",), "all": TICKETS}
"""Tickets whose retrained models are written, for each `save`."""
STAGES = ("pruned", "retrained")
"""Stages at which a ticket is scored."""

RENEWED = "!"
"""Before the hash in `study.json` while results are set aside and brought back: they may be of two settings."""

SCORE = "score.json"
"""Row of a scored model."""
EVALUATION = "evaluation.safetensors"
SEARCH_EVALUATION = "evaluation-search.safetensors"
IMAGE_GRID = "drawn.png"
"""Images that a scored model draws, if it draws any; in the folder of the baseline, real ones."""
SCORES = (SCORE, EVALUATION, SEARCH_EVALUATION, IMAGE_GRID)
"""Files of a scored model, beside the model's own."""
COST = "cost.json"
"""Cost of the good ticket's retrained model dense, masked and shrunk, see `tombola.profiling.model_cost`."""

TEXT_GENERATION = "text-generation.json"
"""Texts that a retrained ticket generated, see `tombola.tasks.capabilities.GeneratedTexts`."""

COMPARISON = "comparison.json"
"""Survival and agreement of the good tickets, as `tombola compare --json` prints them."""
TRANSFER = "transfer.json"
"""Transfer of the tickets of each task to the others, see `tombola.analysis.transfer`."""


@dataclass(frozen=True)
class SeedFolder:
    """Folder of one seed of a study, and what is read from it."""

    seed: int
    folder: Path

    @property
    def full(self) -> Path:
        """The fine-tuned model."""
        return self.folder / "full"

    @property
    def trained(self) -> Path:
        """Copy of a model that was fine-tuned as this one will be, and scored otherwise; there until it is scored."""
        return self.folder / ".trained"

    def ticket(self, method: str, name: str) -> Path:
        """The folder of a ticket."""
        return self.folder / method / name

    def updated(self, method: str) -> Path:
        """The folder of the good ticket's model, where its method changed the weights that survive."""
        return self.folder / method / "updated"

    def analysis(self, what: str, method: str = "") -> Path:
        """The file of an analysis: of the full model, or of the tickets of a method."""
        return self.folder / "analysis" / method / f"{what}.json"

    def scored(self, methods: tuple[str, ...]) -> Iterator[Path]:
        """The folder of every model that has a score, in the order of rows."""
        tickets = itertools.product(methods, (*TICKETS, *SUPER_TICKETS), STAGES)
        scored = (self.ticket(method, name) / stage for method, name, stage in tickets)
        places = (self.folder / "guessing", self.full, *scored)
        return (place for place in places if place.is_dir())


@dataclass(frozen=True)
class CrossSeedFolder:
    """Folder of what is found across several seeds of a study, named after them, so that it is never that of others."""

    seed_folders: tuple[SeedFolder, ...]
    home: Path

    @classmethod
    def of(cls, seeds: Sequence[int], home: Path) -> Self:
        """Folder of these seeds of a study."""
        return cls(tuple(SeedFolder(seed, home / f"seed-{seed}") for seed in seeds), home)

    @classmethod
    def compared(cls, home: Path) -> Self:
        """The most seeds that were compared so far; none if there was no comparison.

        A seed that came later, and that nobody asked to compare yet, takes nothing from what is there.
        """
        return max(cls.all(home), key=lambda one: len(one.seed_folders), default=cls((), home))

    @classmethod
    def all(cls, home: Path) -> list[Self]:
        """Folders of all seeds that were compared so far."""
        paths = (path for path in home.glob("seeds-*") if path.is_dir())
        # A copy of a folder, under a name of its own, is nobody's.
        return [one for path in paths if (one := cls.of(seeds_of(path.name), home)).folder == path]

    @property
    def folder(self) -> Path:
        """Path of the folder, such as `seeds-0..4`, or `seeds-0..2,7`."""
        runs: list[list[int]] = []
        for seed_folder in self.seed_folders:
            if runs and seed_folder.seed == runs[-1][-1] + 1:
                runs[-1].append(seed_folder.seed)
            else:
                runs.append([seed_folder.seed])
        names = [str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs]
        return self.home / f"seeds-{','.join(names)}"

    @property
    def comparison(self) -> Path:
        """Survival and agreement of the good tickets, as `tombola compare --json` prints them."""
        return self.folder / COMPARISON

    def ticket(self, method: str, name: str) -> Path:
        """The folder of the super-survivors of a method, or of one of their controls."""
        return self.folder / method / name

    def scores(self, method: str, name: str, seed: int) -> Path:
        """The folder of one seed's scores of such a ticket."""
        return self.ticket(method, name) / f"seed-{seed}"

    def scored(self, methods: Sequence[str], seed: int) -> Iterator[Path]:
        """The folder of every scored model of one seed, in the order of rows."""
        tickets = itertools.product(methods, SUPER_TICKETS, STAGES)
        places = (self.scores(method, name, seed) / stage for method, name, stage in tickets)
        return (place for place in places if place.is_dir())


def check_not_renewed(place: Path) -> None:
    """Refuse a study whose results are of two settings, or what lies in one, or a folder that holds one.

    Raises:
        TombolaError: its folder was given other settings, and it was stopped while it set the results of others aside.
    """
    place = place.expanduser().absolute()
    if not place.exists():
        return
    for file in (*(folder / "study.json" for folder in place.parents), *place.rglob("study.json")):
        # Whatever else is called so is nobody's study.
        with contextlib.suppress(TombolaError):
            hash = read_json(file).get("hash") if file.is_file() else None
            if str(hash).startswith(RENEWED):
                break
    else:
        return
    raise TombolaError(
        f"the study in {file.parent} is being made anew with other settings, and was stopped on the way; run it again "
        "(tombola study) first"
    )


def check_links(folder: Path) -> None:
    """Refuse a study's folder with a link that leads out of it.

    Somebody else may have made it: what lies elsewhere would be shown in its report, copied, or replaced.

    Raises:
        TombolaError: there is such a link.
    """
    home = os.path.realpath(folder)
    for path in folder.rglob("*"):
        # Not by pathlib, which cannot follow a link that leads to itself.
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(home):
            raise TombolaError(f"{path} is a link that leads out of {folder}; put what it leads to in its place")


_RUN = r"(?:0|[1-9]\d{0,18})"
_SEEDS = re.compile(rf"seeds?-({_RUN}(?:\.\.{_RUN})?(?:,{_RUN}(?:\.\.{_RUN})?)*)")
MOST_SEEDS = 1000
"""Number of seeds of a study, at most."""


def seeds_of(name: str) -> list[int]:
    """The seeds that a folder of `CrossSeedFolder`, or of one seed, is named after; none for another name."""
    found = _SEEDS.fullmatch(name)
    pairs = [run.partition("..") for run in found[1].split(",")] if found else []
    runs = [range(int(first), int(last or first) + 1) for first, _, last in pairs]
    if any(len(run) > MOST_SEEDS for run in runs) or sum(map(len, runs)) > MOST_SEEDS:
        return []
    return [seed for run in runs for seed in run]
