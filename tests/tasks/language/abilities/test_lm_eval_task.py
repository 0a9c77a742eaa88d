"""Tasks of lm-evaluation-harness as abilities: the study's evaluation gives the numbers of `lm_eval` itself."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import OfflineModeIsEnabled
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from builders.language_models import POSITIONS, TEXTS, llama, sentence, tokenizer
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import EvaluationOptions, evaluate
from tombola.subnetworks.subnetwork import whole
from tombola.tasks.language.abilities import lm_eval_task
from tombola.tasks.language.abilities.ability import Ability
from tombola.tasks.language.abilities.catalog import open_abilities
from tombola.tasks.language.abilities.chance_corrected import measure
from tombola.tasks.language.task import LanguageTask, LanguageTaskOptions

pytestmark = pytest.mark.slow

HEAD = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{validation: {file}, train: {file}}}}}
validation_split: validation
"""
CHOICE = """
output_type: multiple_choice
doc_to_text: "{{query}}"
doc_to_target: gold
doc_to_choice: "{{choices}}"
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
PAIRS = """
output_type: multiple_choice
doc_to_text: ""
doc_to_target: 0
doc_to_choice: "{{choices[:2]}}"
metric_list: [{metric: acc}]
"""
LAST = """
output_type: loglikelihood
doc_to_text: "{{query}}"
doc_to_target: " {{choices[0]}}"
metric_list: [{metric: perplexity, aggregation: perplexity}, {metric: acc}]
"""
TEXT = """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
process_results: !function own.counted
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
"""
BLANKS = """
output_type: multiple_choice
doc_to_text: !function own.gold
doc_to_target: !function own.rest
doc_to_choice: !function own.contexts
metric_list: [{metric: acc}]
"""
OWN = """
def gold(doc):
    return doc["gold"] % 2

def rest(doc):
    return " ".join(doc["query"].split()[:4])

def contexts(doc):
    return [f"{doc['text'][:20]} {choice}" for choice in doc["choices"][:2]]

def counted(doc, results):
    (found,) = results
    # Not those of the text that is read.
    return {"word_perplexity": (found, 3), "bits_per_byte": (found, 2 * len(doc["text"]))}

def two(doc, results):
    values = [value for value, _ in results]
    return {"acc": 1.0 if sorted(values)[-2] == values[doc["gold"]] else 0.0}

def fails(doc):
    # The harness tries the first document when it loads a task.
    if doc["gold"]:
        raise KeyError("no such column")
    return "w1"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks of every sort that can be scored, and of some that cannot."""
    pytest.importorskip("lm_eval")
    made = tmp_path_factory.mktemp("tasks")
    rows = [
        {
            # Some end in a space, one is too long for the model, and one choice holds letters of two bytes.
            "query": sentence(i, 60 if i == 7 else 4) + (" " if i % 3 == 0 else " :"),
            "choices": [
                f"w{i // 2 % 3}"
                if k == i % 2 == 0
                else sentence(100 * i + k, 1 + (k + i) % 3) + (" é" if k == 1 else "")
                for k in range(2 + i % 3)
            ],
            "gold": i % 2,
            "text": sentence(500 + i, 20 + 17 * (i % 4)),
        }
        for i in range(30)
    ]
    file = made / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    few = made / "few.jsonl"
    few.write_text("".join(json.dumps(row) + "\n" for row in rows[:20]), encoding="utf-8")
    (made / "own.py").write_text(OWN, encoding="utf-8")
    tasks = {
        "tiny_choice": CHOICE,
        "tiny_shots": CHOICE + "num_fewshot: 2\nfewshot_split: train\n",
        "tiny_pairs": PAIRS,
        "tiny_last": LAST,
        "tiny_text": TEXT,
        "tiny_blanks": BLANKS,
        "tiny_odd": CHOICE.replace(", {metric: acc_norm}", "") + "process_results: !function own.two\n",
        "tiny_broken": CHOICE.replace('"{{query}}"', "!function own.fails"),
        "tiny_f1": CHOICE.replace("[{metric: acc}, {metric: acc_norm}]", "[{metric: f1}]"),
        "tiny_written": 'output_type: generate_until\ndoc_to_text: "{{query}}"\ndoc_to_target: "{{text}}"\n'
        "generation_kwargs: {until: ['.']}\nmetric_list: [{metric: exact_match}]\n",
        "tiny_few": CHOICE,
        "tiny_gone": CHOICE,
        "tiny_hub": CHOICE,
    }
    for name, body in tasks.items():
        head = HEAD.format(name=name, file={"tiny_few": few, "tiny_gone": made / "gone.jsonl"}.get(name, file))
        if name == "tiny_hub":
            head = "task: tiny_hub\ndataset_path: nobody/nothing\nvalidation_split: validation\n"
        (made / f"{name}.yaml").write_text(head + body, encoding="utf-8")
    groups = (("even", "tiny_shots", "False"), ("sized", "tiny_few", "True"), ("odd", "tiny_few", "False"))
    for name, other, weigh in groups:
        (made / f"{name}.yaml").write_text(
            f"group: tiny_{name}_group\ntask: [tiny_choice, {other}]\n"
            f"aggregate_metric_list: [{{metric: acc, weight_by_size: {weigh}}}]\n",
            encoding="utf-8",
        )
    return made


def adds_bos() -> PreTrainedTokenizerFast:
    """A tokenizer that begins every text by itself, as Llama's does."""
    words: PreTrainedTokenizerFast = tokenizer()
    words.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return words


def theirs(model: Any, words: Any, folder: Path, name: str) -> dict[str, Any]:
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    found = lm_eval.simple_evaluate(
        HFLM(pretrained=model, tokenizer=words, device="cpu", batch_size=4),
        tasks=[name],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
    )
    results: dict[str, Any] = found["results"]
    return {**results[name], **found.get("groups", {}).get(name, {})}


def ours(model: Any, words: Any, abilities: tuple[Ability, ...]) -> list[float]:
    made = LanguageTask(abilities, TEXTS, words, LanguageTaskOptions(positions=POSITIONS, bos_token="none"))
    made.settle(model)
    found = evaluate(whole(model), made, EvaluationOptions(batch_size=8))
    return [one.raw for one in measure(made.abilities, found.predictions, made.references("dev"), resamples=20)]


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("tiny_choice", "acc_norm"),
        ("tiny_choice:acc", "acc"),
        ("tiny_shots:acc", "acc"),
        ("tiny_pairs", "acc"),
        ("tiny_last", "acc"),
        ("tiny_text", "bits_per_byte"),
        ("tiny_blanks", "acc"),
        ("tiny_even_group", "acc"),
        ("tiny_sized_group", "acc"),
    ],
)
def test_the_numbers_are_those_of_lm_eval(
    folder: Path, name: str, metric: str, begins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    words = adds_bos() if begins else tokenizer()
    for seed in (0, 1):
        model = llama(seed, dtype=torch.float64)
        abilities = open_abilities([f"{name}={folder}"], trusted=True)
        assert [one.name for one in abilities] == [name]
        if name == "tiny_last":
            # So that a model of random weights foresees some: it knows four words.
            with torch.no_grad():
                model.lm_head.weight[10:] = 0
        (found,) = ours(model, words, abilities)
        expected = theirs(model, words, folder, name.partition(":")[0])[f"{metric},none"]
        assert found == pytest.approx(expected, rel=1e-7)
        assert metric == "bits_per_byte" or 0 < found < 1


def test_a_tag_is_each_of_its_tasks(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(
            "tag: tiny_tag\n" + HEAD.format(name=f"tiny_{name}", file=folder / "rows.jsonl") + CHOICE, encoding="utf-8"
        )
    found = open_abilities([f"tiny_tag:acc={tmp_path}"], rows=7, trusted=True)
    assert [(one.name, len(one.examples)) for one in found] == [("tiny_one:acc", 7), ("tiny_two:acc", 7)]
    beside = open_abilities([f"tiny_one={tmp_path}", "grammar", f"tiny_one:acc={tmp_path}"], rows=19, trusted=True)
    assert [one.name for one in beside] == ["tiny_one", "grammar", "tiny_one:acc"]
    assert beside[0].chance == pytest.approx(sum(1 / len(e.choices) for e in beside[0].examples) / 19)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiny_nothing", "unknown ability 'tiny_nothing'; known: grammar, .*, and the tasks of lm-evaluation-harness"),
        ("tiny_written", "tiny_written generates text, which no probability of a choice can judge"),
        ("tiny_choice:f2", "tiny_choice has no f2; its metrics: acc, acc_norm"),
        ("tiny_f1", "tiny_f1 has no accuracy; its metrics: f1"),
        ("tiny_f1:f1", "f1 of tiny_f1 is no accuracy over choices"),
        ("tiny_last:perplexity", "perplexity of tiny_last is no accuracy over choices"),
        ("tiny_odd", "acc of tiny_odd is no accuracy over choices"),
        ("tiny_odd_group", "tiny_odd_group mixes tasks that do not add up to one accuracy"),
        ("tiny_broken", r"cannot build tiny_broken \(KeyError: 'no such column'\); mend the task"),
        ("tiny_gone", r"cannot load tiny_gone \(FileNotFoundError: .*\); check the files of the task"),
        ("tiny_hub", r"cannot load tiny_hub \(ConnectionError: .*\); its data sets come from the hub"),
    ],
)
def test_what_cannot_be_an_ability_is_one_clear_line(folder: Path, name: str, said: str) -> None:
    with pytest.raises(TombolaError, match=said) as caught:
        open_abilities([f"{name}={folder}"], trusted=True)
    assert "\n" not in str(caught.value)


def test_without_the_harness_its_tasks_are_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("lm_eval", "lm_eval.tasks"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("tombola.tasks.language.abilities.catalog.find_spec", lambda name: None)
    with pytest.raises(TombolaError, match=r"unknown ability 'hellaswag'.*pip install 'tombola\[language\]'"):
        open_abilities(["grammar", "hellaswag", "piqa"])
    # No folder of another test, whose tasks are known already.
    with pytest.raises(TombolaError, match=r"pip install 'tombola\[language\]'"):
        lm_eval_task.load("hellaswag", tmp_path)


def test_a_choice_that_does_not_fit_is_named(folder: Path) -> None:
    abilities = open_abilities([f"tiny_choice={folder}"], trusted=True)
    with pytest.raises(TombolaError, match=r"tiny_choice, document \d+: a choice of 3 tokens cannot be"):
        LanguageTask(abilities, TEXTS, tokenizer(), LanguageTaskOptions(positions=2, bos_token="none")).size("dev")
    words = tokenizer()
    words.bos_token = words.eos_token = None
    with pytest.raises(TombolaError, match="it has neither"):
        LanguageTask(abilities, TEXTS, words, LanguageTaskOptions(positions=POSITIONS, bos_token="none")).size("dev")


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
    found = str(lm_eval_task.explained(error, "evaluate hellaswag"))
    assert "\n" not in found
    assert found.startswith(f"lm-evaluation-harness cannot evaluate hellaswag ({type(error).__name__}: ")
    assert said in found
    # Wrapped by whoever caught it first, it is the same.
    outer = ValueError("the builder failed")
    outer.__cause__ = error
    assert said in str(lm_eval_task.explained(outer, "evaluate hellaswag"))


def test_an_unknown_task_is_named(folder: Path) -> None:
    with pytest.raises(TombolaError, match="knows no task 'hellaswog'"):
        lm_eval_task.load("hellaswog", folder)
