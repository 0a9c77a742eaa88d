"""Peak memory of a worker at each step of a study: one process runs them all, one after another, as a worker may.

Before each step the kernel's mark of the most memory is put back (Linux), so that a peak is of that step, with what the
steps before it left. MiniLM learns to tell sentiments of texts as long as it reads (128 tokens, several sentences of
Rotten Tomatoes each); SmolLM2 is judged and pruned as by the preset `quick`, on fewer rows. Peaks hardly depend on the
number of rows. The goals: 1.5 GB with MiniLM, 3 GB with SmolLM2.

    python benchmarks/memory.py [--models minilm smollm2] [--label now] [--threads 1] [--json FILE]

With another version's `src` first on PYTHONPATH, `--label before` measures that one on the same steps.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tombola.foundations.atomic_files import write_lines
from tombola.foundations.progress import SILENT
from tombola.foundations.resources import keep_freed_memory
from tombola.profiling.peak_memory import peak
from tombola.study.config import StudyConfig
from tombola.study.scheduler import StepRunner
from tombola.study.study import Study

GOALS = {"minilm": 1.5e9, "smollm2": 3e9}
_ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "PASSIVE", "MALLOC_ARENA_MAX": "1"}
"""A worker's own."""
_SENTENCES = 8
"""Sentences of a text, which has more than 128 tokens then."""
_COMMON: dict[str, Any] = {
    "device": "cpu",
    "at_chance": "continue",
    "bootstrap_resamples": 50,
    "controls": ("random",),
}
_MINILM: dict[str, Any] = {
    "model": "minilm",
    "methods": ("heads+mlps", "weights"),
    "analyses": ("attention", "representations"),
    "epochs": 1,
    "max_length": 128,
    "heads_step": 0.5,
    "mlps_step": 3,
    "weights_step": 0.8,
}
_SMOLLM2: dict[str, Any] = {
    "task": "understanding",
    "methods": ("heads", "mlps", "weights", "wanda"),
    "dev_rows": 20,
    "heads_step": 0.5,
    "mlps_step": 15,
    "sparsities": (0.3, 0.6),
    "sequence_length": 1024,
}


def long_texts(folder: Path, **rows: int) -> Path:
    """A task of so many texts of each split, all of which are cut to 128 tokens."""
    task: Any = StudyConfig.of("quick", train_rows=None, dev_rows=None).open_task()
    known = task.splits["train"]
    rng, pairs = random.Random(0), list(zip(known.first, known.labels, strict=True))
    texts = {label: [text for text, one in pairs if one == label] for label in (0, 1)}
    folder.mkdir()
    for name, count in rows.items():
        lines = [{"text": " ".join(rng.sample(texts[one % 2], _SENTENCES)), "label": one % 2} for one in range(count)]
        write_lines(folder / f"{name}.jsonl", lines)
    return folder


def study_of(model: str, home: Path) -> Study:
    """The study whose steps are measured."""
    own = {**_MINILM, "task": str(long_texts(home / "long", train=64, dev=64))} if model == "minilm" else _SMOLLM2
    return Study(StudyConfig.of("quick", **_COMMON, **own), out=home / model)


def steps_run(model: str, home: Path) -> Iterator[dict[str, Any]]:
    """Run all steps in this process, and tell what each took."""
    import torch

    keep_freed_memory()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    study, runner, mark = study_of(model, home), StepRunner(), Path("/proc/self/clear_refs")
    study.check()
    with study.at_work() as steps:
        study.begin(steps, 1)
        for step in steps:
            if mark.exists():
                mark.write_text("5")
            started = time.process_time()
            runner.run(step, SILENT)
            yield {"step": step.what, "peak": peak() or 0, "seconds": time.process_time() - started}


def main() -> None:
    """Run the steps of each model, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=[*GOALS], default=[*GOALS])
    parser.add_argument("--label", default="now")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="keep every line in this file, and go on where it ends")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        for line in steps_run(options.run[0], Path(options.run[1])):
            print(json.dumps(line), flush=True)
        return
    from results_file import ResultsFile

    results = ResultsFile(options.json, {"threads": options.threads}, ("model", "step", "label"))
    for model in options.models:
        with tempfile.TemporaryDirectory(prefix="tombola-memory-") as home:
            command = [sys.executable, __file__, "--run", model, home]
            environment = {**_ENVIRONMENT, **os.environ, "OMP_NUM_THREADS": str(options.threads)}
            with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as worker:
                assert worker.stdout is not None
                for line in map(json.loads, worker.stdout):
                    over = "" if line["peak"] < GOALS[model] else f", over the {GOALS[model] / 1e9:g} of the goal"
                    took = f"{line['peak'] / 1e9:.2f} GB{over}, {line['seconds']:.1f} processor s"
                    print(f"{model}, {line['step']}: {took}", flush=True)
                    if not results.has(model, line["step"], options.label):
                        results.add(model=model, label=options.label, **{**line, "seconds": [line["seconds"]]})
            if worker.returncode:
                sys.exit(worker.returncode)


if __name__ == "__main__":
    main()
