"""Progress of a process that is killed in the middle of a training."""

from collections.abc import Mapping


class KilledError(Exception):
    """Raised where the process would be killed."""


class Kill:
    """Progress of a process that is killed after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def advance(self, _: int) -> None:
        self.left -= 1
        if not self.left:
            raise KilledError

    def note(self, text: str) -> None: ...
    def measured(self, step: int, values: Mapping[str, float]) -> None: ...
