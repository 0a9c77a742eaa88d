"""Fingerprints of local files and folders, and of somebody's code: what is there counts, not how it was named."""

import contextlib
import dis
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType

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
    """SHA-256 over what a callable does: its code, that of the functions and classes it names, and values they hold.

    Names are followed into its own package, and into every module that is not installed: not into the standard library,
    Tombola, and what lies in `site-packages`. Of a module that is imported within a function all files count. What an
    object holds counts where it is numbers, texts, arrays, or functions; what code finds by other ways than names
    (`getattr`, a table of functions that is filled elsewhere, a file) does not.
    """
    function = value
    while isinstance(function, functools.partial):
        function = function.func
    module = getattr(function, "__module__", None) or type(function).__module__
    digest = hashlib.sha256()
    for part in _Code(str(module).partition(".")[0]).texts(value):
        digest.update(f"{len(part)} {part}\0".encode())
    return digest.hexdigest()


class _Code:
    """Texts that tell callables, and the values that they hold, from others; none is of a place in memory.

    Args:
        package: of the callable, whose code counts even where it is installed.
    """

    def __init__(self, package: str) -> None:
        self._package = package
        # Kept, so that no other object gets its place in memory.
        self._seen: dict[int, object] = {}

    def _counts(self, module: object) -> bool:
        """True for a module whose code counts."""
        package = str(module).partition(".")[0]
        return package == self._package or not _installed(package)

    def texts(self, value: object) -> Iterator[str]:
        """Texts of one value."""
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            yield repr(value)
            return
        yield type(value).__qualname__
        if id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, CodeType):
            yield value.co_code.hex()
            yield repr(value.co_names + value.co_varnames)
            yield from self._each(value.co_consts)
        elif isinstance(value, FunctionType):
            yield from self._function(value)
        elif isinstance(value, MethodType):
            yield from self._each((value.__func__, value.__self__))
        elif isinstance(value, functools.partial):
            yield from self._each((value.func, value.args, value.keywords))
        elif isinstance(value, Mapping):
            yield from self._each(part for pair in value.items() for part in pair)
        elif isinstance(value, Set):
            yield from sorted("".join(self.texts(part)) for part in value)
        elif isinstance(value, list | tuple):
            yield from self._each(value)
        elif isinstance(value, type):
            for one in value.__mro__:
                if self._counts(one.__module__):
                    yield from self._each(
                        part for name, part in vars(one).items() if callable(part) or not name.startswith("__")
                    )
        elif hasattr(value, "detach") and hasattr(value, "tolist"):
            yield from self.texts(value.tolist())
        else:
            yield from self.texts(type(value))
            yield from self.texts(getattr(value, "__dict__", None))

    def _each(self, values: Iterable[object]) -> Iterator[str]:
        for value in values:
            yield from self.texts(value)

    def _function(self, value: FunctionType) -> Iterator[str]:
        yield from self.texts(value.__code__)
        cells = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
        yield from self._each((value.__defaults__, value.__kwdefaults__, *cells))
        if not self._counts(value.__module__):
            return
        names = dict.fromkeys(_names(value.__code__))
        yield from self._named(names, value.__globals__, value.__module__)
        # Whether they have been imported by now must make no difference.
        for module in dict.fromkeys(_imported(value.__code__, str(value.__globals__.get("__package__") or ""))):
            if self._counts(module):
                for file in _files_of(module):
                    yield from (file.name, hashlib.sha256(file.read_bytes()).hexdigest())

    def _named(self, names: Iterable[str], there: Mapping[str, object], module: str) -> Iterator[str]:
        """Texts of what code finds under names among what a module holds: functions, classes, constants, modules."""
        for name in names:
            found = there.get(name)
            if isinstance(found, ModuleType):
                if self._counts(found.__name__) and id(found) not in self._seen:
                    self._seen[id(found)] = found
                    yield from self._named(names, vars(found), found.__name__)
                    del self._seen[id(found)]
            elif callable(found):
                if self._counts(getattr(found, "__module__", None) or module):
                    yield from self._each((name, found))
            elif isinstance(found, bool | int | float | str | tuple):
                yield from self._each((name, found))


@functools.cache
def _installed(package: str) -> bool:
    """True for a package that was installed, or that is of the standard library; and for Tombola."""
    if package == "tombola" or package in sys.stdlib_module_names:
        return True
    # What has no file was made by hand: nobody installed it.
    return any({"site-packages", "dist-packages"} & {*file.parts} for file in _files_of(package))


def _files_of(module: str) -> list[Path]:
    """Source files of a module, of a package all; none of what is nowhere, or has no source."""
    try:
        spec = importlib.util.find_spec(module)
    # Whatever the package raises that a module lies in: it is imported to be looked into.
    except Exception:
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        return [file for file in (Path(spec.origin or ""),) if file.is_file()]
    return [file for place in spec.submodule_search_locations for file in sorted(Path(place).rglob("*.py"))]


def _imported(code: CodeType, package: str) -> Iterator[str]:
    """Names of the modules that code, and the functions in it, imports itself; and of what it takes out of them."""
    before: list[object] = []
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            # Before it stand the level of a relative import, and the names that are taken.
            level, taken = before[-2:]
            module = "." * level + str(step.argval) if isinstance(level, int) else str(step.argval)
            with contextlib.suppress(ImportError):
                found = importlib.util.resolve_name(module, package)
                yield from (found, *(f"{found}.{name}" for name in (taken if isinstance(taken, tuple) else ())))
        before.append(step.argval)
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _imported(part, package)


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
