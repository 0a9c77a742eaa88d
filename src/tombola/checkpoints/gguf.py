"""GGUF files (llama.cpp's format): quantised weights made fp32 once, as a folder that `from_pretrained` reads.

Reading one is slow: SmolLM2-135M takes 15 seconds with its configuration and tokenizer, nearly all of it for metadata,
at every start; the plain folder loads in well under a second. It holds fp32: the values of quantised blocks, a scale
times a small integer plus an offset, fit into neither bf16 nor fp16 without rounding.
"""

import contextlib
import hashlib
import re
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel

from tombola.checkpoints.assets import cached
from tombola.checkpoints.refusals import check_layers, check_size
from tombola.foundations.errors import TombolaError, one_line
from tombola.foundations.slug import slug

_PART = re.compile(r"-\d{5}-of-(?!00001)\d{5}\.gguf$")
"""End of the name of a part."""


def gguf_in(folder: Path) -> Path | None:
    """The GGUF file of a folder that is no Hugging Face folder (it has no `config.json`), if there is one.

    Raises:
        TombolaError: there are several, or one part of several.
    """
    if (folder / "config.json").exists():
        return None
    files = sorted(folder.glob("*.gguf"))
    if parts := [file.name for file in files if _PART.search(file.name)]:
        raise TombolaError(
            f"{folder} holds a GGUF file in parts ({parts[0]}); make one of them: "
            f"llama-gguf-split --merge {parts[0]} model.gguf"
        )
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
        why = (
            "it is damaged, or of an architecture that this transformers does not read from GGUF: give a Hugging Face "
            "folder instead"
        )
        with one_line(f"cannot read the GGUF file {file}", why):
            model, tokenizer = read_gguf(file)
        model.save_pretrained(draft)
        if tokenizer is not None:
            tokenizer.save_pretrained(draft)

    return cached(f"dequantised/{slug(file.stem)}-{digest[:12]}", write, "the dequantised model")


def read_gguf(file: Path) -> tuple[PreTrainedModel, Any]:
    """Model and tokenizer (None where the file has none), plain: nothing remembers that they came from GGUF.

    Raises:
        TombolaError: the file lacks tensors of the layers that its metadata counts, or by default would have.
    """
    where: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    config = AutoConfig.from_pretrained(**where, trust_remote_code=False)
    # Without it, newer versions may leave the weights packed, for kernels that cannot be trained or pruned.
    packing = getattr(transformers, "GgufConfig", None)
    if packing is not None:
        where["quantization_config"] = packing(dequantize=True)
    auto: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    check_layers(config.to_dict(), str(file))
    # The smallest quantisations have more than a bit a weight.
    what, mend = f"the metadata of {file}", "convert the model again"
    check_size(lambda: auto.from_config(config, trust_remote_code=False), [file], what, mend, weights_a_byte=8)
    model, found = auto.from_pretrained(
        **where, config=config, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
    )
    # A file that does not say how many blocks it has is taken to have as many as its architecture's first model.
    if missing := sorted(found["missing_keys"]):
        raise TombolaError(
            f"the GGUF file {file} lacks {len(missing)} tensors of a {type(model).__name__} of "
            f"{getattr(config, 'num_hidden_layers', 'its')} layers, {missing[0]} among them, which would be random: "
            "its tensors or its count of blocks are damaged or missing; convert the model again"
        )
    where.pop("quantization_config", None)
    # A model that knows a quantiser refuses to be saved.
    for owner, name in ((model, "hf_quantizer"), (model.config, "quantization_config")):
        vars(owner).pop(name, None)
    tokenizer = None
    # A file of weights alone has none.
    with contextlib.suppress(OSError, ValueError, KeyError):
        tokenizer = AutoTokenizer.from_pretrained(**where, trust_remote_code=False)
    return model, tokenizer
