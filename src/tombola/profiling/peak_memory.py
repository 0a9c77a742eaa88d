"""Peak memory of running a model: that of a fresh process which loads it from disk and runs one batch.

A process of its own, since memory that was freed is rarely given back, and a model that shares tensors with another
would look as if it cost nothing. `measure` starts it; `python -m tombola.profiling.peak_memory` is what runs in it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tombola.foundations import resources
from tombola.foundations.errors import TombolaError


def measure(folder: Path, *, ticket: Path | None, batch: int, length: int, device: str, threads: int) -> int | None:
    """Bytes that a process needs beyond its imports to load a model and run one batch, at their peak.

    On a GPU: the peak of what PyTorch allocated there. On a CPU: peak minus resident memory after imports; pages of a
    file of weights that is mapped into memory count as soon as they are read. None where the system does not say.

    Args:
        folder: of a whole model, or of one that `save_shrunk` wrote.
        ticket: folder of a ticket under which the whole model is masked; None runs it as it is.
        batch, length: of the inputs, see `dummy_inputs`.
        device, threads: of PyTorch.

    Raises:
        TombolaError: the process failed, for want of memory for example.
    """
    values = {"ticket": ticket, "folder": folder, "batch": batch, "length": length, "device": device}
    job = json.dumps(values | {"threads": threads}, default=str)
    command = resources.child_command("tombola.profiling.peak_memory", job)
    environment = os.environ | {"PYTHONPATH": resources.python_path(), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, env=environment, check=False)
    if done.returncode:
        said = (done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise TombolaError(f"the peak memory of {folder} could not be measured: {said}")
    found: int | None = json.loads(done.stdout.splitlines()[-1])
    return found


def peak() -> int | None:
    """The most memory, in bytes, that this process has had resident so far; None where that is not known."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    try:
        # Not `getrusage`: on Linux its value outlives `exec`, so a child begins with that of its parent.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if sys.platform == "darwin" else None


def _run(job: Mapping[str, Any]) -> int | None:
    """Load and run a model, and return the peak; what any model needs is loaded before the first look at memory."""
    import psutil
    import torch

    from tombola.architectures.dummy_inputs import dummy_inputs
    from tombola.checkpoints.model_libraries import library_at, load_any
    from tombola.checkpoints.shrunk_folder import load_shrunk
    from tombola.checkpoints.sources import MARK
    from tombola.subnetworks.gates import Variant, forward
    from tombola.subnetworks.subnetwork import masked
    from tombola.tickets.ticket import Ticket

    torch.set_num_threads(job["threads"])
    device, folder = torch.device(job["device"]), Path(job["folder"])
    library_at(str(folder)).class_of(folder)
    # The libraries of matrix products set themselves up at first use.
    torch.ones(64, 64) @ torch.ones(64, 64)
    before = psutil.Process().memory_info().rss
    # Read as nothing but a model, it is in memory once.
    small = (folder / MARK).is_file()
    model = load_shrunk(folder) if small else load_any(str(folder), check=False)
    torch.nn.Module.to(model, device).eval()
    variant: Variant = model if job["ticket"] is None else masked(model, Ticket.load(job["ticket"]))
    with forward(variant, dummy_inputs(model, job["batch"], job["length"])) as run:
        run()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    after = peak()
    return None if after is None or device.type != "cpu" else max(0, after - before)


if __name__ == "__main__":
    print(json.dumps(_run(json.loads(sys.argv[1]))))  # noqa: T201
