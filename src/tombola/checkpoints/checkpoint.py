"""Shrunk model on disk: the original's configuration, the ticket, and the tensors or values that are left.

Two layouts, told apart by the ticket. One of heads and MLPs: the shrunk network's tensors. One of weights: of every
prunable matrix the values that survive, whose places the ticket knows, and all else whole; `save_zeros` writes the
original shapes with zeros, for tools that know nothing of tickets.

A model that was loaded is saved again by `save`, or by its own `save_pretrained`, which trainers and pipelines call.
"""

import importlib.metadata
import inspect
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tombola.architectures.dissect import dissect
from tombola.checkpoints.loading import loading, quiet
from tombola.checkpoints.model_card import ModelCardWriter, bytes_on_disk, dense_bytes, megabytes
from tombola.checkpoints.model_libraries import Companions, library_of, save_companions
from tombola.checkpoints.refusals import refuse_pickles
from tombola.checkpoints.shrunk_folder import (
    BEFORE,
    FORMAT,
    TENSORS,
    WEIGHTS,
    check_zeros,
    computed,
    digested,
    load_shrunk,
    packed,
    places,
    sha256,
    shrunk_parts,
)
from tombola.checkpoints.sources import MARK, PIPELINE
from tombola.foundations.atomic_files import publish, write_json
from tombola.foundations.errors import FailedError, TombolaError, memory_errors
from tombola.foundations.tensor_bits import same_bits
from tombola.subnetworks.equivalence import verify_equivalent
from tombola.subnetworks.pruned_model import keep_sparse, sparse_ticket, tickets_of
from tombola.subnetworks.recognition import relative_of
from tombola.subnetworks.subnetwork import Subnetwork, expanded, shrunk, without_removal
from tombola.tickets.ticket import Ticket
from tombola.tickets.ticket_files import BESIDE

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, ModelMixin


@memory_errors()
def save_shrunk(
    model: nn.Module, ticket: Ticket, folder: Path | str, *, tokenizer: Companions | None = None, force: bool = False
) -> float:
    """Make a model smaller, prove on what was written that it equals the masked one, and publish it as a new folder.

    Heads and MLPs are removed from the network. Weights that were pruned are left out of the file and are zeros again
    when it is loaded.

    Args:
        model: the whole model, of transformers or a denoiser of diffusers; it is not changed.
        ticket: what survives.
        folder: new; `load` reads it.
        tokenizer: to put beside the model, or the source that has one: folder, hub id, asset; of a denoiser, the
            source of its schedule, or the scheduler.
        force: write files that are not smaller than the model too.

    Returns:
        The largest difference of an output between the model that was read back and the masked one, relative to the
        largest output. With a ticket of weights it is 0: there every bit of every tensor was compared.

    Raises:
        TombolaError: the ticket is for another model, the folder exists, or the model that was read back is another
            (nothing is written then).
        FailedError: the files would not be smaller than the model; nothing is written.
    """
    small = _cut(model, ticket, force=force)
    with publish(Path(folder)) as draft:
        _write(small.model, draft)
        if not force:
            _check_smaller(model, ticket, bytes_on_disk(draft))
        save_companions(tokenizer, draft)
        again = cast(nn.Module, load(draft))
        apart = verify_equivalent(model, small, again, "the shrunk model")
        if ticket.kind == "weights" and _aliases(small.model) != _aliases(again):
            raise TombolaError(
                "the sparse model ties other tensors than the masked one, so it was not saved; report it"
            )
        ModelCardWriter("sparse" if ticket.kind == "weights" else "shrunk", model, small, apart).write(draft)
    return apart


@memory_errors()
def shrunk_bytes(model: nn.Module, ticket: Ticket, *, force: bool = False) -> int:
    """Bytes of weights and masks that `save_shrunk` would write, the files' headers left out; errors as of it."""
    small = _cut(model, ticket, force=force).model
    masks = sum((mask.numel() + 7) // 8 for one in _tickets(small) for mask in one.masks.values())
    found = masks + sum(tensor.numel() * tensor.element_size() for tensor in _tensors(small).values())
    if not force:
        _check_smaller(model, ticket, found)
    return found


def _cut(model: nn.Module, ticket: Ticket, *, force: bool) -> Subnetwork:
    """Part of a model that survives, knowing what was pruned; a FailedError, but by `force`, where that is nothing."""
    small = shrunk(model, ticket)
    check_removes(model, ticket, force=force)
    if ticket.kind == "weights":
        before = sparse_ticket(model)
        both = ticket if before is None else (ticket & before).with_provenance(**ticket.provenance)
        keep_sparse(small.model, both)
    return small


@memory_errors()
def save_zeros(
    model: nn.Module, ticket: Ticket, folder: Path | str, *, tokenizer: Companions | None = None, force: bool = False
) -> float:
    """Write a model with zeros in place of what was pruned, for plain `from_pretrained`, and prove it on what it loads.

    Zeros take the room of weights: the files are as large as the model's. Arguments, what it returns, and errors are
    those of `save_shrunk`; without `force`, a ticket that removes nothing is refused.
    """
    library = library_of(model)
    small = shrunk(model, ticket)
    check_removes(model, ticket, force=force)
    with publish(Path(folder)) as draft, quiet():
        library.save(without_removal(expanded(small)), draft)
        (draft / BESIDE).mkdir()
        ticket.write(draft / BESIDE)
        save_companions(tokenizer, draft)
        apart = verify_equivalent(model, small, library.read(model, draft), "the model with zeros")
        ModelCardWriter("zeros", model, small, apart).write(draft)
    return apart


def check_removes(model: nn.Module, ticket: Ticket, *, force: bool) -> None:
    """Raise a FailedError, but by `force`, for a ticket that removes nothing: every form of it is the model itself."""
    if not force and len(ticket) == ticket.total:
        raise FailedError(
            f"this ticket removes nothing: what it leaves is the model itself ({megabytes(dense_bytes(model))}), which "
            f"is not written; {_ALL_THE_SAME}"
        )


_ALL_THE_SAME = "take a ticket of fewer sites or weights, or write it all the same (--force, in Python force=True)"


def _check_smaller(model: nn.Module, ticket: Ticket, found: int) -> None:
    if found >= (dense := dense_bytes(model)):
        kept = len(ticket) / ticket.total
        why = f"{100 * kept:.1f} % of what can be pruned survive"
        if ticket.kind == "weights":
            why += ", and one bit a weight tells where"
        raise FailedError(
            f"the files would not be smaller, {megabytes(found)} instead of {megabytes(dense)}, as {why}; they are not "
            f"written; {_ALL_THE_SAME}"
        )


def save(
    model: "nn.Module | Subnetwork | DiffusionPipeline", folder: Path | str, *, tokenizer: Companions | None = None
) -> None:
    """Save a model so that it can be opened again: a shrunk one by `load`, any other by its own library.

    A model that `load` opened may have been trained since; it is written in the small layout, into a new folder or over
    its own, whose other files (tokenizer, schedule) stay. What was written is read back and compared bit for bit first.

    Args:
        model: of transformers or diffusers, or a whole pipeline of diffusers; or a subnetwork that has no gates.
        folder: new, or that of a shrunk model.
        tokenizer: source of what is to stand beside a model in a new folder, as in `save_shrunk`.

    Raises:
        TombolaError: the folder holds something else; or weights that the ticket pruned are not zero any more.
    """
    folder = Path(folder)
    if isinstance(model, Subnetwork):
        if model.gated:
            raise TombolaError("gates are no part of a file: save what tombola.shrunk(model, ticket) or retrain gives")
        model = model.model
    if not isinstance(model, nn.Module) or not (tickets_of(model) or sparse_ticket(model)):
        if (folder / MARK).is_file():
            raise TombolaError(f"{folder} holds a shrunk model, and this one is not it; choose another folder")
        with quiet():
            if isinstance(model, nn.Module):
                library_of(model).save(model, folder)
                save_companions(tokenizer, folder)
            else:
                model.save_pretrained(folder)
        return
    check_zeros(model)
    with publish(folder, replace=(folder / MARK).is_file()) as draft:
        for file in folder.iterdir() if folder.is_dir() else ():
            if not WEIGHTS.fullmatch(file.name) and file.name not in ("README.md", BEFORE):
                (shutil.copytree if file.is_dir() else shutil.copy2)(file, draft / file.name)
        _write(model, draft)
        save_companions(tokenizer, draft)
        again, own = cast(nn.Module, load(draft)).state_dict(), model.state_dict()
        if again.keys() != own.keys() or not all(same_bits(again[name], tensor) for name, tensor in own.items()):
            raise TombolaError("the model that was written is another when it is read back; report it")


def load(folder: Path | str) -> "PreTrainedModel | ModelMixin | DiffusionPipeline":
    """The model that `save_shrunk`, `save` or its own `save_pretrained` wrote, in evaluation mode on the CPU.

    Of a shrunk network nothing of the original size is ever allocated. The class is one of transformers' or diffusers'
    own; no code of the folder runs. A denoiser works in the pipeline of the model that it was made from:
    `DiffusionPipeline.from_pretrained(original, unet=load(folder))`, or `transformer=` where that is its name; the
    folder of such a pipeline, once it is saved, is opened whole.

    What a ticket of weights pruned gets no gradient, and so stays zero however the model is trained.

    Raises:
        TombolaError: no shrunk model there, a file is damaged, or weights of another model stand beside it.
    """
    folder = Path(folder)
    if (folder / PIPELINE).is_file() and not (folder / MARK).is_file():
        if not any(folder.glob(f"*/{MARK}")):
            raise TombolaError(f"no part of the pipeline in {folder} was shrunk; open it with diffusers")
        return load_pipeline(folder)
    return cast("PreTrainedModel | ModelMixin", load_shrunk(folder))


def load_pipeline(folder: Path) -> "DiffusionPipeline":
    """The pipeline in a folder, whole or with parts that were shrunk, on the CPU; no code of the folder runs.

    Raises:
        TombolaError: there is none, a file is damaged, or its weights are pickles.
    """
    if not (folder / PIPELINE).is_file():
        raise TombolaError(f"{folder} holds no pipeline of diffusers: it has no {PIPELINE}; give the folder of one")
    refuse_pickles(str(folder), folder)
    from diffusers import DiffusionPipeline

    parts = shrunk_parts(folder)
    with quiet(), loading(str(folder)):
        options: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False, **parts}
        return cast("DiffusionPipeline", DiffusionPipeline.from_pretrained(folder, **options))


def save_pretrained(model: nn.Module, save_directory: Any, *args: Any, **options: Any) -> None:
    """Save a shrunk model by its class's own `save_pretrained`, with the tickets beside what that writes.

    Raises:
        TombolaError: an option would write something that `load` cannot open; weights that were pruned are not zero.
    """
    base = cast(Any, type(model)).save_pretrained
    if options.get("push_to_hub"):
        raise TombolaError("save the shrunk model in a folder, and push that with huggingface_hub.upload_folder")
    if options.get("safe_serialization") is False:
        raise TombolaError("a shrunk model is saved in safetensors alone; leave safe_serialization=False out")
    check_zeros(model)
    if "save_original_format" in inspect.signature(base).parameters:
        # The names of older transformers' modules would fit no module of this one.
        options["save_original_format"] = False
    base(model, save_directory, *args, **options)
    if options.get("is_main_process", True):
        folder = Path(save_directory)
        for stale in (TENSORS, "README.md"):
            (folder / stale).unlink(missing_ok=True)
        _write_tickets(model, folder)


def _write(model: nn.Module, folder: Path) -> None:
    """Write all of a shrunk model, in the small layout, into an existing folder."""
    library_of(model).write_config(model, folder)
    save_file(_tensors(model), folder / TENSORS)
    _write_tickets(model, folder)


def _write_tickets(model: nn.Module, folder: Path) -> None:
    """Write the tickets of a shrunk model, and the mark, beside its tensors."""
    tickets = _tickets(model)
    shutil.rmtree(folder / BEFORE, ignore_errors=True)
    for place, ticket in zip(places(len(tickets)), tickets, strict=True):
        (folder / place).mkdir(parents=True, exist_ok=True)
        ticket.write(folder / place)
    _write_mark(model, len(tickets), folder)


def _tickets(model: nn.Module) -> list[Ticket]:
    """Tickets under which a model was shrunk, in that order."""
    sparse = sparse_ticket(model)
    return [*tickets_of(model), *([] if sparse is None else [sparse])]


def _write_mark(model: nn.Module, tickets: int, folder: Path) -> None:
    library = library_of(model)
    files = sorted(file.name for file in folder.iterdir() if WEIGHTS.fullmatch(file.name))
    written = {name for file in files for name in load_file(folder / file)}
    write_json(
        folder / MARK,
        {
            "format": FORMAT,
            "library": library.name,
            "version": importlib.metadata.version(library.name),
            "class": type(model).__name__,
            "like": relative_of(model),
            "tickets": tickets,
            "shared": _aliases(model, written),
            "computed": {name: str(buffer.dtype).removeprefix("torch.") for name, buffer in computed(model)},
            "sha256": {name: sha256(folder / name) for name in (*digested(tickets), *files)},
        },
    )


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Tensors to write: the model's, each once, and of those that a mask covers the survivors."""
    aliases, sparse = _aliases(model), sparse_ticket(model)
    tensors = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items() if name not in aliases}
    if sparse is not None:
        for matrix in dissect(model).matrices:
            tensors[matrix.parameter] = packed(tensors[matrix.parameter], sparse.masks[matrix.name])
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _aliases(model: nn.Module, written: Collection[str] = ()) -> dict[str, str]:
    """Names of tensors that are the same as another → that one's name, of those in a file where `written` says so."""
    owners: dict[int, str] = {}
    tensors = model.state_dict(keep_vars=True)
    for name in sorted(tensors, key=lambda name: name not in written):
        owners.setdefault(id(tensors[name]), name)
    return {name: owner for name, tensor in tensors.items() if (owner := owners[id(tensor)]) != name}
