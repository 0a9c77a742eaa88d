"""Values that notebooks show: as HTML, as rows, as a chart, all drawn by a higher room that the package names."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

_home: list[str] = []


def draw_by(package: str) -> None:
    """Name the package whose modules `html`, `frames` and `charts` draw values, each by its function `of`.

    It is imported when the first value is shown. Rooms do not know of those above them: the whole package says it, on
    the way in.
    """
    _home[:] = [package]


def _drawn(module: str) -> Callable[[Any], Any]:
    found: Callable[[Any], Any] = import_module(f"{_home[0]}.{module}").of
    return found


class Shown:
    """Value that a notebook shows by itself."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(_drawn("html")(self))

    def to_pandas(self) -> Any:
        """Rows as a `pandas.DataFrame`.

        Of a ticket every site, or every matrix of weights; of a search every pass; of a study every scored model; of an
        evaluation every example; of an anatomy every matrix.
        """
        return _drawn("frames")(self)

    def plot(self) -> Any:
        """Altair chart as in a report, in its light theme.

        Of a ticket, and of an anatomy, the sites; of a search the curve; of a study the scores of its tickets; of an
        evaluation the importance that it took.

        Raises:
            TombolaError: there is nothing to draw.
        """
        return _drawn("charts")(self)
