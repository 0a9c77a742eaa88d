"""Is the classifier of attention maps right, and what does the stream of maps cost?

Right: maps drawn from each class's definition (`attention_maps.py`, which knows nothing of the classifier), of 10 to 60
tokens, with 0 to 40 % of the attention at random. Thresholds were chosen with other seeds. The goal: 95 %.

Cost: peak memory beyond the loaded model, and seconds, of a plain forward pass with eager attention, of the stream, and
of keeping all maps (`output_attentions=True`), each in a process of its own. The goal: 1.5 times the plain one.

    python benchmarks/attention_patterns.py [--maps 2000] [--seed 2019] [--model minilm] [--sizes 16x512 32x32]
                                            [--repeats 3] [--json FILE]
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from attention_maps import LENGTHS, NOISES, drawn
from results_file import ResultsFile
from tombola.analysis.attention.attention_probabilities import attention_patterns
from tombola.analysis.attention.pattern_classes import CLASSES, classify
from tombola.checkpoints.loading import load_model
from tombola.profiling.peak_memory import peak
from tombola.tasks.base import Batch
from turns import ratio

ACCURACY, MEMORY = 0.95, 1.5
WAYS = ("plain", "stream", "kept")


def confusion(maps: int, seed: int) -> tuple[NDArray[np.int64], dict[str, list[bool]]]:
    """[drawn as, sorted as] over so many maps of each class, and whether each was right, by noise and by length."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    right: dict[str, list[bool]] = {}
    for label, kind in enumerate(CLASSES):
        for number in range(maps):
            noise = NOISES[number % len(NOISES)]
            length = int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))
            found = int(classify(torch.from_numpy(drawn(kind, length, noise, rng))).labels)
            counts[label, found] += 1
            for group in (f"noise {noise:.0%}", f"{length // 10 * 10} tokens and more"):
                right.setdefault(group, []).append(found == label)
    return counts, right


def tokens(batch: int, length: int) -> dict[str, Tensor]:
    """Random inputs, the last of them half padding."""
    ids = torch.randint(1000, 20000, (batch, length), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[-1, length // 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


def measured(way: str, source: str, batch: int, length: int) -> tuple[int, float]:
    """Bytes beyond the loaded model of a first run, and seconds of a second one, in this process."""
    model = load_model(source).eval()
    model.set_attn_implementation("eager")
    given = tokens(batch, length)

    def once() -> float:
        started = time.perf_counter()
        if way == "stream":
            attention_patterns(model, [Batch(np.arange(batch), given, torch.zeros(batch))])
        else:
            with torch.no_grad():
                model(**given, output_attentions=way == "kept")
        return time.perf_counter() - started

    # Small, for all that is set up at first use.
    with torch.no_grad():
        small = tokens(2, 8)
        model(**small)
        attention_patterns(model, [Batch(np.arange(2), small, torch.zeros(2))])
    before = psutil.Process().memory_info().rss
    once()
    found = peak()
    assert found is not None
    return max(0, found - before), once()


def costs(source: str, size: str) -> dict[str, tuple[int, float]]:
    """Way → bytes and seconds, each from a fresh process."""
    found = {}
    for way in WAYS:
        command = [sys.executable, __file__, "--model", source, "--sizes", size, "--measure", way]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        found[way] = tuple(json.loads(done.stdout.splitlines()[-1]))
    return found


def main() -> None:
    """Print the confusion matrix and the costs, and whether the goals were reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=2000, help="of each class; 0 leaves them out")
    parser.add_argument("--seed", type=int, default=2019)
    parser.add_argument("--model", default="minilm", help="'' leaves the costs out")
    parser.add_argument("--sizes", nargs="+", default=["16x512", "32x32"], help="batch x tokens")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each way, which take turns")
    parser.add_argument("--json", type=Path, help="keep every line in this file, and go on where it ends")
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        batch, length = map(int, options.sizes[0].split("x"))
        print(json.dumps(measured(options.measure, options.model, batch, length)))
        return
    settings = {name: getattr(options, name) for name in ("maps", "seed", "model", "repeats")}
    settings |= {"noises": NOISES, "lengths": LENGTHS}
    results = ResultsFile(options.json, json.loads(json.dumps(settings)), ("of",))
    if options.maps and not results.has("maps"):
        counts, right = confusion(options.maps, options.seed)
        groups = {group: [sum(right[group]), len(right[group])] for group in sorted(right)}
        results.add(of="maps", classes=[*CLASSES], counts=counts.tolist(), groups=groups)
        table = Table("drawn as, sorted as", *CLASSES, "right")
        for name, row, number in zip(CLASSES, counts, np.diag(counts), strict=True):
            table.add_row(name, *map(str, row), f"{number / row.sum():.1%}")
        Console(width=110).print(table)
        for group, (count, of) in groups.items():
            print(f"{group}: {count / of:.1%}")
        accuracy = np.diag(counts).sum() / counts.sum()
        print(
            f"accuracy {accuracy:.2%}: the goal of {ACCURACY:.0%} is {'reached' if accuracy >= ACCURACY else 'missed'}"
        )
    for size in options.sizes if options.model else ():
        if results.has(size):
            continue
        rounds = [costs(options.model, size) for _ in range(options.repeats)]
        memory, seconds = ({way: [one[way][which] for one in rounds] for way in WAYS} for which in (0, 1))
        ratios = {way: ratio(seconds[way], seconds["plain"]) for way in WAYS if way != "plain"}
        shares = {way: ratio(memory[way], [max(1, one) for one in memory["plain"]]) for way in ratios}
        results.add(of=size, memory=memory, seconds=seconds, ratio=ratios, memory_ratio=shares)
        goal = "reached" if shares["stream"][0] <= MEMORY else "missed"
        print(f"{size}: {seconds} s, {ratios} of plain; {memory} bytes, {shares} of plain, the goal is {goal}")


if __name__ == "__main__":
    main()
