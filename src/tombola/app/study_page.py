"""Pages of a study that runs: the form that begins one, and one that shows how far it is."""

import asyncio
from pathlib import Path
from urllib.parse import quote

from nicegui import ui

from tombola.app.app_state import AppState
from tombola.app.parts import box, button, choice, error_line, field, fill, html, in_thread, set_attributes, show
from tombola.app.search_picture import search_picture
from tombola.app.start_page import RUNS, address
from tombola.app.study_draft import STUDY_FILE, Planned, StudyDraft
from tombola.app.study_run import Standing, StudyRun
from tombola.foundations.plurals import plural
from tombola.report.html.elements import element, join
from tombola.study.config import PRESETS
from tombola.study.estimates import in_words

NEW, REPORT, DATA = "/new", "/report", "/data"
_SEND = f"""async (e) => {{
  const file = e.target.files[0];
  if (!file) return;
  const answer = await fetch("{DATA}?name=" + encodeURIComponent(file.name), {{method: "POST", body: file}});
  emit(answer.status, await answer.text());
}}"""
_WORDS = {"running": "Running", "stopped": "Stopped", "done": "Done", "failed": "Failed"}


def run_address(folder: Path) -> str:
    """Address of the page of a run."""
    return f"{NEW}?run={quote(str(folder))}"


class NewStudyPage:
    """Page with the form of a new study, as one visitor fills it in."""

    def __init__(self, state: AppState) -> None:
        self._state, self._given = state, {"model": "", "task": "", "seeds": "0", "more": "", "preset": "quick"}
        self._key, self._draft = "", StudyDraft("", "")
        self._planned: Planned | None = None
        html("New study", "h1")
        with box("section", aria_label="What to study"):
            with box(class_="row"):
                self._field("model", "Model, by its name or folder")
                self._field("task", "Task, such as cola; empty for your own data file")
            with box("label", class_="drop") as drop:
                html("Data file: drop it here, or choose one. It is kept in the study's folder alone.", "span")
                chosen = box("input", type="file")
                chosen.on("change", lambda event: self._sent(*event.args), js_handler=_SEND)
            drop.on("dragover", js_handler="(e) => e.preventDefault()")
            put = f"const i = getHtmlElement({chosen.id}); i.files = e.dataTransfer.files;"
            drop.on("drop", js_handler=f"(e) => {{ e.preventDefault(); {put} i.dispatchEvent(new Event('change')); }}")
            self._file = html("", "p", class_="lead", role="status")
            with box(class_="row"):
                choice("Preset", {one: one for one in PRESETS}, lambda text: self._keep("preset", text), "quick")
                seeds = self._field("seeds", "Seeds, such as 0-2")
            with box("details"):
                html("Further settings", "summary")
                self._field("more", "Lines of study.yaml, such as epochs: 2", tag="textarea", rows="4")
            self._wrong = error_line()
            with box(class_="row"):
                button("Check and plan", self._plan)
                self._start_button = button("Start", self._start, disabled="")
            self._said = html("", "p", class_="lead", role="status")
        ui.timer(0.05, lambda: fill(seeds, "0"), once=True)
        self._list()

    def _field(self, name: str, label: str, **attributes: str) -> ui.element:
        return field(label, lambda text: self._keep(name, text), spellcheck="false", **attributes)

    def _list(self) -> None:
        found = sorted(RUNS.glob(f"*/{STUDY_FILE}"), key=lambda path: -path.stat().st_mtime)
        if found:
            with box("section", aria_label="Studies begun here"):
                html("Begun in the app", "h2")
                links = [element("li", element("a", one.parent.name, href=run_address(one.parent))) for one in found]
                html(join(*links), "ul", class_="studies")

    def _keep(self, name: str, text: str) -> None:
        self._given[name] = text
        self._outdated()

    def _outdated(self) -> None:
        self._planned = None
        set_attributes(self._start_button, disabled="")
        show(self._said, "")

    async def _sent(self, status: int, text: str) -> None:
        self._outdated()
        if self._key:
            self._state.data.drop(self._key)
        self._key = text if status == 200 else ""
        show(self._file, "")
        if status != 200:
            show(self._wrong, text)
            return
        show(self._file, await in_thread(self._wrong, self._state.data.summary, self._key) or "")

    async def _plan(self) -> None:
        self._outdated()
        show(self._said, "Checking data and model, and planning …")
        given, key = dict(self._given), self._key
        found = await in_thread(self._wrong, self._make_plan, given)
        show(self._said, "")
        if found is None or (given, key) != (self._given, self._key):
            return
        self._planned = found
        self._start_button.props.pop("disabled", None)
        self._start_button.update()
        done = f", {found.done} are done" if found.done else ""
        show(
            self._said,
            f"{plural(found.steps, 'step')} to run{done}; {in_words(found.seconds)}; "
            f"models take {found.bytes / 1e6:,.1f} MB more at most. Folder: {found.folder}",
        )

    def _make_plan(self, given: dict[str, str]) -> Planned:
        data = self._state.data.path(self._key) if self._key else None
        self._draft = StudyDraft(**given, data=data, out=RUNS)
        return self._draft.plan()

    async def _start(self) -> None:
        if self._planned is None:
            return
        folder = self._planned.folder
        if await in_thread(self._wrong, self._begin, folder):
            ui.navigate.to(run_address(folder))

    def _begin(self, folder: Path) -> bool:
        self._draft.write(folder)
        self._state.run(folder).start()
        if self._key:
            self._state.data.drop(self._key)
        return True


class RunPage:
    """Page of a run, as every visitor sees it."""

    def __init__(self, run: StudyRun) -> None:
        self._run = run
        html(run.folder.name, "h1")
        self._facts = html("", "p", class_="facts", role="status")
        self._wrong, self._failed = error_line(), error_line()
        self._bar = html("", class_="progress")
        self._line = html("", "p", class_="lead log")
        with box(class_="row"):
            self._stop = button("Stop", self._stopped)
            self._go_on = button("Go on", self._started)
        self._links = html("", "p", class_="kept")
        with box("section", aria_label="Searches"):
            html("Searches", "h2")
            self._curves = html("", class_="searches")
        self._shown: dict[int, str] = {}
        ui.timer(1.0, self._refresh)

    async def _stopped(self) -> None:
        show(self._line, "Stopping …")
        await in_thread(self._wrong, self._run.stop)
        await self._refresh()

    async def _started(self) -> None:
        await in_thread(self._wrong, self._run.start)
        await self._refresh()

    async def _refresh(self) -> None:
        self._draw(await asyncio.to_thread(self._run.standing))

    def _draw(self, found: Standing) -> None:
        share = found.done / found.steps if found.steps else 0.0
        count = f" · {found.done} of {plural(found.steps, 'step')} done" if found.steps else ""
        left = f" · {found.left} left" if found.left else ""
        self._put(self._facts, f"{_WORDS[found.word]}{count}{left}")
        self._put(self._failed, found.line if found.word == "failed" else "")
        self._put(self._line, "" if found.word == "failed" else found.line)
        names = {"value": f"{share:.3f}", "max": "1", "aria_label": "Steps done"}
        self._put(self._bar, element("progress", f"{100 * share:.0f} %", **names))
        for one, on in ((self._stop, found.word == "running"), (self._go_on, found.word in ("stopped", "failed"))):
            self._switch(one, on=on)
        self._put(self._links, self._leads(found))
        self._put(self._curves, join(*(element("figure", search_picture(one)) for one in found.curves)))

    def _leads(self, found: Standing) -> str:
        if not found.rows:
            return ""
        folder = quote(str(self._run.folder))
        name = "Open the report" if found.word == "done" else "Report of what there is"
        report = element("a", name, href=f"{REPORT}?run={folder}", target="_blank")
        return join(report, " · ", element("a", "Open in the app", href=address(self._run.folder)))

    def _put(self, made: ui.html, content: str) -> None:
        """Show what is other than before: a screen reader says what is sent."""
        if self._shown.get(made.id) != content:
            self._shown[made.id] = content
            show(made, content)

    def _switch(self, made: ui.html, *, on: bool) -> None:
        if (self._shown.get(-made.id) == "on") != on or -made.id not in self._shown:
            self._shown[-made.id] = "on" if on else "off"
            made.props.pop("disabled", None)
            set_attributes(made, **({} if on else {"disabled": ""}))
