"""The app in a real browser shows what the library computes, for everybody, and nothing leaves the machine."""

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from builders import small_study
from builders.app_server import RunningApp, chromium, picture, running_app, visitor
from tombola.app.text_bench import TextBench
from tombola.cli.main import main
from tombola.tickets.ticket import Ticket

__all__ = ["chromium"]
SITES = ("heads-0-1", "mlps-2-0")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="module")
def app(home: Path) -> Iterator[RunningApp]:
    with running_app(small_study.finished().folder, cwd=home) as found:
        yield found


@pytest.fixture(scope="module")
def bench() -> TextBench:
    return TextBench.open(small_study.finished().folder)


def shares(page: Any, model: str) -> list[float]:
    cells = page.locator(f"tr[data-model={model}] [data-share]")
    return [float(cell.get_attribute("data-share")) for cell in cells.all()]


SHOWN = """([model, expected]) => {
  const cells = [...document.querySelectorAll(`tr[data-model=${model}] [data-share]`)].map((one) => +one.dataset.share);
  return cells.length === expected.length && cells.every((share, i) => Math.abs(share - expected[i]) < 1e-5);
}"""


def waited(page: Any, model: str, expected: Sequence[float]) -> None:
    """Wait until the page shows these probabilities for a model."""
    try:
        page.wait_for_function(SHOWN, arg=[model, list(expected)])
    except Exception:
        assert shares(page, model) == list(expected)
        raise


def serious(page: Any) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")]


@pytest.mark.slow
def test_a_head_is_off_at_once_and_its_ticket_is_scored_the_same(
    app: RunningApp,
    bench: TextBench,
    chromium: Any,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticket = bench.full.without({"heads": [(0, 1)], "mlps": [2]})
    with visitor(chromium) as mine, visitor(chromium) as other:
        for one in (mine, other):
            one.page.goto(app.address)
            assert "token" not in one.page.url
            waited(one.page, "full", bench.look(bench.texts.texts("dev")[0], bench.full).answer)
        page, text = mine.page, ("word1 lovely word2 dull",)
        page.get_by_label("Text", exact=True).fill(text[0])
        waited(page, "full", bench.look(text, bench.full).answer)
        waited(page, "yours", bench.look(text, bench.full).answer)
        for site in SITES:
            page.locator(f"[data-site={site}]").click()
        waited(page, "yours", bench.look(text, ticket).answer)
        waited(page, "bad", bench.answers(text, "heads+mlps")["bad"])
        loss = bench.sample_loss(ticket)
        page.get_by_text(f"its loss is {loss.loss:.3f}").wait_for()
        assert page.locator("[data-site=heads-0-1]").get_attribute("aria-pressed") == "false"
        page.get_by_text("What head 0.1 attends to").wait_for()
        assert serious(page) == []

        page.get_by_role("button", name="Save as ticket").click()
        page.get_by_text("Saved.").wait_for()
        assert Ticket.load(home / "tickets" / "mine") == ticket
        command = shlex.split(page.locator("pre").inner_text())[1:]
        page.get_by_role("button", name="Save as ticket").click()
        page.get_by_role("alert").get_by_text("mine").wait_for()
        monkeypatch.chdir(home)
        assert main([*command, "--json"]) == 0
        score = json.loads(capsys.readouterr().out)["score"]
        page.get_by_role("button", name="Score the whole dev set").click()
        page.get_by_text(f"{score:.4f}").wait_for()

        # Who else is there sees nothing of it, unless it is shared.
        assert other.page.locator("[data-site=heads-0-1]").get_attribute("aria-pressed") == "true"
        page.get_by_role("button", name="Link to this").click()
        link = page.get_by_role("link", name="this link").get_attribute("href")
        other.page.goto(f"{app.home.rstrip('/')}{link}")
        waited(other.page, "yours", bench.look(text, ticket).answer)

        page.get_by_role("button", name="Undo").click()
        page.get_by_role("button", name="Undo").click()
        waited(page, "yours", bench.look(text, bench.full).answer)
        # Of the text nothing is kept.
        assert [path.name for path in home.iterdir()] == ["tickets"]
        assert [mine.outside, mine.errors, other.outside, other.errors] == [[], [], [], []]


@pytest.mark.exhaustive
def test_bad_input_and_paging_on_a_phone_in_the_dark_by_keyboard(
    app: RunningApp, bench: TextBench, chromium: Any
) -> None:
    with visitor(chromium, 390, 844, dark=True) as one:
        page = one.page
        page.goto(app.address)
        first = bench.texts.texts("dev")
        waited(page, "full", bench.look(first[0], bench.full).answer)
        page.get_by_role("button", name="Next").click()
        waited(page, "full", bench.look(first[1], bench.full).answer)
        assert page.get_by_label("Text", exact=True).input_value() == first[1][0]
        page.get_by_label("Text", exact=True).fill("")
        page.get_by_role("alert").get_by_text("type a text").wait_for()
        page.get_by_text("Dev examples on which").click()
        page.get_by_label("Examples").select_option("bad")
        found = bench.disagreements("heads+mlps", "bad")
        page.get_by_text(f"1 of {len(found)}").wait_for()
        waited(page, "bad", bench.answers(found[0].texts, "heads+mlps")["bad"])
        page.locator("[data-site=heads-0-0]").focus()
        for key in ("ArrowDown", "ArrowRight", "Enter"):
            page.keyboard.press(key)
        page.locator("[data-site=heads-1-1][aria-pressed=false]").wait_for()
        page.get_by_label("Colour").select_option("attention")
        page.locator("[data-site=heads-0-0][class*=pattern]").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert serious(page) == []


@pytest.mark.exhaustive
def test_strangers_are_refused_and_a_killed_server_is_told(home: Path, chromium: Any) -> None:
    with running_app(cwd=home) as app, visitor(chromium) as one:
        refused = one.page.goto(app.home)
        assert refused is not None
        assert refused.status == 401
        one.page.goto(app.address)
        one.page.get_by_label("Folder of a study").fill(str(home / "nowhere"))
        one.page.wait_for_timeout(400)
        one.page.get_by_role("button", name="Open").click()
        one.page.get_by_role("alert").get_by_text("does not exist").wait_for()
        assert serious(one.page) == []
        app.process.kill()
        one.page.get_by_text("Connection lost").wait_for()


@pytest.mark.exhaustive
def test_who_has_no_study_gets_a_small_one(tmp_path: Path, chromium: Any) -> None:
    with running_app(cwd=tmp_path, TOMBOLA_CACHE=str(tmp_path / "cache")) as app, visitor(chromium) as one:
        one.page.goto(app.address)
        one.page.get_by_role("button", name="A small ready one").click()
        one.page.get_by_role("heading", name="tiny-bert on films").wait_for(timeout=240_000)
        one.page.get_by_label("Text", exact=True).fill("the film was dull but the music was lovely")
        one.page.get_by_text("your own text").wait_for()
        one.page.locator("svg text", has_text="lovely").first.wait_for()
        one.page.locator("[data-site=heads-2-3]").click()
        one.page.get_by_text("In yours 1 head is off.").wait_for()
        one.page.get_by_text("its loss is").wait_for()
        picture(one.page, "app")
        assert [one.outside, one.errors] == [[], []]
