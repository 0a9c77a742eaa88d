"""How the C library keeps memory: what one training step frees, the next one gets again."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT = 1 << 30
"""Bytes of the largest tensor that is kept; larger ones go back to the system at once, as they always did."""


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for its own next use; only glibc knows how.

    By default it returns every large tensor to the system, and the gradient of an embedding is then paged in and zeroed
    anew by each step: 7 % of the time of a training step of MiniLM. It is for the whole process, so that only
    the command line and its workers ask for it.

    Returns:
        Whether the C library took it.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _KEPT)) and bool(mallopt(_M_TRIM_THRESHOLD, 2 * _KEPT - 1))
