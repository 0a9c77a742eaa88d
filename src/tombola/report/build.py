"""Building the page of a folder of results."""

import warnings
from pathlib import Path

from tombola.analysis.agreement.comparison import Comparison
from tombola.analysis.transfer import Transfer
from tombola.foundations.atomic_files import write_text
from tombola.foundations.errors import TombolaError, one_line
from tombola.report.comparison_page import comparison_page
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.study_data import read_study
from tombola.report.study_page import study_page
from tombola.report.sweep_data import SweepData
from tombola.report.sweep_page import sweep_page
from tombola.report.transfer_page import transfer_page
from tombola.study.folder_layout import COMPARISON, TRANSFER
from tombola.study.step_list import STEPS
from tombola.study.sweep_record import SWEEP


def build(folder: Path) -> Path:
    """Write `report.html` into the folder of a study, a sweep, a comparison or a transfer, and return its path.

    A study in progress gets a page of the results that it has by now; each study of a sweep gets its own too.

    Raises:
        TombolaError: the folder holds none of them, the study has no results yet, or one of its files is damaged.
    """
    path = Path(folder) / "report.html"
    if (Path(folder) / SWEEP).is_file():
        for study in SweepData.read(Path(folder)).studies.values():
            try:
                if not _is_new(study.folder):
                    build(study.folder)
            except TombolaError as error:
                warnings.warn(f"a study of the sweep has no page of its own: {error}", stacklevel=2)
    write_text(path, page_of(Path(folder), FigureRegistry()))
    return path


def _is_new(folder: Path) -> bool:
    """True if the page of a study is newer than all that it is made of at the top of its folder."""
    made, page = (
        (folder / name for name in ("results.jsonl", "verdicts.json", "study.json", STEPS)),
        folder / "report.html",
    )
    return page.is_file() and all(one.stat().st_mtime < page.stat().st_mtime for one in made if one.is_file())


def page_of(folder: Path, registry: FigureRegistry) -> str:
    """Page of a folder as HTML, with errors as `build`; `registry` takes its charts and tables."""
    # Each file may be what it should be, and yet not fit the others, of whoever wrote them.
    with one_line(f"the records in {folder} do not fit together", "run again what made them"):
        return _page(folder, registry)


def _page(folder: Path, registry: FigureRegistry) -> str:
    comparison, transfer = folder / COMPARISON, folder / TRANSFER
    if transfer.is_file():
        return transfer_page(Transfer.read(transfer), registry)
    if (folder / SWEEP).is_file():
        return sweep_page(SweepData.read(folder), registry)
    if comparison.is_file() and not (folder / "study.json").is_file():
        return comparison_page(Comparison.read(comparison), registry)
    return study_page(read_study(folder), registry)
