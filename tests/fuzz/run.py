"""Fuzzing of readers, guided by coverage: `python tests/fuzz/run.py --runs 10000 tsv csv`, or of all of them.

libFuzzer, through atheris, changes the bytes of one file of a sound folder, and keeps what reaches code that nothing
reached before. A reader reads the folder, or refuses it in one printable line; anything else is a failure and kept:
another exception, five seconds, 4 GB of memory, a file that was not there before. What was kept lies in
`tests/fuzz/corpus`, a ZIP for each reader, from which the next run starts. A line of JSON tells what each came to.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
SECONDS, MEGABYTES = 5, 4096
LONGEST = 20_000
"""Bytes of a file, at most: more of the same finds nothing new."""
WORDS = (
    *(r"\"", "{", "}", "[", "]", ":", ",", "null", "true", "NaN", "-1", "1e999", "9" * 20, "0", r"\\ud800", r"\x00"),
    *(r"\x93NUMPY", "GGUF", "__metadata__", "data_offsets", "shape", "dtype", "F32", "BOOL", "PNG", "IDAT"),
    *(r"\xff\xd8", r"\x09", r"\x0d\x0a", "- ", "&a", "*a", "<<: ", "!!int ", "? ", r"\x1f\x8b", r"PK\x03\x04", "PAR1"),
)
"""Words of the formats, as libFuzzer writes them."""


def fuzz(name: str, room: Path, options: Sequence[str]) -> None:
    """Fuzz a reader in this process, which ends with it.

    Args:
        name: of the reader.
        room: an empty folder.
        options: libFuzzer's.
    """
    import atheris

    from builders.readers import sound
    from tombola.foundations.errors import TombolaError

    folder, reader = sound(name)
    files = sorted({path for pattern in reader.files for path in folder.glob(pattern) if path.is_file()})
    contents, before = [path.read_bytes() for path in files], listing(folder)
    (room / "sound").mkdir()
    for index, content in enumerate(contents):
        (room / "sound" / str(index)).write_bytes(bytes([index]) + content)

    def read_one(data: bytes) -> None:
        chosen = data[0] % len(files) if data else 0
        files[chosen].write_bytes(data[1:])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reader.read(folder)
        except TombolaError as error:
            if not str(error).isprintable():
                raise AssertionError(f"not printable: {str(error)!r}") from error
        finally:
            files[chosen].write_bytes(contents[chosen])
        if (now := listing(folder)) != before:
            raise AssertionError(f"left behind: {sorted(now ^ before)}")

    def one(data: bytes) -> None:
        try:
            read_one(data)
        except BaseException:
            # Before the process ends; of what takes too long or too much libFuzzer keeps the input itself.
            (room / "corpus" / f"crash-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
            raise

    atheris.Setup(["fuzz", *options, str(room / "corpus"), str(room / "sound")], one)
    atheris.Fuzz()


def listing(folder: Path) -> frozenset[str]:
    """Names in a folder, without what a reader unpacks."""
    return frozenset(str(path) for path in folder.rglob("*") if path.parts[len(folder.parts)] != "into")


def start(name: str, runs: int, seed: int, *, keep: bool) -> dict[str, Any]:
    """Fuzz a reader in a process of its own, from its sound files and its corpus, and keep what is new if asked to."""
    from builders.shared_folder import SHARED_FOLDER

    kept = CORPUS / f"{name.replace(' ', '-')}.zip"
    # Of memory, where there is such a disk: a file is written for every input.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as made:
        room, corpus = Path(made), Path(made) / "corpus"
        corpus.mkdir()
        if kept.is_file():
            with zipfile.ZipFile(kept) as archive:
                archive.extractall(corpus)
        os.environ[SHARED_FOLDER] = made
        (room / "words").write_text("".join(f'"{word}"\n' for word in WORDS))
        limits = [f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST}", f"-dict={room / 'words'}"]
        # Sound files are long at once: lengths need not grow with time.
        given = [
            *limits,
            "-len_control=0",
            f"-runs={runs}",
            f"-seed={seed}",
            f"-artifact_prefix={corpus}/",
            "-print_final_stats=1",
        ]
        # What takes long to import is there already.
        if (child := os.fork()) == 0:
            with (room / "told").open("wb") as told:
                os.dup2(told.fileno(), 1)
                os.dup2(told.fileno(), 2)
            try:
                fuzz(name, room, given)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        told_text = (room / "told").read_text(errors="replace")
        if keep:
            CORPUS.mkdir(exist_ok=True)
            with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in sorted(corpus.iterdir()):
                    # The same content gives the same file.
                    archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
        inputs = sum(1 for _ in corpus.iterdir())
    done, edges = (re.findall(rf"{what}\s*(\d+)", told_text) for what in ("number_of_executed_units:", "cov:"))
    found = {"reader": name, "executions": int(done[-1]) if done else 0, "coverage": int(edges[-1]) if edges else 0}
    return {**found, "corpus": inputs, **({"failed": told_text[-6000:]} if status else {})}


def main(arguments: Sequence[str]) -> int:
    """Fuzz the readers that are named, or all; 1 if any failed."""
    import atheris

    with atheris.instrument_imports(include=["tombola", "yaml", "gguf", "PIL"]):
        from builders.readers import FUZZED
    import torch

    # No threads, which a fork would lose.
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(FUZZED)} (all)")
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs, of all readers together (1000000)")
    parser.add_argument("--seed", type=int, default=0, help="of the changes (0 for others each time)")
    parser.add_argument("--keep", action="store_true", help="what is found, in the corpus")
    asked = parser.parse_args(arguments)
    names, failed = asked.readers or FUZZED, False
    for name in names:
        found = start(name, asked.runs // len(names), asked.seed, keep=asked.keep)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        failed = failed or "failed" in found
    return int(failed)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.path[:0] = [str(HERE.parent)]
    raise SystemExit(main(sys.argv[1:]))
