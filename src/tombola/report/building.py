"""From a folder of results to the page beside them."""

from pathlib import Path

from tombola.analysis.transfer import Transfer
from tombola.cell import COMPARISON, TRANSFER
from tombola.report.comparison_page import comparison_page
from tombola.report.fields import Fields
from tombola.report.record import read_record
from tombola.report.study_page import study_page
from tombola.report.transfer_page import transfer_page
from tombola.store import read_json, write_text


def build(folder: Path) -> Path:
    """Write `report.html` into the folder of a study, a comparison or a transfer, and return its path.

    A study in progress gets a page of the results that it has by now.

    Raises:
        TombolaError: the folder holds none of them, the study has no results yet, or one of its files is damaged.
    """
    folder = Path(folder)
    path, comparison, transfer = folder / "report.html", folder / COMPARISON, folder / TRANSFER
    if transfer.is_file():
        write_text(path, transfer_page(Transfer.read(transfer)))
    elif comparison.is_file() and not (folder / "study.json").is_file():
        write_text(path, comparison_page(Fields(read_json(comparison), str(comparison))))
    else:
        write_text(path, study_page(read_record(folder)))
    return path
