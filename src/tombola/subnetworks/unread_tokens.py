"""Tokens behind the last MLP that nothing reads: a classifier that reads the first one does without the others."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from tombola.architectures.dissect import dissect
from tombola.architectures.sites import MLPRow
from tombola.foundations.errors import TombolaError


@contextlib.contextmanager
def first_token_alone(model: nn.Module, output: Callable[[], Tensor]) -> Iterator[None]:
    """Run the last MLP on the first token of each text alone while the block runs, where nothing reads the others.

    That is proved on the model, without dropout: whatever the MLP gives at other tokens, the output has the same bits,
    and without them the same numbers.

    Args:
        model: whole or shrunk.
        output: of the model for a few texts: what losses and predictions are made from.
    """
    row = _last_mlp(model)
    with contextlib.ExitStack() as stack:
        stack.callback(model.train, model.training)
        model.eval()
        leave_out = row is not None and _unread(model, row, output)
    with _cut_short(model, row) if row is not None and leave_out else contextlib.nullcontext():
        yield


def _last_mlp(model: nn.Module) -> MLPRow | None:
    try:
        rows = dissect(model).feed_forwards
    except TombolaError:
        return None
    return rows[-1] if rows and rows[-1].neurons else None


def _unread(model: nn.Module, row: MLPRow, output: Callable[[], Tensor]) -> bool:
    """True if only the first token that the last MLP gives has a part in the output."""
    generator, disturbed = torch.Generator().manual_seed(0), False

    def disturb(_: nn.Module, __: object, found: Tensor) -> Tensor:
        nonlocal disturbed
        disturbed = found.ndim == 3 and found.shape[1] > 1
        noise = torch.randn(found[:, 1:].shape, generator=generator).to(found)
        return torch.cat((found[:, :1], found[:, 1:] + noise), 1)

    with torch.no_grad():
        plain = output()
        try:
            with model.get_submodule(row.gate).register_forward_hook(disturb):
                if not (torch.equal(plain, output()) and disturbed):
                    return False
            with _cut_short(model, row):
                return torch.allclose(plain, output(), rtol=1e-4, atol=1e-5)
        except (RuntimeError, IndexError, TypeError):
            # Tokens lie otherwise in it.
            return False


@contextlib.contextmanager
def _cut_short(model: nn.Module, row: MLPRow) -> Iterator[None]:
    def first(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        (given,) = inputs
        # Contiguous: of a slice the product is another one with gradients than without, in its last digits.
        return (given[:, :1].contiguous() if given.ndim == 3 else given,)

    with contextlib.ExitStack() as stack:
        for _, projection in row.inputs:
            stack.enter_context(model.get_submodule(row.path(projection.path)).register_forward_pre_hook(first))
        yield
