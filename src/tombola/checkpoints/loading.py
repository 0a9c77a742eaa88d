"""Models and tokenizers of transformers from an asset, a local folder, the hub, or a GGUF file."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.checkpoints import assets
from tombola.checkpoints.gguf import dequantised, gguf_in
from tombola.checkpoints.pruned_heads import cut_heads, heads_pruned_by, smaller, without_pruned_heads
from tombola.checkpoints.refusals import (
    check_known,
    check_layers,
    no_pickles,
    other_shape,
    refuse_lacking,
    refuse_pickles,
    refuse_quantised,
    sized,
)
from tombola.checkpoints.shrunk_folder import cut_as_saved, load_shrunk
from tombola.checkpoints.sources import (
    CONFIG,
    MARK,
    MODELS,
    TOKENIZER,
    check_holds,
    check_source,
    instead,
    refuse_adapters,
    refuse_results,
)
from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError, one_line
from tombola.subnetworks.pruned_model import keep_sparse, sparse_ticket
from tombola.subnetworks.recognition import recognise


def locate(source: str) -> str:
    """Path or id that `from_pretrained` understands: a local path, or a hub id as it is.

    A local folder of the same name goes before an asset. For a folder, or asset, that holds a GGUF file instead of a
    configuration, this is the folder of the dequantised model, made on first use.

    Raises:
        TombolaError: the asset cannot be fetched, the GGUF file cannot be read, or the folder holds no model.
    """
    with loading(source):
        check_source(source)
        path = Path(source).expanduser()
        if not path.is_dir():
            if source not in MODELS:
                return source
            path = assets.fetch(source)
        refuse_results(source, path)
        refuse_adapters(source, path)
        for name in (CONFIG, "tokenizer_config.json"):
            if (path / name).is_file():
                config = read_json(path / name, "mend it, or save the model again", bounded=False)
                check_layers(config, str(path / name))
                check_known(config, str(path / name))
        file = gguf_in(path)
    if file is None:
        return str(path)
    with quiet():
        return str(dequantised(file))


def load_model(source: str, dtype: torch.dtype | None = None, *, check: bool = True) -> PreTrainedModel:
    """A model of transformers as it was saved, of the class that its configuration names, on the CPU.

    Args:
        source: an asset, a local folder or a hub id.
        dtype: of the parameters; by default as saved, which for assets and GGUF files is fp32.
        check: of a type that the table lacks, see [`recognise`][tombola.subnetworks.recognition.recognise].

    Raises:
        TombolaError: it cannot be found, or its class is none of transformers' own.
    """
    path = locate(source)
    with quiet(), loading(source):
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        model, _ = read_weights(class_named(config, source), path, source, dtype="auto" if dtype is None else dtype)
        recognise(model, check=check)
    return model


def read_weights(
    kind: Any, path: str, source: str, *, new_output: bool = False, **options: Any
) -> tuple[PreTrainedModel, list[str]]:
    """A model of a class, all of whose tensors come from the checkpoint, as what it lacks would be random.

    Args:
        kind: class with `from_pretrained`.
        path, source: where the checkpoint is, and what the user calls it.
        new_output: an output layer, and a pooler before it, that the checkpoint lacks are made anew.
        options: of `from_pretrained`.

    Returns:
        The model, and the names of the tensors of its output layer that were made anew.

    Raises:
        TombolaError: tensors are missing, of other shapes, or of layers that the configuration does not have.
    """
    refuse_pickles(source, Path(path))
    refuse_quantised(source, PretrainedConfig.get_config_dict(path)[0].get("quantization_config"))
    # Unless it is told otherwise, transformers asks on the terminal whether to run the code of a model.
    options = {"trust_remote_code": False, "use_safetensors": True, "output_loading_info": True, **options}
    if (Path(path) / MARK).is_file():
        model, found = _read_shrunk(kind, Path(path), options)
    else:
        with sized(Path(path).glob("*.safetensors"), f"the configuration of {source}"):
            model, found = without_pruned_heads(
                kind,
                AutoConfig.from_pretrained(path, trust_remote_code=False),
                source,
                lambda kind: kind.from_pretrained(path, ignore_mismatched_sizes=True, **options),
            )
    inner = f"{model.base_model_prefix}."
    # The names of T5, and of a body by itself, have no prefix.
    parts = {} if hasattr(model, model.base_model_prefix) else dict(model.named_children())

    def of_body(name: str) -> bool:
        part = parts.get(name.split(".")[0])
        return (name.startswith(inner) and ".pooler." not in name) or isinstance(part, PreTrainedModel | nn.Embedding)

    if wrong := sorted(found["mismatched_keys"], key=str):
        name, stored, wanted = wrong[0]
        if new_output and not of_body(name):
            raise TombolaError(
                f"{source} was fine-tuned for another number of labels: it holds {name} as {list(stored)}, and "
                f"{list(wanted)} is needed; start from a pre-trained model without an output layer"
            )
        raise other_shape(source, name, stored, wanted)
    anew = sorted(found["missing_keys"])
    refuse_lacking(source, type(model), [name for name in anew if not new_output or of_body(name)])
    if beyond := sorted(name for name in found["unexpected_keys"] if of_body(name) or name.split(".")[0] in parts):
        raise TombolaError(
            f"{source} holds {len(beyond)} tensors that its configuration has no place for, {beyond[0]} among them; "
            "give the configuration that it was saved with"
        )
    return model, [name for name in anew if ".pooler." not in name]


def _read_shrunk(kind: Any, folder: Path, options: dict[str, Any]) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A shrunk model of any class that has its layers, and what transformers says of the tensors."""
    small: Any = load_shrunk(folder)
    kept = ("dtype", "output_loading_info", "use_safetensors")
    named = {name: value for name, value in options.items() if name not in kept}
    config, rest = AutoConfig.from_pretrained(folder, return_unused_kwargs=True, **named)
    given = {**rest, **{name: options[name] for name in kept if name in options}}
    state = {name: tensor.detach() for name, tensor in small.state_dict().items()}
    model, found = smaller(
        kind,
        config,
        lambda made: cut_as_saved(made, folder),
        lambda kind: kind.from_pretrained(None, config=config, state_dict=state, ignore_mismatched_sizes=True, **given),
    )
    keep_sparse(model, sparse_ticket(small))
    if model.can_generate() and (settings := getattr(small, "generation_config", None)) is not None:
        model.generation_config = settings
    return model, found


def as_saved(model: nn.Module, path: str, source: str) -> nn.Module:
    """A model that was made from the configuration of a checkpoint, without what was removed from that one.

    Args:
        model: whole; changed.
        path, source: where the checkpoint is, and what the user calls it.

    Raises:
        TombolaError: as `load_model`.
    """
    if (Path(path) / MARK).is_file():
        cut_as_saved(model, Path(path))
    elif isinstance(model, PreTrainedModel) and (gone := heads_pruned_by(model.config, source)):
        cut_heads(model, gone, source)
        del model.config.pruned_heads
    return model


def class_named(config: PretrainedConfig, source: str) -> Any:
    """The class of transformers that a configuration names; `AutoModel` where it names none.

    Raises:
        TombolaError: this transformers does not have it; `source` says whose.
    """
    name = (config.architectures or ["AutoModel"])[0]
    kind = getattr(transformers, name, None)
    if kind is None:
        raise TombolaError(f"{source} is of class {name}, which this transformers does not have; load it yourself")
    return kind


def tokenizer_of(source: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a model: asset, local folder or hub id.

    Raises:
        TombolaError: it cannot be found.
    """
    path = locate(source)
    check_holds(path, source, *TOKENIZER)
    with quiet(), loading(source):
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
        # What is wrong with it may be found only once it is used.
        tokenizer(["A first text.", "2"])
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, model: nn.Module) -> None:
    """Raise a TombolaError where a tokenizer has a token that the model has no row for."""
    table = model.get_input_embeddings() if isinstance(model, PreTrainedModel) else None
    size = getattr(table, "num_embeddings", None)
    if size is not None and len(tokenizer) > size and max(tokenizer.get_vocab().values()) >= size:
        raise TombolaError(
            f"the tokenizer knows {len(tokenizer)} tokens, the model {size}; give the tokenizer of the model"
        )


def outline(source: str) -> Anatomy:
    """The anatomy of a model from its configuration alone: no weights are read or held.

    Raises:
        TombolaError: as `load_model`, or its layers are not known.
    """
    path = locate(source)
    with quiet(), loading(source):
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        name = (config.architectures or [""])[0]
        kind = getattr(transformers, name, None)
        with torch.device("meta"):
            model = AutoModel.from_config(config, trust_remote_code=False) if kind is None else kind(config)
        recognise(model, check=False)
        return dissect(as_saved(model, path, source))


@contextlib.contextmanager
def quiet(*others: Any) -> Iterator[None]:
    """Silence the bars and reports of transformers, and of `others` that log as it does, while the block runs."""
    known = (transformers_logging, *others)
    before = [(one.get_verbosity(), one.is_progress_bar_enabled()) for one in known]
    for one in known:
        one.set_verbosity_error()
        one.disable_progress_bar()
    try:
        yield
    finally:
        for one, (verbosity, shown) in zip(known, before, strict=True):
            one.set_verbosity(verbosity)
            if shown:
                one.enable_progress_bar()


_LACKING = re.compile(r"pip install|requires the \w+ library|No module named|\bis required\b", re.ASCII)


@contextlib.contextmanager
def loading(source: str) -> Iterator[None]:
    """Turn what transformers raises for a source that it cannot load into one clear line, and refuse pickles."""

    def mend(error: BaseException) -> str:
        if isinstance(error, ImportError) or _LACKING.search(str(error)):
            return (
                "install what it asks for (tokenizers in SentencePiece files take sentencepiece and protobuf), or save "
                "it again in a form that needs none, as tokenizer.json"
            )
        # Of a hub id that has pickles alone; transformers would have them opened.
        return "give its weights as safetensors" if "use_safetensors" in str(error) else instead(source)

    with one_line(f"cannot load {source!r}", mend), no_pickles(source):
        yield
