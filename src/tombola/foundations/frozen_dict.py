"""Dictionary of a value: read only, and copied and pickled like any other."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from typing_extensions import override

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(Mapping[K, V]):
    """Read-only copy of a mapping; equal to a dictionary of the same items.

    `types.MappingProxyType` can be neither copied nor pickled, so that no value that holds one can.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[K, V]) -> None:
        self._items = dict(items)

    @override
    def __getitem__(self, key: K) -> V:
        return self._items[key]

    @override
    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    @override
    def __len__(self) -> int:
        return len(self._items)

    def __or__(self, other: Mapping[K, V]) -> dict[K, V]:
        return self._items | dict(other)

    @override
    def __repr__(self) -> str:
        return repr(self._items)
