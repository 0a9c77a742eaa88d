"""A smaller model on disk: the original's configuration, the ticket, and the tensors or values that are left.

Two layouts, told apart by the ticket. One of heads and MLPs: the shrunk network's tensors. One of weights: of every
prunable matrix the values that survive ([`tombola.sparse`][]), whose places the ticket knows, and all else whole.
"""

import copy
import hashlib
from pathlib import Path

import transformers
from accelerate import init_empty_weights
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, GenerationConfig, PreTrainedModel
from transformers.utils import GENERATION_CONFIG_NAME

from tombola.anatomy import dissect
from tombola.card import Card
from tombola.errors import TombolaError
from tombola.recognition import recognise, relative_of
from tombola.selfcheck import prove
from tombola.sources import MARK, save_tokenizer
from tombola.sparse import packed, unpacked
from tombola.store import publish, read_json, write_json
from tombola.subnetwork import Subnetwork, shrunk
from tombola.ticket import Ticket

TENSORS = "shrunk.safetensors"
"""Not `model.safetensors`: plain `from_pretrained` then says that it finds no weights, not that shapes differ."""
FORMAT = 1
_DIGESTED = (TENSORS, "masks.safetensors")


def save_shrunk(model: nn.Module, ticket: Ticket, folder: Path | str, *, tokenizer: str | None = None) -> float:
    """Make a model smaller, prove on what was written that it equals the masked one, and publish it as a new folder.

    Heads and MLPs are removed from the network. Weights that were pruned are left out of the file and are zeros again
    when it is loaded.

    Args:
        model: the whole model; it is not changed.
        ticket: what survives.
        folder: new; `load` reads it.
        tokenizer: source of a tokenizer to put beside the model, where it has one.

    Returns:
        The largest difference of an output between the model that was read back and the masked one, relative to the
        largest output. With a ticket of weights it is 0: there every bit of every tensor was compared.

    Raises:
        TombolaError: the ticket is for another model, the folder exists, or the model that was read back is another
            (nothing is written then).
    """
    model = transformers_model(model)
    small = shrunk(model, ticket)
    with publish(Path(folder)) as draft:
        config = copy.deepcopy(model.config)
        config.architectures = [type(model).__name__]
        config.save_pretrained(draft)
        if model.can_generate() and model.generation_config is not None:
            model.generation_config.save_pretrained(draft)
        save_file(_tensors(small), draft / TENSORS)
        ticket.write(draft)
        write_json(
            draft / MARK,
            {
                "format": FORMAT,
                "class": type(model).__name__,
                "like": relative_of(model),
                "transformers": transformers.__version__,
                "shared": _aliases(small.model),
                "sha256": {name: _sha256(draft / name) for name in _DIGESTED},
            },
        )
        save_tokenizer(tokenizer, draft)
        apart = _check(model, small, draft)
        Card("sparse" if ticket.pruning == "weights" else "shrunk", model, small, apart).write(draft)
    return apart


def load(folder: Path | str) -> PreTrainedModel:
    """The model that `save_shrunk` wrote, ready to use, in evaluation mode on the CPU.

    Of a shrunk network nothing of the original size is ever allocated. The class is one of transformers' own; no code
    of the folder runs.

    Raises:
        TombolaError: no shrunk model there, or a file is damaged.
    """
    folder = Path(folder)
    if not (folder / MARK).is_file():
        raise TombolaError(f"{folder} holds no shrunk model ({MARK} is missing); make one with tombola shrink")
    facts = read_json(folder / MARK)
    if facts.get("format") != FORMAT:
        raise TombolaError(f"{folder} has format {facts.get('format')}, this Tombola reads {FORMAT}; update Tombola")
    kind = getattr(transformers, str(facts.get("class")), None)
    if not (isinstance(kind, type) and issubclass(kind, PreTrainedModel)):
        raise TombolaError(
            f"{folder}: this transformers has no class {facts.get('class')!r}; install {facts.get('transformers')}"
        )
    ticket = Ticket.load(folder)
    try:
        for name in _DIGESTED:
            if _sha256(folder / name) != facts["sha256"][name]:
                raise ValueError(f"{name} is not the file that was written")
        # Buffers are computed, as rotary frequencies and position ids stand in no file.
        with init_empty_weights(include_buffers=False):
            model: nn.Module = kind(AutoConfig.from_pretrained(folder, trust_remote_code=False))
        # Checked when it was written; a model without memory computes nothing.
        recognise(model, check=False, like=facts["like"])
        state = load_file(folder / TENSORS)
        if ticket.pruning == "weights":
            anatomy = dissect(model)
            ticket.check(anatomy)
            for matrix in anatomy.matrices:
                state[matrix.parameter] = unpacked(state[matrix.parameter], ticket.masks[matrix.name])
        else:
            model = shrunk(model, ticket).model
        owners = {name: nn.Parameter(tensor, tensor.is_floating_point()) for name, tensor in state.items()}
        shared = {alias: owners[name] for alias, name in facts["shared"].items()}
        model.load_state_dict(owners | shared, assign=True)
    except (
        *(OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError),
        *(SafetensorError, StrictDataclassError),
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise TombolaError(f"the shrunk model in {folder} is damaged ({reason}); shrink it again") from error
    assert isinstance(model, PreTrainedModel)
    model.tie_weights()
    if (folder / GENERATION_CONFIG_NAME).is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    model.eval()
    return model


def transformers_model(model: nn.Module) -> PreTrainedModel:
    """The model, if it can be saved as transformers does.

    Raises:
        TombolaError: it is none of transformers.
    """
    if not isinstance(model, PreTrainedModel):
        raise TombolaError(f"{type(model).__name__} is no transformers model, so it cannot be saved as one")
    return model


def _check(model: PreTrainedModel, small: Subnetwork, folder: Path) -> float:
    """Compare what a folder holds with the masked model; the difference of their outputs."""
    again = load(folder)
    aliases = _aliases(again)
    apart = prove(model, small, again, "the shrunk model")
    if small.ticket.pruning == "weights" and _aliases(small.model) != aliases:
        raise TombolaError("the sparse model ties other tensors than the masked one, so it was not saved; report it")
    return apart


def _tensors(small: Subnetwork) -> dict[str, Tensor]:
    """What is written: the model's tensors, each once, and of those that a mask covers the survivors."""
    aliases = _aliases(small.model)
    tensors = {name: tensor.detach().cpu() for name, tensor in small.model.state_dict().items() if name not in aliases}
    if small.ticket.pruning == "weights":
        for matrix in small.anatomy.matrices:
            tensors[matrix.parameter] = packed(tensors[matrix.parameter], small.ticket.masks[matrix.name])
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _aliases(model: nn.Module) -> dict[str, str]:
    """Names of tensors that are the same parameter or buffer as an earlier one → that one's name."""
    first: dict[int, str] = {}
    found = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) in first:
            found[name] = first[id(tensor)]
        else:
            first[id(tensor)] = name
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
