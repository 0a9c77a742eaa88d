"""Half of the heads and of the FFN units of MiniLM by a single cut, without training again: ours and Torch-Pruning.

Everything in one run, on one fine-tuned model, on the same training sentences for importance and the same dev sentences
for accuracy: the full model; `tombola.one_shot` with several sizes of blocks of neurons; random tickets of the same
size; and, where Torch-Pruning is installed (`pip install torch-pruning`; Tombola does not need it), its first-order
Taylor importance and its magnitude, each layer for itself and all layers together. Its recipe is that of its BERT
example, but for the hidden size, which stays whole. Its Taylor importance is that of the gradient of ten batches, as in
its examples, and that of all sentences.

    python benchmarks/one_shot.py [--model DIR] [--json FILE]

Without `--model`, MiniLM is fine-tuned on all training sentences first. Importance is measured in bf16 where the
processor has it, for both tools; accuracy in fp32. The models take turns for the latency. On two cores the run takes
about seven minutes, and fine-tuning four or five.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.bert.modeling_bert import BertIntermediate, BertSelfAttention

from results_file import ResultsFile
from tombola import Recipe, TextTask, Ticket, controls, evaluate, load, one_shot, save_shrunk, tokenizer_of, train
from tombola.architectures.dummy_inputs import dummy_inputs
from tombola.architectures.parameters import count_parameters
from tombola.checkpoints.loading import quiet
from tombola.foundations.precision import Precision, autocast, resolve_precision
from tombola.metrics.statistics import interval, paired_difference
from tombola.pruning.evaluation import EvaluationOptions
from tombola.subnetworks.subnetwork import shrunk, whole
from tombola.tasks.data import rotten_tomatoes
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedOptions
from turns import ratio

try:
    import torch_pruning
except ImportError:
    torch_pruning = None

BATCH, LENGTH = 64, 128
TAYLOR_RUNS = (10, None)
"""Batches of training sentences whose gradient is taken; None for all."""
SAMPLE = 1000
"""Training sentences that importance is measured on a second time, to see whether so few will do."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Cut:
    """A model that was made smaller.

    Attributes:
        model: it.
        importance: seconds of processor time that measuring importance took; None where there was nothing to measure.
        reloads: whether it comes back from disk, in words.
        predictions: on the dev sentences; of several models, one row each.
    """

    model: nn.Module
    importance: float | None
    reloads: str
    predictions: NDArray[np.generic]


@dataclass(frozen=True)
class Row:
    """Row of one of them, as it is printed and kept.

    Attributes:
        name: of the cut.
        parameters: of the small model.
        accuracy: on the dev sentences; the mean, where there are several models.
        interval: its 95 % bootstrap interval over the sentences.
        difference: to the full model's, over the same sentences, with its interval.
        right: a digit for each dev sentence, 1 if it is right; of several models, a text each.
        importance_seconds: of processor time; None where there was nothing to measure.
        seconds: of each pass over a batch.
        ratio: how many times as fast as the full model, in the turns' median, the least and the most.
        processor_ratio: the same in processor time.
        reloads: whether it comes back from disk, in words.
    """

    name: str
    parameters: int
    accuracy: float
    interval: tuple[float, float]
    difference: tuple[float, float, float]
    right: list[str]
    importance_seconds: float | None
    seconds: list[float]
    ratio: list[float]
    processor_ratio: list[float]
    reloads: str


def half(model: PreTrainedModel, task: TextTask, block: int, precision: Precision) -> tuple[Ticket, float]:
    """Our ticket, and the processor's seconds."""
    started = time.process_time()
    ticket = one_shot(
        model,
        task,
        {"heads": 0.5, "neurons": 0.5},
        evaluation=EvaluationOptions("train", precision=precision),
        block=block,
    )
    return ticket, time.process_time() - started


def ours(model: PreTrainedModel, task: TextTask, ticket: Ticket, seconds: float) -> Cut:
    """Shrunk, saved, read back, and compared with what was saved."""
    small = shrunk(model, ticket)
    with tempfile.TemporaryDirectory() as folder:
        save_shrunk(model, ticket, Path(folder) / "small")
        again = load(Path(folder) / "small")
        # Attention is asked for by whoever loads a model; each way rounds in its own.
        again.set_attn_implementation(model.config._attn_implementation)
        same = torch.equal(logits(small.model, model), logits(again, model))
    reloads = "yes" if same else "no: it computes something else"
    return Cut(small.model, seconds, reloads, predicted(small.model, model, task))


def drawn(model: PreTrainedModel, task: TextTask, ticket: Ticket, seeds: int) -> Cut:
    """Tickets of the same size that are drawn at random; the model is that of the first."""
    small = [shrunk(model, controls.random(ticket, seed)) for seed in range(seeds)]
    return Cut(small[0].model, None, "yes", np.stack([predicted(one.model, model, task) for one in small]))


def gradients(
    model: PreTrainedModel, task: TextTask, precision: Precision, batches: int | None
) -> tuple[PreTrainedModel, float]:
    """A copy of the model with the gradient of the summed loss of so many batches of training sentences, or of all."""
    copied = copy.deepcopy(model).eval()
    started = time.process_time()
    for count, batch in enumerate(task.batches("train", BATCH, shuffle=0)):
        if count == batches:
            break
        with autocast(CPU, precision):
            losses = task.output(copied, batch).losses
        losses.sum().backward()
    return copied, time.process_time() - started


def theirs(model: PreTrainedModel, task: TextTask, importance: Callable[..., Tensor], *, everywhere: bool) -> Cut:
    """Torch-Pruning's BERT example, with the hidden size left whole.

    Args:
        model: with gradients, where the importance needs some; it is not changed.
        task: of the dev sentences.
        importance: one of Torch-Pruning's.
        everywhere: compare the heads, and the units, of all layers, not of each layer for itself.
    """
    small = copy.deepcopy(model)
    for parameter, copied in zip(model.parameters(), small.parameters(), strict=True):
        copied.grad = None if parameter.grad is None else parameter.grad.clone()
    attentions = [module for module in small.modules() if isinstance(module, BertSelfAttention)]
    units = [module.dense for module in small.modules() if isinstance(module, BertIntermediate)]
    heads = {layer: one.num_attention_heads for one in attentions for layer in (one.query, one.key, one.value)}
    inside = {*heads, *units}
    pruner = torch_pruning.pruner.BasePruner(
        small,
        dummy_inputs(small, 1),
        importance=importance,
        global_pruning=everywhere,
        pruning_ratio=0.5,
        # A scope of its own, so that exactly half of the units go; the heads have one anyway.
        pruning_ratio_dict={tuple(units): 0.5},
        num_heads=heads,
        prune_head_dims=False,
        prune_num_heads=True,
        head_pruning_ratio=0.5,
        output_transform=lambda output: output.logits.sum(),
        # What writes to the residual stream keeps its width, and so does all that reads from it.
        ignored_layers=[
            module
            for module in small.modules()
            if isinstance(module, nn.Linear | nn.Embedding | nn.LayerNorm) and module not in inside
        ],
    )
    pruner.step()
    for one in attentions:
        one.num_attention_heads = pruner.num_heads[one.query]
        one.all_head_size = one.query.out_features
    small.zero_grad()
    return Cut(small, None, reloaded(small), predicted(small, model, task))


def reloaded(model: PreTrainedModel) -> str:
    """Outcome of reading back a model that `save_pretrained` writes and `from_pretrained` reads."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        try:
            model.save_pretrained(folder)
            again = type(model).from_pretrained(folder, attn_implementation="eager")
        except RuntimeError as error:
            return "no: shapes differ" if "size" in str(error) else f"no: {type(error).__name__}"
    return "yes" if torch.equal(logits(model, model), logits(again, model)) else "no: it computes something else"


def logits(model: nn.Module, example: PreTrainedModel) -> Tensor:
    """Output of a model on random inputs."""
    with torch.no_grad():
        found: Tensor = model.eval()(**dummy_inputs(example, 8)).logits
    return found


def predicted(small: nn.Module, model: PreTrainedModel, task: TextTask) -> NDArray[np.generic]:
    """The classes that a model made of `model` gives the dev sentences, in fp32."""
    return evaluate(replace(whole(model), model=small), task).predictions


def latencies(models: Mapping[str, nn.Module], repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each pass of each over a batch, by the clock and in processor time; the models take turns."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 20000, (BATCH, LENGTH), generator=generator)
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        for turn in range(repeats + 1):
            for name, model in models.items():
                started, worked = time.perf_counter(), time.process_time()
                model.eval()(**given)
                seconds = time.perf_counter() - started, time.process_time() - worked
                if turn:  # The first round warms up.
                    found[name].append(seconds)
    return found


def fine_tuned(task: TextTask, source: str | None, recipe: Recipe, precision: Precision) -> PreTrainedModel:
    """The full model: as it is given, or MiniLM trained on all training sentences."""
    model = task.load("minilm", seed=0) if source is None else task.load(source, seed=0, state="trained")
    assert isinstance(model, PreTrainedModel)
    if source is None:
        started = time.perf_counter()
        train(model, task, recipe, seed=0, precision=precision)
        print(f"fine-tuned in {time.perf_counter() - started:.0f} s", flush=True)
    model.eval()
    return model


def title(block: int) -> str:
    """Name of our row."""
    return f"Tombola, blocks of {block}" if block > 1 else "Tombola, single neurons"


def cuts(model: PreTrainedModel, task: TextTask, blocks: list[int], seeds: int, precision: Precision) -> dict[str, Cut]:
    """Cuts that are compared, by name."""
    found = {"full": Cut(model, None, "yes", predicted(model, model, task))}
    for block in blocks:
        ticket, seconds = half(model, task, block, precision)
        found[title(block)] = ours(model, task, ticket, seconds)
        if block == blocks[-1]:
            found[f"random, mean of {seeds}"] = drawn(model, task, ticket, seeds)
        print(f"  blocks of {block}: {ticket}", flush=True)
    sample = TextTask(task.corpus, task.tokenizer, FineTunedOptions(train_rows=SAMPLE))
    ticket, seconds = half(model, sample, blocks[0], precision)
    found[f"{title(blocks[0])}, {SAMPLE:,} sentences"] = ours(model, task, ticket, seconds)
    if torch_pruning is None:
        print("Torch-Pruning is not installed (pip install torch-pruning), so its rows are missing")
        return found
    scopes = {"each layer": False, "all layers": True}
    for batches in TAYLOR_RUNS:
        graded, seconds = gradients(model, task, precision, batches)
        for scope, everywhere in scopes.items():
            cut = theirs(graded, task, torch_pruning.importance.GroupTaylorImportance(), everywhere=everywhere)
            name = f"Torch-Pruning Taylor, {scope}, {'all sentences' if batches is None else f'{batches} batches'}"
            found[name] = Cut(cut.model, seconds, cut.reloads, cut.predictions)
    for scope, everywhere in scopes.items():
        magnitude = torch_pruning.importance.GroupMagnitudeImportance(p=2)
        found[f"Torch-Pruning magnitude, {scope}"] = theirs(model, task, magnitude, everywhere=everywhere)
    return found


def figures(found: Mapping[str, Cut], task: TextTask, repeats: int) -> list[Row]:
    """A row for each, with numbers."""
    references, full = task.references("dev"), found["full"]
    passes = latencies({name: cut.model for name, cut in found.items()}, repeats)
    wall, processor = ({name: [one[which] for one in passes[name]] for name in passes} for which in (0, 1))
    return [
        Row(
            name,
            count_parameters(cut.model),
            float(np.mean([task.metric.score(row, references) for row in np.atleast_2d(cut.predictions)])),
            interval(task.metric, cut.predictions, references, seed=0),
            paired_difference(task.metric, cut.predictions, full.predictions, references, seed=0),
            ["".join(str(int(one)) for one in row == references) for row in np.atleast_2d(cut.predictions)],
            cut.importance,
            wall[name],
            ratio(wall["full"], wall[name]),
            ratio(processor["full"], processor[name]),
            cut.reloads,
        )
        for name, cut in found.items()
    ]


def table(rows: list[Row]) -> Table:
    """The rows, for people."""
    made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    made.add_column("", no_wrap=True)
    for column in ("parameters", "accuracy", "", "against full", "", "importance", "latency", "processor"):
        made.add_column(column, justify="right", no_wrap=True)
    made.add_column("reloads", no_wrap=True)
    for row in rows:
        apart, least, most = row.difference
        full = row.name == "full"
        made.add_row(
            row.name,
            f"{row.parameters:,}",
            f"{row.accuracy:.4f}",
            f"{row.interval[0]:.3f} to {row.interval[1]:.3f}",
            "" if full else f"{apart:+.4f}",
            "" if full else f"{least:+.3f} to {most:+.3f}",
            "" if row.importance_seconds is None else f"{row.importance_seconds:.0f} s",
            f"{row.ratio[0]:.2f} x",
            f"{row.processor_ratio[0]:.2f} x",
            row.reloads,
        )
    return made


def main() -> None:
    """Fine-tune, cut in all ways, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a MiniLM that is fine-tuned on Rotten Tomatoes already")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--train-rows", type=int, default=None, help="sentences; all by default")
    parser.add_argument("--dev-rows", type=int, default=None, help="sentences; all by default")
    parser.add_argument("--blocks", nargs="+", type=int, default=[1, 8, 16, 32], help="neurons of a block")
    parser.add_argument("--random-seeds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5, help="passes for the latency")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"), help="of the importance")
    parser.add_argument(
        "--json", type=Path, help="also write all figures to this file; nothing is done where it holds them"
    )
    options = parser.parse_args()
    precision = resolve_precision(options.precision, CPU)
    settings: dict[str, Any] = {"model": "minilm" if options.model is None else "given", "precision": precision}
    settings |= {"batch": BATCH, "length": LENGTH, "torch_pruning": torch_pruning is not None}
    names = ("epochs", "learning_rate", "train_rows", "dev_rows", "blocks", "random_seeds", "repeats")
    settings |= {name: getattr(options, name) for name in names}
    packages = () if torch_pruning is None else ("torch-pruning",)
    results = ResultsFile(options.json, settings, ("name",), packages)
    if results.lines:
        return
    data = FineTunedOptions(train_rows=options.train_rows, dev_rows=options.dev_rows)
    task = TextTask(rotten_tomatoes.load(), tokenizer_of("minilm"), data)
    recipe = Recipe(epochs=options.epochs, learning_rate=options.learning_rate)
    model = fine_tuned(task, options.model, recipe, precision)
    found = cuts(model, task, options.blocks, options.random_seeds, precision)
    rows = figures(found, task, options.repeats)
    print(
        f"{task.size('train'):,} training and {task.size('dev'):,} dev sentences, importance in {precision}, accuracy "
        f"with its 95 % interval, latency of {BATCH} x {LENGTH} tokens in fp32, {torch.get_num_threads()} threads"
    )
    Console(width=190).print(table(rows))
    first = title(options.blocks[0])
    for name in found:
        if name.startswith(("random", "Torch-Pruning")):
            apart, low, high = paired_difference(
                task.metric, found[first].predictions, found[name].predictions, task.references("dev"), seed=0
            )
            print(f"{first}, less {name}: {apart:+.4f}, 95 % interval {low:+.3f} to {high:+.3f}")
    for row in rows:
        results.add(sentences=task.size("train"), **vars(row))


if __name__ == "__main__":
    main()
