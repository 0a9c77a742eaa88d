"""Packages and modules of Tombola, their docstrings and imports: read from the source, nothing is run."""

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"


def _rooms() -> tuple[str, ...]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = (one["layers"] for one in settings["contracts"] if one["type"] == "layers")
    return tuple(reversed(layers))


ROOMS = _rooms()
"""The packages of Tombola in the order of imports, as the contract that `make lint` checks has them."""


@dataclass(frozen=True)
class Module:
    """File of the source.

    Attributes:
        name: as it is imported, `tombola.pruning.search`.
        summary: first line of its docstring.
        lines: of the file.
    """

    name: str
    summary: str
    lines: int


@dataclass(frozen=True)
class Package:
    """Folder of the source that holds modules.

    Attributes:
        name: as it is imported, `tombola.tasks.language`.
        summary: first line of its docstring.
        modules: those directly in it, by name.
    """

    name: str
    summary: str
    modules: tuple[Module, ...]

    @property
    def room(self) -> str:
        """The room it belongs to: `tasks` of `tombola.tasks.language`."""
        return self.name.split(".")[1]

    @property
    def path(self) -> str:
        """Its place below `tombola`: `tasks/language`."""
        return "/".join(self.name.split(".")[1:])


def packages() -> Iterator[Package]:
    """Packages in the order of the rooms, a room before the packages in it."""
    for room in ROOMS:
        for init in sorted((SOURCE / "tombola" / room).rglob("__init__.py"), key=lambda path: path.parent.parts):
            files = sorted(path for path in init.parent.glob("*.py") if path != init)
            yield Package(_name(init.parent), _summary(init), tuple(map(_module, files)))


def _module(path: Path) -> Module:
    return Module(_name(path.with_suffix("")), _summary(path), len(path.read_text(encoding="utf-8").splitlines()))


def _name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).parts)


def _summary(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())
