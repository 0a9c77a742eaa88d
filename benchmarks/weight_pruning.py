"""The global threshold beside PyTorch's own, and Wanda's masks beside a full sort of every row, on the same model.

The goals: the global threshold at least 15 times as fast as `torch.nn.utils.prune.global_unstructured`, with at most a
twentieth of its extra memory, and the exact count. Each figure comes from a fresh process, the tools taking turns; the
ratio is the median of those of a turn.

    python benchmarks/weight_pruning.py [--model smollm2] [--sparsity 0.5] [--repeats 3] [--json FILE]
"""

import argparse
import contextlib
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from results_file import ResultsFile
from tombola import dissect
from tombola.architectures.sites import outputs_first
from tombola.checkpoints.loading import load_model
from tombola.profiling.peak_memory import peak
from tombola.pruning.magnitude import keep_largest
from tombola.pruning.weight_criteria import ScoredMatrix, WeightCut
from tombola.pruning.weight_pruning import prune_matrix
from turns import ratio


def tombola_global(model: nn.Module, sparsity: float) -> int:
    """Our masks of the whole model; how many survive."""
    anatomy = dissect(model)
    masks = keep_largest(anatomy.weights_of(model), anatomy.weights - round(sparsity * anatomy.weights))
    return sum(int(mask.sum()) for mask in masks.values())


def torch_global(model: nn.Module, sparsity: float) -> int:
    """PyTorch's."""
    modules = [(model.get_submodule(matrix.module), "weight") for matrix in dissect(model).matrices]
    prune.global_unstructured(modules, pruning_method=prune.L1Unstructured, amount=sparsity)
    return sum(int(module.get_buffer("weight_mask").sum()) for module, _ in modules)


def norms_of(weight: Tensor) -> Tensor:
    """Norms of inputs, drawn: the time does not depend on them."""
    return torch.rand(weight.shape[1], generator=torch.Generator().manual_seed(0)) + 0.1


def tombola_wanda(model: nn.Module, sparsity: float) -> int:
    """Our masks by Wanda."""
    cut, found = WeightCut("wanda", sparsity), 0
    for matrix, parameter in dissect(model).prunable(model):
        weight = outputs_first(model, matrix, parameter.detach())
        found += int(prune_matrix(ScoredMatrix(matrix, weight, norms_of(weight)), cut)[0].sum())
    return found


def sorted_wanda(model: nn.Module, sparsity: float) -> int:
    """Mask as Wanda's own script has it: a stable sort of each row, whose first places are pruned."""
    found = 0
    for matrix, parameter in dissect(model).prunable(model):
        weight = outputs_first(model, matrix, parameter.detach())
        metric = weight.abs() * norms_of(weight)
        order = torch.sort(metric, dim=-1, stable=True)[1][:, : round(sparsity * weight.shape[1])]
        mask = torch.zeros(weight.shape, dtype=torch.bool).scatter_(1, order, True)
        weight = weight.where(~mask, 0.0)
        found += int((~mask).sum())
    return found


TOOLS: dict[str, Callable[[nn.Module, float], int]] = {
    "global threshold, torch.nn.utils.prune": torch_global,
    "global threshold, Tombola": tombola_global,
    "Wanda's masks, sorted rows": sorted_wanda,
    "Wanda's masks, Tombola": tombola_wanda,
}


def measure(model: nn.Module, tool: str, sparsity: float) -> dict[str, float]:
    """Seconds and extra bytes at the peak, in this process."""
    for parameter in model.parameters():
        # Loaded weights are a mapped file, whose pages would count for whoever looks at them first.
        parameter.data = parameter.data.clone()
    gc.collect()
    with contextlib.suppress(OSError):
        # Forget the peak of loading the model.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = psutil.Process().memory_info().rss
    started = time.perf_counter()
    survivors = TOOLS[tool](model, sparsity)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "extra": max(0, (peak() or 0) - before), "survivors": survivors}


def main() -> None:
    """Measure all tools in turn and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--json", type=Path, help="also write all figures to this file; nothing is done where it holds them"
    )
    parser.add_argument("--tool", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tool is not None:
        print(json.dumps(measure(load_model(options.model, check=False), options.tool, options.sparsity)))
        return
    settings = {name: getattr(options, name) for name in ("model", "sparsity", "repeats")}
    results = ResultsFile(options.json, settings, ("tool",))
    if results.lines:
        return
    rows: dict[str, list[dict[str, float]]] = {tool: [] for tool in TOOLS}
    for _ in range(options.repeats):
        for tool, row in rows.items():
            command = [sys.executable, __file__, "--model", options.model, "--sparsity", str(options.sparsity)]
            done = subprocess.run([*command, "--tool", tool], stdout=subprocess.PIPE, check=True)
            row.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{options.model}, {options.sparsity:.0%} of the weights go, {torch.get_num_threads()} threads")
    for slow, fast in (tuple(TOOLS)[:2], tuple(TOOLS)[2:]):
        for tool in (slow, fast):
            seconds, extra = ([row[name] for row in rows[tool]] for name in ("seconds", "extra"))
            survivors = sorted({int(row["survivors"]) for row in rows[tool]})
            times = ratio([row["seconds"] for row in rows[slow]], seconds)
            results.add(tool=tool, survivors=survivors, seconds=seconds, extra=extra, ratio=times)
            print(f"{tool}: {seconds} s, {extra} bytes extra, {survivors} survive, {times} times as fast")


if __name__ == "__main__":
    main()
