"""Configurations that ask for what is not there: packed weights, activations, kinds of models, optional packages."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from builders import language_models
from tombola.checkpoints.loading import tokenizer_of
from tombola.checkpoints.model_libraries import load_any
from tombola.foundations.errors import TombolaError

QUANTISED = r"its weights are quantised \({}\), and those are not pruned: give it in 16 or 32 bits, without"


def changed(place: Path, name: str, **config: Any) -> str:
    folder = shutil.copytree(language_models.checkpoint(), place / "model")
    facts = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**facts, **config}))
    return str(folder)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, QUANTISED.format("gptq")),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, QUANTISED.format("awq")),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
            QUANTISED.format("bitsandbytes"),
        ),
        ({"quantization_config": {"bits": 4}}, QUANTISED.format("in a way that it does not name")),
        ({"quantization_config": {"quant_method": "fp8"}}, QUANTISED.format("fp8")),
        ({"quantization_config": {"quant_method": "mxfp4"}}, QUANTISED.format("mxfp4")),
        ({"quantization_config": {"quant_method": "nonesuch"}}, QUANTISED.format("nonesuch")),
        ({"quantization_config": {"quant_method": None}}, QUANTISED.format("in a way that it does not name")),
        ({"quantization_config": 7}, r"; mend the files of this folder, or save the model again$"),
        ({"attention_dropout": float("nan")}, r"config\.json: attention_dropout is not a number; mend it"),
        ({"hidden_act": "swishy"}, r"config\.json: this transformers has no hidden_act 'swishy'; mend it"),
        ({"model_type": "foobar"}, r"config\.json: this transformers has no model_type 'foobar'; mend it"),
        ({"vocab_size": 10**9}, r"asks for [\d,]+ parameters or more, and its files hold [\d,]+ bytes; give the conf"),
        ({"_attn_implementation": "flash_attention_2"}, r"FlashAttention2.*; install what it asks for"),
    ],
)
def test_what_a_configuration_asks_for_in_vain_is_named(config: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(TombolaError, match=says):
        load_any(changed(tmp_path, "config.json", **config))


def test_a_model_is_made_once_to_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    source = str(language_models.checkpoint())
    kind, made = type(load_any(source)), list[object]()
    make = kind.__init__

    def counted(self: Any, *args: Any, **options: Any) -> None:
        made.append(self)
        make(self, *args, **options)

    monkeypatch.setattr(kind, "__init__", counted)
    load_any(source)
    assert len(made) == 1


@pytest.mark.skipif(importlib.util.find_spec("sentencepiece") is not None, reason="it is there")
@pytest.mark.parametrize(("kind", "file"), [("SiglipTokenizer", "spiece.model"), ("CpmTokenizer", "spiece.model")])
def test_a_tokenizer_names_the_package_that_it_needs(kind: str, file: str, tmp_path: Path) -> None:
    folder = Path(changed(tmp_path, "tokenizer_config.json", tokenizer_class=kind))
    (folder / "tokenizer.json").unlink()
    (folder / file).write_bytes(b"")
    with pytest.raises(TombolaError, match=r"SentencePiece library.*; install what it asks for .*sentencepiece"):
        tokenizer_of(str(folder))
