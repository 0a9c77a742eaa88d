"""The attention maps of a model as it computes them, layer by layer: taken by hooks, used at once, and freed."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tombola.analysis.forward_passes import eager
from tombola.architectures.anatomy import Anatomy
from tombola.architectures.sites import HeadRow
from tombola.foundations.errors import TombolaError

WEIGHTINGS = ("raw", "norm")
"""`raw`: attention probabilities α. `norm`: ‖α f(x)‖ (Kobayashi et al. 2020), each row divided by its sum."""


@dataclass(frozen=True)
class AttentionMaps:
    """Attention maps of one use of one attention sublayer on a batch; padding is still in it.

    Attributes:
        row: which row of a mask of heads the sublayer is. A layer that is used several times (ALBERT) gives maps
            several times.
        weights: attention probabilities α [batch, heads, queries, keys].
        norms: ‖f(x)‖ of each token as each head hands it on [batch, heads, keys], see `ValueNorms`.
    """

    row: int
    weights: Tensor
    norms: Tensor


class ValueNorms:
    """‖f(x)‖: how long the vector is that a head hands on from a token, before the attention weight.

    f(x) = (x W^V + b^V) W^O with the head's slice of the output projection (Kobayashi et al. 2020, eq. 3 to 5); the
    output's own bias belongs to no head. As ‖v W^O‖ = ‖v Rᵀ‖ for the triangular factor R of W^O = QR, the vectors
    of the model's width are never made.
    """

    def __init__(self, model: nn.Module, row: HeadRow) -> None:
        self._row = row
        self._projection = next(projection for _, projection in row.inputs if "value" in projection.parts)
        self.path = row.path(self._projection.path)
        output = model.get_submodule(row.outputs[0])
        weight = output.weight
        assert isinstance(weight, Tensor)
        units_in_first = weight if isinstance(output, Conv1D) else weight.T
        # [heads, head size, width]
        slices = _computing(units_in_first.detach()).unflatten(0, (row.heads, row.size))
        # [heads, min(width, head size), head size]
        self._factor: Tensor = torch.linalg.qr(slices.transpose(1, 2), mode="r").R

    def norms(self, output: Tensor) -> Tensor:
        """From what the (fused) value projection gave, [batch, tokens, units], to ‖f(x)‖ [batch, heads, tokens]."""
        row, parts = self._row, self._projection.parts
        if self._projection.interleaved:
            output = output.unflatten(-1, (-1, len(parts), row.size))[..., parts.index("value"), :].flatten(-2)
        else:
            widths = {"query": row.heads, "key": row.kv_heads, "value": row.kv_heads}
            output = output.split([widths[part] * row.size for part in parts], -1)[parts.index("value")]
        values = _computing(output).unflatten(-1, (-1, row.size)).repeat_interleave(row.group, -2)
        handed = torch.einsum("bths,hrs->bhtr", values, self._factor.to(values.dtype))
        norms: Tensor = torch.linalg.vector_norm(handed, dim=-1)
        return norms


@contextlib.contextmanager
def attention_hooks(model: nn.Module, anatomy: Anatomy, take: Callable[[AttentionMaps], None]) -> Iterator[None]:
    """Give `take` the maps of every attention sublayer while the block runs, as soon as each is computed.

    A map is gone when the next sublayer's is made, unless `take` keeps it; a forward pass needs about as much memory
    as a plain one with eager attention. The model is switched to eager attention, the only implementation that has
    maps, and back again.

    `take` is called in order of the layers, for each use; it must not change the tensors.

    Raises:
        TombolaError: the model has several stacks of layers, or its attention gives no maps.
    """
    if len({row.stack for row in anatomy.attentions}) > 1:
        raise TombolaError(
            f"this {anatomy.model_type} has an encoder and a decoder, whose tokens are different ones; attention "
            "patterns are of models with one stack of layers: give its encoder alone"
        )
    seen: dict[int, Tensor] = {}

    def values(index: int, handed: ValueNorms) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: object, output: Tensor) -> None:
            with _exact(output):
                seen[index] = handed.norms(output)

        return hook

    def attention(index: int, row: HeadRow) -> Callable[..., object]:
        def hook(_: nn.Module, inputs: object, output: object) -> object:
            place, weights = _weights(output, row, anatomy.model_type)
            with _exact(weights):
                take(AttentionMaps(index, weights, seen.pop(index)))
            # The caller would hold the map until its layer ends; under other implementations it gets None too.
            assert isinstance(output, tuple)
            return (*output[:place], None, *output[place + 1 :])

        return hook

    with contextlib.ExitStack() as stack:
        stack.enter_context(eager(model))
        for index, row in enumerate(anatomy.attentions):
            if not row.heads:
                continue
            handed = ValueNorms(model, row)
            module = model.get_submodule(row.module)
            handles = [
                model.get_submodule(handed.path).register_forward_hook(values(index, handed)),
                module.register_forward_hook(attention(index, row)),
            ]
            if "output_attentions" in inspect.signature(module.forward).parameters:
                handles.append(module.register_forward_pre_hook(_ask_for_maps, with_kwargs=True))
            for handle in handles:
                stack.callback(handle.remove)
        yield


def _ask_for_maps(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Arguments that ask a module for its map; the layer around one that needs it (DeBERTa's) drops the map again."""
    bound = inspect.signature(module.forward).bind(*args, **kwargs)
    bound.arguments["output_attentions"] = True
    return bound.args, bound.kwargs


def _weights(output: object, row: HeadRow, model_type: str) -> tuple[int, Tensor]:
    """Attention probabilities in a module's output, and their index: T5 gives its position bias before."""
    for place, part in reversed(list(enumerate(output if isinstance(output, tuple) else ()))):
        if isinstance(part, Tensor) and part.ndim == 4 and part.shape[1] == row.heads:
            return place, part
    raise TombolaError(
        f"{row.module} of this {model_type} gives no attention maps; load the model with attn_implementation='eager'"
    )


def _computing(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _exact(tensor: Tensor) -> torch.autocast:
    """Context of exact sums in a hook: without the forward pass's autocast, which would round them to 16 bits."""
    return torch.autocast(tensor.device.type, enabled=False)
