"""Lists as values of flags: `0,1,2`, `heads+mlps,weights`."""

import argparse


def seeds(text: str) -> tuple[int, ...]:
    """Whole numbers, separated by commas.

    Raises:
        argparse.ArgumentTypeError: a part is none.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers such as 0,1,2") from None


def names(text: str) -> tuple[str, ...]:
    """Names, separated by commas."""
    return tuple(part.strip() for part in text.split(","))


def numbers(text: str) -> tuple[float, ...]:
    """Numbers, separated by commas.

    Raises:
        argparse.ArgumentTypeError: a part is none.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 0.2,0.5") from None
