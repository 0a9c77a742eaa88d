"""Models and tokenizers of transformers from an asset, a local folder, the hub, or a GGUF file (llama.cpp's format).

Reading a GGUF file is slow: SmolLM2-135M takes 15 seconds with its configuration and tokenizer, nearly all of it for
metadata, at every start. So it is made into a plain Hugging Face folder once, which loads in well under a second. That
holds fp32: the values of quantised blocks, a scale times a small integer plus an offset, fit into neither bf16 nor fp16
without rounding.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.checkpoints import assets
from tombola.checkpoints.assets import cached
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.recognition import recognise


def gguf_in(folder: Path) -> Path | None:
    """The GGUF file of a folder that is no Hugging Face folder (it has no `config.json`), if there is one.

    Raises:
        TombolaError: there are several.
    """
    if (folder / "config.json").exists():
        return None
    files = sorted(folder.glob("*.gguf"))
    if len(files) > 1:
        raise TombolaError(
            f"{folder} holds {len(files)} GGUF files ({', '.join(file.name for file in files)}); give a folder with "
            "one, in a single part"
        )
    return files[0] if files else None


def dequantised(file: Path) -> Path:
    """The folder of the file's model, in fp32, and its tokenizer, in the cache; written on first use.

    Several processes may ask at once. A folder appears whole or not at all; a changed file gets a new one.

    Raises:
        TombolaError: the file cannot be read, or the cache cannot be written.
    """
    facts = file.stat()
    # Not of the contents, which are large and would be read at every start.
    digest = hashlib.sha256(f"{file.resolve()} {facts.st_size} {facts.st_mtime_ns}".encode()).hexdigest()

    def write(draft: Path) -> None:
        try:
            model, tokenizer = read_gguf(file)
        # Whatever the readers stumble over in a damaged file: they hardly check what they read.
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise TombolaError(
                f"cannot read the GGUF file {file} ({reason}); it is damaged, or of an architecture that this "
                "transformers does not read from GGUF: give a Hugging Face folder instead"
            ) from error
        model.save_pretrained(draft)
        if tokenizer is not None:
            tokenizer.save_pretrained(draft)

    return cached(f"dequantised/{file.stem}-{digest[:12]}", write, "the dequantised model")


def read_gguf(file: Path) -> tuple[PreTrainedModel, Any]:
    """Model and tokenizer (None where the file has none), plain: nothing remembers that they came from GGUF."""
    where: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    config = AutoConfig.from_pretrained(**where)
    # Without it, newer versions may leave the weights packed, for kernels that cannot be trained or pruned.
    packing = getattr(transformers, "GgufConfig", None)
    if packing is not None:
        where["quantization_config"] = packing(dequantize=True)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model = auto.from_pretrained(**where, config=config, dtype=torch.float32)
    where.pop("quantization_config", None)
    # A model that knows a quantiser refuses to be saved.
    for owner, name in ((model, "hf_quantizer"), (model.config, "quantization_config")):
        vars(owner).pop(name, None)
    tokenizer = None
    # A file of weights alone has none.
    with contextlib.suppress(OSError, ValueError, KeyError):
        tokenizer = AutoTokenizer.from_pretrained(**where)
    return model, tokenizer


MARK = "tombola.json"
"""The file that only a folder of `tombola shrink` has."""
CONFIG = "config.json"
"""Configuration file of a model by itself."""
PIPELINE = "model_index.json"
"""Index file of a pipeline of diffusers."""


def refuse_shrunk(source: str, folder: Path) -> None:
    """Raise a TombolaError where a folder, that of `source`, holds a shrunk model."""
    if (folder / MARK).is_file():
        raise TombolaError(
            f"{source} was shrunk already; give the model that it was made from (tombola.load opens the shrunk one)"
        )


MODELS = ("minilm", "smollm2")
"""The assets that are models."""


def locate(source: str) -> str:
    """Path or id that `from_pretrained` understands: a local path, or a hub id as it is.

    A local folder of the same name goes before an asset. For a folder, or asset, that holds a GGUF file instead of a
    configuration, this is the folder of the dequantised model, made on first use.

    Raises:
        TombolaError: the asset cannot be fetched, the GGUF file cannot be read, or the folder holds a shrunk model.
    """
    path = Path(source).expanduser()
    refuse_shrunk(source, path)
    if not path.is_dir():
        if source not in MODELS:
            return source
        path = assets.fetch(source)
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
        model = class_named(config, source).from_pretrained(path, dtype="auto" if dtype is None else dtype)
    assert isinstance(model, PreTrainedModel)
    recognise(model, check=check)
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
    with quiet(), loading(source):
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def outline(source: str) -> Anatomy:
    """The anatomy of a model from its configuration alone: no weights are read or held.

    Raises:
        TombolaError: as `load_model`, or its layers are not known.
    """
    path = locate(source)
    with quiet(), loading(source):
        config = AutoConfig.from_pretrained(path)
        name = (config.architectures or [""])[0]
        kind = getattr(transformers, name, None)
        with torch.device("meta"):
            model = AutoModel.from_config(config) if kind is None else kind(config)
    recognise(model, check=False)
    return dissect(model)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' own bars and reports while the block runs: our steps have theirs."""
    verbosity = transformers_logging.get_verbosity()
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()


@contextlib.contextmanager
def loading(source: str) -> Iterator[None]:
    """Turn what transformers raises for a source that it cannot load into one clear line."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        if len(reason) > 200:
            reason = f"{reason[:200]}…"
        raise TombolaError(
            f"cannot load {source!r}: {reason} Give a local folder, a hub id that can be reached, or one of the "
            f"assets that need no hub: {', '.join(MODELS)}"
        ) from error
