"""Tasks of lm-evaluation-harness: its numbers are ours, and ours on the same data are its."""

import json
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import OfflineModeIsEnabled

from builders.language_models import abilities, llama, task, tokenizer
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import evaluate
from tombola.subnetworks.subnetwork import whole
from tombola.tasks.language import lm_eval
from tombola.tasks.language.abilities.retention import measure

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{validation: {file}}}}}
validation_split: validation
output_type: multiple_choice
doc_to_text: "{{{{query}}}}"
doc_to_target: gold
doc_to_choice: "{{{{choices}}}}"
target_delimiter: " "
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The questions of the tiny task as a task of the harness."""
    rows = [
        {"query": f"<s> {e.context}", "choices": [choice.strip() for choice in e.choices], "gold": e.gold}
        for e in abilities()[2].examples
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "questions.yaml").write_text(TASK.format(name="tiny_questions", file=file), encoding="utf-8")
    return tmp_path


def test_its_numbers_and_ours_are_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm_eval = pytest.importorskip("lm_eval")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    model, made = llama(), task()
    made.settle(model)
    found = {one.metric: one for one in lm_eval.score(model, tokenizer(), ["tiny_questions"], folder=folder)}
    assert found["acc"].n == 12
    assert found["acc"].higher_is_better
    own = lm_eval.simple_evaluate(
        lm_eval.models.huggingface.HFLM(pretrained=model, tokenizer=tokenizer(), device="cpu"),
        tasks=["tiny_questions"],
        task_manager=lm_eval.tasks.TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
    )["results"]["tiny_questions"]
    assert found["acc"].value == own["acc,none"]
    assert found["acc_norm"].value == own["acc_norm,none"]
    ours = measure(made.abilities, evaluate(whole(model), made).predictions, made.references("dev"), resamples=50)[2]
    assert found["acc_norm"].value == pytest.approx(ours.raw)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionError("Couldn't reach 'x' on the Hub"), "its data sets come from the hub"),
        (OfflineModeIsEnabled("offline"), "its data sets come from the hub"),
        (ModuleNotFoundError("No module named 'sacrebleu'"), "install what it asks for"),
        (torch.OutOfMemoryError("CUDA out of memory"), "give a smaller batch size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: out of memory"), "give a smaller batch size"),
        (FileNotFoundError("no file.jsonl"), "check the files of the task"),
        (KeyError("answer"), "mend the task, or leave it out"),
        (IndexError("index\nout of range"), "mend the task, or leave it out"),
    ],
)
def test_each_sort_of_failure_has_its_own_advice(error: Exception, said: str) -> None:
    found = str(lm_eval.explained(error, "evaluate hellaswag"))
    assert "\n" not in found
    assert found.startswith(f"lm-evaluation-harness cannot evaluate hellaswag ({type(error).__name__}: ")
    assert said in found
    # Wrapped by whoever caught it first, it is the same.
    outer = ValueError("the builder failed")
    outer.__cause__ = error
    assert said in str(lm_eval.explained(outer, "evaluate hellaswag"))


def test_an_unknown_task_is_named(folder: Path) -> None:
    pytest.importorskip("lm_eval")
    with pytest.raises(TombolaError, match="knows no task 'hellaswog'"):
        lm_eval.score(llama(), tokenizer(), ["hellaswog"], folder=folder)


def test_without_it_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(TombolaError, match=r"pip install 'tombola\[language\]'"):
        lm_eval.score(llama(), tokenizer(), ["hellaswag"])
