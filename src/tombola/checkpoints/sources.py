"""Names of models: an asset, a local folder or a hub id; and what their files say of them, without PyTorch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tombola.architectures.families import FAMILIES
from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError, alike_beside, did_you_mean, reason

MODELS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "minilm": {"model_type": "bert", "architectures": ["BertModel"]},
        "smollm2": {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
    }
)
"""The assets that are models, and what their configurations say that must be told before they are fetched."""
MARK = "tombola.json"
"""The file that only a folder of `tombola shrink` has."""
CONFIG = "config.json"
"""Configuration file of a model by itself."""
PIPELINE = "model_index.json"
"""Index file of a pipeline of diffusers."""
TOKENIZER = ("tokenizer", ("*token*", "vocab*", "*.model", "*.gguf"), "texts")
IMAGE_PROCESSOR = ("image processor", ("*processor_config.json",), "images")
"""Needs of models beside weights: their name, files, and things that such models read; see `check_holds`."""
_PARTS = ("unet", "transformer")
"""Parts of a pipeline that may be its denoiser."""
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers")
_HEADS = ("num_attention_heads", "n_head", "n_heads")


def check_source(source: str) -> None:
    """Raise a TombolaError for a name that can only be that of a local folder, or of an asset, and there is none.

    A hub id is `name` or `owner/name`: whatever begins as paths do, or has more parts, is a path. A name without an
    owner that is spelt nearly like an asset is meant for one.
    """
    if source in MODELS or Path(source).expanduser().exists():
        return
    if source.startswith(("/", "./", "../", "~")) or source.count("/") > 1 or source.endswith("/"):
        raise TombolaError(f"there is no folder {source}; {instead(source)}")
    if "/" not in source and did_you_mean(source, MODELS):
        raise TombolaError(f"there is no folder {source}, and no asset of this name; {instead(source)}")


def configuration(source: str) -> Mapping[str, Any]:
    """Configuration of a model, read from the JSON file in its folder or at the hub; empty for a GGUF file.

    Of a pipeline it is the index.

    Raises:
        TombolaError: there is no such model, the hub cannot be reached, or the folder holds none.
    """
    check_source(source)
    path = Path(source).expanduser()
    if not path.exists():
        return MODELS.get(source) or _from_hub(source)
    if not path.is_dir():
        raise TombolaError(f"cannot load {source!r} (it is a file); give the folder that it is in")
    refuse_results(source, path)
    refuse_adapters(source, path)
    for name in (CONFIG, PIPELINE):
        if (path / name).is_file():
            return read_json(path / name, "mend it, or save the model again", bounded=False)
    if any(path.glob("*.gguf")):
        return {}
    raise TombolaError(f"cannot load {source!r} (it holds neither {CONFIG} nor {PIPELINE}); {instead(source)}")


def _from_hub(source: str) -> Mapping[str, Any]:
    from huggingface_hub import hf_hub_download

    why = ""
    for name in (CONFIG, PIPELINE):
        try:
            return read_json(Path(hf_hub_download(source, name)), bounded=False)
        except TombolaError:
            raise
        # Of the network, of the name, of the library.
        except Exception as error:
            why = why or reason(error).rstrip(".")
    raise TombolaError(f"cannot load {source!r} ({why}); {instead(source)}")


def refuse_results(source: str, folder: Path) -> None:
    """Raise a TombolaError where a folder, that of `source`, holds tickets and scores but no model of its own."""
    if any((folder / name).is_file() for name in (CONFIG, PIPELINE)):
        return
    if not any((folder / name).is_file() for name in ("study.json", "ticket.json")):
        return
    models = sorted(file.parent for file in folder.rglob(CONFIG))
    inside = f"; a model that it holds is {models[0]}" if models else ""
    raise TombolaError(
        f"{source} holds tickets and their scores, and is no model: give it with --ticket, beside the model that the "
        f"ticket was found in{inside}"
    )


def refuse_adapters(source: str, folder: Path) -> None:
    """Raise a TombolaError where a folder, that of `source`, holds adapters of peft without their model."""
    if (folder / "adapter_config.json").is_file() and not (folder / CONFIG).is_file():
        raise TombolaError(
            f"{source} holds adapters of peft alone; merge them into their model first: "
            "AutoPeftModel.from_pretrained(folder).merge_and_unload().save_pretrained(merged)"
        )


def check_of_kind(signature: str, source: str, config: Mapping[str, Any]) -> None:
    """Raise a TombolaError where a ticket is of another kind, or number of layers or heads, than a model's file says.

    Most tickets of other models are told apart so, before PyTorch is imported; of the others `Ticket.check` tells.

    Args:
        signature: of the architecture that the ticket fits.
        source: of the model.
        config: its `configuration`.
    """
    denoiser = next((config[part][-1] for part in _PARTS if isinstance(config.get(part), list) and config[part]), None)
    kind = str(denoiser or config.get("model_type", config.get("_class_name")))
    theirs = signature.removesuffix("-shrunk").rsplit("-", 2)
    # What stands in no table may be called otherwise inside, as the text part of a model of texts and images is.
    if kind not in FAMILIES or theirs[0] not in FAMILIES or len(theirs) < 3 or "text_config" in config:
        return
    layers, heads = (next((config[one] for one in names if one in config), None) for names in (_LAYERS, _HEADS))
    stack, ours = FAMILIES[kind].stacks[0], f"{layers}x{heads}"
    # Of a shrunk model they are those that it was made of. Elsewhere a layer has several rows of heads, or none, or
    # shares those of another.
    plain = len(FAMILIES[kind].stacks) == len(stack.attentions) == 1 and "*" not in stack.layers
    known = None not in (layers, heads) and not config.get("pruned_heads")
    counted = plain and known and not signature.endswith("-shrunk")
    if kind != theirs[0] or (counted and ours != theirs[1]):
        shown = f"{kind}-{ours}" if counted else kind
        raise TombolaError(f"this ticket is for another model: it fits {signature}, the model {source} is {shown}")


def instead(source: str) -> str:
    """Advice for a name that cannot be loaded: folders and assets that are spelt alike, and what names there are."""
    if (Path(source).expanduser() / CONFIG).is_file():
        return "mend the files of this folder, or save the model again"
    alike = did_you_mean(source, MODELS) or alike_beside(source, folders=True)
    return (
        f"{alike}give a local folder, a hub id that can be reached, or one of the assets that need no hub: "
        f"{', '.join(MODELS)}"
    )


def check_holds(path: str, source: str, what: str, files: Sequence[str], reads: str) -> None:
    """Raise a TombolaError where a folder, that of `source`, has none of the files that make a tokenizer or the like.

    Args:
        path, source: where the model is, and what the user calls it.
        what: is missing.
        files: patterns of their names.
        reads: things that a model which has it reads.
    """
    folder = Path(path).expanduser()
    if folder.is_dir() and not any(next(folder.glob(one), None) for one in files):
        raise TombolaError(f"{source} has no {what}: save it beside the model, or give a model that reads {reads}")


def check_diffusers(source: str) -> Mapping[str, Any]:
    """Configuration in a model's files; a TombolaError where they are of another library than diffusers."""
    said = configuration(source)
    if said and "_class_name" not in said:
        kind = said.get("model_type", "model")
        raise TombolaError(
            f"{source} holds a {kind} of another library, which is no model of diffusers; give one that is"
        )
    return said
