"""What each way to prune weights leaves of a language model: grammar and perplexity, one line each, in one run.

The figures to stand beside are those of Wanda and SparseGPT: at 50 % and above SparseGPT loses least.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from tombola.evaluation import evaluate
from tombola.precision import resolve_precision
from tombola.statistics import interval
from tombola.subnetwork import whole
from tombola.tasks.language import LanguageTask
from tombola.weight_pruning import prune_weights

WAYS = (
    *(("magnitude", share, None, None) for share in (0.3, 0.5)),
    ("magnitude", 0.5, "matrix", None),
    *((method, share, None, None) for share in (0.5, 0.6) for method in ("wanda", "sparsegpt")),
    *((method, None, None, "2:4") for method in ("magnitude", "wanda", "sparsegpt")),
)


def main() -> None:
    """Prune, score, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--grammar", type=Path, help="BLiMP's JSON lines; else generated pairs")
    parser.add_argument("--rows", type=int, default=680, help="pairs")
    parser.add_argument("--text-tokens", type=int, default=6000)
    parser.add_argument("--start", default="<|endoftext|>")
    parser.add_argument("--calibration", default="32x512", help="sequences x tokens")
    parser.add_argument("--dense", action="store_true", help="activations of the dense model, not block after block")
    options = parser.parse_args()
    count, length = map(int, options.calibration.split("x"))
    grammar = "grammar" if options.grammar is None else f"grammar={options.grammar}"
    task = LanguageTask.open(
        options.model,
        [grammar, "language-modelling"],
        rows=options.rows,
        text_tokens=options.text_tokens,
        start=options.start,
    )
    model = task.load(options.model, seed=0)
    precision = resolve_precision("auto", torch.device("cpu"))
    text = task.calibration_text(count, length, 0)
    print(f"{options.rows} pairs, {options.text_tokens} tokens of text, calibration {options.calibration}, {precision}")
    print(f"{'method':<28} {'seconds':>8} {'sparsity':>9} {'grammar':>24} {'perplexity':>11}")
    for method, share, scope, pattern in (("full", 0.0, None, None), *WAYS):
        started = time.perf_counter()
        pruned, sparsity = model, 0.0
        if method != "full":
            found = prune_weights(
                model,
                method,
                share,
                calibration=text if method in ("wanda", "sparsegpt") else None,
                scope=scope,
                pattern=pattern,
                sequential=not options.dense,
            )
            pruned, sparsity = found.model, 1 - len(found.ticket) / found.ticket.total
        seconds = time.perf_counter() - started
        evaluation = evaluate(whole(pruned), task, precision=precision)
        metric, references = task.more["grammar"][1], task.references("dev")
        score = metric.score(evaluation.predictions, references)
        low, high = interval(metric, evaluation.predictions, references, seed=0, resamples=1000)
        perplexity = task.perplexity(np.asarray(evaluation.losses))["language-modelling"]
        name = " ".join(part for part in (method, str(share or ""), scope or "", pattern or "") if part)
        print(
            f"{name:<28} {seconds:>8.1f} {sparsity:>9.3f} {score:>9.3f} [{low:.3f}, {high:.3f}] {perplexity:>11.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
