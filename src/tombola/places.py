"""What layers and attention sublayers are called: by number, with their stack where a model has several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from tombola.anatomy import Anatomy


@dataclass(frozen=True)
class Places:
    """Names by the numbers that tickets use.

    Attributes:
        layers: of every layer, and so of every MLP: `0`, or `decoder 0` in a model of several stacks.
        attentions: of every row of a mask of heads: as its layer, and `decoder 0 cross` for a second sublayer there.

    What has no name is called by its number: a study may be older than names.
    """

    layers: Sequence[str] = ()
    attentions: Sequence[str] = ()

    @classmethod
    def of(cls, anatomy: Anatomy) -> Self:
        """The names for an architecture."""
        first = {row.stack: row for row in reversed(anatomy.attentions)}
        words = _words({stack: row.name.split(".") for stack, row in first.items()})
        layers: dict[int, str] = {}
        attentions = []
        for row in anatomy.attentions:
            # Layers are counted over all stacks, people count them from the first of each.
            name = f"{words[row.stack]} {row.layer - first[row.stack].layer}".strip()
            layers[row.layer] = name
            attentions.append(f"{name} {row.plan.prefix.strip('_')}".strip())
        return cls(tuple(layers.get(row.layer, str(row.layer)) for row in anatomy.feed_forwards), tuple(attentions))

    def layer(self, number: int) -> str:
        """Name of a layer."""
        return self.layers[number] if number < len(self.layers) else str(number)

    def attention(self, row: int) -> str:
        """Name of a row of heads."""
        return self.attentions[row] if row < len(self.attentions) else str(row)


def _words(paths: Mapping[int, Sequence[str]]) -> dict[int, str]:
    """For each stack the first part of its path that others do not have; nothing where there is one stack only."""
    if len(paths) == 1:
        return dict.fromkeys(paths, "")
    part = next(index for index, names in enumerate(zip(*paths.values(), strict=False)) if len(set(names)) > 1)
    return {stack: path[part] for stack, path in paths.items()}
