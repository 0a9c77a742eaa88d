"""Record of a step beside its result: the settings and results that it was made from, and the files that it wrote."""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from tombola.foundations.errors import TombolaError
from tombola.foundations.json_dataclasses import InnerPath, JsonRecord

MENDED = frozenset({"bootstrap_resamples"})
"""Settings of intervals alone: where they change, a score is written anew from what its model predicted."""


SCORED = frozenset({"eval_batch_size", "importance"})
"""Settings of scoring alone: where they change, a model that was fine-tuned is scored again, and not trained."""


@dataclass(frozen=True)
class FileStamp:
    """Stamp of a file: size in bytes, time of its last change in nanoseconds, and SHA-256 of its content."""

    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, file: Path) -> Self:
        """Stamp of a file as it is now."""
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        found = file.stat()
        return cls(found.st_size, found.st_mtime_ns, digest)

    def untouched(self, file: Path) -> bool:
        """True if a file has the size and the time of this stamp, so that it need not be read."""
        found = file.stat()
        return (found.st_size, found.st_mtime_ns) == (self.size, self.mtime_ns)


@dataclass(frozen=True)
class StepRecord(JsonRecord):
    """Record of a step.

    Attributes:
        settings: that it read, by their names, local files by their content; while it runs, all that there are.
        needs: the results that it needed, by their paths from its own folder → their `identity`.
        files: that it published, by their paths from its own folder; None until it has listed them.
        computed_on: what its last digits depend on beside all this, see `tombola.study.study_facts.computed_on`.
    """

    settings: Mapping[str, object]
    needs: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[InnerPath, FileStamp] | None = None
    computed_on: str = ""

    @classmethod
    def path(cls, result: Path) -> Path:
        """The file of the record of a result."""
        return result.with_name(f".{result.name}.files.json")

    @classmethod
    def of(cls, result: Path) -> Self | None:
        """The record of a result; None where there is none, or one that cannot be read."""
        return cls.read_if_whole(cls.path(result))

    @classmethod
    def read_if_whole(cls, path: Path) -> Self | None:
        """The record in a file; None where it cannot be read."""
        with contextlib.suppress(TombolaError):
            return cls.read(path)
        return None

    @property
    def identity(self) -> str:
        """Hash of all that the result was made from, of its needs as of itself: equal ones are equal results."""
        settings = {name: value for name, value in self.settings.items() if name not in MENDED}
        text = json.dumps([settings, dict(self.needs)], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def changed(self, settings: Mapping[str, object]) -> set[str]:
        """Names of the settings that it was made from and that are others now."""
        return {name for name, value in self.settings.items() if name not in settings or settings[name] != value}

    def stamped(self, names: Iterable[str], home: Path) -> Self:
        """The record with files that were published, as they are now, by their paths from a folder."""
        return replace(self, files={name: FileStamp.of(home / name) for name in names})
