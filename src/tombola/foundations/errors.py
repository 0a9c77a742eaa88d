"""Exception that users are meant to read, and reasons in one line."""

from collections.abc import Iterable


class TombolaError(Exception):
    """Error that the user can mend: the message says what is wrong, where, and what to do, in one line.

    The command line prints the message and exits with code 2; any other exception is a defect of Tombola.
    """


def reason(error: BaseException, longest: int = 200) -> str:
    """Text of another error, or its type where it says nothing, in one line: its first sentences where it is long."""
    text = " ".join((str(error) or type(error).__name__).split())
    head = text[:longest]
    return text if text == head else head[: head.rfind(". ") + 1] or f"{head.rpartition(' ')[0]} ..."


def check_choice(what: str, value: object, choices: Iterable[object]) -> None:
    """Refuse a value that is none of its choices; a type checker sees only what is written out.

    Raises:
        TombolaError: it is none of them.
    """
    known = list(choices)
    if value not in known:
        raise TombolaError(f"unknown {what} {value!r}; known: {', '.join(map(str, known))}")
