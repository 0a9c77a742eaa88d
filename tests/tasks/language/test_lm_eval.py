"""Abilities of our own against lm-evaluation-harness on the same data."""

import json
from pathlib import Path

import pytest

from builders.language_models import abilities, llama, task, tokenizer
from tombola.pruning.evaluation import evaluate
from tombola.subnetworks.subnetwork import whole
from tombola.tasks.language.abilities.chance_corrected import measure

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
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    model, made = llama(), task()
    made.settle(model)
    own = lm_eval.simple_evaluate(
        HFLM(pretrained=model, tokenizer=tokenizer(), device="cpu"),
        tasks=["tiny_questions"],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
    )
    assert own["n-samples"]["tiny_questions"]["effective"] == 12
    assert own["higher_is_better"]["tiny_questions"]["acc_norm"]
    ours = measure(made.abilities, evaluate(whole(model), made).predictions, made.references("dev"), resamples=50)[2]
    assert own["results"]["tiny_questions"]["acc_norm,none"] == pytest.approx(ours.raw)
