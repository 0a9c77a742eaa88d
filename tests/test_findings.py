"""The page of findings says what the results beside it say."""

import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "findings" / "page.py"


def test_every_table_is_made_from_the_results() -> None:
    done = subprocess.run([sys.executable, str(PAGE), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
