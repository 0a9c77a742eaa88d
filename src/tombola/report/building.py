"""From a folder of results to the page beside them."""

from pathlib import Path

from tombola.cell import COMPARISON
from tombola.report.comparison_page import comparison_page
from tombola.report.fields import Fields
from tombola.report.record import read_record
from tombola.report.study_page import study_page
from tombola.store import read_json, write_text


def build(folder: Path) -> Path:
    """Write `report.html` into the folder of a study or of a comparison, and return its path.

    A study in progress gets a page of the results that it has by now.

    Raises:
        TombolaError: the folder holds neither, the study has no results yet, or one of its files is damaged.
    """
    folder = Path(folder)
    path, comparison = folder / "report.html", folder / COMPARISON
    if comparison.is_file() and not (folder / "study.json").is_file():
        write_text(path, comparison_page(Fields(read_json(comparison), str(comparison))))
    else:
        write_text(path, study_page(read_record(folder)))
    return path
