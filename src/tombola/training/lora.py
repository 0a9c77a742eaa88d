"""Low-rank adapters (LoRA, Hu et al. 2022): a ticket trained through a few parameters a matrix, then merged.

Every prunable matrix W is frozen, and the product of two thin ones is trained beside it: W + s B A. Under a ticket of
weights the product is masked while it is trained, not only when it is merged (as in SQFT, Muñoz et al. 2024): what was
trained is what is merged, and no pruned weight comes back. The adapters are those of `peft`, an optional dependency:
`pip install 'tombola[language]'`. Nothing of it stays in the model.
"""

import contextlib
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers.pytorch_utils import Conv1D
from typing_extensions import override

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.parameters import device_of
from tombola.foundations.errors import TombolaError
from tombola.tickets.ticket import Ticket

SCALE = 2
"""s, whatever the rank: twice the rank as `lora_alpha`, as is usual."""
LEARNING_RATE = 2e-4
"""Learning rate of QLoRA (Dettmers et al. 2023) up to 13 billion parameters: adapters start at nothing and need a
larger one than weights that are fine-tuned."""


@dataclass(frozen=True)
class LowRank:
    """Settings of training a ticket through adapters.

    Attributes:
        rank: columns of B, and rows of A, beside each matrix.
        learning_rate: goes before the recipe's.

    Raises:
        TombolaError: a value that cannot be, or `peft` is not installed.
    """

    rank: int
    learning_rate: float = LEARNING_RATE

    def __post_init__(self) -> None:
        if self.rank < 1 or not 0 < self.learning_rate < math.inf:
            raise TombolaError(f"adapters need a rank of 1 or more and a positive learning rate, not {self}")
        if find_spec("peft") is None:
            raise TombolaError(
                "training through adapters needs peft; pip install 'tombola[language]', or leave lora_rank at 0"
            )


class _Masked(nn.Module):
    """A map whose adapter is added to its weight instead of to its output, so that it can be masked.

    It also serves maps whose outputs are not simply those of their matrix, see
    [`RepeatedHeadsLinear`][tombola.subnetworks.projections].
    """

    def __init__(self, adapter: Any, mask: Tensor | None) -> None:
        super().__init__()
        self.adapter = adapter
        self.mask = mask

    @property
    def weight(self) -> Tensor:
        """Weight of the map: some models look at its dtype."""
        return cast(Tensor, self.adapter.get_base_layer().weight)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        weights = {"weight": _adapted(self.adapter, self.mask)}
        return cast(Tensor, functional_call(self.adapter.get_base_layer(), weights, (inputs,)))


@contextlib.contextmanager
def adapters(
    model: nn.Module, anatomy: Anatomy, rank: int, *, mask_ticket: Ticket | None = None, seed: int
) -> Iterator[None]:
    """Put adapters beside all prunable matrices for as long as the block takes, then merge them.

    Within it only adapters can be trained. Afterwards the model has the modules and parameters that it had, with other
    weights in the prunable matrices; a matrix of zeros stands for what was removed, and stays one.

    Args:
        model: whole or shrunk; changed.
        anatomy: of the whole model.
        rank, seed: of the adapters; B starts at zero, so that nothing changes at first.
        mask_ticket: a ticket of weights whose pruned weights are zero already and stay exactly zero.

    Raises:
        TombolaError: `peft` has no adapters for a map of this model, or there is nothing to adapt.
    """
    from peft.tuners.lora import LoraConfig, LoraModel

    paths = {matrix.module: matrix for matrix in anatomy.matrices if bool(model.get_parameter(matrix.parameter).any())}
    if not paths:
        raise TombolaError("nothing is left of the ticket that adapters could train")
    trainable = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    # A pattern of whole names: in a list they would also match as ends of others.
    pattern = "|".join(re.escape(path) for path in paths)
    config = LoraConfig(r=rank, lora_alpha=SCALE * rank, lora_dropout=0.0, target_modules=pattern)
    device = device_of(model)
    devices = [device] if device.type == "cuda" else []
    with warnings.catch_warnings(), torch.random.fork_rng(devices):
        # Which way round a map stores its matrix is found out map by map, with a warning each.
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        try:
            tuner = LoraModel(model, config, "default")
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise TombolaError(f"peft has no adapters for this model ({reason}); leave lora_rank at 0") from None
    found = {}
    for path, matrix in paths.items():
        adapter: Any = model.get_submodule(path)
        mask = None if mask_ticket is None else mask_ticket.masks[matrix.name].to(device)
        found[path] = adapter, mask
        if mask is not None or type(adapter.get_base_layer()) not in (nn.Linear, Conv1D):
            model.set_submodule(path, _Masked(adapter, mask))
    yield
    with torch.no_grad():
        for path, (adapter, mask) in found.items():
            adapter.get_base_layer().weight.copy_(_adapted(adapter, mask))
            model.set_submodule(path, adapter)
    tuner.unload()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trainable[name])


def _adapted(adapter: Any, mask: Tensor | None) -> Tensor:
    """W + s B A in the shape of W, at +0.0 where it is masked."""
    weight: Tensor = adapter.get_base_layer().weight
    changed: Tensor = weight + adapter.get_delta_weight("default").to(weight.dtype)
    return changed if mask is None else changed.where(mask, 0.0)
