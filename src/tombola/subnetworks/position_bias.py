"""T5's position bias in a stack whose layers have different heads.

The first block makes one bias for its heads, from a table [buckets, heads], and hands it on to all others. Once heads
are gone that is wrong: silently, where two layers have equally many. So every layer makes the bias of its own heads,
from the same table, which stays whole and one parameter: training keeps it shared, and undoing the cut is exact.
"""

from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from tombola.subnetworks.projections import beside


class HeadsOf(nn.Embedding):
    """The first block's table, of which the block's own heads are given out.

    Attributes:
        heads: int64 [surviving heads], not part of the state dictionary.
    """

    heads: Tensor

    def __init__(self, table: nn.Embedding, heads: Tensor) -> None:
        super().__init__(table.num_embeddings, table.embedding_dim, _weight=table.weight.detach(), _freeze=True)
        self.weight = table.weight
        self.register_buffer("heads", beside(heads, table.weight), persistent=False)

    @override
    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.embedding(input, self.weight.index_select(1, self.heads))


class BorrowedHeads(nn.Module):
    """Columns of the table of another block.

    Attributes:
        heads: int64 [surviving heads], not part of the state dictionary.
    """

    heads: Tensor

    def __init__(self, table: HeadsOf, heads: Tensor) -> None:
        super().__init__()
        # In a tuple, so that the table is the parameter of its own block only.
        self._lender = (table,)
        self.register_buffer("heads", beside(heads, table.weight), persistent=False)

    @property
    def weight(self) -> Tensor:
        """The whole table, [buckets, heads]."""
        return self._lender[0].weight

    @override
    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.embedding(input, self.weight.index_select(1, self.heads))


def forget_position_bias(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A forward pre-hook: without the bias of another layer's heads, the module makes one for its own."""
    return args, {**kwargs, "position_bias": None}


def separate(modules: list[nn.Module], heads: list[Tensor]) -> None:
    """Make the attention modules of a stack independent of the first one's heads.

    Args:
        modules: T5's attention modules of one kind (self or cross), first layer first; changed.
        heads: for each the heads, int64, that it has.
    """
    first = modules[0]
    if first.has_relative_attention_bias:
        table = first.relative_attention_bias
        assert isinstance(table, nn.Embedding)
        lender = HeadsOf(table, heads[0]).train(table.training)
        first.relative_attention_bias = lender
        for module, own in zip(modules[1:], heads[1:], strict=True):
            module.relative_attention_bias = BorrowedHeads(lender, own).train(module.training)
            module.has_relative_attention_bias = True  # type: ignore[assignment]
    for module in modules:
        module.register_forward_pre_hook(forget_position_bias, with_kwargs=True)


def join(modules: list[nn.Module]) -> None:
    """Undo `separate`; modules that it did not touch stay as they are."""
    first = modules[0]
    lender = first._modules.get("relative_attention_bias")
    if isinstance(lender, HeadsOf):
        table = nn.Embedding(
            lender.num_embeddings, lender.embedding_dim, _weight=lender.weight.detach(), _freeze=True
        ).train(lender.training)
        table.weight = lender.weight
        first.relative_attention_bias = table
        for module in modules[1:]:
            del module.relative_attention_bias
            module.has_relative_attention_bias = False  # type: ignore[assignment]
    for module in modules:
        hooks = module._forward_pre_hooks
        for key in [key for key, hook in hooks.items() if hook is forget_position_bias]:
            del hooks[key]
            module._forward_pre_hooks_with_kwargs.pop(key, None)
