"""Exception that users are meant to read, and whatever else is raised as one line of it."""

import contextlib
import difflib
import errno
import math
import re
from collections.abc import Callable, Iterable, Iterator
from numbers import Integral, Real
from pathlib import Path
from typing import cast

_LONGEST = 2000


def printable(text: str) -> str:
    """Text with control characters, line ends, halves of surrogate pairs and the like escaped, as Python writes them.

    What files hold is printed so: an escape sequence must not reach the terminal.
    """
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)


def visible(text: str) -> str:
    """Text with control characters, and those that turn the direction of what is written after them, as Python's.

    Tabs and line ends stay, and so does whatever else a text may be made of: it is shown on pages and in pictures, some
    of which, as SVG, could not hold the others.
    """
    return _UNSEEN.sub(lambda found: repr(found[0])[1:-1], text)


class TombolaError(Exception):
    """Error that the user can mend: the message says what is wrong, where, and what to do, in one printable line.

    The command line prints the message and exits with code 2, or 1 of a `FailedError`; any other exception is a defect
    of Tombola.
    """

    def __str__(self) -> str:
        text, half = super().__str__(), _LONGEST // 2
        return printable(text if len(text) <= _LONGEST else f"{text[:half]} ... {text[-half:]}")


class FailedError(TombolaError):
    """Error for work that was done and came to nothing, whatever it was given: the command line exits with code 1."""


class StaleError(TombolaError):
    """Error for files that somebody changed while they were used: nothing that is made from now on would be right."""


class DiskError(TombolaError):
    """Error for files that the operating system did not let be read or written: what to do is the user's to mend."""


class BusyError(TombolaError):
    """Error for a folder that another process is at work on."""


class MemoryRanOutError(FailedError):
    """Error for memory that ran out."""


_FULL = ("DefaultCPUAllocator", "annot allocate memory", "can't allocate memory", "bad_alloc", "out of memory")


def out_of_memory(error: BaseException) -> bool:
    """True if an exception of Python, NumPy, PyTorch, a library in Rust or the system says that memory ran out."""
    return (
        isinstance(error, MemoryError | MemoryRanOutError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (not isinstance(error, TombolaError) and any(sign in str(error) for sign in _FULL))
    )


@contextlib.contextmanager
def memory_errors(what: str = "") -> Iterator[None]:
    """Turn memory that runs out within, or in a function that this decorates, into one line; `what` is at work there.

    Raises:
        MemoryRanOutError: it ran out. PyTorch's own exception for a GPU stays.
    """
    try:
        yield
    except Exception as error:
        where = what and f"{what}: "
        if isinstance(error, MemoryRanOutError) and what:
            raise MemoryRanOutError(f"{where}{error}") from error
        if isinstance(error, TombolaError) or type(error).__name__ == "OutOfMemoryError" or not out_of_memory(error):
            raise
        raise MemoryRanOutError(
            f"{where}memory ran out ({reason(error)}); take smaller batches, shorter texts or half precision "
            "(--batch-size, --eval-batch-size, --max-length, --precision bf16), a smaller model, or a machine with "
            "more memory"
        ) from error


def reason(error: BaseException, longest: int = 200) -> str:
    """Text of another error, or its type where it says nothing, in one line: its first sentences where it is long."""
    text = " ".join((str(error) or type(error).__name__).split())
    # Of these the text is a mere name, or speaks of Python's own types.
    if isinstance(error, LookupError | AttributeError | TypeError):
        text = f"{type(error).__name__}: {text}"
    head = text[:longest]
    return text if text == head else head[: head.rfind(". ") + 1] or f"{head.rpartition(' ')[0]} ..."


@contextlib.contextmanager
def one_line(what: str, mend: str | Callable[[BaseException], str]) -> Iterator[None]:
    """Turn whatever is raised within into one line, `what (reason); mend`: for parsers and libraries that read files.

    What they raise at a file of the wrong shape is anything: they hardly check what they read. Advice that takes a look
    at what was raised, or at the disk, is a function of the error.

    Raises:
        TombolaError: anything was raised, but for what stops the process, and for a GPU without memory.
    """
    try:
        with memory_errors(what):
            yield
    except TombolaError:
        raise
    except BaseException as error:
        kind = type(error).__name__
        # A panic in Rust, as of tokenizers, is no Exception.
        if kind == "OutOfMemoryError" or not (isinstance(error, Exception) or kind == "PanicException"):
            raise
        advice = mend if isinstance(mend, str) else mend(error)
        raise TombolaError(f"{what} ({reason(error).rstrip('.')}); {advice}") from error


@contextlib.contextmanager
def reading(path: Path | str, mend: str = "delete it and start again") -> Iterator[None]:
    """Turn whatever is raised while a file is read into one line that names it.

    Raises:
        TombolaError: the file is missing, cannot be read, or is not what its reader expects.
    """
    with one_line(f"{path} is damaged", mend):
        try:
            yield
        except FileNotFoundError as error:
            raise TombolaError(no_such_path(path)) from error
        except MemoryError as error:
            raise TombolaError(f"{path} asks for more memory than there is") from error
        except OSError as error:
            if error.strerror is None:
                raise
            raise TombolaError(f"{path} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def system_errors() -> Iterator[None]:
    """Turn the operating system's refusals, of a name that is too long or a file that may not be read, into one line.

    Raises:
        DiskError: it refused.
        BrokenPipeError: nobody reads the output any more.
    """
    try:
        yield
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        raise
    except OSError as error:
        what = "" if error.filename is None else f"{error.filename}: "
        raise DiskError(f"{what}{error.strerror or reason(error)}; check the path and its permissions") from error


def check_choice(what: str, value: object, choices: Iterable[object], *, setting: str | None = None) -> None:
    """Refuse a value that is none of its choices; a type checker sees only what is written out.

    `setting` is the name of the setting that it was given in, if that is not `what` itself.

    Raises:
        TombolaError: it is none of them.
    """
    known = list(choices)
    if value not in known:
        place = "" if setting is None else f"{setting}: "
        raise TombolaError(f"{place}{unknown(what, value, known)}")


def check_type(what: str, value: object, kind: type, example: str) -> None:
    """Raise a TombolaError, with an example of what is wanted, where a value is of another type."""
    if not isinstance(value, kind):
        raise TombolaError(f"{what} must be of the type {kind.__name__}, as {example}, not {value!r:.80}")


def check_number(what: str, value: object, low: float, high: float = math.inf, *, whole: bool = False) -> None:
    """Refuse a value that is no number from `low` to `high`, or no whole one.

    Raises:
        TombolaError: it is none.
    """
    kind: type = Integral if whole else Real
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= cast(float, value) <= high:
        reach = f"from {low:g} to {high:g}" if math.isfinite(high) else f"from {low:g}"
        raise TombolaError(f"{what} must be a {'whole ' * whole}number {reach}, not {value!r}")


def unknown(what: str, value: object, choices: Iterable[object]) -> str:
    """Text for a value that is none of its choices: those that are spelt alike, and all of them."""
    known = [*map(str, choices)]
    return f"unknown {what} {value!r}; {did_you_mean(str(value), known)}known: {', '.join(known)}"


def did_you_mean(given: str, known: Iterable[str], sign: str = "", *, alike: float = 0.6) -> str:
    """Question, with a space after it, that names what is spelt like a word, after a sign; empty where nothing is."""
    like = [f"{sign}{one}" for one in difflib.get_close_matches(given, [*known], cutoff=alike)]
    return f"did you mean {' or '.join(like)}? " if like else ""


def alike_beside(path: Path | str, *, folders: bool = False) -> str:
    """Question as of `did_you_mean` that names what lies beside a path and is spelt like it; `folders` alone if so."""
    name, given = Path(path).name, str(path).rstrip("/")
    near = Path(given).expanduser().parent
    with contextlib.suppress(OSError):
        found = [one for one in near.iterdir() if one.name[0] != "." and (one.is_dir() or not folders)]
        names = [one.name for one in found if one.name != name]
        # Names alone: those of one folder begin alike.
        return did_you_mean(name, names, given.removesuffix(name), alike=0.7)
    return ""


def no_such_path(path: Path | str, mend: str = "") -> str:
    """Text for a path where nothing is: what is spelt alike beside it, and what to do."""
    return "; ".join(filter(None, (f"{path} does not exist", f"{alike_beside(path)}{mend}".strip())))


def check_folder(path: Path, mend: str) -> None:
    """Raise a TombolaError, with what to do, where a path is no folder."""
    if not path.is_dir():
        raise TombolaError(f"{path} is a file, not a folder; {mend}" if path.exists() else no_such_path(path, mend))
