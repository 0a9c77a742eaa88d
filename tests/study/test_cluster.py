"""A study whose steps run on a cluster of Dask: what one process finds, and nobody's code but its own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
import torch
from distributed.security import Security

from builders import small_study
from builders.small_study import environment, read_rows, timeless
from tombola.foundations.errors import TombolaError
from tombola.study.study import Study
from tombola.study.worker_pool import address_of


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "127.0.0.1:8786", "nowhere.json", "tls:/x", ""])
def test_what_is_no_encrypted_scheduler_is_one_line(tmp_path: Path, address: str) -> None:
    with pytest.raises(TombolaError, match="scheduler"):
        Study(small_study.config(device="cpu"), out=tmp_path, cluster=address)
    assert list(tmp_path.iterdir()) == []


def test_a_scheduler_file_names_the_address(tmp_path: Path) -> None:
    for text, what in (('{"address": "tls://10.0.0.1:8786"}', None), ("{}", "scheduler"), ("[]", "damaged|object")):
        (tmp_path / "scheduler.json").write_text(text)
        if what is None:
            assert address_of(str(tmp_path / "scheduler.json")) == "tls://10.0.0.1:8786"
        else:
            with pytest.raises(TombolaError, match=what):
                address_of(str(tmp_path / "scheduler.json"))


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables of the environment with which Dask takes only who has the certificate."""
    security = Security.temporary()
    (tmp_path / "ca.pem").write_text(security.tls_ca_file)
    names = {"CA_FILE": "ca.pem"}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        (tmp_path / f"{role}.pem").write_text(
            getattr(security, f"tls_{role.lower()}_key") + getattr(security, f"tls_{role.lower()}_cert")
        )
        names |= {f"{role}__CERT": f"{role}.pem", f"{role}__KEY": f"{role}.pem"}
    tls = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(tmp_path / file) for name, file in names.items()}
    here = {name.removeprefix("DASK_").lower().replace("__", ".").replace("_", "-"): tls[name] for name in tls}
    with dask.config.set(here):
        yield tls


def start(tls: dict[str, str], *command: str) -> subprocess.Popen[bytes]:
    environ = {**environment(), **tls, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", *command], env=environ, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_cluster_finds_what_one_process_finds(
    tls: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tombola.foundations.resources.cores", lambda: 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    config = small_study.config(device="cpu", methods=("heads+mlps",), analyses=())
    alone = Study(config, out=tmp_path / "alone", workers=1)
    alone.run()
    torch.set_num_threads(threads)
    file = tmp_path / "scheduler.json"
    common = ("--no-dashboard", "--scheduler-file", str(file))
    running = [
        start(tls, "distributed.cli.dask_scheduler", *common, "--protocol", "tls", "--host", "127.0.0.1", "--port", "0")
    ]
    try:
        end = time.monotonic() + 60
        while not file.is_file() and time.monotonic() < end:
            time.sleep(0.1)
        worker = ("distributed.cli.dask_worker", *common, "--no-nanny", "--nthreads", "1", "--memory-limit", "0")
        running += [start(tls, *worker, "--local-directory", str(tmp_path / f"scratch-{n}")) for n in range(1)]
        study = Study(config, out=tmp_path / "shared", cluster=str(file))
        study.run()
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert timeless(read_rows(study.folder)) == timeless(read_rows(alone.folder))
    assert (study.folder / "verdicts.json").read_bytes() == (alone.folder / "verdicts.json").read_bytes()
    assert list(study.folder.rglob(".draft-*")) == []
