"""Shrunk model on disk: the original's configuration, the ticket, and the tensors or values that are left.

Two layouts, told apart by the ticket. One of heads and MLPs: the shrunk network's tensors. One of weights: of every
prunable matrix the values that survive, whose places the ticket knows, and all else whole; `save_zeros` writes the
original shapes with zeros, for tools that know nothing of tickets.

A model that was loaded is saved again by `save`, or by its own `save_pretrained`, which trainers and pipelines call.
"""

import functools
import hashlib
import importlib.metadata
import inspect
import re
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.checkpoints.loading import loading, quiet
from tombola.checkpoints.model_card import ModelCardWriter, bytes_on_disk, dense_bytes, megabytes
from tombola.checkpoints.model_libraries import LIBRARIES, Companions, Library, library_of, save_companions
from tombola.checkpoints.refusals import CONFIG, MARK, PIPELINE, refuse_pickles
from tombola.foundations.atomic_files import publish, read_json, write_json
from tombola.foundations.errors import FailedError, TombolaError, memory_errors, reading
from tombola.foundations.tensor_bits import as_bits, same_bits
from tombola.subnetworks.equivalence import verify_equivalent
from tombola.subnetworks.recognition import recognise, relative_of
from tombola.subnetworks.subnetwork import Subnetwork, expanded, shrunk
from tombola.tickets.ticket import BESIDE, FILES, Ticket, every_site

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, ModelMixin


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
_DIGESTED = (CONFIG, *FILES)
_WEIGHTS = re.compile(r"(shrunk|(model|pytorch_model|diffusion_pytorch_model).*)\.(safetensors|bin)")
"""Files that hold a model's weights; a trainer's folder has other `.bin` files."""


@dataclass(frozen=True)
class _Origin:
    """Origin of a loaded model: what is left of the original, that one's anatomy, and the family that it is like."""

    ticket: Ticket
    anatomy: Anatomy
    like: str | None

    def of(self, model: nn.Module) -> Subnetwork:
        present = self.ticket
        if present.kind == "weights":
            present = Ticket.full(self.anatomy, every_site(self.anatomy))
        return Subnetwork(model, self.anatomy, self.ticket, present)


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
    library = library_of(model)
    small = shrunk(model, ticket)
    check_removes(model, ticket, force=force)
    with publish(Path(folder)) as draft:
        library.write_config(model, draft)
        save_file(_tensors(small), draft / TENSORS)
        ticket.write(draft)
        if not force:
            _check_smaller(model, ticket, draft)
        _write_mark(small.model, relative_of(model), draft)
        save_companions(tokenizer, draft)
        again = load(draft)
        apart = verify_equivalent(model, small, again, "the shrunk model")
        if ticket.kind == "weights" and _aliases(small.model) != _aliases(again):
            raise TombolaError(
                "the sparse model ties other tensors than the masked one, so it was not saved; report it"
            )
        ModelCardWriter("sparse" if ticket.kind == "weights" else "shrunk", model, small, apart).write(draft)
    return apart


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
        library.save(expanded(small), draft)
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


def _check_smaller(model: nn.Module, ticket: Ticket, draft: Path) -> None:
    found, dense = bytes_on_disk(draft), dense_bytes(model)
    if found >= dense:
        kept = len(ticket) / ticket.total
        why = f"{kept:.1%} of what can be pruned survive"
        if ticket.kind == "weights":
            why += ", and one bit a weight tells where"
        raise FailedError(
            f"the files would not be smaller, {megabytes(found)} instead of {megabytes(dense)}, as {why}; they are not "
            f"written; {_ALL_THE_SAME}"
        )


def save(model: "nn.Module | DiffusionPipeline", folder: Path | str, *, tokenizer: Companions | None = None) -> None:
    """Save a model so that it can be opened again: a shrunk one by `load`, any other by its own library.

    A model that `load` opened may have been trained since; it is written in the small layout, into a new folder or over
    its own, whose other files (tokenizer, schedule) stay. What was written is read back and compared bit for bit first.

    Args:
        model: of transformers or diffusers, or a whole pipeline of diffusers.
        folder: new, or that of a shrunk model.
        tokenizer: source of what is to stand beside a model in a new folder, as in `save_shrunk`.

    Raises:
        TombolaError: the folder holds something else; or weights that the ticket pruned are not zero any more.
    """
    folder = Path(folder)
    origin = getattr(model, _ORIGIN, None)
    if not isinstance(origin, _Origin):
        if (folder / MARK).is_file():
            raise TombolaError(f"{folder} holds a shrunk model, and this one is not it; choose another folder")
        with quiet():
            if isinstance(model, nn.Module):
                library_of(model).save(model, folder)
                save_companions(tokenizer, folder)
            else:
                model.save_pretrained(folder)
        return
    small = origin.of(cast(nn.Module, model))
    _check_zeros(small)
    with publish(folder, replace=(folder / MARK).is_file()) as draft:
        for file in folder.iterdir() if folder.is_dir() else ():
            if not _WEIGHTS.fullmatch(file.name) and file.name != "README.md":
                (shutil.copytree if file.is_dir() else shutil.copy2)(file, draft / file.name)
        library_of(small.model).write_config(small.model, draft)
        save_file(_tensors(small), draft / TENSORS)
        origin.ticket.write(draft)
        _write_mark(small.model, origin.like, draft)
        save_companions(tokenizer, draft)
        again, own = load(draft).state_dict(), small.model.state_dict()
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
        parts = {file.parent.name: load_subnetwork(file.parent).model for file in sorted(folder.glob(f"*/{MARK}"))}
        if not parts:
            raise TombolaError(f"no part of the pipeline in {folder} was shrunk; open it with diffusers")
        refuse_pickles(str(folder), folder)
        from diffusers import DiffusionPipeline

        with quiet(), loading(str(folder)):
            options: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False, **parts}
            return cast("DiffusionPipeline", DiffusionPipeline.from_pretrained(folder, **options))
    return cast("PreTrainedModel | ModelMixin", load_subnetwork(folder).model)


@memory_errors()
def load_subnetwork(folder: Path | str) -> Subnetwork:
    """Load a shrunk model as `load` does, errors and all, with its ticket and the anatomy of the original."""
    folder = Path(folder)
    facts, library = _mark(folder)
    ticket = Ticket.load(folder)
    with reading(f"the shrunk model in {folder}", "shrink it again"):
        digests = dict(facts["sha256"])
        files = [str(name) for name in digests if _WEIGHTS.fullmatch(str(name))]
        if strangers := sorted({one.name for one in folder.iterdir() if _WEIGHTS.fullmatch(one.name)} - {*files}):
            raise TombolaError(
                f"{folder} holds two models: the shrunk one, and {strangers[0]} beside it; delete what is out of date, "
                "and save with tombola.save"
            )
        for name in (*_DIGESTED, *files):
            if _sha256(folder / name) != digests[name]:
                raise ValueError(f"{name} is not the file that was written")
        model, origin = _blank(folder, facts, library, ticket)
        state = {name: tensor for file in files for name, tensor in load_file(folder / file).items()}
        if ticket.kind == "weights":
            ticket.check(origin.anatomy)
            for matrix in origin.anatomy.matrices if files == [TENSORS] else ():
                state[matrix.parameter] = unpacked(state[matrix.parameter], ticket.masks[matrix.name])
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
        library.finish(model, folder)
    model.eval()
    found = origin.of(model)
    if files != [TENSORS]:
        # In the small layout there is no room for what was pruned.
        _check_zeros(found)
    _remember(model, origin)
    return found


def blank_shrunk(folder: Path) -> nn.Module:
    """A shrunk model of its real shapes, on `meta` but for buffers: no weights are read or held.

    Raises:
        TombolaError: as `load`, but for damaged weights.
    """
    facts, library = _mark(folder)
    # The caller may make what it makes on `meta`, and indices need memory.
    with reading(f"the shrunk model in {folder}", "shrink it again"), torch.device("cpu"):
        return _blank(folder, facts, library, Ticket.load(folder))[0]


def _mark(folder: Path) -> tuple[dict[str, Any], Library]:
    """The mark of a shrunk model, and the library that it is of."""
    if not (folder / MARK).is_file():
        raise TombolaError(f"{folder} holds no shrunk model ({MARK} is missing); make one with tombola shrink")
    facts = read_json(folder / MARK)
    if facts.get("format") != FORMAT:
        raise TombolaError(f"{folder} has format {facts.get('format')}, this Tombola reads {FORMAT}; update Tombola")
    library = LIBRARIES.get(str(facts.get("library")))
    if library is None:
        raise TombolaError(f"{folder}: {MARK} names no library that Tombola knows; shrink the model again")
    return facts, library


def _blank(folder: Path, facts: dict[str, Any], library: Library, ticket: Ticket) -> tuple[nn.Module, _Origin]:
    """A shrunk model without memory for its parameters, and where it is from."""
    model = library.blank(str(facts.get("class")), folder)
    if model is None:
        raise TombolaError(
            f"{folder}: this {library.name} has no class {facts.get('class')!r}; install {facts.get('version')}"
        )
    # Checked when it was written; a model without memory computes nothing.
    recognise(model, check=False, like=facts["like"])
    origin = _Origin(ticket, dissect(model), facts["like"])
    return model if ticket.kind == "weights" else shrunk(model, ticket).model, origin


_ORIGIN = "_tombola_origin"


class _SavePretrained:
    """The `save_pretrained` of a loaded model: its class's own, and the ticket beside what that writes.

    An object, since pickle looks a bound function up by its name, and would find that of the class.
    """

    def __init__(self, model: nn.Module, origin: _Origin) -> None:
        self._model, self._origin = model, origin
        functools.update_wrapper(cast(Any, self), cast(Any, type(model)).save_pretrained)

    def __call__(self, save_directory: Any, *args: Any, **options: Any) -> None:
        base, model, origin = cast(Any, type(self._model)).save_pretrained, self._model, self._origin
        if options.get("push_to_hub"):
            raise TombolaError("save the shrunk model in a folder, and push that with huggingface_hub.upload_folder")
        if options.get("safe_serialization") is False:
            raise TombolaError("a shrunk model is saved in safetensors alone; leave safe_serialization=False out")
        _check_zeros(origin.of(model))
        if "save_original_format" in inspect.signature(base).parameters:
            # The names of older transformers' modules would fit no module of this one.
            options["save_original_format"] = False
        base(model, save_directory, *args, **options)
        if options.get("is_main_process", True):
            folder = Path(save_directory)
            for stale in (TENSORS, "README.md"):
                (folder / stale).unlink(missing_ok=True)
            origin.ticket.write(folder)
            _write_mark(model, origin.like, folder)


def _remember(model: nn.Module, origin: _Origin) -> None:
    """Let a loaded model be saved again, by `save` and by its own `save_pretrained`, and stay as sparse as it is."""
    model.__dict__[_ORIGIN] = origin
    model.__dict__["save_pretrained"] = _SavePretrained(model, origin)
    if origin.ticket.kind == "weights":
        for matrix in origin.anatomy.matrices:
            mask = origin.ticket.masks[matrix.name]
            model.get_parameter(matrix.parameter).register_hook(functools.partial(_only_survivors, mask))


def _only_survivors(mask: Tensor, gradient: Tensor) -> Tensor:
    return gradient.where(mask.to(gradient.device), 0.0)


def _check_zeros(small: Subnetwork) -> None:
    for matrix in small.anatomy.matrices if small.ticket.kind == "weights" else ():
        values = small.model.get_parameter(matrix.parameter).detach()
        if bool((values.cpu()[~small.ticket.masks[matrix.name]] != 0).any()):
            raise TombolaError(
                f"{matrix.parameter} has weights that its ticket pruned and that are not zero any more, so that it is "
                "another model; train what tombola.load gives itself, no copy of it"
            )


def _write_mark(model: nn.Module, like: str | None, folder: Path) -> None:
    library = library_of(model)
    files = sorted(file.name for file in folder.iterdir() if _WEIGHTS.fullmatch(file.name))
    written = {name for file in files for name in load_file(folder / file)}
    write_json(
        folder / MARK,
        {
            "format": FORMAT,
            "library": library.name,
            "version": importlib.metadata.version(library.name),
            "class": type(model).__name__,
            "like": like,
            "shared": _aliases(model, written),
            "computed": {name: str(buffer.dtype).removeprefix("torch.") for name, buffer in _computed(model)},
            "sha256": {name: _sha256(folder / name) for name in (*_DIGESTED, *files)},
        },
    )


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


def _aliases(model: nn.Module, written: Collection[str] = ()) -> dict[str, str]:
    """Names of tensors that are the same as another → that one's name, of those in a file where `written` says so."""
    owners: dict[int, str] = {}
    tensors = model.state_dict(keep_vars=True)
    for name in sorted(tensors, key=lambda name: name not in written):
        owners.setdefault(id(tensors[name]), name)
    return {name: owner for name, tensor in tensors.items() if (owner := owners[id(tensor)]) != name}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
