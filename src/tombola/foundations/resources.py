"""Cores and memory that this process may use, as containers limit them too, its allocator, and its path."""

import ctypes
import math
import os
import sys
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")
"""Folder of a container's limits (cgroup v2)."""


def cores() -> int:
    """Physical cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    logical = len(affinity(0)) if affinity else os.cpu_count() or 1
    physical = psutil.cpu_count(logical=False) or logical
    return max(1, min(logical, physical, _quota()))


def python_path() -> str:
    """`PYTHONPATH` with which a process finds the Tombola that runs here, however it was found."""
    return os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))


_WITH_PARENT = """
import os, runpy, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != {parent}:
        os._exit(1)
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


def child_command(module: str, *arguments: str) -> list[str]:
    """Command that runs a module in a process which, on Linux, the kernel kills with this one, also while it imports.

    Files of the working directory are not run in place of a library's.
    """
    # PR_SET_PDEATHSIG, SIGKILL; a parent that ended before it was set is no parent any more.
    return [sys.executable, "-P", "-c", _WITH_PARENT.format(parent=os.getpid(), module=module), *arguments]


def memory() -> int:
    """Bytes of memory, those that others use included."""
    total = int(psutil.virtual_memory().total)
    limit = _limit("memory.max")
    return min(total, int(limit[0])) if limit and limit[0].isdecimal() else total


def _quota() -> int:
    limit = _limit("cpu.max")
    if len(limit) == 2 and limit[0].isdecimal():
        return math.ceil(int(limit[0]) / int(limit[1]))
    return os.cpu_count() or 1


def _limit(name: str) -> list[str]:
    try:
        return (CGROUP / name).read_text(encoding="ascii").split()
    except OSError:
        return []


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT = 1 << 30
"""Bytes of the largest tensor that is kept; larger ones go back to the system at once, as they always did."""


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for its own next use; True where the C library took it.

    By default glibc returns every large tensor to the system, and the gradient of an embedding is then paged in and
    zeroed anew by each step: 7 % of the time of a training step of MiniLM. It is for the whole process, so that only
    the command line and its workers ask for it.
    """
    return _glibc("mallopt", _M_MMAP_THRESHOLD, _KEPT) and _glibc("mallopt", _M_TRIM_THRESHOLD, 2 * _KEPT - 1)


def return_freed_memory() -> bool:
    """Give the memory that this process has freed back to the system; True where there was any, and a way.

    Blocks of a model that come and go leave holes which the next ones do not fit into: pruning 26 blocks of 248 MB one
    after the other grew by 60 MB a block. It takes milliseconds; only glibc does it.
    """
    return _glibc("malloc_trim", 0)


def _glibc(function: str, *values: int) -> bool:
    """Call a function of glibc; False where it fails, and where there is no such C library."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(getattr(ctypes.CDLL(None), function)(*values))
    except (AttributeError, OSError):
        return False
