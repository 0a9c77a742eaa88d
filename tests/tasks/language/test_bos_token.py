"""What a text begins with: the same whatever is loaded first, and brought along by whoever saves a model."""

import json
from pathlib import Path

import pytest
import torch

from builders.language_models import POSITIONS, TEXTS, abilities, checkpoint, llama, task, tokenizer
from tombola.foundations.errors import TombolaError
from tombola.tasks.language.bos_token import named
from tombola.tasks.language.task import LanguageTask, LanguageTaskOptions


def other(tmp_path: Path) -> Path:
    """A model that prefers to begin with another token than the tiny Llama."""
    made = task(bos_token="auto")
    made.settle(llama(dtype=torch.float32))
    assert made.bos_token is not None
    for seed in range(1, 50):
        model = llama(seed, dtype=torch.float32)
        asked = task(bos_token="auto")
        asked.settle(model)
        assert asked.bos_token is not None
        if asked.bos_token.name != made.bos_token.name:
            folder = tmp_path / "other"
            model.save_pretrained(folder)
            tokenizer().save_pretrained(folder)
            return folder
    raise AssertionError(f"no random model prefers another BOS token than {made.bos_token.name}")


def test_it_is_that_of_the_source_whichever_model_is_loaded_first(tmp_path: Path) -> None:
    strange = other(tmp_path)
    names = []
    for first, state in ((checkpoint(), "pretrained"), (checkpoint(), "init"), (strange, "pretrained")):
        made = task(bos_token="auto", source=str(checkpoint()))
        made.load(str(first), seed=3, state=state)  # type: ignore[arg-type]
        assert made.bos_token is not None
        assert made.bos_token.chosen == "by held-out text"
        names.append(made.bos_token.name)
    assert len(set(names)) == 1
    # Without a source, it is that of the model that came first.
    alone = task(bos_token="auto")
    alone.load(str(strange), seed=0)
    assert alone.bos_token is not None
    assert alone.bos_token.name != names[0]
    assert task(bos_token="auto", source=str(checkpoint())).find_bos_token().name == names[0]
    with pytest.raises(TombolaError, match="give the task its source"):
        task(bos_token="auto").find_bos_token()


def test_a_saved_model_brings_it_along(tmp_path: Path) -> None:
    made = task(bos_token="</s>")
    model = made.load(str(checkpoint()), seed=0)
    made.save(model, tmp_path)
    again = task(bos_token="auto")
    again.load(str(tmp_path), seed=0, state="trained")
    assert again.bos_token == made.bos_token
    # One that is told keeps what it was told.
    told = task(bos_token="none")
    told.load(str(tmp_path), seed=0, state="trained")
    assert told.bos_token is not None
    assert told.bos_token.name == "none"
    file = tmp_path / "bos_token.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    assert record == {"name": "</s>", "chosen": "given", "nats": {}}
    for content, said in (
        ('{"name": "<x>", "chosen": "given", "nats": {}}', "no BOS token '<x>'"),
        ("{}", "should be a text, but found None"),
    ):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(TombolaError, match=said):
            task(bos_token="auto").load(str(tmp_path), seed=0, state="trained")


def test_what_was_found_can_be_fixed_again() -> None:
    found = task(bos_token="auto", source=str(checkpoint()))
    bos = found.find_bos_token()
    assert len(bos.nats) == 4
    resumed = task(bos_token="auto", source="nowhere")
    resumed.fix_bos_token(bos)
    assert resumed.facts()["bos_token_nats"] == dict(bos.nats)
    # What was encoded before began otherwise.
    before = task(bos_token="none")
    bare = before.items("dev")[0].sequences[0]
    before.fix_bos_token(named(tokenizer(), "</s>"))
    assert before.items("dev")[0].sequences[0] == (2, *bare)
    with pytest.raises(TombolaError, match="no BOS token"):
        named(tokenizer(), "<x>")


def test_open_asks_the_model_that_it_is_opened_for(tmp_path: Path) -> None:
    file, text = tmp_path / "q.jsonl", tmp_path / "text.txt"
    file.write_text('{"query": "w1 w2:", "choices": ["w3", "w4"], "gold": 0}\n', encoding="utf-8")
    text.write_text("\n\n".join(TEXTS), encoding="utf-8")
    made = LanguageTask.open(str(checkpoint()), [f"reasoning={file}"], text_file=text)
    expected = LanguageTask(
        abilities(), TEXTS[:-4], tokenizer(), LanguageTaskOptions(positions=POSITIONS, source=str(checkpoint()))
    ).find_bos_token()
    made.load(str(checkpoint()), seed=0, state="init")
    assert made.bos_token == expected
