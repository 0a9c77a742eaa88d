"""Records with arrays: in JSON nested lists of seven significant digits, with null for what is not finite."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PlainSerializer, PlainValidator, TypeAdapter
from torch import Tensor
from typing_extensions import override

from tombola.foundations.errors import reading
from tombola.foundations.json_dataclasses import JsonRecord


def _array(values: Any) -> NDArray[np.float64]:
    try:
        # None becomes NaN in an array of floats.
        return np.array(values, dtype=np.float64)
    except TypeError as error:
        raise ValueError(str(error)) from None


def lists(values: Any) -> Any:
    """Nested lists of an array."""
    if isinstance(values, np.ndarray | Tensor):
        return lists(values.tolist())
    if isinstance(values, list):
        return [lists(value) for value in values]
    return float(f"{values:.7g}") if math.isfinite(values) else None


Floats = Annotated[NDArray[np.float64], PlainValidator(_array), PlainSerializer(lists)]
FloatTensor = Annotated[Tensor, PlainValidator(lambda values: torch.from_numpy(_array(values))), PlainSerializer(lists)]
BoolTensor = Annotated[
    Tensor,
    PlainValidator(lambda values: torch.from_numpy(_array(values)).bool()),
    PlainSerializer(lambda values: values.int().tolist()),
]

_adapter: Callable[[Any], TypeAdapter[Any]] = functools.cache(TypeAdapter)


class ArrayRecord(JsonRecord):
    """A record whose fields may be arrays."""

    mend: ClassVar[str] = "delete it and start again"

    @override
    def entry(self) -> dict[str, Any]:
        found: dict[str, Any] = _adapter(type(self)).dump_python(self, mode="json")
        return found

    @override
    @classmethod
    def read(cls, path: Path) -> Self:
        found = super().read(path)
        with reading(path, cls.mend):
            found.check()
        return found

    def check(self) -> None:
        """Check that the arrays fit each other, with a ValueError or RuntimeError where they do not."""
