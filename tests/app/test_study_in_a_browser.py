"""A study from a form in a real browser: planned, seen by two visitors, stopped, gone on with, its report opened."""

import json
from pathlib import Path
from typing import Any

import pytest

from builders import small_study
from builders.app_server import chromium, picture, running_app, visitor

__all__ = ["chromium"]


@pytest.mark.exhaustive
def test_a_study_from_the_form_to_its_report(tmp_path: Path, chromium: Any) -> None:
    data = tmp_path / "given" / "moods.tsv"
    data.parent.mkdir()
    data.write_text((small_study.task() / "train.tsv").read_text())
    home = tmp_path / "home"
    home.mkdir()
    settings = {**small_study.SETTINGS, "device": "cpu", "analyses": "none", "weights_step": 0.1}
    with running_app(cwd=home) as app, visitor(chromium) as mine, visitor(chromium, 390, 844, dark=True) as other:
        page = mine.page
        page.goto(app.address)
        page.get_by_role("link", name="a new study").click()
        page.get_by_role("button", name="Check and plan").click()
        page.get_by_role("alert").get_by_text("type a model").wait_for()
        page.get_by_label("Model, by its name").fill(str(small_study.model()))
        page.set_input_files("input[type=file]", {"name": "cat.png", "mimeType": "image/png", "buffer": b"no"})
        page.get_by_role("alert").get_by_text("is no data file").wait_for()
        page.set_input_files("input[type=file]", data)
        page.get_by_text("moods.tsv: 240 rows").wait_for()
        page.get_by_text("Further settings").click()
        page.get_by_label("Lines of study.yaml").fill("\n".join(f"{k}: {json.dumps(v)}" for k, v in settings.items()))
        page.wait_for_timeout(500)
        page.get_by_role("button", name="Check and plan").click()
        page.get_by_text("MB more at most").wait_for()
        picture(page, "app-new-study")
        page.get_by_role("button", name="Start").click()
        page.get_by_text("Running").wait_for()
        other.page.goto(app.address)
        other.page.goto(page.url)
        for one in (page, other.page):
            one.locator(".searches circle").nth(2).wait_for(state="attached")
        other.page.get_by_role("button", name="Stop").click()
        page.get_by_text("It is half done").wait_for()
        picture(page, "app-study-stopped")
        page.get_by_role("button", name="Go on").click()
        for one in (page, other.page):
            one.get_by_text("All steps are done.").wait_for(timeout=240_000)
        assert other.page.evaluate("document.documentElement.scrollWidth") <= 390
        picture(page, "app-study")
        picture(other.page, "app-study-phone")
        with page.expect_popup() as opened:
            page.get_by_role("link", name="Open the report").click()
        wrong: list[str] = []
        opened.value.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        opened.value.reload()
        opened.value.locator("svg").first.wait_for()
        page.get_by_role("link", name="Open in the app").click()
        page.get_by_text("What the models say").wait_for()
        # The refused picture is told in the console too.
        assert [wrong, mine.outside, other.outside, other.errors] == [[], [], [], []]
        assert [path.name for path in home.iterdir()] == ["runs"]
