"""Exception that users are meant to read, and reasons in one line."""


class TombolaError(Exception):
    """Error that the user can mend: the message says what is wrong, where, and what to do, in one line.

    The command line prints the message and exits with code 2; any other exception is a defect of Tombola.
    """


def reason(error: BaseException, longest: int = 200) -> str:
    """Text of another error, or its type where it says nothing, in one line: its first sentences where it is long."""
    text = " ".join((str(error) or type(error).__name__).split())
    if len(text) <= longest:
        return text
    head = text[:longest]
    return head[: head.rfind(". ") + 1] or f"{head.rpartition(' ')[0]} ..."
