"""The picture of the rooms shows the imports that there are, counted here from the text of the source."""

import re
import tomllib
from collections import Counter

import pytest

from generated_pages import rooms
from generated_pages.sources import ROOMS, ROOT, SOURCE
from tombola.tasks import registry

IMPORT = re.compile(r"^\s*(?:from tombola\.(\w+)(?:\.[\w.]+)? import|import tombola\.(\w+))", re.M)
DOT = re.compile(r"<title>(\w+) imports (\w+): (\d+) lines?</title>")


def test_dots_are_the_imports() -> None:
    expected: Counter[tuple[str, str]] = Counter()
    for room in ROOMS:
        for path in (SOURCE / "tombola" / room).rglob("*.py"):
            found = {one or other for one, other in IMPORT.findall(path.read_text(encoding="utf-8"))}
            expected.update((room, name) for name in found if name in ROOMS and name != room)
    picture = rooms.picture()
    shown = {(room, name): int(count) for room, name, count in DOT.findall(picture)}
    # A file may import several modules of a room.
    assert shown.keys() == expected.keys()
    assert all(shown[pair] >= files for pair, files in expected.items())
    assert 'class="upward"' not in picture
    assert picture.count('class="floor"') == len(ROOMS)


def test_an_import_against_the_order_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "imports", lambda: {(ROOMS[0], ROOMS[-1]): 2})
    assert 'class="upward"' in rooms.picture()


def test_every_module_is_listed_with_what_it_is() -> None:
    text = rooms.contents()
    modules = [path for path in (SOURCE / "tombola").glob("*/**/*.py") if path.name != "__init__.py"]
    lines = [line for line in text.splitlines() if line.startswith(("| `", "| [`"))]
    assert len(lines) == len(modules)
    assert all(line.rstrip(" |").endswith((".", "?")) for line in lines)


def test_contracts_on_imports_name_every_regime() -> None:
    names = {path.parent.name for path in (SOURCE / "tombola" / "tasks").glob("*/regime.py")}
    assert names == {one.name for one in registry.regimes() if registry.is_ours(one)}
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    contracts = tools["importlinter"]["contracts"]
    for key in ("modules", "forbidden_modules", "protected_modules"):
        (listed,) = (one[key] for one in contracts if key in one)
        assert {f"tombola.tasks.{name}" for name in names} <= {*listed}, key
