"""Cores and memory that this process may use, as containers limit them too."""

import math
import os
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


def memory() -> int:
    """Bytes of memory, those that others use included."""
    total = int(psutil.virtual_memory().total)
    limit = _limit("memory.max")
    return min(total, int(limit[0])) if limit and limit[0].isdecimal() else total


def _quota() -> int:
    """Cores' worth of time that a container may use."""
    limit = _limit("cpu.max")
    if len(limit) == 2 and limit[0].isdecimal():
        return math.ceil(int(limit[0]) / int(limit[1]))
    return os.cpu_count() or 1


def _limit(name: str) -> list[str]:
    try:
        return (CGROUP / name).read_text(encoding="ascii").split()
    except OSError:
        return []
