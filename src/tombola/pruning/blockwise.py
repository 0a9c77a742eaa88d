"""Blockwise passes of many batches through a model: all through one block before any enters the next.

So a block can be pruned after all batches have passed it, and they go on from what the pruned one gives. What a batch
has come to is kept; a new pass of the model runs its embeddings and masks again, hands out what is kept in place of the
finished blocks, and stops behind the block in question: two blocks at a time, in models of every family, since nothing
needs to know what a block is given besides. A layer that is used several times (ALBERT) is run for each use.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tombola.architectures.anatomy import Anatomy
from tombola.foundations.errors import TombolaError, reason
from tombola.foundations.progress import SILENT, Progress
from tombola.pruning.activation_statistics import ActivationObserver

Output = Tensor | tuple[object, ...]
"""Output of a block: the hidden states, alone or before other things."""


def always_there(layers: set[int]) -> None:
    """Residence callback for a model that is in memory as a whole: nothing to do."""


class _BehindTheBlock(Exception):  # noqa: N818 - nothing is wrong
    """Signal that the block in question has been run: nothing after it is needed."""


@dataclass
class _Kept:
    """State of a batch between blocks: the hidden states of each stack, and what else each finished use returned."""

    hidden: dict[int, Tensor] = field(default_factory=dict)
    rest: list[tuple[object, ...] | None] = field(default_factory=list)

    def add(self, stack: int, output: Output) -> None:
        hidden, rest = (output, None) if isinstance(output, Tensor) else (output[0], output[1:])
        assert isinstance(hidden, Tensor)
        self.hidden[stack] = hidden
        self.rest.append(rest)

    def again(self, use: int, stack: int) -> Output:
        hidden, rest = self.hidden[stack], self.rest[use]
        # Uses before the last one of their stack give what that gave: finished layers alone read it. The last gives a
        # copy, as it is read again in the next pass and a layer may write into it.
        if use == len(self.rest) - 1:
            hidden = hidden.clone()
        return hidden if rest is None else (hidden, *rest)


@dataclass
class _Pass:
    """Pass of a batch, up to the use `last`; what uses before `final` give is final and is kept."""

    kept: _Kept
    layer: int
    final: int
    last: int
    watcher: ActivationObserver
    use: int = 0


class BlockwiseRun:
    """Runs the layers of a model one after the other, all batches at each: inside `attached`, `watch` each in turn.

    Args:
        model: whole, in evaluation mode.
        anatomy: of the model.
        batches: keyword arguments of the base model's forward pass, at least one.
        sequential: see `watch`.
        residence: is told which layers are going to be run, and may take all others out of memory.
        progress: counts examples, those of every layer.
    """

    def __init__(
        self,
        model: nn.Module,
        anatomy: Anatomy,
        batches: Sequence[Mapping[str, Tensor]],
        *,
        sequential: bool = True,
        residence: Callable[[set[int]], None] = always_there,
        progress: Progress = SILENT,
    ) -> None:
        self._base = base if isinstance(base := getattr(model, "base_model", model), nn.Module) else model
        self._config: Any = getattr(model, "config", None)
        there = (parameter.device for parameter in model.parameters() if not parameter.is_meta)
        self._device = next(there, torch.device("cpu"))
        self._batches = batches
        self._sequential = sequential
        self._residence = residence
        self._progress = progress
        self._stacks = {row.layer: row.stack for row in anatomy.attentions}
        self._blocks = {row.layer: model.get_submodule(row.name) for row in anatomy.attentions}
        self._kept = [_Kept() for _ in batches]
        self._finished = 0
        self._templates: dict[int, Output] = {}
        self._route: list[int] = []
        self._now: _Pass | None = None

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Replace the forward passes of the layers while the block runs.

        Raises:
            TombolaError: the model does not take the batches, or does not use its layers in their order.
        """
        with contextlib.ExitStack() as stack:
            if getattr(self._config, "use_cache", None) is not None:
                stack.callback(vars(self._config).update, use_cache=self._config.use_cache)
                # Keys and values of all tokens would stay until the end of a pass.
                vars(self._config)["use_cache"] = False
            for layer, block in self._blocks.items():
                own = {name: value for name, value in vars(block).items() if name == "forward"}
                stack.callback(vars(block).update, own)
                stack.callback(vars(block).pop, "forward")
                vars(block)["forward"] = functools.partial(self._forward, layer, block.forward)
            self._find_route()
            yield

    def _find_route(self) -> None:
        """Find out in which order layers are used, by one example, in which only each stack's first layer is run."""
        try:
            self._run({name: tensor[:1] for name, tensor in self._batches[0].items()})
        except (TypeError, ValueError) as error:
            raise TombolaError(
                f"the model does not take the calibration batches ({reason(error, 150)}); give batches of its own "
                "inputs, or take a method that looks at weights alone, such as weights"
            ) from error
        self._templates.clear()
        if list(dict.fromkeys(self._route)) != sorted(self._stacks):
            raise TombolaError("the model does not use its layers in their order, so it cannot be pruned one by one")

    def watch(self, layer: int, watcher: ActivationObserver) -> None:
        """Run all batches through a layer; those before it have been watched already, and may have been changed.

        With `sequential`, they come from what the layers before it give now; otherwise from what they gave when they
        were watched.
        """
        first = self._route.index(layer)
        last = len(self._route) - 1 - self._route[::-1].index(layer)
        following = next((use for use, other in enumerate(self._route) if other > layer), len(self._route))
        final = first if self._sequential else min(last + 1, following)
        self._residence(set(self._route[self._finished : last + 1]))
        for inputs, kept in zip(self._batches, self._kept, strict=True):
            watcher.start(inputs)
            self._now = _Pass(kept, layer, final, last, watcher)
            with contextlib.suppress(_BehindTheBlock):
                self._run(inputs)
            self._progress.advance(len(next(iter(inputs.values()))))
        self._finished = final

    def _forward(self, layer: int, own: Callable[..., Output], *args: object, **kwargs: object) -> Output:
        now, stack = self._now, self._stacks[layer]
        if now is None:
            self._route.append(layer)
            if stack not in self._templates:
                self._residence({layer})
                self._templates[stack] = own(*args, **kwargs)
            return self._templates[stack]
        use, now.use = now.use, now.use + 1
        if use < self._finished:
            return now.kept.again(use, stack)
        output = own(*args, **kwargs)
        if use < now.final:
            now.kept.add(stack, output)
        if layer == now.layer:
            now.watcher.settle()
        if use == now.last:
            raise _BehindTheBlock
        return output

    def _run(self, inputs: Mapping[str, Tensor]) -> None:
        try:
            with torch.no_grad():
                self._base(**{name: tensor.to(self._device) for name, tensor in inputs.items()})
        except IndexError as error:
            raise TombolaError(
                f"a calibration batch has a token id or a position that the model does not know ({error})"
            ) from error
