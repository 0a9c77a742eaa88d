"""Tables over the studies of a folder, for pandas, SQL and files: their rows, verdicts, searches and settings."""

import json
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

from tombola.foundations.errors import TombolaError, check_choice, one_line
from tombola.metrics.statistics import Verdict
from tombola.pruning.search.records import SearchPass
from tombola.report.study_data import StudyData, read_study
from tombola.study.folder_layout import check_not_renewed
from tombola.study.results import Row, TicketVerdict
from tombola.study.study_facts import StudyFacts
from tombola.study.study_record import NAME
from tombola.tasks.registry import regime_of

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

_Record = dict[str, Any]
_STUDY = {"study": str, "finished": bool, "regime": str, "model": str, "task": str}
"""Columns that every table begins with; `study` is the folder below the one that was asked for."""


def _rows(data: StudyData) -> Iterator[_Record]:
    return (vars(row) for row in data.rows)


def _verdicts(data: StudyData) -> Iterator[_Record]:
    return ({**vars(one), **vars(one.verdict)} for one in data.verdicts)


def _searches(data: StudyData) -> Iterator[_Record]:
    for search in data.trajectories:
        yield from ({"seed": search.seed, "method": search.method, **vars(one)} for one in search.passes)


def _studies(data: StudyData) -> Iterator[_Record]:
    facts = data.facts
    task, architecture = data.rows[0].task, facts.architecture.signature
    yield {**vars(facts), "task": task, "settings": facts.config, "architecture": architecture}


def _hints(*classes: type, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Columns and their types: the fields of dataclasses."""
    found = {name: hint for one in classes for name, hint in get_type_hints(one).items()}
    return {name: hint for name, hint in found.items() if name not in without}


_SEARCH = {"seed": int, "method": str, **_hints(SearchPass, without=("removed", "importance", "matrices"))}
_FACTS = {**_hints(StudyFacts, without=("config", "task", "mend")), "architecture": str, "settings": dict[str, object]}
_VIEWS: Mapping[str, tuple[dict[str, Any], Callable[[StudyData], Iterator[_Record]]]] = {
    "rows": (_hints(Row), _rows),
    "verdicts": (_hints(TicketVerdict, Verdict, without=("verdict",)), _verdicts),
    "searches": (_SEARCH, _searches),
    "studies": (_FACTS, _studies),
}
VIEWS = tuple(_VIEWS)
"""Tables: of scored models, of verdicts on tickets, of iterations of searches, of studies with their settings."""


class ResultTables:
    """Tables over the studies in a folder, or of the study that it is; single steps count as studies of one seed.

    A study that cannot be read, or has no results yet, costs a warning.

    Raises:
        TombolaError: no study in the folder can be read.
    """

    def __init__(self, folder: Path) -> None:
        found = sorted(path.parent.relative_to(folder) for path in folder.rglob(NAME))
        # What a study set aside, and what is not published yet, is nobody's result.
        names = [name for name in found if not any(part.startswith(".") for part in name.parts)]
        if not names:
            raise TombolaError(f"{folder} holds no study ({NAME} is nowhere in it); make one with `tombola study`")
        self._studies = dict(_each({name: folder / name for name in names}, _opened, "study left out"))

    def table(self, view: str) -> pa.Table:
        """The table of a name in `VIEWS`, as Arrow.

        Raises:
            TombolaError: there is no such table, or no study's part of it can be read.
        """
        check_choice("view", view, VIEWS)
        hints, records = _VIEWS[view]
        schema = pa.schema([(name, _type(hint)) for name, hint in {**_STUDY, **hints}.items()])
        lines = list[_Record]()
        for name, found in _each(self._studies, lambda data: [*records(data)], f"{view} left out"):
            data = self._studies[name]
            # The name of a study that is the folder itself.
            study = name.as_posix() if name.parts else data.folder.resolve().name
            known = {"study": study, "finished": _finished(data), "regime": _regime(data)}
            whose = {"model": data.model, "task": data.rows[0].task}
            lines += ({**whose, **one, **known} for one in found)
        columns = ([_cell(one[column.name], column.type) for one in lines] for column in schema)
        arrays = [pa.array(cells, column.type) for cells, column in zip(columns, schema, strict=True)]
        return pa.Table.from_arrays(arrays, schema=schema)


def results(folder: Path | str, view: str = "rows", *, sql: str | None = None) -> "pd.DataFrame":
    """Results of all studies in a folder, or of the study that it is, as a `pandas.DataFrame`.

    Every row says which study it is of, and whether that is `finished`. Maps, such as the task's further metrics in
    `more`, are dictionaries.

    Args:
        folder: of a study, or that holds studies however deep.
        view: `rows` for every scored model (`tombola.study.results.Row`), `verdicts` for tickets, `searches` for their
            iterations, `studies` for settings.
        sql: a query over these four, in the SQL of DuckDB, instead of one of them.

    Warns:
        UserWarning: a study cannot be read, or has no results yet: it is left out.

    Raises:
        TombolaError: no study can be read; or the query is wrong, or DuckDB is not installed.
    """
    frame: pd.DataFrame = result_table(Path(folder), view, sql).to_pandas(maps_as_pydicts="lossy")
    return frame


def result_table(folder: Path, view: str = "rows", sql: str | None = None) -> pa.Table:
    """The table that `results` makes a frame of."""
    tables = ResultTables(folder)
    if sql is None:
        return tables.table(view)
    from tombola.report.sql import query

    return query({name: tables.table(name) for name in VIEWS}, sql)


def _opened(folder: Path) -> StudyData:
    check_not_renewed(folder)
    return read_study(folder)


def _each(studies: Mapping[Path, T], read: Callable[[T], Any], what: str) -> Iterator[tuple[Path, Any]]:
    """Result of reading each study; a warning where that fails, an error where it fails for all."""
    errors = list[TombolaError]()
    for name, study in studies.items():
        try:
            with one_line(f"the records of {name} do not fit together", "run the study again"):
                found = read(study)
            yield name, found
        except TombolaError as error:
            errors.append(error)
    if errors and len(errors) == len(studies):
        several = f"none of {len(errors)} studies can be read; the first: " if len(errors) > 1 else ""
        raise TombolaError(f"{several}{errors[0]}")
    for one in errors:
        warnings.warn(f"{what}: {one}", stacklevel=2)


def _finished(data: StudyData) -> bool:
    """True if the study had done all that it was last asked for: verdicts come last, and go when it is resumed."""
    return (data.folder / "verdicts.json").is_file() and not data.missing


def _regime(data: StudyData) -> str:
    return regime_of(str(data.facts.config.get("task"))).name


def _type(hint: Any) -> pa.DataType:
    """Type of a column for a type hint; what has no type of its own in a table is text, as JSON."""
    origin, inner = get_origin(hint), [one for one in get_args(hint) if one is not types.NoneType]
    if origin in (types.UnionType, Union):
        return _type(inner[0])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return pa.map_(pa.string(), _type(inner[1]))
    if origin in (list, tuple):
        return pa.list_(_type(inner[0]))
    known = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    return known.get(hint, pa.string())


def _cell(value: Any, kind: pa.DataType) -> Any:
    if value is not None and pa.types.is_map(kind):
        return [(name, _cell(one, kind.item_type)) for name, one in value.items()]
    if pa.types.is_string(kind) and not isinstance(value, str | None):
        return json.dumps(value)
    return value
