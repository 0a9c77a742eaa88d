"""The s-search our way and the paper's way, side by side: same model, same dev sentences, one run, one ratio.

Ours: one pass gives score and importance, by per-example gates with frozen parameters; batches of similar length;
bf16 where the processor has it; after each cut the pass runs on the shrunk network.
The paper's (github.com/sai-prasanna/bert-experiments): a pass for the score, then a pass
for the importance with the gates shared by a batch and the backward pass through all parameters; everything padded
to 128 tokens, in fp32, and pruned sites masked, not removed.

    python benchmarks/search.py [--sentences 1000] [--repeats 3] [--json FILE]

Ours searches until the score falls under 90 % (heads and MLPs together, no refinement); the paper's way then does as
many iterations. The ratio is that of the wall times of an iteration, in fp32 for both, and with ours in bf16 where the
processor has it; the ways take turns. On two cores the paper's way takes over a minute an iteration of 1,000 sentences.
"""

import argparse
import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from results_file import ResultsFile
from tombola import Recipe, SearchOptions, TextTask, dissect, search_ticket, tokenizer_of, train
from tombola.foundations.precision import resolve_precision
from tombola.pruning.evaluation import EvaluationOptions
from tombola.tasks.data import rotten_tomatoes
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedOptions
from turns import in_turns, ratio

HEADS_STEP, MLPS_STEP = 7, 1
PAPER = "the paper's way, fp32"


def paper_search(model: nn.Module, inputs: list[dict[str, Tensor]], targets: list[Tensor], iterations: int) -> None:
    """Score, importance, mask, again: the loop of the authors' scripts, written for today's transformers."""
    anatomy = dissect(model)
    heads, mlps = torch.ones(anatomy.heads), torch.ones(anatomy.mlps)
    gate_heads, gate_mlps = heads.clone(), mlps.clone()
    handles = []
    for row, mlp in zip(anatomy.attentions, anatomy.feed_forwards, strict=True):

        def before(_: nn.Module, args: tuple[Tensor], index: int = row.layer, size: int = row.size) -> Tensor:
            split = args[0].reshape(*args[0].shape[:-1], -1, size)
            return (split * gate_heads[index][:, None]).flatten(-2)

        def after(_: nn.Module, args: tuple[Tensor], output: Tensor, index: int = row.layer) -> Tensor:
            return output * gate_mlps[index]

        handles.append(model.get_submodule(row.outputs[0]).register_forward_pre_hook(before))
        handles.append(model.get_submodule(mlp.gate).register_forward_hook(after))
    model.eval()
    for _ in range(iterations):
        gate_heads, gate_mlps = heads.clone(), mlps.clone()
        with torch.no_grad():
            right = sum(int((model(**x).logits.argmax(-1) == y).sum()) for x, y in zip(inputs, targets, strict=True))
        gate_heads.requires_grad_()
        gate_mlps.requires_grad_()
        sum_heads, sum_mlps = torch.zeros_like(heads), torch.zeros_like(mlps)
        for x, y in zip(inputs, targets, strict=True):
            nn.functional.cross_entropy(model(**x).logits, y).backward()
            assert gate_heads.grad is not None
            assert gate_mlps.grad is not None
            # As in their script, which does not reset the gates' gradients between batches.
            sum_heads += gate_heads.grad.abs()
            sum_mlps += gate_mlps.grad.abs()
        model.zero_grad()
        sum_heads /= sum_heads.norm(dim=1, keepdim=True) + 1e-20
        for mask, importance, step in ((heads, sum_heads, HEADS_STEP), (mlps, sum_mlps, MLPS_STEP)):
            ranked = importance.where(mask.bool(), torch.inf).flatten().argsort()
            mask.view(-1)[ranked[:step]] = 0
        print(f"  paper's way: {right} right, {int(heads.sum())} heads and {int(mlps.sum())} MLPs left", flush=True)
    for handle in handles:
        handle.remove()


def main() -> None:
    """Fine-tune briefly, run all ways in turn, print their times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--train-rows", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--json", type=Path, help="also write all figures to this file; nothing is done where it holds them"
    )
    options = parser.parse_args()
    settings = {"model": "minilm", **{name: getattr(options, name) for name in ("sentences", "train_rows", "repeats")}}
    results = ResultsFile(options.json, settings, ("sentences",))
    if results.has(options.sentences):
        return
    precision = resolve_precision("auto", torch.device("cpu"))
    tokenizer = tokenizer_of("minilm")
    task = TextTask(
        rotten_tomatoes.load(), tokenizer, FineTunedOptions(train_rows=options.train_rows, dev_rows=options.sentences)
    )
    model = task.load("minilm", seed=0)
    train(model, task, Recipe(epochs=1, learning_rate=1e-4), precision=precision)

    # Passes of each of our searches, since a rounded score may end two of them at different iterations.
    passes: dict[str, int] = {}
    ways: dict[str, Callable[[], object]] = {}
    for kind in dict.fromkeys((precision, "fp32")):

        def ours(name: str, evaluation: EvaluationOptions) -> None:
            found = search_ticket(model, task, evaluation=evaluation, options=SearchOptions(refine=False))
            passes[name] = len(found.passes)

        name = f"ours, {kind}"
        ways[name] = partial(ours, name, EvaluationOptions(precision=kind))

    texts = task.corpus.splits["dev"]
    inputs, targets = [], []
    for start in range(0, len(texts), 32):
        batch = list(texts.first[start : start + 32])
        encoded = tokenizer(batch, padding="max_length", max_length=128, truncation=True, return_tensors="pt")
        inputs.append(dict(encoded))
        targets.append(torch.from_numpy(texts.labels[start : start + 32]))

    def paper() -> None:
        passes[PAPER] = passes["ours, fp32"]
        paper_search(copy.deepcopy(model), inputs, targets, passes[PAPER])

    ways[PAPER] = paper
    measured = in_turns(ways, options.repeats, warm=False)
    seconds = {name: [one / passes[name] for one in times] for name, times in measured.items()}
    print(
        f"{options.sentences} dev sentences, {passes[PAPER]} iterations, {torch.get_num_threads()} threads", flush=True
    )
    ratios = {name: ratio(seconds[PAPER], times) for name, times in seconds.items() if name != PAPER}
    for name, times in seconds.items():
        print(f"{name}: {' '.join(f'{one:.2f}' for one in times)} s an iteration, ratio {ratios.get(name, '')}")
    results.add(sentences=options.sentences, iterations=passes[PAPER], seconds=seconds, ratio=ratios)


if __name__ == "__main__":
    main()
