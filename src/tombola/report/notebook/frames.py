"""Values as rows for pandas."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import singledispatch
from typing import Any

import pandas as pd

from tombola.architectures.anatomy import Anatomy
from tombola.pruning.evaluation import Evaluation
from tombola.pruning.search.records import Search
from tombola.pruning.weight_pruning import WeightPruning
from tombola.report.opened_study import OpenedStudy
from tombola.study.study import Study
from tombola.tickets.ticket import Ticket


@singledispatch
def of(value: object) -> Any:
    """The value's rows as a `pandas.DataFrame`, see `Shown.to_pandas`."""
    raise NotImplementedError(type(value).__name__)


@of.register
def _(ticket: Ticket) -> Any:
    return pd.DataFrame([*_sites(ticket)] if ticket.sites else [*_matrices(ticket)])


def _sites(ticket: Ticket) -> Iterator[dict[str, object]]:
    for kind in ticket.sites:
        for row, mask in enumerate(ticket.rows(kind)):
            for site, survives in enumerate(mask.tolist()):
                yield {"kind": kind, "row": row, "site": site, "survives": survives}


def _matrices(ticket: Ticket) -> Iterator[dict[str, object]]:
    for name, mask in ticket.masks.items():
        layer, _, role = name.partition(".")
        left = int(mask.sum())
        place = {"layer": int(layer), "matrix": role}
        yield {**place, "weights": mask.numel(), "survivors": left, "share": left / mask.numel()}


@of.register
def _(found: Search) -> Any:
    return pd.DataFrame([asdict(one) for one in found.passes]).drop(columns=["removed", "importance", "matrices"])


@of.register
def _(found: WeightPruning) -> Any:
    return of(found.ticket)


@of.register
def _(found: Evaluation) -> Any:
    # Predictions of several values an example, such as logarithms of likelihoods, stand in one cell.
    predictions = found.predictions if found.predictions.ndim == 1 else list(found.predictions)
    columns: dict[str, Any] = {"loss": found.losses}
    if len(predictions) == len(found.losses):
        columns = {"prediction": predictions, **columns}
    return pd.DataFrame(columns)


@of.register
def _(anatomy: Anatomy) -> Any:
    names = {"layer": "layer", "matrix": "role", "shape": "shape", "weights": "size", "parameter": "parameter"}
    return pd.DataFrame([{name: getattr(one, of) for name, of in names.items()} for one in anatomy.matrices])


@of.register
def _(study: Study) -> Any:
    return pd.DataFrame([*study.rows()])


@of.register
def _(study: OpenedStudy) -> Any:
    return pd.DataFrame([asdict(row) for row in study.rows])
