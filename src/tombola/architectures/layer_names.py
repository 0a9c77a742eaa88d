"""Names of layers and sublayers: by number, with their stack where a model has several, or by their path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from tombola.architectures.anatomy import Anatomy


@dataclass(frozen=True)
class Places:
    """Names by the numbers that tickets use.

    Attributes:
        layers: of every layer, and so of every MLP: `0`, or `decoder 0` in a model of several stacks.
        attentions: of every row of a mask of heads: as its layer, and `decoder 0 cross` for a second sublayer there.
        residuals: of every row of a mask of channels.

    In a network of residual blocks, whose layers do not repeat, they are called by their path: `down 1 resnet 0`.
    What has no name is called by its number: a study may be older than names.
    """

    layers: Sequence[str] = ()
    attentions: Sequence[str] = ()
    residuals: Sequence[str] = ()

    @classmethod
    def of(cls, anatomy: Anatomy) -> Self:
        """The names for an architecture."""
        if anatomy.residuals:
            paths = {matrix.layer: _path(matrix.module) for matrix in anatomy.matrices}
            paths |= {row.layer: _path(row.name) for row in anatomy.attentions}
            paths |= {row.layer: _path(row.name) for row in anatomy.residuals}
            return cls(
                tuple(paths.get(layer, str(layer)) for layer in range(max(paths) + 1)),
                tuple(_path(row.name) for row in anatomy.attentions),
                tuple(_path(row.name) for row in anatomy.residuals),
            )
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

    def residual(self, row: int) -> str:
        """Name of a row of channels."""
        return self.residuals[row] if row < len(self.residuals) else str(row)


def _path(module: str) -> str:
    """`down 1 resnet 0` of `down_blocks.1.resnets.0`: what stands in every name is left out."""
    parts = [part.removesuffix("_blocks").removesuffix("_block") for part in module.split(".")]
    # The layer itself, below a block or a list of them, needs no name.
    while parts and not parts[-1].isdecimal() and len(parts) > 1:
        parts.pop()
    return " ".join(part.removesuffix("s") for part in parts)


def _words(paths: Mapping[int, Sequence[str]]) -> dict[int, str]:
    """Name of each stack: the first part of its path that others do not have; empty where there is one stack only."""
    if len(paths) == 1:
        return dict.fromkeys(paths, "")
    part = next(index for index, names in enumerate(zip(*paths.values(), strict=False)) if len(set(names)) > 1)
    return {stack: path[part] for stack, path in paths.items()}
