"""Processes that end with the one that started them, and drafts of killed ones in the cache."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tombola.foundations.atomic_files import temporary_folder, write_once

PARENT = """
import subprocess, time
from tombola.foundations.resources import child_command
print(subprocess.Popen(child_command("slow_to_import", "argument")).pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a process with its parent")
def test_a_child_that_still_imports_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "slow_to_import.py").write_text(
        "import sys, time\nassert sys.argv[1:] == ['argument']\nopen(__file__ + '.begun', 'w')\ntime.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))}
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        deadline = time.monotonic() + 30
        while not (tmp_path / "slow_to_import.py.begun").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert child.is_running()
        parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs([child], timeout=10)
    assert not [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_a_draft_that_a_killed_process_left_in_the_cache_is_swept(tmp_path: Path) -> None:
    left, other = tmp_path / ".draft-asset-abcdefgh", tmp_path / ".draft-asset-2-abcdefgh"
    for place in (left, other):
        (place / "folder").mkdir(parents=True)
    write_once(tmp_path / "asset", lambda draft: draft.mkdir())
    assert (tmp_path / "asset").is_dir()
    assert (left.exists(), other.exists()) == (False, True)


def test_an_old_draft_without_a_name_is_swept_from_the_cache(tmp_path: Path) -> None:
    old, new = tmp_path / ".draft-abcdefgh", tmp_path / ".draft-ijklmnop"
    for place in (old, new):
        place.mkdir()
    os.utime(old, (0, 0))
    write_once(tmp_path / "asset", lambda draft: draft.mkdir())
    assert (old.exists(), new.exists()) == (False, True)


def test_a_temporary_folder_that_a_killed_process_left_is_swept_and_no_other(tmp_path: Path) -> None:
    left = tmp_path / "tombola-cost-left"
    left.mkdir()
    (left / ".lock").touch()
    with temporary_folder("tombola-cost-", tmp_path) as mine:
        assert not left.exists()
        with temporary_folder("tombola-cost-", tmp_path) as other:
            assert mine.is_dir()
            assert other.is_dir()
    assert list(tmp_path.iterdir()) == []
