"""The app as a visitor feels it: seconds to the first prediction, and milliseconds from a press to the new one.

    python benchmarks/app.py STUDY [--clicks 60] [--json FILE]

STUDY is the folder of a finished study of MiniLM, as `tombola study --train-rows 1500 --dev-rows 500 --methods
heads+mlps` leaves it. Times are those of the browser (headless Chromium): from the press of a head to the new table,
on the way through the server and the model. Presses wait for one another's loss over the dev sample, as a person does.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from results_file import ResultsFile

PRESS = """(button) => new Promise((done) => {
  const table = document.querySelector("[aria-label='Predictions, side by side']"), start = performance.now();
  new MutationObserver((_, one) => { one.disconnect(); done(performance.now() - start); }).observe(
    table, {childList: true, subtree: true});
  button.click();
})"""
"""Milliseconds until a press has changed the table of predictions."""


def presses(page: Page, count: int) -> list[float]:
    """Milliseconds of presses of one head after the other."""
    found = []
    heads = page.locator("[data-site^=heads]").all()
    for number in range(count):
        page.get_by_text(re.compile("its loss is")).wait_for()
        found.append(float(heads[number % len(heads)].evaluate(PRESS)))
    return found


def main() -> None:
    """Start the app on a study, press heads, and print the times."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a finished study of texts")
    parser.add_argument("--clicks", type=int, default=60, help="presses (60)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the times there")
    options = parser.parse_args()
    started = time.perf_counter()
    command = [str(Path(sys.executable).with_name("tombola")), "app", str(options.study), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        try:
            assert server.stdout is not None
            address = re.search(r"http://\S+", server.stdout.readline())
            assert address is not None
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(address[0])
            page.locator("tr[data-model=yours]").wait_for()
            first = time.perf_counter() - started
            found = presses(page, options.clicks)
            browser.close()
        finally:
            server.terminate()
    median, slow = statistics.median(found), statistics.quantiles(found, n=20)[-1]
    print(f"first prediction after {first:.1f} s; a press: median {median:.0f} ms, 95th percentile {slow:.0f} ms")
    if options.json is not None:
        results = ResultsFile(options.json, {"clicks": options.clicks}, ("study",), ("nicegui",))
        results.add(study=options.study.name, seconds={"first": [first], "press": [one / 1000 for one in found]})


if __name__ == "__main__":
    main()
