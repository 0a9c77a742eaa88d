"""Claim on a step: the right to make its result, which several studies may want alike."""

from dataclasses import dataclass

from filelock import FileLock


@dataclass(frozen=True)
class Claim:
    """Right to make the result of a step, until it is released.

    Attributes:
        lock: that is held; None for a step that nobody else makes.
        copied: another study had made the result, and it is there now.
    """

    lock: FileLock | None = None
    copied: bool = False

    def release(self) -> None:
        """Let others have it, who find what was made."""
        if self.lock is not None:
            self.lock.release()
