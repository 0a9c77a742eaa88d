"""Statements of the pages about what tickets save on disk."""

from collections.abc import Iterator

from stored import lines


def of_the_quick_study() -> Iterator[str]:
    """Size of the shrunk good ticket of `make study`."""
    rows = {(row["method"], row["ticket"], row["stage"]): row for row in lines("make-study/results.jsonl")}
    whole, small = rows["none", "full", "none"], rows["heads+mlps", "good", "retrained"]
    millions = [f"{row['parameters'] / 1e6:.1f}" for row in (small, whole)]
    megabytes = [f"{row['bytes'] / 1e6:.0f}" for row in (small, whole)]
    yield f"{millions[0]} of {millions[1]} million parameters, {megabytes[0]} of {megabytes[1]} MB"


def of_a_matrix() -> Iterator[str]:
    """Share of a matrix that its survivors and one bit a weight take."""
    long, short = ([100 * (kept + 1 / bits) for kept in (0.5, 0.1)] for bits in (16, 32))
    yield (
        f"in 16 bits {long[0]:.2f} % at 50 % sparsity and {long[1]:.2f} % at 90 %; in 32 bits {short[0]:.1f} and "
        f"{short[1]:.1f} %"
    )
