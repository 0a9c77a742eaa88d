"""Pruning the weights of a checkpoint that is larger than memory: block by block, from shards to shards.

The model is a skeleton without memory, into which a block's tensors are read just before it is run or pruned. What
comes out is a folder of the same layout, shard for shard, in which the pruned matrices are overwritten in place, with
the ticket beside it. In memory are two blocks, what the calibration text has come to, and a matrix's statistics.
Masks and weights are those of [`prune_weights`][tombola.pruning.weight_pruning.prune_weights].
"""

import contextlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import ModelCardData

from tombola.checkpoints.loading import locate
from tombola.checkpoints.model_card import plain
from tombola.checkpoints.sharded_checkpoint import TensorFiles, companions
from tombola.foundations.atomic_files import publish_alone, write_text
from tombola.foundations.errors import TombolaError
from tombola.foundations.progress import SILENT, Progress
from tombola.pruning.calibration import Calibration, calibration_inputs
from tombola.pruning.streamed_model import StreamedModel, skeleton, stored_dtype, stored_names
from tombola.pruning.weight_criteria import WeightCut, prunable_anatomy
from tombola.pruning.weight_masks import masks_without_data
from tombola.pruning.weight_pruning import prune_by_blocks, record
from tombola.tickets.ticket import MASKS, write_head

_SPARE = 1 << 26
"""Bytes that a disk shall have free beyond the shards and masks."""


@dataclass(frozen=True)
class PrunedCheckpoint:
    """Checkpoint that was pruned and written.

    Attributes:
        folder: loads with plain `from_pretrained`, and with `Ticket.load`.
        architecture: as the ticket has it.
        survivors: weights that survive.
        weights: prunable weights that there were.
        seconds: wall time.
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


def prune_checkpoint(
    source: Path | str,
    out: Path | str,
    cut: WeightCut,
    *,
    calibration: Calibration | None = None,
    progress: Progress = SILENT,
) -> PrunedCheckpoint:
    """Prune the weights of a checkpoint on disk without ever holding the model.

    Args:
        source: folder of a model in safetensors, of a known family, in one file or in shards.
        out: new folder. It appears when all is done; a run that fails or is killed leaves no such folder.
        cut, calibration: as in [`prune_weights`][tombola.pruning.weight_pruning.prune_weights]. All activations of the
            calibration text behind one block are in memory: examples x tokens x hidden size, in the precision of the
            checkpoint.
        progress: counts examples, those of every layer.

    Raises:
        TombolaError: as `prune_weights`; the folder holds no such checkpoint, or a damaged or quantised one; `out`
            exists, is being written, or does not fit on the disk.
    """
    started = time.perf_counter()
    folder, out = Path(locate(str(source))), Path(out).resolve()
    if not folder.is_dir():
        raise TombolaError(f"{source} is no local folder; download the checkpoint first (hf download {source})")
    with contextlib.ExitStack() as stack:
        shards = TensorFiles.open(folder)
        stack.callback(shards.close)
        model = skeleton(folder)
        anatomy = prunable_anatomy(model, cut)
        names = stored_names(model, anatomy, shards)
        dtype = stored_dtype(anatomy, shards, names)
        # Buffers are as they are in a model that is loaded in this precision.
        model = skeleton(folder, dtype)
        inputs = calibration_inputs(calibration, model) if cut.calibrated else []
        draft = stack.enter_context(publish_alone(out))
        _check_space(draft, shards.bytes + anatomy.weights // 8)
        for file in companions(folder):
            shutil.copyfile(file, draft / file.name)
        written = shards.copy_into(draft, frozenset(names[matrix.parameter] for matrix in anatomy.matrices))
        stack.callback(written.close)
        shapes = {matrix.name: matrix.shape for matrix in anatomy.matrices}
        masks = TensorFiles.create(draft / MASKS, {matrix.name: (-(-matrix.size // 8),) for matrix in anatomy.matrices})
        stack.callback(masks.close)
        work = StreamedModel(model, anatomy, names, shards, written, masks, cut, dtype)
        if cut.calibrated:
            work.load_surroundings()
            prune_by_blocks(model, anatomy, inputs, cut, work.done, residence=work.residence, progress=progress)
        else:
            for matrix, mask in masks_without_data(model, anatomy.matrices, work.weight, cut):
                work.done(matrix, mask, work.weight(matrix).where(mask, 0.0))
                progress.note(f"layer {matrix.layer + 1} of {anatomy.matrices[-1].layer + 1}")
        written.close()
        masks.close()
        write_head(draft, "weights", anatomy.signature, shapes, {"weights": work.survivors}, record(cut, inputs))
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
        f"({found.sparsity:.1%}) are zeros. Criterion: {plain(cut.criterion)}, {how}. The shapes are the original's.",
        f'```python\nfrom transformers import {kind}\nmodel = {kind}.from_pretrained(".")  # this folder\n```',
        "`tombola.Ticket.load` reads which weights survive. No scores were measured.",
    ]
    write_text(folder / "README.md", f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(lines) + "\n")
