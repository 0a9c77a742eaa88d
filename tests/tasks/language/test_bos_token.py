"""What a text begins with: the same whatever is loaded first, and brought along by whoever saves a model."""

import json
from pathlib import Path

import pytest
import torch

from builders.language_models import POSITIONS, TEXTS, abilities, checkpoint, llama, task, tokenizer
from tombola.foundations.errors import TombolaError
from tombola.tasks.language.task import LanguageTask


def other(tmp_path: Path) -> Path:
    """A model that prefers to begin with another token than the tiny Llama."""
    made = task(start="auto")
    made.settle(llama(dtype=torch.float32))
    assert made.start is not None
    for seed in range(1, 50):
        model = llama(seed, dtype=torch.float32)
        asked = task(start="auto")
        asked.settle(model)
        assert asked.start is not None
        if asked.start.name != made.start.name:
            folder = tmp_path / "other"
            model.save_pretrained(folder)
            tokenizer().save_pretrained(folder)
            return folder
    raise AssertionError(f"no random model prefers another start than {made.start.name}")


def test_it_is_that_of_the_source_whichever_model_is_loaded_first(tmp_path: Path) -> None:
    strange = other(tmp_path)
    names = []
    for first, state in ((checkpoint(), "pretrained"), (checkpoint(), "init"), (strange, "pretrained")):
        made = task(start="auto", source=str(checkpoint()))
        made.load(str(first), seed=3, state=state)  # type: ignore[arg-type]
        assert made.start is not None
        assert made.start.chosen == "by held-out text"
        names.append(made.start.name)
    assert len(set(names)) == 1
    # Without a source, it is that of the model that came first.
    alone = task(start="auto")
    alone.load(str(strange), seed=0)
    assert alone.start is not None
    assert alone.start.name != names[0]
    assert task(start="auto", source=str(checkpoint())).find_start().name == names[0]
    with pytest.raises(TombolaError, match="give the task its source"):
        task(start="auto").find_start()


def test_a_saved_model_brings_it_along(tmp_path: Path) -> None:
    made = task(start="</s>")
    model = made.load(str(checkpoint()), seed=0)
    made.save(model, tmp_path)
    again = task(start="auto")
    again.load(str(tmp_path), seed=0, state="trained")
    assert again.start == made.start
    # One that is told keeps what it was told.
    told = task(start="none")
    told.load(str(tmp_path), seed=0, state="trained")
    assert told.start is not None
    assert told.start.name == "none"
    file = tmp_path / "start_token.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    assert record == {"name": "</s>", "chosen": "given", "nats": {}}
    for content, said in (
        ('{"name": "<x>", "chosen": "given", "nats": {}}', "no start token '<x>'"),
        ("{}", "damaged"),
    ):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(TombolaError, match=said):
            task(start="auto").load(str(tmp_path), seed=0, state="trained")


def test_what_was_found_can_be_fixed_again() -> None:
    found = task(start="auto", source=str(checkpoint()))
    start = found.find_start()
    assert len(start.nats) == 4
    resumed = task(start="auto", source="nowhere")
    resumed.fix_start(start)
    assert resumed.facts()["start_nats"] == dict(start.nats)
    # What was encoded before began otherwise.
    before = task(start="none")
    bare = before._encoded("dev")[0].sequences[0]
    before.fix_start("</s>")
    assert before._encoded("dev")[0].sequences[0] == (2, *bare)
    with pytest.raises(TombolaError, match="no start token"):
        before.fix_start("<x>")


def test_open_asks_the_model_that_it_is_opened_for(tmp_path: Path) -> None:
    file, text = tmp_path / "q.jsonl", tmp_path / "text.txt"
    file.write_text('{"query": "w1 w2:", "choices": ["w3", "w4"], "gold": 0}\n', encoding="utf-8")
    text.write_text("\n\n".join(TEXTS), encoding="utf-8")
    made = LanguageTask.open(str(checkpoint()), [f"reasoning={file}"], text=text)
    expected = LanguageTask(
        abilities(), TEXTS[:-4], tokenizer(), positions=POSITIONS, source=str(checkpoint())
    ).find_start()
    made.load(str(checkpoint()), seed=0, state="init")
    assert made.start == expected
