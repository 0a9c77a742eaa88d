"""The app's page of images in a real browser shows the bytes that the library draws."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest

from builders import drawing_study, pipelines
from builders.app_server import chromium, picture, running_app, visitor
from tombola.app.image_bench import ImageBench
from tombola.app.pipeline_bench import PipelineBench

__all__ = ["chromium"]
METHOD = "heads+channels"


BEGUN = "[...document.querySelectorAll('input')].filter((one) => one.value === '0').length > 0"
"""The page has filled its fields, and fills them no more."""


def shown(page: Any, model: str) -> bytes:
    address = page.locator(f"figure[data-model='{model}'] img").get_attribute("src")
    return base64.b64decode(address.partition(",")[2])


@pytest.mark.exhaustive
def test_images_are_the_librarys(tmp_path: Path, chromium: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    study = drawing_study.finished().folder
    folder = pipelines.dit(tmp_path / "pipeline")
    with running_app(study, cwd=tmp_path) as app, visitor(chromium) as one:
        page = one.page
        page.goto(app.address)
        page.get_by_role("heading", name="tiny-unet on Digits").wait_for()
        page.wait_for_function(BEGUN)
        page.get_by_label("Seed").fill("3")
        page.get_by_label("Number of images").fill("4")
        page.wait_for_timeout(400)
        page.get_by_role("button", name="Draw").click()
        page.locator("figure[data-model=bad] img").wait_for()
        page.locator("figure").last.locator("img").wait_for()
        bench = ImageBench.open(study)
        for model in ("full", "good", "random", "bad"):
            assert shown(page, model) == bench.draw(METHOD, model, seed=3, count=4).png
        page.get_by_label("Card's memory").fill("4")
        page.wait_for_timeout(400)
        page.get_by_role("button", name="Reckon").click()
        page.get_by_role("cell", name=re.compile("^fits$")).first.wait_for()
        picture(page, "app-images")
        found = Axe().run(page).response["violations"]
        assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
        page.get_by_label("Seed").fill("many")
        page.wait_for_timeout(400)
        page.get_by_role("button", name="Draw").click()
        page.get_by_role("alert").get_by_text("Seed is a number").wait_for()

        page.goto(f"{app.home}images?study={folder}")
        page.wait_for_function(BEGUN)
        page.get_by_label("Class").fill("3")
        page.get_by_label("Steps").fill("2")
        page.wait_for_timeout(400)
        page.get_by_role("button", name="Draw").click()
        page.get_by_role("link", name="Save as PNG").wait_for()
        with page.expect_download() as saved:
            page.get_by_role("link", name="Save as PNG").click()
        assert saved.value.path().read_bytes() == PipelineBench.open(folder).draw("3", steps=2).png
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        picture(page, "app-pipeline-phone")
        page.goto(f"{app.home}images?study={tmp_path}/nothing")
        page.get_by_role("alert").get_by_text("does not exist").wait_for()
        assert [one.outside, one.errors] == [[], []]
