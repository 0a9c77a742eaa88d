"""Pruning the weights of a checkpoint that is larger than memory: block by block, from shards to shards.

The model is a skeleton without memory, into which a block's tensors are read just before it is run or pruned. What
comes out is a folder of the same layout, shard for shard, in which the pruned matrices are overwritten in place, with
the ticket beside it. In memory are two blocks, what the calibration text has come to, and a matrix's statistics.
Masks and weights are those of [`prune_weights`][tombola.pruning.weight_pruning.prune_weights].
"""

import contextlib
import functools
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import ModelCardData
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.sites import Matrix
from tombola.checkpoints.blank_models import BLANK
from tombola.checkpoints.loading import loading, locate, quiet
from tombola.checkpoints.model_card import plain
from tombola.checkpoints.refusals import refuse_shrunk
from tombola.checkpoints.sharded_checkpoint import TensorFiles, companions
from tombola.foundations.atomic_files import publish_alone, write_text
from tombola.foundations.errors import TombolaError, memory_errors
from tombola.foundations.progress import SILENT, Progress, shown
from tombola.foundations.resources import return_freed_memory
from tombola.pruning.calibration import Calibration, calibration_inputs
from tombola.pruning.weight_criteria import WeightCut, check_finite, check_stored, prunable_anatomy
from tombola.pruning.weight_pruning import masks_without_data, prune_by_blocks, record
from tombola.subnetworks.recognition import recognise
from tombola.tickets.ticket import bits, write_head
from tombola.tickets.ticket_files import BESIDE, MASKS

_SPARE = 1 << 26
"""Bytes that a disk shall have free beyond the shards and masks."""


class StreamedModel:
    """Model of which only some blocks are in memory, and the shards that its pruned matrices are written to."""

    def __init__(
        self,
        model: PreTrainedModel,
        anatomy: Anatomy,
        names: dict[str, str],
        source: TensorFiles,
        written: TensorFiles,
        masks: TensorFiles,
        cut: WeightCut,
        dtype: torch.dtype,
    ) -> None:
        self.model, self._names, self._source, self._written, self._masks = model, names, source, written, masks
        self._cut = cut
        self._dtype = dtype
        self._layers = {
            row.layer: [name for name in names if name.startswith(f"{row.name}.")] for row in anatomy.attentions
        }
        self._matrices = {matrix.parameter: matrix.name for matrix in anatomy.matrices}
        self._present: set[int] = set()
        self._finished: set[int] = set()
        self._checked: set[str] = set()
        self.survivors = 0
        # The last one, which is asked for twice.
        self.weight = functools.lru_cache(1)(self._weight)

    def load_surroundings(self) -> None:
        """Read what is in no block. Of tables of embeddings, only the rows that are used."""
        blocks = {name for names in self._layers.values() for name in names}
        base = self.model.base_model
        inside = "" if base is self.model else f"{self.model.base_model_prefix}."
        for name in self._names:
            if name not in blocks and name.startswith(inside):
                table = isinstance(self.model.get_submodule(name.rpartition(".")[0]), nn.Embedding)
                self._put(name, self._table(name) if table else self._read(self._source, name))
        self.model.tie_weights()
        for name, parameter in self.model.base_model.named_parameters():
            if parameter.is_meta and f"{inside}{name}" not in blocks:
                raise TombolaError(f"the checkpoint holds no tensor {inside}{name}: download it again")

    def residence(self, layers: set[int]) -> None:
        """Load these layers and free all others."""
        for layer in self._present - layers:
            for name in self._layers[layer]:
                self._put(name, None)
        return_freed_memory()
        for layer in layers - self._present:
            pruned = layer in self._finished and self._cut.sequential
            for name in self._layers[layer]:
                tensor = self._read(self._written if pruned else self._source, name)
                if not pruned and name in self._matrices:
                    check_finite(self._matrices[name], tensor)
                self._put(name, tensor)
        self._present = set(layers)

    def done(self, matrix: Matrix, mask: Tensor, values: Tensor) -> None:
        """Write a matrix and its mask; with sequential pruning, calibration text passes it from now on."""
        self._written.write(self._names[matrix.parameter], values)
        self._masks.write(matrix.name, bits(mask.contiguous()))
        self.survivors += int(mask.sum())
        self._finished.add(matrix.layer)
        if self._cut.calibrated and self._cut.sequential:
            self._put(matrix.parameter, values)

    def _table(self, name: str) -> Tensor:
        tensor = self._source.mapped(self._names[name])
        return tensor if tensor.dtype == self._dtype else self._read(self._source, name)

    def _weight(self, matrix: Matrix) -> Tensor:
        tensor = self._source.read(self._names[matrix.parameter])
        if matrix.name not in self._checked:
            check_finite(matrix.name, tensor)
            self._checked.add(matrix.name)
        return tensor

    def _read(self, shards: TensorFiles, name: str) -> Tensor:
        tensor = shards.read(self._names[name])
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

    def _put(self, name: str, tensor: Tensor | None) -> None:
        path, _, last = name.rpartition(".")
        module = self.model.get_submodule(path)
        if tensor is None:
            tensor = torch.empty_like(getattr(module, last), device="meta")
        if last in module._buffers:
            module._buffers[last] = tensor
        else:
            setattr(module, last, nn.Parameter(tensor, requires_grad=False))


def _opened(
    folder: Path, shards: TensorFiles, cut: WeightCut
) -> tuple[PreTrainedModel, Anatomy, dict[str, str], torch.dtype]:
    """The folder's model without memory, its anatomy, what the shards call its tensors, and the precision of these."""
    model = _skeleton(folder)
    if lacking := set(shards.lacking) - model.all_tied_weights_keys.keys():
        raise TombolaError(f"no shard of {folder} holds {min(lacking)}; download the checkpoint again")
    anatomy = prunable_anatomy(model, cut)
    names = _stored_names(model, anatomy, shards)
    dtype = _stored_dtype(anatomy, shards, names)
    # Buffers are as they are in a model that is loaded in this precision.
    return _skeleton(folder, dtype), anatomy, names, dtype


def _skeleton(folder: Path, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The folder's model without memory but for what it computes itself (rotary frequencies, position ids)."""
    before = torch.get_default_dtype()
    with quiet(), loading(str(folder)):
        name = (AutoConfig.from_pretrained(folder, trust_remote_code=False).architectures or [""])[0]
        try:
            torch.set_default_dtype(dtype or before)
            model = BLANK["transformers"](name, folder)
        finally:
            torch.set_default_dtype(before)
    if model is None:
        raise TombolaError(f"{folder} is of class {name or 'unknown'}, which is no model of this transformers")
    assert isinstance(model, PreTrainedModel)
    # A model without memory computes nothing that could be checked.
    recognise(model, check=False)
    model.eval()
    return model


def _stored_names(model: PreTrainedModel, anatomy: Anatomy, shards: TensorFiles) -> dict[str, str]:
    """Parameter or buffer of the model → what the shards call it, for all that they hold."""
    prefix = f"{model.base_model_prefix}."
    found = {}
    for name in model.state_dict():
        # A base model is saved without the prefix of its name, and may be loaded with it.
        ways = (name, name.removeprefix(prefix) if name.startswith(prefix) else f"{prefix}{name}")
        known = next((way for way in ways if way in shards.slots), None)
        if known is not None:
            found[name] = known
    matrices = {matrix.parameter for matrix in anatomy.matrices}
    # Biases and norms of numbered layers too; names that are tied to another need no tensor.
    known_names = found.keys() | model.all_tied_weights_keys.keys()
    for name, _ in model.named_parameters():
        if name not in known_names and (name in matrices or any(map(str.isdecimal, name.split(".")))):
            raise TombolaError(
                f"the checkpoint holds no tensor {name}: it is incomplete, or named otherwise than this transformers "
                "names it; load it, save it with save_pretrained, or prune it in memory"
            )
    for matrix in anatomy.matrices:
        if (stored := shards.slots[found[matrix.parameter]].shape) != matrix.shape:
            raise TombolaError(
                f"the checkpoint holds {matrix.parameter} as {list(stored)}, and its configuration asks for "
                f"{list(matrix.shape)}; load it, save it with save_pretrained, or prune it in memory"
            )
    return found


def _stored_dtype(anatomy: Anatomy, shards: TensorFiles, names: dict[str, str]) -> torch.dtype:
    found = {shards.slots[names[matrix.parameter]].dtype for matrix in anatomy.matrices}
    for dtype in found:
        check_stored(dtype or torch.uint8)
    if len(found) > 1:
        raise TombolaError("the checkpoint's matrices have different number formats; save it in one")
    (dtype,) = found
    assert dtype is not None
    return dtype


@dataclass(frozen=True)
class PrunedCheckpoint:
    """Checkpoint that was pruned and written: of its prunable `weights`, `survivors` are left; `seconds` of wall time.

    The folder loads with plain `from_pretrained`; the ticket lies in its `ticket/`.
    """

    folder: Path
    architecture: str
    survivors: int
    weights: int
    seconds: float

    @property
    def sparsity(self) -> float:
        """Share of the prunable weights that is removed."""
        return 1 - self.survivors / self.weights


@memory_errors()
def prune_checkpoint(
    source: Path | str,
    out: Path | str,
    cut: WeightCut,
    *,
    calibration: Calibration | None = None,
    progress: Progress | bool = SILENT,
) -> PrunedCheckpoint:
    """Prune the weights of a checkpoint on disk without ever holding the model.

    Args:
        source: folder of a model in safetensors, of a known family, in one file or in shards.
        out: new folder. It appears when all is done; a run that fails or is killed leaves no such folder.
        cut, calibration: as in [`prune_weights`][tombola.pruning.weight_pruning.prune_weights]. All activations of the
            calibration text behind one block are in memory: examples x tokens x hidden size, in the precision of the
            checkpoint.
        progress: counts examples, those of every layer; True for a bar on stderr.

    Raises:
        TombolaError: as `prune_weights`; the folder holds no such checkpoint, or a damaged or quantised one; `out`
            exists, is being written, or does not fit on the disk.
    """
    started = time.perf_counter()
    folder, out = Path(locate(str(source))), Path(out).resolve()
    refuse_shrunk(str(source), folder)
    if not folder.is_dir():
        raise TombolaError(f"{source} is no local folder; download the checkpoint first (hf download {source})")
    with contextlib.ExitStack() as stack:
        shards = TensorFiles.open(folder)
        stack.callback(shards.close)
        model, anatomy, names, dtype = _opened(folder, shards, cut)
        inputs = calibration_inputs(calibration, model) if cut.calibrated else []
        draft = stack.enter_context(publish_alone(out))
        _check_space(draft, shards.bytes + anatomy.weights // 8)
        for file in companions(folder):
            shutil.copyfile(file, draft / file.name)
        written = shards.copy_into(draft, frozenset(names[matrix.parameter] for matrix in anatomy.matrices))
        stack.callback(written.close)
        shapes = {matrix.name: matrix.shape for matrix in anatomy.matrices}
        (ticket := draft / BESIDE).mkdir()
        packed = {matrix.name: (-(-matrix.size // 8),) for matrix in anatomy.matrices}
        masks = TensorFiles.create(ticket / MASKS, packed)
        stack.callback(masks.close)
        counted = stack.enter_context(shown(progress, "pruning"))
        work = StreamedModel(model, anatomy, names, shards, written, masks, cut, dtype)
        if cut.calibrated:
            work.load_surroundings()
            prune_by_blocks(model, anatomy, inputs, cut, work.done, residence=work.residence, progress=counted)
        else:
            for matrix, mask in masks_without_data(model, anatomy.matrices, work.weight, cut):
                work.done(matrix, mask, work.weight(matrix).where(mask, 0.0))
                counted.note(f"layer {matrix.layer + 1} of {anatomy.matrices[-1].layer + 1}")
        written.close()
        masks.close()
        write_head(ticket, "weights", anatomy.signature, shapes, {"weights": work.survivors}, record(cut, inputs))
        found = PrunedCheckpoint(out, anatomy.signature, work.survivors, anatomy.weights, time.perf_counter() - started)
        _write_card(draft, type(model).__name__, cut, found)
    return found


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE:
        raise TombolaError(
            f"the pruned checkpoint takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free at {folder.parent}; "
            "choose another folder"
        )


def _write_card(folder: Path, kind: str, cut: WeightCut, found: PrunedCheckpoint) -> None:
    data = ModelCardData(library_name="transformers", tags=["tombola", "pruning", "lottery-ticket", "zeros"])
    how = f"pattern {cut.pattern}" if cut.pattern is not None else f"compared by {cut.scope}"
    lines = [
        f"# A pruned {kind}",
        f"Written by Tombola: {found.survivors:,} of {found.weights:,} prunable weights survive; the others "
        f"({100 * found.sparsity:.1f} %) are zeros. Criterion: {plain(cut.criterion)}, {how}. The shapes are "
        "the original's.",
        f'```python\nfrom transformers import {kind}\nmodel = {kind}.from_pretrained(".")  # this folder\n```',
        '`tombola.Ticket.load("ticket")` reads which weights survive. No scores were measured.',
    ]
    write_text(folder / "README.md", f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(lines) + "\n")
