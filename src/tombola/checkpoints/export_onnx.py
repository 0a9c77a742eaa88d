"""A ticket as an ONNX graph, run with ONNX Runtime on several shapes before it is published."""

import contextlib
import copy
import importlib.util
import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from typing_extensions import override

from tombola.architectures.dummy_inputs import dummy_inputs
from tombola.checkpoints.checkpoint import check_removes
from tombola.checkpoints.model_card import ONNX, ModelCardWriter
from tombola.checkpoints.model_libraries import Companions, save_companions
from tombola.foundations.atomic_files import publish
from tombola.foundations.errors import TombolaError, memory_errors, reason
from tombola.subnetworks.equivalence import computed, difference, meaningful
from tombola.subnetworks.subnetwork import masked, shrunk
from tombola.tickets.ticket import Ticket
from tombola.tickets.ticket_files import BESIDE

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""Packages that the export needs: the extra `onnx`."""
_AXES = {"pixel_values": {0: "batch"}, "decoder_input_ids": {0: "batch", 1: "decoder_sequence"}}
_EXPORTED = (4, 24)
"""Batch and length that the graph is traced with; the others are those that it is tried on."""
_TRIED = (_EXPORTED, (1, 3), (3, 17))


@memory_errors()
def save_onnx(
    model: nn.Module, ticket: Ticket, folder: Path | str, *, tokenizer: Companions | None = None, force: bool = False
) -> float:
    """Write a ticket as an ONNX graph in fp32, and prove with ONNX Runtime that it computes what the masked model does.

    Inputs are those of the model by name (`input_ids`, `attention_mask`, `token_type_ids` where the model tells
    segments apart, `decoder_input_ids`, `pixel_values`); batch and lengths are free. The output is `logits`, or
    `last_hidden_state` of a model without a head. There is no KV cache.

    Args:
        model: the whole model; it is not changed.
        ticket: what survives. Pruned weights are zeros in the graph; pruned heads and MLPs are not in it.
        folder: new: `model.onnx`, the configuration, the ticket in `ticket/`.
        tokenizer: source of a tokenizer to put beside the model, where it has one.
        force: write a ticket that removes nothing, too.

    Returns:
        The largest difference of an output between ONNX Runtime and the masked model, relative to the largest output.

    Raises:
        TombolaError: a package is missing, the ticket is for another model, the folder exists, the model cannot be
            exported, or the graph computes something else (nothing is written then).
        FailedError: the ticket removes nothing.
    """
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise TombolaError(f"ONNX needs {', '.join(missing)}; pip install 'tombola[onnx]'")
    if not isinstance(model, PreTrainedModel):
        raise TombolaError(
            f"{type(model).__name__} is no transformers model, so Tombola cannot export it to ONNX; take another way "
            "out, such as shrink or zeros"
        )
    plain = model if (model.dtype, model.device.type) == (torch.float32, "cpu") else copy.deepcopy(model).float().cpu()
    # Attention over no heads becomes a reshape that ONNX Runtime refuses: such a sublayer keeps a head of zeros.
    small = shrunk(plain, ticket, empty=False)
    check_removes(model, ticket, force=force)
    with publish(Path(folder)) as draft:
        output = export_graph(small.model, _inputs(plain, *_EXPORTED), draft / ONNX)
        config = copy.deepcopy(model.config)
        config.architectures = [type(model).__name__]
        config.save_pretrained(draft)
        (draft / BESIDE).mkdir()
        ticket.write(draft / BESIDE)
        save_companions(tokenizer, draft)
        reference, apart = masked(plain, ticket), 0.0
        for shape in _TRIED:
            given = _inputs(plain, *shape)
            found = meaningful(run_graph(draft / ONNX, given, output), given)
            apart = max(apart, difference(computed(reference, given), found, "the ONNX graph"))
        ModelCardWriter("onnx", model, small, apart).write(draft)
    return apart


class _Graph(nn.Module):
    """A model whose inputs are positional and whose output is one tensor, as a graph has them."""

    def __init__(self, model: nn.Module, names: tuple[str, ...], output: str) -> None:
        super().__init__()
        self.model, self.names, self.output = model, names, output
        takes_cache = "use_cache" in inspect.signature(model.forward).parameters
        self.options: dict[str, Any] = {"use_cache": False} if takes_cache else {}

    @override
    def forward(self, *inputs: Tensor) -> Tensor:
        found: Tensor = self.model(**dict(zip(self.names, inputs, strict=True)), **self.options)[self.output]
        return found


def export_graph(model: nn.Module, given: Mapping[str, Tensor], path: Path) -> str:
    """Write the graph of a model; the name of its output."""
    assert isinstance(model, PreTrainedModel)
    model.eval()
    # Flash attention and its like have no graph. `model` is a copy.
    model.set_attn_implementation("eager")
    with torch.no_grad():
        found = model(**given)
    output = next((name for name in ("logits", "last_hidden_state") if name in found), None)
    if output is None:
        raise TombolaError(
            f"a graph has one output, and this {type(model).__name__} gives {' and '.join(found)}; take another way "
            "out, such as zeros"
        )
    try:
        with _silently(), torch.no_grad():
            program = torch.onnx.export(
                _Graph(model, tuple(given), output),
                tuple(given.values()),
                input_names=list(given),
                output_names=[output],
                dynamic_shapes=(
                    tuple(_AXES.get(name, {0: "batch", one.ndim - 1: "sequence"}) for name, one in given.items()),
                ),
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            # Every node carries the stack of the export, with paths of this machine that are nobody's business.
            for node in program.model.graph.all_nodes():
                node.metadata_props.clear()
                for value in node.outputs:
                    value.metadata_props.clear()
            program.save(path)
    except torch.onnx.OnnxExporterError as error:
        raise TombolaError(
            f"PyTorch cannot export this {type(model).__name__} to ONNX ({reason(error)}); take another way out, "
            "such as zeros"
        ) from error
    return output


def run_graph(path: Path, given: Mapping[str, Tensor], output: str) -> Tensor:
    """Outputs of ONNX Runtime on the CPU.

    Raises:
        TombolaError: it refuses the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Threads that spin while they wait make a shared machine many times slower.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        found = session.run([output], {name: tensor.numpy() for name, tensor in given.items()})
    # Its errors have no class in common.
    except Exception as error:
        raise TombolaError(
            f"ONNX Runtime cannot run this model's graph ({reason(error)}), so it was not saved; take another way "
            "out, such as zeros"
        ) from error
    return torch.from_numpy(found[0])


def _inputs(model: PreTrainedModel, batch: int, length: int) -> dict[str, Tensor]:
    given = dummy_inputs(model, batch, length)
    segments = getattr(model.config, "type_vocab_size", 0) or 0
    if segments > 1 and "token_type_ids" in inspect.signature(model.forward).parameters:
        types = torch.zeros_like(given["input_ids"])
        types[..., types.shape[-1] // 3 :] = 1
        given["token_type_ids"] = types
    return given


@contextlib.contextmanager
def _silently() -> Iterator[None]:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)
