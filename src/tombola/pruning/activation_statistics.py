"""Statistics of what the matrices of a layer multiply, taken by hooks while batches pass.

Positions of padding do not count. Matrices that multiply the same tensor (query, key and value) share a statistic.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.sites import Matrix
from tombola.foundations.errors import TombolaError


class Statistic(Protocol):
    """Running statistic of a matrix's inputs."""

    def add(self, rows: Tensor) -> None:
        """Add inputs, [positions, inputs]."""

    def result(self) -> Tensor:
        """Statistic of all inputs together."""


class Norms:
    """The L2 norm of each input unit over all positions: fp32 [inputs], or of a model in fp64 that."""

    def __init__(self) -> None:
        self._squares: Tensor | None = None
        self._dtype = torch.float32

    def add(self, rows: Tensor) -> None:
        """Add inputs, [positions, inputs]."""
        self._dtype = torch.promote_types(rows.dtype, torch.float32)
        # Squares of a batch in fp32, batches in fp64: small units are not lost beside the sum of many tokens.
        squares = rows.to(self._dtype).square().sum(0).double()
        self._squares = squares if self._squares is None else self._squares + squares

    def result(self) -> Tensor:
        """The norms."""
        assert self._squares is not None
        return self._squares.sqrt().to(self._dtype)


class InputHessian:
    """The sum over positions of the outer products of the inputs, [inputs, inputs]: the Hessian of a layer's error."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None

    def add(self, rows: Tensor) -> None:
        """Add inputs, [positions, inputs]."""
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        if self._sum is None:
            self._sum = rows.T @ rows
        else:
            self._sum.addmm_(rows.T, rows)

    def result(self) -> Tensor:
        """The sum."""
        assert self._sum is not None
        return self._sum


class ActivationObserver:
    """Takes a statistic, made by `make`, of the inputs of each matrix of a layer, as `BlockwiseRun` runs it."""

    def __init__(self, model: nn.Module, anatomy: Anatomy, layer: int, make: Callable[[], Statistic]) -> None:
        self._matrices = [matrix for matrix in anatomy.matrices if matrix.layer == layer]
        self._modules = {matrix.name: model.get_submodule(matrix.module) for matrix in self._matrices}
        self._masks = _masks(anatomy, layer, self._matrices)
        self._make = make
        self._seen: dict[str, list[Tensor]] = {}
        self._leaders: dict[str, str] = {}
        self._statistics: dict[str, Statistic] = {}
        self._real: dict[str, Tensor] = {}

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Look at the layer while the block runs."""
        with contextlib.ExitStack() as stack:
            for name, module in self._modules.items():
                stack.enter_context(module.register_forward_pre_hook(functools.partial(self._see, name)))
            yield

    def start(self, inputs: Mapping[str, Tensor]) -> None:
        """Prepare for the next batch: which of its positions are real."""
        masks = {name: inputs[name] for name in set(self._masks.values()) if name in inputs}
        self._real = {name: mask.bool() for name, mask in masks.items() if mask.ndim == 2 and not mask.all()}

    def settle(self) -> None:
        """Add what was seen during one use of the layer."""
        if not self._leaders:
            first: dict[tuple[object, ...], str] = {}
            for name, seen in self._seen.items():
                same = (*(id(tensor) for tensor in seen), self._masks[name])
                self._leaders[name] = first.setdefault(same, name)
            self._statistics = {name: self._make() for name in first.values()}
        for name, statistic in self._statistics.items():
            for tensor in self._seen[name]:
                statistic.add(self._rows(name, tensor))
        self._seen = {}

    def results(self) -> Iterator[tuple[tuple[str, ...], Tensor]]:
        """Statistics of all inputs, each with the names of the matrices that multiply them; they can be had once.

        Raises:
            TombolaError: an activation was not finite.
        """
        while self._statistics:
            leader, statistic = self._statistics.popitem()
            result = statistic.result()
            if not result.isfinite().all():
                raise TombolaError(
                    f"what the matrix {leader} multiplies on the calibration text is not finite (NaN or infinity); the "
                    "model overflows or is broken: load it in fp32 or bf16"
                )
            yield tuple(name for name, other in self._leaders.items() if other == leader), result

    def _see(self, name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # Whatever is returned would replace the input.
        self._seen.setdefault(name, []).append(inputs[0])

    def _rows(self, name: str, tensor: Tensor) -> Tensor:
        rows = tensor.reshape(-1, tensor.shape[-1])
        real = self._real.get(self._masks[name])
        # What has another shape are no tokens: DeBERTa's positions. OPT lays those of all examples in one dimension.
        if real is None or (tensor.shape[:-1] != real.shape and tensor.shape[:-1] != (real.numel(),)):
            return rows
        return rows[real.to(rows.device).flatten()]


def _masks(anatomy: Anatomy, layer: int, matrices: Sequence[Matrix]) -> dict[str, str]:
    """Keyword of the mask of real positions, for each matrix."""
    rows = [row for row in anatomy.attentions if row.layer == layer]
    own = "attention_mask" if rows[0].stack == 0 else "decoder_attention_mask"
    # A second sublayer's keys and values are of the encoder's tokens.
    across = {f"{row.plan.prefix}{part}" for row in rows if row.plan.prefix for part in ("key", "value")}
    return {matrix.name: "attention_mask" if matrix.role in across else own for matrix in matrices}
