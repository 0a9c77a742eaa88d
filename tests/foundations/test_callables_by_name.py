"""Registries: what packages declare is listed without an import, and a broken one is named when it is asked for."""

import sys
from pathlib import Path

import pytest

from tombola.foundations.errors import TombolaError
from tombola.foundations.registry import Registry, installed

GROUP = "tombola.tests"


def whole(name: str, value: object) -> int:
    if not isinstance(value, int):
        raise TombolaError(f"{name} is no number")
    return value


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[int]:
    info = tmp_path / "numbers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: numbers\nVersion: 1.0\n")
    entries = ("three = own_numbers:THREE", "text = own_numbers:TEXT", "lost = nowhere:at_all", "No Name = x:y")
    (info / "entry_points.txt").write_text("\n".join((f"[{GROUP}]", *entries, "")))
    (tmp_path / "own_numbers.py").write_text("THREE, TEXT = 3, 'text'\n")
    monkeypatch.syspath_prepend(tmp_path)
    installed.cache_clear()
    return Registry("number", GROUP, {"one": 1, "two": "tests_two:TWO"}, whole)


def test_what_packages_declare_is_listed_without_an_import(registry: Registry[int]) -> None:
    with pytest.warns(UserWarning, match="of the package numbers is left out: 'No Name' is no name for"):
        assert sorted(registry) == ["lost", "one", "text", "three", "two"]
    assert "own_numbers" not in sys.modules
    assert registry["three"] == 3
    assert (registry["one"], len(registry), "three" in registry, "four" in registry) == (1, 5, True, False)
    assert registry.is_installed("three")


@pytest.mark.filterwarnings("ignore")
def test_a_broken_package_is_named_when_it_is_asked_for(registry: Registry[int]) -> None:
    with pytest.raises(TombolaError, match=r"number lost of the package numbers cannot be had \(No module named 'now"):
        registry["lost"]
    with pytest.raises(TombolaError, match=r"number text of the package numbers cannot be had \(text is no number\)"):
        registry["text"]
    with pytest.raises(TombolaError, match="unknown number 'tree'; did you mean three"):
        registry["tree"]


@pytest.mark.filterwarnings("ignore")
def test_what_is_registered_here_is_here(registry: Registry[int]) -> None:
    registry.register("four", 4)
    registry.register("four", 5)
    assert registry["four"] == 5
    assert not registry.is_installed("four")
    for name in ("one", "three"):
        with pytest.raises(TombolaError, match=f"the name {name} is taken; choose another for your number"):
            registry.register(name, 4)
    registry.forget("four")
    assert "four" not in registry
