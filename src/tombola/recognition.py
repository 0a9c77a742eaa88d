"""An architecture that the table does not know, but that is built like one that it does: recognised, and checked.

Many model types share their layers with another (XLM-RoBERTa with BERT, OLMo with Llama). A type is taken for such a
relative only if an entry of the table finds every linear map of its layers, each of the shape that it should have,
and if removing heads, MLPs and neurons from this very model then computes what gates at zero compute.
"""

import warnings
from collections.abc import Iterator

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tombola.anatomy import Anatomy, read
from tombola.errors import TombolaError
from tombola.families import FAMILIES, Family, register, unregister
from tombola.selfcheck import TOLERANCE, largest_difference
from tombola.subnetwork import masked, shrunk
from tombola.ticket import Ticket


def recognise(model: nn.Module, *, check: bool = True) -> str | None:
    """Add the model's architecture to the table, if it is not there and is built like one that is.

    Args:
        model: a whole model; its weights decide whether the check can tell right from wrong, so not a blank one.
        check: compare masked and shrunk tickets of this model on random inputs; skipped for a model without memory.

    Returns:
        The `model_type` that it is built like; None if the table knew it already.

    Raises:
        TombolaError: it is built like none, or masked and shrunk differ.
    """
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    if model_type is None or model_type in FAMILIES:
        return None
    if not isinstance(model, PreTrainedModel):
        raise TombolaError(f"{type(model).__name__} is no transformers model, so nothing is known of its layers")
    why = "its layers are like those of none that is known"
    for like, family in _candidates(model):
        register(model_type, family)
        try:
            worst = _worst(model, read(model, family)) if check else 0.0
        except Exception as error:  # Whatever a wrong cut runs into says that this entry is not the right one.
            why = f"its layers look like {like}'s, but cut models do not run ({' '.join(str(error).split())[:150]})"
        else:
            if worst <= TOLERANCE:
                if check:
                    warnings.warn(
                        f"{model_type!r} is not in the table of families, but is built like {like}: masked and shrunk "
                        f"tickets of it differ by {worst:.0e} of the largest output",
                        stacklevel=2,
                    )
                return like
            why = f"its layers look like {like}'s, but cut models differ from masked ones by {worst:.0e}"
        unregister(model_type)
    raise TombolaError(
        f"unknown architecture {model_type!r} ({type(model).__name__}): {why}; to add it, give "
        "tombola.families.register an entry that says where its heads and MLPs are"
    )


def _candidates(model: PreTrainedModel) -> Iterator[tuple[str, Family]]:
    """Entries by which all linear maps of the layers are found, those that say most first."""
    found: list[tuple[str, Family]] = []
    for like, family in FAMILIES.items():
        # Several types share an entry; the first stands for all.
        if any(family is other for _, other in found):
            continue
        try:
            anatomy = read(model, family)
        except (TombolaError, AttributeError):
            continue
        if _linear_maps(model, anatomy) == {matrix.parameter for matrix in anatomy.matrices} and _counts(
            model, anatomy
        ):
            found.append((like, family))
    # A gate behind a norm is the better place where there is such a norm.
    yield from sorted(found, key=lambda pair: all(stack.mlp.gate is None for stack in pair[1].stacks))


def _linear_maps(model: nn.Module, anatomy: Anatomy) -> set[str]:
    """The weights of all linear maps of the model's layers."""
    layers = {row.name for row in anatomy.attentions} | {row.name for row in anatomy.feed_forwards}
    return {
        f"{layer}.{name}.weight"
        for layer in layers
        for name, module in model.get_submodule(layer).named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    }


def _counts(model: nn.Module, anatomy: Anatomy) -> bool:
    """Whether every attention has the attributes that are set anew when heads are removed."""
    return all(
        hasattr(model.get_submodule(row.module), attribute)
        for row in anatomy.attentions
        for attribute in row.plan.counts
    )


def _worst(model: PreTrainedModel, anatomy: Anatomy) -> float:
    """The largest difference between masked and shrunk, over a few random tickets."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator) < 0.6

    first = torch.ones(anatomy.heads, dtype=torch.bool)
    first[0] = False
    blocks = next(size for size in (8, 4, 2, 1) if anatomy.neurons % size == 0)
    masks: list[tuple[str, dict[str, torch.Tensor]]] = [
        ("heads+mlps", {"heads": drawn(*anatomy.heads), "mlps": drawn(anatomy.mlps)}),
        ("heads+mlps", {"heads": first, "mlps": torch.arange(anatomy.mlps) > 0}),
        ("heads+neurons", {"heads": drawn(*anatomy.heads), "neurons": drawn(anatomy.mlps, blocks)}),
    ]
    tickets = [Ticket(pruning, anatomy.signature, mask) for pruning, mask in masks]  # type: ignore[arg-type]
    return max(largest_difference(masked(model, ticket), shrunk(model, ticket)) for ticket in tickets)
