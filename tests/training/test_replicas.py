"""Two processes train what one does: data parallel, and with the model spread over them."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from builders import replicas


def launch(*command: str) -> None:
    """Run two processes, which are started as a launcher starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    # Threads that wait for others would take the time of those.
    shared |= {"OMP_NUM_THREADS": "1"}
    paths = os.pathsep.join([str(Path(replicas.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environments = [{**os.environ, **shared, "PYTHONPATH": paths, "RANK": r, "LOCAL_RANK": r} for r in ("0", "1")]
    started = [subprocess.Popen([sys.executable, *command], env=environment) for environment in environments]
    assert [process.wait(timeout=300) for process in started] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", pytest.param("fsdp", marks=pytest.mark.exhaustive)])
def test_two_processes_train_as_one(kind: str, tmp_path: Path) -> None:
    launch("-m", "builders.replicas", kind, str(tmp_path))
    expected = replicas.trained(everything=kind == "fsdp")
    found = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(2)]
    for name, tensor in found[0].items():
        assert torch.equal(tensor, found[1][name]), name
        if (what := name.partition(".")[0]) in ("undisturbed", "resumed"):
            assert torch.equal(tensor, found[0][name.replace(what, "resumed")]), name
        else:
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-7, msg=name)
            if what in ("weights", "adapters", "sparse"):
                assert torch.equal(tensor == 0, expected[name] == 0), name
