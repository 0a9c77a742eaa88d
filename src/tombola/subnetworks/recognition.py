"""Recognition of an architecture that the table lacks but that is built like one in it, with a check.

Many model types share their layers with another (XLM-RoBERTa with BERT, OLMo with Llama). A type is taken for such a
relative only if an entry of the table finds every linear map of its layers, each of the shape that it should have,
and if removing heads, MLPs and neurons from this very model then computes what gates at zero compute.
"""

import hashlib
import json
import math
import warnings
from collections.abc import Iterator

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import read
from tombola.architectures.families import FAMILIES, Family, register, unregister
from tombola.architectures.removal import removal_of
from tombola.foundations.errors import TombolaError, reason
from tombola.subnetworks.equivalence import TOLERANCE, largest_difference, precise
from tombola.subnetworks.subnetwork import masked, shrunk
from tombola.tickets.ticket import Ticket

_CHECKED: dict[str, set[str]] = {}
"""Types that were recognised → digests of the configurations with which the check was passed."""


def recognise(model: nn.Module, *, check: bool = True, like: str | None = None) -> str | None:
    """Add the model's architecture to the table, if it is not there and is built like one that is.

    A type that was recognised is checked again for a model of another configuration, which may compute another thing.

    Args:
        model: a whole model; its weights decide whether the check can tell right from wrong, so not a blank one.
        check: compare masked and shrunk tickets of this model on random inputs; not possible without memory.
        like: the known type that it is built like, where that was found before; by default all are tried.

    Returns:
        The `model_type` that it is built like; None if there was nothing to find out.

    Raises:
        TombolaError: it is built like none, or masked and shrunk differ.
    """
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    # A shrunk model was recognised before it was cut.
    if model_type is None or removal_of(model) or (model_type in FAMILIES and model_type not in _CHECKED):
        return None
    if not isinstance(model, PreTrainedModel):
        raise TombolaError(f"{type(model).__name__} is no transformers model, so nothing is known of its layers")
    digest, entry = _digest(model), FAMILIES.get(model_type)
    if entry is not None and (not check or digest in _CHECKED[model_type]):
        return None
    why = "its layers are like those of none that is known"
    for name, family in _candidates(model):
        if (like is not None and name != like) or (entry is not None and family is not entry):
            continue
        register(model_type, family)
        worst = math.inf
        try:
            worst = _worst(model, read(model, family)) if check else 0.0
            why = f"its layers look like {name}'s, but cut models differ from masked ones by {worst:.0e}"
        except Exception as error:  # Whatever a wrong cut runs into says that this entry is not the right one.
            why = f"its layers look like {name}'s, but cut models do not run ({reason(error, 150)})"
        finally:
            # Also when it was interrupted: nothing unchecked stays.
            if not worst <= TOLERANCE and entry is None:
                unregister(model_type)
        if worst <= TOLERANCE:
            _CHECKED.setdefault(model_type, set()).update({digest} if check else ())
            if check:
                warnings.warn(
                    f"{model_type!r} is not in the table of families, but is built like {name}: masked and shrunk "
                    f"tickets of it differ by {worst:.0e} of the largest output",
                    stacklevel=2,
                )
            return name
    raise TombolaError(
        f"unknown architecture {model_type!r} ({type(model).__name__}): {why}; to add it, give "
        "tombola.architectures.families.register an entry that says where its heads and MLPs are"
    )


def relative_of(model: nn.Module) -> str | None:
    """The known type that a recognised model is built like; None for a type that needed no recognition."""
    model_type = str(getattr(getattr(model, "config", None), "model_type", None))
    if model_type not in _CHECKED or model_type not in FAMILIES:
        return None
    return next(name for name, family in FAMILIES.items() if family is FAMILIES[model_type])


def _digest(model: PreTrainedModel) -> str:
    """Digest of what of the configuration may decide what is computed; names of files and labels do not."""
    facts = {name: value for name, value in model.config.to_dict().items() if name[0] != "_" and "label" not in name}
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _candidates(model: PreTrainedModel) -> Iterator[tuple[str, Family]]:
    """Entries by which all linear maps of the layers are found, those that say most first."""
    found: list[tuple[str, Family]] = []
    for like, family in FAMILIES.items():
        # Several types share an entry; the first stands for all.
        if any(family is other for _, other in found):
            continue
        try:
            anatomy = read(model, family)
        except Exception:  # Foreign configurations fail in many ways to be what the entry expects.
            continue
        known = {matrix.parameter for matrix in anatomy.matrices}
        # Every attention must have the attributes that are set anew when heads are removed.
        modules = [(model.get_submodule(row.module), row.plan.counts) for row in anatomy.attentions]
        counted = all(hasattr(module, attribute) for module, counts in modules for attribute in counts)
        if counted and _linear_maps(model) == known:
            found.append((like, family))
    # A gate behind a norm is the better place where there is such a norm.
    yield from sorted(found, key=lambda pair: not any(mlp.gate for stack in pair[1].stacks for mlp in stack.mlps))


def _linear_maps(model: PreTrainedModel) -> set[str]:
    base = {id(module) for module in model.base_model.modules()}
    return {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and id(module) in base
        and any(part.isdigit() for part in name.split("."))
    }


def _worst(model: PreTrainedModel, anatomy: Anatomy) -> float:
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
    tickets = [Ticket(kind, anatomy.signature, mask) for kind, mask in masks]  # type: ignore[arg-type]
    # Rounding in 16 bits is larger than the tolerance.
    exact = precise(model)
    return max(largest_difference(masked(exact, ticket), shrunk(exact, ticket)) for ticket in tickets)
