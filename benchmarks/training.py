"""Our fine-tuning beside Hugging Face's `Trainer`: same model, rows, recipe and precision, in turns, one process.

Both train MiniLM on Rotten Tomatoes by AdamW with linear warm-up and decay, from the same weights with the same new
output layer. `Trainer` is used as its documentation has it: `DataCollatorWithPadding`, batches in random order; and as
it is fastest, with examples of similar length in a batch (`train_sampling_strategy="group_by_length"`). All pad a batch
to its longest text, have the same number of steps over the same rows, tokenized before, the fused AdamW, and keep freed
memory. The goal: at least 1.5 times as fast as the first, at equal accuracy.

    python benchmarks/training.py [--rows 1500] [--dev-rows 1066] [--epochs 1] [--repeats 3] [--json FILE]
"""

import argparse
import copy
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments
from transformers.utils import logging

from results_file import ResultsFile
from tombola import StudyConfig, evaluate, train, whole
from tombola.foundations.precision import Precision
from tombola.foundations.resources import keep_freed_memory
from tombola.tasks.fine_tuned.text_classification import TextTask
from turns import in_turns, ratio

OURS, PLAIN, GROUPED = "Tombola", "Trainer", "Trainer, grouped by length"
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
Rows = list[dict[str, object]]
WARM = 64
"""Rows of the training of each that does not count."""


def rows_of(task: TextTask) -> Rows:
    """The task's training rows as `Trainer` takes them: encoded, with their labels."""
    labels = task.references("train")
    return [
        {**{name: list(values) for name, values in row.items()}, "labels": int(label)}
        for row, label in zip(task.encoded("train"), labels, strict=True)
    ]


def trainer(
    model: nn.Module, task: TextTask, rows: Rows, config: StudyConfig, precision: str, *, grouped: bool
) -> None:
    """Train a model in place by `Trainer`, on rows of a task."""
    recipe = config.recipe
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            use_cpu=True,
            bf16=precision == "bf16",
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            warmup_steps=round(recipe.warmup_ratio * recipe.steps(len(rows))),
            max_grad_norm=recipe.max_grad_norm,
            train_sampling_strategy="group_by_length" if grouped else "random",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
        )
        found = Trainer(model, arguments, DataCollatorWithPadding(task.tokenizer), rows).train()
        assert found.global_step == recipe.steps(len(rows))


def tools_of(
    start: nn.Module, task: TextTask, config: StudyConfig, precision: Precision, models: dict[str, nn.Module]
) -> dict[str, Callable[[], None]]:
    """Functions that train a copy of a model each, and put it into `models`."""
    rows = rows_of(task)

    def tool(name: str) -> None:
        models[name] = copy.deepcopy(start)
        if name == OURS:
            train(models[name], task, config.recipe, seed=0, precision=precision)
        else:
            trainer(models[name], task, rows, config, precision, grouped=name == GROUPED)

    return {name: functools.partial(tool, name) for name in (OURS, PLAIN, GROUPED)}


def main() -> None:
    """Train by each in turn, and print seconds and accuracy side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--dev-rows", type=int, default=1066)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write all figures to this file, line by line")
    options = parser.parse_args()
    logging.set_verbosity_error()
    keep_freed_memory()
    settings = {name: getattr(options, name) for name in ("rows", "dev_rows", "epochs", "repeats")}
    results = ResultsFile(options.json, settings, ("precision",), ("transformers",))
    config = StudyConfig.of("quick", train_rows=options.rows, dev_rows=options.dev_rows, epochs=options.epochs)
    tasks = [config.replaced(train_rows=rows).open_task() for rows in (WARM, options.rows)]
    task = tasks[-1]
    start = task.load(config.model, seed=0)
    for precision in PRECISIONS:
        if results.has(precision):
            continue
        models: dict[str, nn.Module] = {}
        for number, one in enumerate(tasks):
            assert isinstance(one, TextTask)
            tools = tools_of(start, one, config, precision, models)
            # The first is to warm up: a whole round would take as long as one that counts.
            seconds = in_turns(tools, options.repeats if number else 1, warm=False)
        scores = {name: evaluate(whole(model), task).score for name, model in models.items()}
        times = {name: ratio(seconds[name], seconds[OURS]) for name in (PLAIN, GROUPED)}
        results.add(precision=precision, seconds=seconds, scores=scores, ratio=times, n=task.size("dev"))
        print(f"{precision}, {torch.get_num_threads()} threads")
        for name, found in seconds.items():
            print(f"  {name}: {[round(one, 2) for one in found]} s, accuracy {scores[name]:.3f}")
        print(f"  times as fast: {times}")


if __name__ == "__main__":
    main()
