"""A table as LaTeX with the rules of booktabs, in which no text of a user is a command."""

from collections.abc import Iterable, Iterator

import pandas as pd

from tombola.report.tables.table import Table

_WRITTEN = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        # At the beginning of a line they would be an argument of the line break before them.
        **{sign: f"{{{sign}}}" for sign in "[]*"},
        # In the old encoding of fonts these are other characters.
        **{sign: f"${sign}$" for sign in "<>|"},
        '"': "''",
        "±": r"$\pm$",
        "−": "$-$",
        "×": r"$\times$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "–": "--",
        "’": "'",
    }
)


def latex(table: Table, label: str) -> str:
    r"""The table in an environment of its own, with its title as the caption.

    Args:
        table: what to write.
        label: for `\ref`, after `tab:`.
    """
    heads = [_escape(column.name) for column in table.columns]
    names = sum(column.naming for column in table.columns)
    rows = [[_escape(text) for text in row] for row in _sparse(table.rows(), names)]
    # Numbers stand for the columns, as two of them may have the same head.
    frame = pd.DataFrame(rows, columns=range(len(heads)))
    return str(
        frame.style.hide(axis="index")
        .format_index(lambda number: heads[number], axis="columns")
        .to_latex(
            column_format="".join("r" if column.kind == "number" else "l" for column in table.columns),
            hrules=True,
            caption=_escape(table.title),
            label=f"tab:{label}",
            position_float="centering",
        )
    )


def _sparse(rows: Iterable[tuple[str, ...]], names: int) -> Iterator[tuple[str, ...]]:
    """Rows in which a name, one of the first `names` cells, is only written where it changes."""
    before: tuple[str, ...] = ()
    for row in rows:
        same = 0
        while same < names and row[: same + 1] == before[: same + 1]:
            same += 1
        yield ("",) * same + row[same:]
        before = row


def _escape(text: str) -> str:
    # An empty line would end a paragraph in the middle of a table.
    return " ".join(text.split()).translate(_WRITTEN)
