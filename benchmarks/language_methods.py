"""Remains of a language model after each method: grammar, perplexity and zero-shot tasks, a line each, in one run.

The figures to stand beside are those of Wanda and SparseGPT: at 50 % and above SparseGPT loses least. Every line is one
cut of the whole model; nothing is trained.

    python benchmarks/language_methods.py [--grammar BLIMP] [--zero-shot reasoning=piqa.jsonl cloze=lambada.jsonl]
                                          [--json FILE]
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from results_file import ResultsFile
from tombola.foundations.precision import Precision, resolve_precision
from tombola.pruning.evaluation import EvaluationOptions, evaluate
from tombola.pruning.one_shot import one_shot
from tombola.pruning.weight_criteria import WeightCut
from tombola.pruning.weight_pruning import prune_weights
from tombola.subnetworks.subnetwork import Subnetwork, shrunk, whole
from tombola.tasks.language.abilities.ability import Ability
from tombola.tasks.language.task import LanguageTask
from tombola.tickets.site_groups import site_groups
from tombola.tickets.ticket import Ticket

Cut = Callable[[PreTrainedModel], Subnetwork]
"""Prunes the model."""

WEIGHTS = (
    *(("magnitude", share, None, None) for share in (0.3, 0.5)),
    ("magnitude", 0.5, "matrix", None),
    ("wanda", 0.3, None, None),
    *((criterion, share, None, None) for share in (0.5, 0.6) for criterion in ("wanda", "sparsegpt")),
    *((criterion, None, None, "2:4") for criterion in ("magnitude", "wanda", "sparsegpt")),
)
SITES = (
    *((kind, layers, removed) for layers in (True, False) for kind, removed in (("heads", 0.1), ("heads", 0.2))),
    *(("mlps", False, count / 30) for count in (1, 3, 6)),
    *(("neurons", False, share) for share in (0.1, 0.2, 0.3)),
)


def weights(
    criterion: str,
    share: float | None,
    scope: str | None,
    pattern: str | None,
    model: PreTrainedModel,
    *,
    text: Sequence[Tensor],
    sequential: bool,
) -> Subnetwork:
    """A share of the weights."""
    calibration = text if criterion in ("wanda", "sparsegpt") else None
    found = prune_weights(
        model, WeightCut(criterion, share, scope=scope, pattern=pattern, sequential=sequential), calibration=calibration
    )
    part = whole(found.model, "weights")
    return Subnetwork(part.model, part.anatomy, found.ticket, part.present)


def sites(kind: str, layers: bool, removed: float, model: PreTrainedModel, *, task: LanguageTask) -> Subnetwork:
    """A share of the heads, MLPs or neurons, by first-order importance of the loss on calibration text."""
    return shrunk(
        model,
        one_shot(
            model,
            task,
            {kind: 1 - removed},
            evaluation=EvaluationOptions("train", precision="bf16"),
            normalise_layers=layers,
        ),
    )


def blocks(number: int, model: PreTrainedModel, *, task: LanguageTask) -> Subnetwork:
    """The layers of which heads and MLPs, under one gate, matter least to the loss."""
    part = whole(model, "heads+mlps")
    units = site_groups(part.anatomy, "layers")
    found = evaluate(
        part, task, EvaluationOptions("importance", precision="bf16"), importance=True, groups=units
    ).importance
    assert found is not None
    layers = found["mlps"].argsort()[:number]
    gone = units["mlps"][layers]
    masks = {kind: ~torch.isin(of_sites, gone) for kind, of_sites in units.items()}
    return shrunk(model, Ticket("heads+mlps", part.anatomy.signature, masks, {"ticket": "layers"}))


def parts(task: LanguageTask) -> Iterator[tuple[Ability, NDArray[np.bool_]]]:
    """Abilities of a task, and which of its examples are theirs."""
    numbers = task.references("dev").astype(int)
    for number, ability in enumerate(task.abilities):
        yield ability, numbers == number


def measured(tasks: Sequence[LanguageTask], part: Subnetwork, precision: Precision) -> dict[str, Any]:
    """Answers of a model, item by item: `right`, a digit each, halves being "h"; of texts `nats` a token."""
    found: dict[str, dict[str, Any]] = {"right": {}, "nats": {}, "perplexity": {}}
    for task in tasks:
        given = evaluate(part, task, EvaluationOptions(precision=precision))
        losses = np.asarray(given.losses)
        found["perplexity"] |= task.perplexity(losses)
        for ability, own in parts(task):
            if ability.rule == "text":
                found["nats"][ability.name] = [round(float(one), 5) for one in losses[own]]
            else:
                answers = np.nan_to_num(given.predictions[own])
                found["right"][ability.name] = "".join("h" if one == 0.5 else f"{one:.0f}" for one in answers)
    return found


def cell(line: dict[str, Any], name: str) -> str:
    """The accuracy of an ability with its 95 % interval over the items, or the perplexity."""
    if name in line["perplexity"]:
        return f"{line['perplexity'][name]:.1f}"
    right = np.array([0.5 if one == "h" else float(one) for one in line["right"][name]])
    drawn = np.random.default_rng(0).integers(len(right), size=(2000, len(right)))
    low, high = np.percentile(right[drawn].mean(1), (2.5, 97.5))
    return f"{right.mean():.3f} [{low:.3f}, {high:.3f}]"


def cuts(task: LanguageTask, text: Sequence[Tensor], *, sequential: bool) -> dict[str, Cut]:
    """Every cut that is compared, by the name of its line."""
    lines: dict[str, Cut] = {"full": whole}
    for settings in WEIGHTS:
        name = " ".join(str(part) for part in settings if part is not None)
        lines[name] = partial(weights, *settings, text=text, sequential=sequential)
    for kind, layers, removed in SITES:
        name = f"{kind} {removed:.3f}" + (" by layer" if layers else "")
        lines[name] = partial(sites, kind, layers, removed, task=task)
    for number in (1, 3):
        lines[f"blocks {number}"] = partial(blocks, number, task=task)
    return lines


def main() -> None:
    """Prune, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--grammar", type=Path, help="BLiMP's JSON lines; else generated pairs")
    parser.add_argument("--rows", type=int, default=680, help="pairs")
    parser.add_argument("--zero-shot", nargs="*", default=[], help="further abilities, KIND=FILE")
    parser.add_argument("--zero-shot-rows", type=int, default=250)
    parser.add_argument("--text-tokens", type=int, default=6000)
    parser.add_argument("--bos-token", default="<|endoftext|>")
    parser.add_argument("--calibration", default="32x512", help="sequences x tokens")
    parser.add_argument("--dense", action="store_true", help="activations of the dense model, not block after block")
    parser.add_argument("--only", default="", help="lines whose name begins with one of these words")
    parser.add_argument("--json", type=Path, help="keep every line in this file, and go on where it ends")
    options = parser.parse_args()
    count, length = map(int, options.calibration.split("x"))
    grammar = "grammar" if options.grammar is None else f"grammar={options.grammar}"
    open_task = partial(LanguageTask.open, options.model, bos_token=options.bos_token)
    task = open_task([grammar, "language-modelling"], rows=options.rows, text_tokens=options.text_tokens)
    tasks = [task]
    if options.zero_shot:
        tasks.append(open_task(options.zero_shot, rows=options.zero_shot_rows))
    model = task.load(options.model, seed=0)
    assert isinstance(model, PreTrainedModel)
    for one in tasks[1:]:
        one.settle(model)
    precision = resolve_precision("auto", torch.device("cpu"))
    text = task.calibration_text(count, length, 0)
    lines = cuts(task, text, sequential=not options.dense)
    names = ("model", "rows", "zero_shot_rows", "text_tokens", "bos_token", "calibration", "dense")
    texts = [
        [item.scored for item, mine in zip(one.items("dev"), own, strict=True) if mine]
        for one in tasks
        for ability, own in parts(one)
        if ability.rule == "text"
    ]
    conditions = {name: getattr(options, name) for name in names} | {"precision": precision, "tokens": texts}
    results = ResultsFile(options.json, conditions, ("method",))
    print(f"{options.rows} pairs, {options.text_tokens} tokens of text, calibration {options.calibration}, {precision}")
    shown = [name for one in tasks for name in one.more]
    print(
        f"{'method':<22} {'seconds':>8} {'weights':>8} " + " ".join(f"{name[-20:]:>20}" for name in shown), flush=True
    )
    for name, cut in lines.items():
        if results.has(name) or not name.startswith(tuple(options.only.split(","))):
            continue
        started = time.perf_counter()
        part = cut(model)
        seconds = time.perf_counter() - started
        kept = part.ticket.survivors(part.anatomy)["weights"] / part.anatomy.weights
        results.add(method=name, removed=1 - kept, **measured(tasks, part, precision))
        cells = [cell(results.lines[-1], one) for one in shown]
        print(f"{name:<22} {seconds:>8.1f} {1 - kept:>8.3f} " + " ".join(f"{one:>20}" for one in cells), flush=True)


if __name__ == "__main__":
    main()
