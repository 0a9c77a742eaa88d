"""Folder of a shrunk model, read: the original's configuration, tickets, and the tensors or values that are left.

The model is made without memory for its parameters, of the original size, and cut before its tensors are read: nothing
of the original size is ever allocated. Writing is in [`checkpoint`][tombola.checkpoints.checkpoint].
"""

import hashlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel
from transformers.utils import GENERATION_CONFIG_NAME

from tombola.architectures.dissect import dissect
from tombola.checkpoints.blank_models import BLANK
from tombola.checkpoints.sources import CONFIG, MARK
from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError, check_folder, memory_errors, reading
from tombola.foundations.tensor_bits import as_bits
from tombola.subnetworks.pruned_model import keep_sparse, sparse_ticket
from tombola.subnetworks.recognition import recognise
from tombola.subnetworks.subnetwork import cut
from tombola.tickets.ticket import Ticket
from tombola.tickets.ticket_files import FILES

TENSORS = "shrunk.safetensors"
"""File of tensors. Without `model.safetensors`, plain `from_pretrained` says that it finds no weights."""
FORMAT = 1
BEFORE = "before"
"""Folder of earlier tickets in that of a model that was shrunk more than once: `1`, `2`, ..."""
WEIGHTS = re.compile(r"(shrunk|(model|pytorch_model|diffusion_pytorch_model).*)\.(safetensors|bin)")
"""Files that hold a model's weights; a trainer's folder has other `.bin` files."""


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


@memory_errors()
def load_shrunk(folder: Path) -> nn.Module:
    """Load a shrunk model, in evaluation mode on the CPU.

    Raises:
        TombolaError: no shrunk model there, a file is damaged, or weights of another model stand beside it.
    """
    facts = _mark(folder)
    with reading(f"the shrunk model in {folder}", "shrink it again"):
        digests = dict(facts["sha256"])
        files = [str(name) for name in digests if WEIGHTS.fullmatch(str(name))]
        if strangers := sorted({one.name for one in folder.iterdir() if WEIGHTS.fullmatch(one.name)} - {*files}):
            raise TombolaError(
                f"{folder} holds two models: the shrunk one, and {strangers[0]} beside it; delete what is out of date, "
                "and save with tombola.save"
            )
        tickets, sparse = tickets_in(folder, facts)
        for name in (*digested(len(tickets) + (sparse is not None)), *files):
            if sha256(folder / name) != digests[name]:
                raise ValueError(f"{name} is not the file that was written")
        model = _blank(folder, facts, tickets)
        state = {name: tensor for file in files for name, tensor in load_file(folder / file).items()}
        if sparse is not None:
            sparse.check(anatomy := dissect(model))
            for matrix in anatomy.matrices if files == [TENSORS] else ():
                state[matrix.parameter] = unpacked(state[matrix.parameter], sparse.masks[matrix.name])
        learnt = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        owners = {
            # What is a buffer must stay one.
            name: nn.Parameter(tensor, tensor.is_floating_point()) if name in learnt else tensor
            for name, tensor in state.items()
        }
        shared = {alias: owners[name] for alias, name in facts["shared"].items()}
        model.load_state_dict(owners | shared, assign=True)
        for name, buffer in list(computed(model)):
            owner, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(owner), attribute, buffer.to(getattr(torch, facts["computed"][name])))
        if isinstance(model, PreTrainedModel):
            model.tie_weights()
            if (folder / GENERATION_CONFIG_NAME).is_file():
                model.generation_config = GenerationConfig.from_pretrained(folder)
    model.eval()
    keep_sparse(model, sparse)
    if files != [TENSORS]:
        # In the small layout there is no room for what was pruned.
        check_zeros(model)
    return model


def shrunk_parts(pipeline: Path, names: str = "") -> dict[str, nn.Module]:
    """Shrunk models among the parts of a pipeline's folder whose names begin so: name → model, as `load_shrunk`."""
    return {file.parent.name: load_shrunk(file.parent) for file in sorted(pipeline.glob(f"{names}*/{MARK}"))}


def blank_shrunk(folder: Path) -> nn.Module:
    """A shrunk model of its real shapes, on `meta` but for buffers: no weights are read or held.

    Raises:
        TombolaError: as `load`, but for damaged weights.
    """
    facts = _mark(folder)
    # The caller may make what it makes on `meta`, and indices need memory.
    with reading(f"the shrunk model in {folder}", "shrink it again"), torch.device("cpu"):
        return _blank(folder, facts, tickets_in(folder, facts)[0])


def cut_as_saved(model: nn.Module, folder: Path) -> None:
    """Remove from a whole model, of the configuration in the folder of a shrunk one, what that one lacks.

    Raises:
        TombolaError: the folder holds no shrunk model, or one of another architecture.
    """
    facts = _mark(folder)
    # Checked when it was written; a model without memory computes nothing.
    recognise(model, check=False, like=facts["like"])
    for ticket in tickets_in(folder, facts)[0]:
        cut(model, ticket)


def _mark(folder: Path) -> dict[str, Any]:
    """The mark of a shrunk model."""
    check_folder(folder, "give the folder of a shrunk model")
    if not (folder / MARK).is_file():
        raise TombolaError(
            f"{folder} holds no shrunk model ({MARK} is missing); make one with tombola shrink, or open a whole model "
            "with its own library"
        )
    facts = read_json(folder / MARK)
    if facts.get("format") != FORMAT:
        raise TombolaError(f"{folder} has format {facts.get('format')}, this Tombola reads {FORMAT}; update Tombola")
    if str(facts.get("library")) not in BLANK:
        raise TombolaError(f"{folder}: {MARK} names no library that Tombola knows; shrink the model again")
    return facts


def tickets_in(folder: Path, facts: dict[str, Any]) -> tuple[list[Ticket], Ticket | None]:
    """Tickets of sites under which the model of a folder was shrunk, in order, and that of its weights, if any."""
    tickets = [Ticket.load(folder / place) for place in places(int(facts["tickets"]))]
    sparse = tickets.pop() if tickets[-1].kind == "weights" else None
    return tickets, sparse


def places(count: int) -> Iterator[str]:
    """Places of so many tickets in a folder, one by one as a mark may count billions: the last is the folder itself."""
    return itertools.chain((f"{BEFORE}/{number}" for number in range(1, count)), ["."])


def digested(count: int) -> list[str]:
    """Files whose digests the mark of so many tickets has, beside those of weights."""
    return [CONFIG, *(name if place == "." else f"{place}/{name}" for place in places(count) for name in FILES)]


def _blank(folder: Path, facts: dict[str, Any], tickets: list[Ticket]) -> nn.Module:
    """A shrunk model without memory for its parameters."""
    model = BLANK[facts["library"]](str(facts.get("class")), folder)
    if model is None:
        raise TombolaError(
            f"{folder}: this {facts['library']} has no class {facts.get('class')!r}; install {facts.get('version')}"
        )
    recognise(model, check=False, like=facts["like"])
    for ticket in tickets:
        cut(model, ticket)
    return model


def check_zeros(model: nn.Module) -> None:
    """Raise a TombolaError where weights that a sparse model's ticket pruned are not zero any more."""
    sparse = sparse_ticket(model)
    for matrix in dissect(model).matrices if sparse is not None else ():
        values = model.get_parameter(matrix.parameter).detach()
        if sparse is not None and bool((values.cpu()[~sparse.masks[matrix.name]] != 0).any()):
            raise TombolaError(
                f"{matrix.parameter} has weights that its ticket pruned and that are not zero any more, so that it is "
                "another model; train what tombola.load gives itself, no copy of it"
            )


def computed(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Buffers of floats that stand in no file, but are computed when a model is made: in fp32, which may not be its."""
    stored = model.state_dict(keep_vars=True)
    for name, buffer in model.named_buffers():
        if name not in stored and buffer.is_floating_point():
            yield name, buffer


def sha256(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
