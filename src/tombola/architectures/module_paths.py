"""Names of modules: the layers of each stack, and whether a path leads anywhere."""

from collections.abc import Iterator

from torch import nn

from tombola.architectures.families import Family
from tombola.foundations.errors import TombolaError


def layers_of(model: nn.Module, base: nn.Module, family: Family) -> list[tuple[int, str]]:
    """Every layer: its stack in the family's entry, and its name from the base model.

    Stacks are read one after the other, but those that begin at the same module take turns there: the residual blocks
    and attentions of a U-net.

    Raises:
        TombolaError: there is no layer of a stack that has to be there.
    """
    found = []
    first = [stack.layers.partition(".")[0] for stack in family.stacks]
    for index, stack in enumerate(family.stacks):
        children = list(_children(base, stack.layers))
        if not children and not stack.optional and not has_module(base, stack.layers):
            raise TombolaError(f"{type(model).__name__} has no {stack.layers}: it holds no heads to prune")
        found += [((first.index(first[index]), places, index), name) for places, name in children]
    return [(key[-1], name) for key, name in sorted(found)]


def has_module(block: nn.Module, path: str) -> bool:
    """True if there is a module at `path`."""
    try:
        block.get_submodule(path)
    except AttributeError:
        return False
    return True


def _children(base: nn.Module, path: str) -> Iterator[tuple[tuple[int, ...], str]]:
    """The children of the module at `path`, in which `*` stands for every child that has what comes after.

    Each with its place among its siblings, and the places of its parents that `*` stands for, and its name from `base`.
    """
    found: list[tuple[tuple[int, ...], str]] = [((), "")]
    for part in path.split(".*."):
        parents = [(places, f"{name}.{part}".removeprefix(".")) for places, name in found]
        found = [
            ((*places, place), f"{parent}.{child}")
            for places, parent in parents
            if has_module(base, parent)
            for place, (child, _) in enumerate(base.get_submodule(parent).named_children())
        ]
    yield from found


def joined(name: str, part: str) -> str:
    """Full name of a part of a module, which may be the module itself."""
    return f"{name}.{part}" if part else name
