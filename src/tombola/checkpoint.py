"""A physically smaller model on disk: the original's configuration, the ticket, and the tensors that are left."""

import contextlib
import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import transformers
from accelerate import init_empty_weights
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel

from tombola.anatomy import count_parameters
from tombola.errors import TombolaError
from tombola.gates import attach
from tombola.results import bytes_of
from tombola.sources import locate
from tombola.store import publish, read_json, write_bytes, write_json
from tombola.subnetwork import Subnetwork, masked, shrunk
from tombola.ticket import Ticket

TENSORS = "shrunk.safetensors"
"""Not `model.safetensors`: plain `from_pretrained` then says that it finds no weights, not that shapes differ."""
FORMAT = 1
TOLERANCE = 1e-4
"""Largest difference of an output in the self-check, relative to the largest output; rounding is near 1e-6 in fp32."""


@dataclass(frozen=True)
class Gain:
    """What shrinking saved.

    Attributes:
        parameters, parameters_before: of the whole model.
        bytes, bytes_before: memory of the parameters.
        seconds, seconds_before: of a forward pass of 32 examples, the best of five.
        difference: largest relative difference of an output between the shrunk and the masked model.
    """

    parameters: int
    parameters_before: int
    bytes: int
    bytes_before: int
    seconds: float
    seconds_before: float
    difference: float


def save_shrunk(model: nn.Module, ticket: Ticket, folder: Path | str, *, tokenizer: str | None = None) -> Gain:
    """Shrink a model, prove on random inputs that it computes what the masked one does, and write it as a new folder.

    Args:
        model: the whole model; it is not changed.
        ticket: of heads and MLPs.
        folder: new; `load` reads it.
        tokenizer: source of a tokenizer to put beside the model, where it has one.

    Raises:
        TombolaError: the ticket is one of weights or for another model, the folder exists, or the shrunk model that
            was read back computes something else (nothing is written then).
    """
    if ticket.pruning == "weights":
        raise TombolaError("only a ticket of heads and MLPs makes a model smaller; this one is of weights")
    if not isinstance(model, PreTrainedModel):
        raise TombolaError(f"{type(model).__name__} is no transformers model, so it cannot be saved as one")
    small = shrunk(model, ticket)
    with publish(Path(folder)) as draft:
        config = copy.deepcopy(model.config)
        config.architectures = [type(model).__name__]
        config.save_pretrained(draft)
        write_bytes(draft / TENSORS, save(_distinct(small.model)))
        ticket.write(draft)
        write_json(
            draft / "tombola.json",
            {
                "format": FORMAT,
                "class": type(model).__name__,
                "transformers": transformers.__version__,
                "shared": _aliases(small.model),
            },
        )
        if tokenizer is not None:
            with contextlib.suppress(OSError, ValueError):
                AutoTokenizer.from_pretrained(locate(tokenizer)).save_pretrained(draft)
        given = random_inputs(model, 4)
        expected, found = _output(masked(model, ticket), given), _output(replace(small, model=load(draft)), given)
        difference = float((expected - found).abs().max() / expected.abs().max())
        if not difference <= TOLERANCE:
            raise TombolaError(
                f"the shrunk model differs from the masked one by {difference:.1e} of the largest output, so it was "
                "not saved; please report this model and ticket"
            )
    given = random_inputs(model, 32)
    return Gain(
        parameters=count_parameters(small.model),
        parameters_before=count_parameters(model),
        bytes=bytes_of(small.model),
        bytes_before=bytes_of(model),
        seconds=_fastest(small.model, given),
        seconds_before=_fastest(model, given),
        difference=difference,
    )


def load(folder: Path | str) -> PreTrainedModel:
    """The model that `save_shrunk` wrote, ready to use, in evaluation mode on the CPU.

    Nothing of the original size is ever allocated. The class is one of transformers' own; no code of the folder runs.

    Raises:
        TombolaError: no shrunk model there, or a file is damaged.
    """
    folder = Path(folder)
    if not (folder / "tombola.json").is_file():
        raise TombolaError(f"{folder} holds no shrunk model (tombola.json is missing); make one with tombola shrink")
    facts = read_json(folder / "tombola.json")
    if facts.get("format") != FORMAT:
        raise TombolaError(f"{folder} has format {facts.get('format')}, this Tombola reads {FORMAT}; update Tombola")
    kind = getattr(transformers, str(facts.get("class")), None)
    if not (isinstance(kind, type) and issubclass(kind, PreTrainedModel)):
        raise TombolaError(
            f"{folder}: this transformers has no class {facts.get('class')!r}; install {facts.get('transformers')}"
        )
    ticket = Ticket.load(folder)
    try:
        # Buffers are computed, as rotary frequencies and position ids stand in no file.
        with init_empty_weights(include_buffers=False):
            skeleton = kind(AutoConfig.from_pretrained(folder))
        model = shrunk(skeleton, ticket).model
        state = load_file(folder / TENSORS)
        owners = {name: nn.Parameter(tensor, tensor.is_floating_point()) for name, tensor in state.items()}
        shared = {alias: owners[name] for alias, name in facts["shared"].items()}
        model.load_state_dict(owners | shared, assign=True)
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TombolaError(f"the shrunk model in {folder} is damaged ({reason}); shrink it again") from error
    assert isinstance(model, PreTrainedModel)
    model.tie_weights()
    model.eval()
    return model


def random_inputs(model: PreTrainedModel, batch: int, length: int = 24) -> dict[str, Tensor]:
    """Inputs that any model of text or images takes, the same each time.

    Token ids [batch, length] with a mask that pads every second row at the end (for encoder-decoder models also
    decoder ids), or pixels [batch, channels, size, size].
    """
    generator = torch.Generator().manual_seed(0)
    config = model.config
    device = model.device
    if model.main_input_name == "pixel_values":
        size = config.image_size
        pixels = torch.randn(batch, config.num_channels, size, size, generator=generator)
        return {"pixel_values": pixels.to(device, model.dtype)}
    longest = getattr(config, "max_position_embeddings", None)
    length = length if longest is None or longest <= 0 else min(length, longest // 2)
    # Low ids are special tokens, some of which a model treats in its own way.
    ids = torch.randint(min(10, config.vocab_size // 2), config.vocab_size, (batch, length), generator=generator)
    mask = torch.ones_like(ids)
    mask[1::2, length // 2 :] = 0
    given = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
    if config.is_encoder_decoder:
        given["decoder_input_ids"] = ids[:, : length // 2].to(device)
    return given


def _output(subnetwork: Subnetwork, given: Mapping[str, Tensor]) -> Tensor:
    """Logits, or the last hidden state of a model without a head; 0 at padding, where nothing is promised."""
    model = subnetwork.model
    training = model.training
    model.eval()
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            if subnetwork.gated:
                gates = stack.enter_context(attach(model, subnetwork.anatomy, subnetwork.present, subnetwork.ticket))
                first = next(iter(given.values()))
                gates.open(len(first), first.device, grad=False)
            output = model(**given)
    finally:
        model.train(training)
    found: Tensor = output.logits if "logits" in output else output.last_hidden_state
    if found.ndim == 3 and "attention_mask" in given and "decoder_input_ids" not in given:
        found = found.where(given["attention_mask"].bool()[..., None], 0.0)
    return found.float().cpu()


def _fastest(model: nn.Module, given: Mapping[str, Tensor]) -> float:
    """Seconds of a forward pass, the best of five."""
    training = model.training
    model.eval()
    seconds = []
    with torch.no_grad():
        for _ in range(5):
            started = time.perf_counter()
            model(**given)
            seconds.append(time.perf_counter() - started)
    model.train(training)
    return min(seconds)


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


def _distinct(model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors, each once."""
    aliases = _aliases(model)
    return {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items() if name not in aliases
    }
