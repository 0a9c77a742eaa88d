"""The table of pruning methods, from the table that the program itself goes by."""

from tombola.tickets.pruning_methods import METHODS, PruningMethod

MARK = "<!-- glossary: methods -->"


def fill(markdown: str) -> str:
    """The page with its mark replaced."""
    return markdown.replace(MARK, table())


def table() -> str:
    """One line for each method."""
    lines = ["| method | kind of its tickets | removes | by |", "| --- | --- | --- | --- |"]
    lines += [f"| `{one.name}` | `{one.kind}` | {one.words} | {_criterion(one)} |" for one in METHODS.values()]
    return "\n".join(lines)


def _criterion(one: PruningMethod) -> str:
    if not one.criterion:
        return "first-order importance"
    over = {"matrix": ", each matrix alike", "row": ", each row alike"}.get(one.scope or "", "")
    return one.criterion + (f", {one.pattern}" if one.pattern else over)
