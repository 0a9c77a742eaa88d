"""Processes that a launcher, `accelerate launch` or `torchrun`, started together: which of how many this one is."""

import os


def process_count() -> int:
    """Number of processes that a launcher started together; 1 without one."""
    return max(1, _number("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def process_rank() -> int:
    """Number of this process among them, from 0."""
    return _number("RANK", 0) if process_count() > 1 else 0


def local_rank() -> int:
    """Number of this process among those of its machine, from 0: that of its GPU."""
    return _number("LOCAL_RANK", 0) if process_count() > 1 else 0


def is_main_process() -> bool:
    """True for the process that writes, prints and shows bars, which one alone is."""
    return process_rank() == 0


def shards_models() -> bool:
    """True if the launcher was told to spread the model over the processes (FSDP), so that none has to hold it."""
    return process_count() > 1 and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default
