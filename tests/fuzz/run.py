"""Fuzzing of readers, guided by coverage: `python tests/fuzz/run.py --runs 10000 tsv csv`, or of all of them.

libFuzzer, through atheris, changes the bytes of one file of a sound folder and keeps what reaches code that nothing
reached before. A reader reads the folder, or refuses it in one printable line; anything else ends the run and is kept:
another exception, five seconds, 4 GB of memory, or a file or folder that was not there before. Each reader has a
process of its own. What was kept lies in `tests/fuzz/corpus`, one folder a reader, from which the next run starts; how
many inputs were run is printed as JSON.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
SECONDS, MEGABYTES = 5, 4096
LONGEST = 20_000
"""Bytes of a file, at most: more of the same finds nothing new."""
WORDS = (
    *('"', "{", "}", "[", "]", ":", ",", "null", "true", "NaN", "-1", "1e999", "9" * 20, "0", r"\\ud800", r"\\x00"),
    *(
        r"\\x93NUMPY",
        "GGUF",
        "__metadata__",
        "data_offsets",
        "shape",
        "dtype",
        "F32",
        "BOOL",
        r"\\xff\\xd8",
        "PNG",
        "IDAT",
    ),
    *(r"\\t", r"\\r\\n", "- ", "&a", "*a", "<<: ", "!!int ", "? ", r"\\x1f\\x8b", r"PK\\x03\\x04", "PAR1"),
)
"""Words of the formats, for the dictionary."""


def fuzz(name: str, options: Sequence[str]) -> None:
    """Fuzz a reader in this process, which ends with it; `options` are libFuzzer's."""
    import atheris

    with atheris.instrument_imports(include=["tombola", "yaml", "gguf", "PIL"]):
        from builders.readers import READERS, sound

        # All that a reader imports on its way.
        folder, reader = sound(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(folder)
    from tombola.foundations.errors import TombolaError

    assert reader is READERS[name]
    files = files_of(folder, reader.files)
    contents, before = [path.read_bytes() for path in files], listing(folder)

    def one(data: bytes) -> None:
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

    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


def files_of(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Files of a sound folder that are changed."""
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def listing(folder: Path) -> frozenset[str]:
    """Names in a folder, without what a reader unpacks."""
    return frozenset(str(path) for path in folder.rglob("*") if path.parts[len(folder.parts)] != "into")


def start(name: str, runs: int, seed: int) -> dict[str, object]:
    """Fuzz a reader in a process of its own, from its sound files and its corpus, and keep what is new."""
    from builders.readers import sound
    from builders.shared_folder import SHARED_FOLDER

    kept = CORPUS / name.replace(" ", "-")
    kept.mkdir(parents=True, exist_ok=True)
    # Of memory, where there is such a disk: a file is written for every input.
    with tempfile.TemporaryDirectory(dir=next((one for one in ("/dev/shm",) if Path(one).is_dir()), None)) as room:
        os.environ[SHARED_FOLDER] = room
        folder, reader = sound(name)
        words, sounds, new = Path(room, "words"), Path(room, "sound"), Path(room, "new")
        words.write_text("".join(f'"{word.replace(chr(34), chr(92) + chr(34))}"\n' for word in WORDS))
        for place in (sounds, new):
            place.mkdir()
        for index, path in enumerate(files_of(folder, reader.files)):
            (sounds / str(index)).write_bytes(bytes([index]) + path.read_bytes())
        limits = [f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST}", f"-dict={words}"]
        given = [*limits, f"-runs={runs}", f"-seed={seed}", f"-artifact_prefix={kept}/", "-print_final_stats=1"]
        command = [sys.executable, __file__, "--process", name, *given, str(new), str(kept), str(sounds)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        # What covers all that was reached, and no more of it.
        merged = [sys.executable, __file__, "--process", name, "-merge=1", *limits, str(kept), str(new)]
        if done.returncode == 0:
            subprocess.run(merged, capture_output=True, check=False)
    found = re.findall(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    edges = re.findall(r"cov: (\d+)", done.stderr)
    result: dict[str, object] = {"reader": name, "executions": int(found[-1]) if found else 0}
    result |= {"coverage": int(edges[-1]) if edges else 0, "kept": sum(1 for _ in kept.iterdir())}
    if done.returncode:
        result["failed"] = done.stderr[-4000:]
    return result


def main(arguments: Sequence[str]) -> int:
    """Fuzz the readers that are named, or all; 1 if any failed."""
    if arguments[:1] == ["--process"]:
        fuzz(arguments[1], arguments[2:])
    from builders.readers import FUZZED

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(FUZZED)} (all)")
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs, of all readers together (1000000)")
    parser.add_argument("--seed", type=int, default=0, help="of the changes (0 for another one each time)")
    asked = parser.parse_args(arguments)
    failed = False
    for name in asked.readers or FUZZED:
        result = start(name, asked.runs // len(asked.readers or FUZZED), asked.seed)
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
        failed = failed or "failed" in result
    return int(failed)


if __name__ == "__main__":
    sys.path[:0] = [str(HERE.parent)]
    raise SystemExit(main(sys.argv[1:]))
