"""Fingerprints of local files and folders: what lies there counts, not how the path was typed."""

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from types import CodeType, FunctionType, MethodType

from tombola.foundations.errors import system_errors


def fingerprint(source: str) -> str:
    """SHA-256 over names and contents of a local file or folder, hidden files apart; of anything else its name."""
    path, digest = Path(source).expanduser(), hashlib.sha256()
    with system_errors():
        if not path.exists():
            return source
        for file in _files(path):
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def stamp(source: str) -> tuple[tuple[str, int, int, int], ...]:
    """Names, sizes and times of what `fingerprint` reads: as long as they are the same, so is the content.

    Of the times the system's own is one, which no program can set.
    """
    path = Path(source).expanduser()
    with system_errors():
        found = [(str(file), file.stat()) for file in _files(path)] if path.exists() else []
    return tuple((name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in found)


def _files(path: Path) -> list[Path]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return [file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts)]


def code_fingerprint(value: object) -> str:
    """SHA-256 over what a callable does: its code, that of its module's functions it calls, and the values they hold.

    Code of other modules does not count, nor does what else an object holds than numbers, texts, arrays, and functions.
    """
    digest = hashlib.sha256()
    for part in _code(value, {}):
        digest.update(f"{len(part)} {part}\0".encode())
    return digest.hexdigest()


def _code(value: object, seen: dict[int, object]) -> Iterator[str]:
    """Texts that tell a callable, or a value that it holds, from another; none is of a place in memory."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        yield repr(value)
        return
    yield type(value).__qualname__
    if id(value) in seen:
        return
    # Kept, so that no other object gets its place in memory.
    seen[id(value)] = value
    if isinstance(value, CodeType):
        yield value.co_code.hex()
        yield repr(value.co_names + value.co_varnames)
        yield from _each(value.co_consts, seen)
    elif isinstance(value, FunctionType):
        yield from _code(value.__code__, seen)
        cells = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
        yield from _each((value.__defaults__, value.__kwdefaults__, *cells), seen)
        for name in _names(value.__code__):
            found = value.__globals__.get(name)
            # A function or class of the same module, or a constant.
            if getattr(found, "__module__", value.__module__) == value.__module__ and not callable(found):
                yield from _each((name, found) if isinstance(found, bool | int | float | str | tuple) else (), seen)
            elif getattr(found, "__module__", None) == value.__module__:
                yield from _each((name, found), seen)
    elif isinstance(value, MethodType):
        yield from _each((value.__func__, value.__self__), seen)
    elif isinstance(value, functools.partial):
        yield from _each((value.func, value.args, value.keywords), seen)
    elif isinstance(value, Mapping):
        yield from _each((part for pair in value.items() for part in pair), seen)
    elif isinstance(value, Set):
        yield from sorted("".join(_code(part, seen)) for part in value)
    elif isinstance(value, list | tuple):
        yield from _each(value, seen)
    elif isinstance(value, type):
        for one in value.__mro__:
            if _somebodys(one):
                parts = (part for name, part in vars(one).items() if callable(part) or not name.startswith("__"))
                yield from _each(parts, seen)
    elif hasattr(value, "detach") and hasattr(value, "tolist"):
        yield from _code(value.tolist(), seen)
    else:
        yield from _code(type(value), seen)
        yield from _code(getattr(value, "__dict__", None), seen)


def _somebodys(kind: type) -> bool:
    """True for a class that is neither Tombola's nor of the libraries beneath."""
    return kind.__module__.partition(".")[0] not in (
        "abc",
        "builtins",
        "functools",
        "numpy",
        "tombola",
        "torch",
        "typing",
    )


def _each(values: Iterable[object], seen: dict[int, object]) -> Iterator[str]:
    for value in values:
        yield from _code(value, seen)


def _filled(cell: object) -> bool:
    try:
        return hasattr(cell, "cell_contents")
    except ValueError:
        return False


def _names(code: CodeType) -> Iterator[str]:
    """Names that code, and the functions in it, may look up."""
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _names(part)
