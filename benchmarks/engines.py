"""Engines that could run the steps of a study, side by side: Dask, and Ray where it is installed (`pip install ray`).

    python benchmarks/engines.py

Each repeat starts an engine with two workers in a process of its own, in turns: seconds until both have answered,
memory of all its processes, 100 steps that do nothing, and a step whose worker is killed the first time.
"""

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

ENGINES = ("dask", "ray")
STEPS = 100


def nothing(value: int) -> int:
    """A step that does nothing."""
    return value


def killed_once(path: str) -> None:
    """A step whose worker the system kills the first time."""
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)


def dask() -> tuple[Callable[[Iterable[int]], Any], Callable[[str], Any]]:
    """Two workers of Dask behind certificates, as studies have them."""
    from distributed import Client, LocalCluster
    from distributed.security import Security

    security = Security.temporary()
    cluster = LocalCluster(2, threads_per_worker=1, security=security, dashboard_address=None, silence_logs=50)
    client = Client(cluster, security=security)
    return (
        lambda values: client.gather(client.map(nothing, values, pure=False)),
        lambda path: client.submit(killed_once, path).result(),
    )


def ray() -> tuple[Callable[[Iterable[int]], Any], Callable[[str], Any]]:
    """Two workers of Ray."""
    import ray as engine

    engine.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=50)
    step, deadly = engine.remote(nothing), engine.remote(max_retries=1)(killed_once)
    return (
        lambda values: engine.get([step.remote(value) for value in values]),
        lambda path: engine.get(deadly.remote(path)),
    )


def measure(engine: str) -> dict[str, float]:
    """Seconds and bytes of one engine, in this process."""
    started = time.perf_counter()
    many, deadly = {"dask": dask, "ray": ray}[engine]()
    many(range(2))
    found = {"start": time.perf_counter() - started}
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    # Those that ended meanwhile hold nothing.
    living = [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    found["bytes"] = sum(one.memory_info().rss for one in living)
    started = time.perf_counter()
    many(range(2, STEPS + 2))
    found["steps"] = time.perf_counter() - started
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        deadly(str(Path(home) / "killed"))
    return {**found, "killed": time.perf_counter() - started}


def main() -> None:
    """Measure, or, with `--engine`, be one repeat of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument(
        "--json", type=Path, help="also write all figures to this file; nothing is done where it holds them"
    )
    options = parser.parse_args()
    if options.engine is not None:
        print("found", json.dumps(measure(options.engine)), flush=True)
        # Engines are slow to end, and nobody waits for them.
        os._exit(0)
    # Here, as it imports PyTorch, which no engine needs.
    from results_file import ResultsFile

    engines = [one for one in ENGINES if one == "dask" or importlib.util.find_spec(one) is not None]
    packages = tuple("distributed" if one == "dask" else one for one in engines)
    results = ResultsFile(options.json, {"repeats": options.repeats, "steps": STEPS}, ("engine",), packages)
    if results.lines:
        return
    found: dict[str, dict[str, list[float]]] = {engine: {} for engine in engines}
    for _ in range(options.repeats):
        for engine in engines:
            command = [sys.executable, __file__, "--engine", engine]
            # Ray asks about IPython and its own usage report otherwise.
            environ = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
            said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environ).stdout
            line = next(line for line in said.splitlines() if line.startswith("found "))
            for name, value in json.loads(line.removeprefix("found ")).items():
                found[engine].setdefault(name, []).append(value)
    for engine, seconds in found.items():
        memory = seconds.pop("bytes")
        results.add(engine=engine, seconds=seconds, bytes=memory)
        print(engine, {name: round(sorted(values)[len(values) // 2], 3) for name, values in seconds.items()})


if __name__ == "__main__":
    main()
