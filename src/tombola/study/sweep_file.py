"""`sweep.yaml`: settings of many studies at once, a grid over any of them."""

import contextlib
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tombola.foundations.errors import TombolaError, did_you_mean
from tombola.foundations.parsing import read_yaml
from tombola.foundations.slug import slug
from tombola.study.config import all_settings
from tombola.study.study_file import RUN, StudyFile

GRID = "grid"
"""Key of the grid in the file."""
CONSTANT = ("seeds", "preset", "save")
"""Keys of a grid that are no axes: what they name holds for all its studies."""
MOST_STUDIES = 1000
"""Studies of a sweep, at most."""


@dataclass(frozen=True)
class SweptStudy:
    """Study of a sweep.

    Attributes:
        axes: setting → its value, of those that differ between the studies of the sweep.
        file: the study, as a file of its own would say it.
    """

    axes: Mapping[str, str]
    file: StudyFile

    @property
    def label(self) -> str:
        """Name among the others: `cola, minilm, threshold 0.8`; empty for the only one."""
        parts = (value if name in ("task", "model") else f"{name} {value}" for name, value in self.axes.items())
        return ", ".join(parts)


@dataclass(frozen=True)
class SweepFile:
    """Sweep as a YAML file says it.

    Attributes:
        studies: in the order of the grid, the last axis fastest.
        out: folder of the sweep.
    """

    studies: tuple[SweptStudy, ...]
    out: Path

    @classmethod
    def read(cls, path: Path, preset: str | None = None, given: Collection[str] = (), **flat: Any) -> Self:
        """Read a file of the settings of a `study.yaml` and `grid`: values of settings, or a list of such grids.

        Every value of one setting meets every value of the others, as in scikit-learn's `ParameterGrid`. A preset, and
        settings, that are given go before those of the file; other keys that are `given` may not stand in the grid.

        Raises:
            TombolaError: the file is missing, is no YAML mapping, has no grid, or has a setting that is wrong.
        """
        values = read_yaml(path, "write settings, one `name: value` a line, and a grid")
        if not isinstance(values, dict):
            raise TombolaError(f"{path} must hold settings, one `name: value` a line, and a grid")
        grid = values.pop(GRID, None)
        try:
            fixed = {*flat, *given, *(["preset"] if preset else [])}
            grids = [_checked(one, fixed) for one in (grid if isinstance(grid, list) else [grid])]
            cells = [cell for one in grids for cell in _cells(one)]
        except TombolaError as error:
            raise TombolaError(f"{path}: {error}") from None
        if len(cells) > MOST_STUDIES:
            raise TombolaError(f"{path}: the grid has {len(cells):,} studies; a sweep has {MOST_STUDIES:,} at most")
        out = values.get("out")
        files = [StudyFile.of({**values, **cell}, str(path), preset, **flat) for cell in cells]
        varied = [name for name in dict.fromkeys(itertools.chain(*cells)) if name not in CONSTANT]
        varied = [name for name in varied if len({repr(cell.get(name)) for cell in cells}) > 1]
        # What is true of one part only says nothing more, where the others tell all studies apart.
        axes = [name for name in varied if name == "task" or any(len(one.get(name, ())) > 1 for one in grids)]
        if len({repr([cell.get(name) for name in axes]) for cell in cells}) == len(cells):
            varied = axes
        for whole in (False, True):
            shown = [{name: _shown(name, cell[name], whole) for name in varied if name in cell} for cell in cells]
            studies = tuple(SweptStudy(axes, file) for axes, file in zip(shown, files, strict=True))
            if len({one.label for one in studies}) == len(studies):
                break
        else:
            labels = [one.label for one in studies]
            twice = next(label for label in labels if labels.count(label) > 1)
            raise TombolaError(
                f"{path}: the grid has {twice or 'one study'!r} more than once; leave one out, or give them other "
                "settings"
            )
        return cls(studies, Path("runs") / slug(path.stem, "sweep") if out is None else Path(str(out)).expanduser())


def _checked(grid: object, fixed: Collection[str]) -> dict[str, list[Any]]:
    """A grid as setting → values, of which a single one stands for itself."""
    if not isinstance(grid, dict) or not grid:
        raise TombolaError("grid must hold settings with their values, as `task: [cola, sst2]`, or be a list of those")
    found = dict[str, list[Any]]()
    for name, values in grid.items():
        if name not in CONSTANT and name not in all_settings():
            said = "for all studies, it stands outside of the grid" if name in RUN else "no setting"
            raise TombolaError(f"grid: {name!r} is {said}; {did_you_mean(str(name), [*all_settings()])}".rstrip("; "))
        if name in fixed:
            raise TombolaError(f"grid: {name} is given as a flag too; leave one of them out")
        found[str(name)] = values if isinstance(values, list) and name not in CONSTANT else [values]
        if not found[name]:
            raise TombolaError(f"grid: {name} has no value")
    return found


def _cells(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _shown(name: str, value: Any, whole: bool) -> str:
    """Value of an axis for people: of a path its last part, unless it must be the whole one."""
    if isinstance(value, list):
        return "+".join(map(str, value))
    return str(value) if whole or name not in ("task", "model", "full") else Path(str(value)).name or str(value)


@contextlib.contextmanager
def named(label: str) -> Iterator[None]:
    """Begin errors with the study that they are of."""
    try:
        yield
    except TombolaError as error:
        raise type(error)(f"{label}: {error}" if label else str(error)) from error
