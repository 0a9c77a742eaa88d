"""The model card, `README.md`, of every folder with a model: fit for the hub, and true to what is known."""

import contextlib
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from huggingface_hub import EvalResult, ModelCardData, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from torch import nn

from tombola.architectures.parameters import count_parameters
from tombola.checkpoints.model_libraries import library_of
from tombola.checkpoints.sources import CONFIG, PIPELINE
from tombola.foundations.atomic_files import write_text
from tombola.foundations.figures import figures
from tombola.subnetworks.subnetwork import Subnetwork, expanded

Form = Literal["shrunk", "sparse", "zeros", "onnx"]
"""Form of a written ticket: fewer units, survivors and a mask, zeros in the original shapes, an ONNX graph."""

ONNX = "model.onnx"
"""The graph's file."""

_LONGEST = 120
_ORIGINAL = "the pipeline that this was pruned from"
_WORDS = {"mlps": "MLPs", "channels": "groups of channels", "weights": "prunable weights"}
_LIBRARIES = {"shrunk": "tombola", "sparse": "tombola", "onnx": "onnx"}
_TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForImageClassification": "image-classification",
    "UNet2DModel": "unconditional-image-generation",
    "UNet2DConditionModel": "text-to-image",
    "PixArtTransformer2DModel": "text-to-image",
    "SD3Transformer2DModel": "text-to-image",
    "FluxTransformer2DModel": "text-to-image",
}
_FORMS = {
    "shrunk": "What was pruned is not in the network any more.",
    "sparse": "The file holds the surviving weights and one bit a weight for their places; loaded, the pruned ones are "
    "zeros, so that it takes the memory and time of the whole model.",
    "zeros": "The shapes are the original's, with zeros in place of what was pruned: any tool that loads the original "
    "loads it, and it takes the same memory and time.",
    "onnx": "A graph in fp32 for ONNX Runtime; the batch and the length of a text may be any.",
}


@dataclass(frozen=True)
class ModelCardWriter:
    """Content of the model card of a folder.

    Attributes:
        form: how the ticket was written.
        model: the whole model.
        small: what was written, as a subnetwork of it.
        difference: of the self-check, relative to the largest output.
    """

    form: Form
    model: nn.Module
    small: Subnetwork
    difference: float

    def write(self, folder: Path) -> None:
        """Write `README.md` into a folder in which all else stands already."""
        write_text(folder / "README.md", f"---\n{self._data().to_yaml()}\n---\n\n{self._text(folder)}\n")

    def _data(self) -> ModelCardData:
        facts, task, score = self.small.ticket.provenance, self._task(), self._score("score")
        results = None
        if score is not None and task is not None and "task" in facts and self._as_scored():
            results = [
                EvalResult(
                    task_type=task,
                    dataset_type=plain(facts["task"]),
                    dataset_name=plain(facts["task"]),
                    dataset_split=plain(facts["split"]) if "split" in facts else None,
                    metric_type=plain(facts.get("metric", "score")),
                    metric_value=score,
                )
            ]
        return ModelCardData(
            base_model=hub_id(self.model),
            library_name=_LIBRARIES.get(self.form) or library_of(self.model).name,
            pipeline_tag=task,
            tags=["tombola", "pruning", "lottery-ticket", self.form],
            model_name=f"{type(self.model).__name__} ({self.form})" if results else None,
            eval_results=results,
        )

    def _task(self) -> str | None:
        return next((task for end, task in _TASKS.items() if type(self.model).__name__.endswith(end)), None)

    def _score(self, name: str) -> float | None:
        value = self.small.ticket.provenance.get(name)
        # JSON's whole numbers may exceed every float.
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            return None
        return float(value)

    def _as_scored(self) -> bool:
        """True if the score in the ticket's record can be that of these weights: they were not trained again since."""
        if self.small.ticket.provenance.get("stage", "pruned") != "pruned":
            return False
        return len(self.small.ticket) == self.small.ticket.total or not _cut_already(self.model, self.small)

    def _text(self, folder: Path) -> str:
        kind = type(self.model).__name__
        lines = [
            f"# A pruned {kind}",
            f"A ticket (subnetwork) of a {kind}, cut out and written by Tombola. {_FORMS[self.form]}",
            "## How to load it",
            f"```python\n{self._loading(folder)}\n```",
            "## The ticket",
            "\n".join(self._ticket()),
            "## Scores",
            "\n".join(self._scores()),
            "## Sizes",
            "\n".join(self._sizes(folder)),
            "## Self-check",
            self._checked(),
        ]
        return "\n\n".join(lines)

    def _loading(self, folder: Path) -> str:
        if self.form == "onnx":
            return (
                "import onnxruntime\n"
                f'session = onnxruntime.InferenceSession("{ONNX}")  # give it what session.get_inputs() names'
            )
        if self.form == "zeros":
            kind, library = type(self.model).__name__, library_of(self.model).name
            text = f'from {library} import {kind}\nmodel = {kind}.from_pretrained(".")  # this folder, or its hub id'
        else:
            text = (
                "import tombola\n"
                'model = tombola.load(".")  # this folder; from the hub, that of huggingface_hub.snapshot_download'
            )
        return text + library_of(self.model).usage(self.model, hub_id(self.model) or _ORIGINAL)

    def _ticket(self) -> Iterator[str]:
        ticket, anatomy = self.small.ticket, self.small.anatomy
        yield f"- kind: {code(ticket.kind)}; architecture: {code(ticket.architecture)}"
        for name, kept in ticket.survivors(anatomy).items():
            total = anatomy.weights if name == "weights" else sum(anatomy.sizes(name))
            if total:
                yield f"- surviving {_WORDS.get(name, name)}: {kept:,} of {total:,}"
        yield f"- sparsity: {100 * ticket.sparsity(anatomy):.1f} % of the prunable weights are gone"
        for name in ("ticket", "model", "task", "seed", "study", "threshold"):
            if name in ticket.provenance:
                yield f"- {name}: {code(ticket.provenance[name])}"

    def _scores(self) -> Iterator[str]:
        facts = self.small.ticket.provenance
        full, score = self._score("full_score"), self._score("score")
        if full is None and score is None:
            yield "No scores came with the ticket."
            return
        names = [f"{what} {code(facts[what])}" for what in ("metric", "task", "split") if what in facts]
        if names:
            yield f"- from the ticket's record, not measured again here: {', '.join(names)}"
        if full is not None:
            yield f"- full model: {full:.4f}"
        if score is not None and facts.get("stage", "pruned") == "pruned":
            yield f"- this ticket, cut out of the full model and not trained again: {score:.4f}"
            if not self._as_scored():
                yield "- the weights here were trained again under the ticket, or cut before: that score is not theirs"
        elif score is not None:
            yield f"- this ticket, trained again in the search, which the weights here need not be: {score:.4f}"

    def _sizes(self, folder: Path) -> Iterator[str]:
        before = count_parameters(self.model)
        yield f"- parameters that are not pruned: {surviving_parameters(self.small):,} of {before:,}"
        original = f"the original's tensors: {dense_bytes(self.model):,}"
        yield f"- parameters on disk: {bytes_on_disk(folder):,} bytes; {original}"

    def _checked(self) -> str:
        if self.form == "sparse" or (self.form == "zeros" and self.small.ticket.kind == "weights"):
            return "Passed: the folder was read back, and every tensor equals the masked model's, bit for bit."
        return (
            "Passed: the folder was read back and computes on random inputs what the masked model does. The largest "
            f"difference of an output was {self.difference:.1e} of the largest output."
        )


def surviving_parameters(small: Subnetwork) -> int:
    """Parameters of the model that no ticket pruned: zeros in place of pruned weights do not count."""
    zeros = small.ticket.total - len(small.ticket) if small.ticket.kind == "weights" else 0
    return count_parameters(small.model) - zeros


def bytes_on_disk(folder: Path) -> int:
    """Size of the files of a model's folder that hold weights or masks."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.suffix in (".safetensors", ".onnx", ".data"))


def dense_bytes(model: nn.Module) -> int:
    """Bytes of the model's own tensors in a file, each once."""
    distinct = {tensor.data_ptr(): tensor for tensor in model.state_dict().values()}
    return sum(tensor.numel() * tensor.element_size() for tensor in distinct.values())


def megabytes(size: int) -> str:
    """Bytes in MB (10^6), of which a small network has less than one."""
    return f"{figures(size / 1e6, 1)} MB"


def _cut_already(model: nn.Module, small: Subnetwork) -> bool:
    """True if the model has zeros already wherever the ticket prunes."""
    cut = expanded(small).state_dict()
    return all(
        torch.equal(tensor.cpu().float(), cut[name].cpu().float()) for name, tensor in model.state_dict().items()
    )


def hub_id(model: nn.Module) -> str | None:
    """The model's name on the hub, if it came from there: the hub's cache knows it, and no local folder has it."""
    name = getattr(model, "name_or_path", None) or getattr(getattr(model, "config", None), "_name_or_path", None) or ""
    with contextlib.suppress(HFValidationError, OSError):
        cached = (try_to_load_from_cache(name, file) for file in (CONFIG, PIPELINE))
        if not Path(name).exists() and any(isinstance(path, str) for path in cached):
            return name
    return None


def plain(value: object) -> str:
    """A foreign value as one short line without control or invisible characters."""
    text = " ".join(str(value).split())
    text = "".join(character for character in text if unicodedata.category(character)[0] != "C")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def code(value: object) -> str:
    """A foreign value in Markdown, where nothing of it has a meaning: a code span."""
    text = plain(value).replace("`", "'")
    return f"`{text}`" if text.strip() else "(empty)"
