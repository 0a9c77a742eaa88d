"""Shrunk model on disk: the original's configuration, the ticket, and the tensors or values that are left.

Two layouts, told apart by the ticket. One of heads and MLPs: the shrunk network's tensors. One of weights: of every
prunable matrix the values that survive, whose places the ticket knows, and
all else whole; `save_zeros` writes the original shapes with zeros, for tools that know nothing of tickets.
"""

import hashlib
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tombola.architectures.dissect import dissect
from tombola.checkpoints.loading import MARK, quiet
from tombola.checkpoints.model_card import ModelCardWriter
from tombola.checkpoints.model_libraries import LIBRARIES, library_of, save_companions
from tombola.foundations.atomic_files import publish, read_json, write_json
from tombola.foundations.errors import TombolaError, reason
from tombola.foundations.tensor_bits import as_bits
from tombola.subnetworks.equivalence import verify_equivalent
from tombola.subnetworks.recognition import recognise, relative_of
from tombola.subnetworks.subnetwork import Subnetwork, expanded, shrunk
from tombola.tickets.ticket import Ticket, every_site

if TYPE_CHECKING:
    from diffusers import ModelMixin


def packed(matrix: Tensor, mask: Tensor) -> Tensor:
    """The values of `matrix` where `mask`, bool of its shape, is True: row by row, 1-D, on the CPU."""
    # NumPy picks by a boolean mask without a list of 64-bit positions, which would be four times the weights' size.
    values = as_bits(matrix.detach().cpu().contiguous()).numpy()[mask.cpu().numpy()]
    return torch.from_numpy(values).view(matrix.dtype)


def unpacked(values: Tensor, mask: Tensor) -> Tensor:
    """Undo `packed`: a matrix of the mask's shape, +0.0 where it is False.

    Raises:
        ValueError: there are not as many values as the mask has survivors.
    """
    survivors = int(mask.sum())
    if values.shape != (survivors,):
        raise ValueError(f"{list(values.shape)} values for {survivors} survivors")
    matrix = torch.zeros(mask.shape, dtype=values.dtype)
    as_bits(matrix).numpy()[mask.numpy()] = as_bits(values).numpy()
    return matrix


TENSORS = "shrunk.safetensors"
"""File of tensors. Without `model.safetensors`, plain `from_pretrained` says that it finds no weights."""
FORMAT = 1
_DIGESTED = (TENSORS, "masks.safetensors")


def save_shrunk(model: nn.Module, ticket: Ticket, folder: Path | str, *, tokenizer: str | None = None) -> float:
    """Make a model smaller, prove on what was written that it equals the masked one, and publish it as a new folder.

    Heads and MLPs are removed from the network. Weights that were pruned are left out of the file and are zeros again
    when it is loaded.

    Args:
        model: the whole model, of transformers or a denoiser of diffusers; it is not changed.
        ticket: what survives.
        folder: new; `load` reads it.
        tokenizer: source of a tokenizer to put beside the model, where it has one; of a denoiser, of its schedule.

    Returns:
        The largest difference of an output between the model that was read back and the masked one, relative to the
        largest output. With a ticket of weights it is 0: there every bit of every tensor was compared.

    Raises:
        TombolaError: the ticket is for another model, the folder exists, or the model that was read back is another
            (nothing is written then).
    """
    library = library_of(model)
    small = shrunk(model, ticket)
    with publish(Path(folder)) as draft:
        library.write_config(model, draft)
        save_file(_tensors(small), draft / TENSORS)
        ticket.write(draft)
        write_json(
            draft / MARK,
            {
                "format": FORMAT,
                "library": library.name,
                "version": importlib.metadata.version(library.name),
                "class": type(model).__name__,
                "like": relative_of(model),
                "shared": _aliases(small.model),
                "computed": {name: str(buffer.dtype).removeprefix("torch.") for name, buffer in _computed(small.model)},
                "sha256": {name: _sha256(draft / name) for name in _DIGESTED},
            },
        )
        save_companions(tokenizer, draft)
        again = load(draft)
        apart = verify_equivalent(model, small, again, "the shrunk model")
        if ticket.kind == "weights" and _aliases(small.model) != _aliases(again):
            raise TombolaError(
                "the sparse model ties other tensors than the masked one, so it was not saved; report it"
            )
        ModelCardWriter("sparse" if ticket.kind == "weights" else "shrunk", model, small, apart).write(draft)
    return apart


def save_zeros(model: nn.Module, ticket: Ticket, folder: Path | str, *, tokenizer: str | None = None) -> float:
    """Write a model with zeros in place of what was pruned, for plain `from_pretrained`, and prove it on what it loads.

    Arguments, what it returns, and errors are those of `save_shrunk`.
    """
    library = library_of(model)
    small = shrunk(model, ticket)
    with publish(Path(folder)) as draft, quiet():
        library.save(expanded(small), draft)
        ticket.write(draft)
        save_companions(tokenizer, draft)
        apart = verify_equivalent(model, small, library.read(model, draft), "the model with zeros")
        ModelCardWriter("zeros", model, small, apart).write(draft)
    return apart


def load(folder: Path | str) -> "PreTrainedModel | ModelMixin":
    """The model that `save_shrunk` wrote, ready to use, in evaluation mode on the CPU.

    Of a shrunk network nothing of the original size is ever allocated. The class is one of transformers' or diffusers'
    own; no code of the folder runs. A denoiser works in the pipeline of the model that it was made from:
    `DiffusionPipeline.from_pretrained(original, unet=load(folder))`, or `transformer=` where that is its name.

    Raises:
        TombolaError: no shrunk model there, or a file is damaged.
    """
    return cast("PreTrainedModel | ModelMixin", load_subnetwork(folder).model)


def load_subnetwork(folder: Path | str) -> Subnetwork:
    """Load a shrunk model as `load` does, with its ticket and the anatomy of the original.

    Raises:
        TombolaError: as `load`.
    """
    folder = Path(folder)
    if not (folder / MARK).is_file():
        raise TombolaError(f"{folder} holds no shrunk model ({MARK} is missing); make one with tombola shrink")
    facts = read_json(folder / MARK)
    if facts.get("format") != FORMAT:
        raise TombolaError(f"{folder} has format {facts.get('format')}, this Tombola reads {FORMAT}; update Tombola")
    library = LIBRARIES.get(str(facts.get("library")))
    if library is None:
        raise TombolaError(f"{folder}: {MARK} names no library that Tombola knows; shrink the model again")
    ticket = Ticket.load(folder)
    try:
        for name in _DIGESTED:
            if _sha256(folder / name) != facts["sha256"][name]:
                raise ValueError(f"{name} is not the file that was written")
        model = library.blank(str(facts.get("class")), folder)
        if model is None:
            raise TombolaError(
                f"{folder}: this {library.name} has no class {facts.get('class')!r}; install {facts.get('version')}"
            )
        # Checked when it was written; a model without memory computes nothing.
        recognise(model, check=False, like=facts["like"])
        state = load_file(folder / TENSORS)
        if ticket.kind == "weights":
            anatomy = dissect(model)
            ticket.check(anatomy)
            for matrix in anatomy.matrices:
                state[matrix.parameter] = unpacked(state[matrix.parameter], ticket.masks[matrix.name])
            found = Subnetwork(model, anatomy, ticket, Ticket.full(anatomy, every_site(anatomy)))
        else:
            found = shrunk(model, ticket)
        model = found.model
        learnt = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        owners = {
            # What is a buffer must stay one.
            name: nn.Parameter(tensor, tensor.is_floating_point()) if name in learnt else tensor
            for name, tensor in state.items()
        }
        shared = {alias: owners[name] for alias, name in facts["shared"].items()}
        model.load_state_dict(owners | shared, assign=True)
        for name, buffer in list(_computed(model)):
            owner, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(owner), attribute, buffer.to(getattr(torch, facts["computed"][name])))
    except (
        *(OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError),
        *(SafetensorError, StrictDataclassError),
    ) as error:
        raise TombolaError(f"the shrunk model in {folder} is damaged ({reason(error)}); shrink it again") from error
    library.finish(model, folder)
    model.eval()
    return found


def _tensors(small: Subnetwork) -> dict[str, Tensor]:
    """Tensors to write: the model's, each once, and of those that a mask covers the survivors."""
    aliases = _aliases(small.model)
    tensors = {name: tensor.detach().cpu() for name, tensor in small.model.state_dict().items() if name not in aliases}
    if small.ticket.kind == "weights":
        for matrix in small.anatomy.matrices:
            tensors[matrix.parameter] = packed(tensors[matrix.parameter], small.ticket.masks[matrix.name])
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _computed(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Buffers of floats that stand in no file, but are computed when a model is made: in fp32, which may not be its."""
    stored = model.state_dict(keep_vars=True)
    for name, buffer in model.named_buffers():
        if name not in stored and buffer.is_floating_point():
            yield name, buffer


def _aliases(model: nn.Module) -> dict[str, str]:
    """Names of tensors that are the same parameter or buffer as an earlier one → that one's name."""
    owners: dict[int, str] = {}
    tensors = model.state_dict(keep_vars=True).items()
    return {name: owner for name, tensor in tensors if (owner := owners.setdefault(id(tensor), name)) != name}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
