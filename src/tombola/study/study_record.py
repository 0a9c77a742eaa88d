"""Records of studies as `study.json` has them: what tells whether folders hold studies that go together, at once.

No PyTorch is imported for it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError, check_folder, reading
from tombola.foundations.slug import slug
from tombola.study.folder_layout import check_links, check_not_renewed

NAME = "study.json"
"""File of what is studied."""


def read_record(folder: Path, *, whole: bool = False) -> Mapping[str, Any]:
    """Facts of `study.json` in a folder, of a study or, unless it must be `whole`, a single step.

    Raises:
        TombolaError: there is none, it cannot be read, or a link leads out of the folder.
    """
    check_folder(folder, "give the folder of a study, or make one with `tombola study`")
    if not (folder / NAME).is_file():
        if inside := sorted(folder.glob(f"*/{NAME}")):
            raise TombolaError(f"{folder} is no study, it holds {len(inside)}; name one, such as {inside[-1].parent}")
        if not whole and any(folder.rglob("good/ticket.json")):
            raise TombolaError(
                f"{folder} holds tickets without scores; give one a score with `tombola score --ticket {folder} --out "
                "DIR`, whose folder has a report"
            )
        raise TombolaError(f"{folder} holds no study ({NAME} is missing); make one with `tombola study`")
    check_links(folder)
    return read_json(folder / NAME)


def has_rows(folder: Path) -> bool:
    """True if a study has scored a model."""
    path = folder / "results.jsonl"
    return path.is_file() and path.stat().st_size > 0


def check_together(folders: Sequence[Path]) -> None:
    """Raise a TombolaError unless folders are of two or more studies, of one architecture and of different tasks."""
    if len(folders) < 2:
        raise TombolaError("transfer is between tasks; give the folders of two studies at least")
    found: dict[str, str] = {}
    for folder in folders:
        check_not_renewed(folder)
        record = read_record(folder, whole=True)
        if not record.get("hash"):
            raise TombolaError(f"{folder} holds a single step, and no study; make one with `tombola study`")
        with reading(folder / NAME, "run the study again"):
            signature, task = str(record["architecture"]["signature"]), str(record["config"]["task"])
        first = next(iter(found.values()), signature)
        if signature != first:
            raise TombolaError(
                f"{folders[0]} is of a model {first}, {folder} of {signature}; tickets fit one architecture only"
            )
        if (name := slug(Path(task).name, "study")) in found:
            raise TombolaError("two of the studies are of one task; give one study of each task")
        found[name] = signature
