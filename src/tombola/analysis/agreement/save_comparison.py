"""A comparison on disk: its numbers, and the tickets of super-survivors with their controls."""

from pathlib import Path

from tombola.analysis.agreement.comparison import Comparison
from tombola.analysis.agreement.survival import super_survivor_controls, super_survivors
from tombola.foundations.atomic_files import publish
from tombola.tickets.ticket import Ticket


def save_comparison(comparison: Comparison, out: Path) -> None:
    """Write `comparison.json` and `<kind>/<task>/{super-survivors,random,random-layerwise,bad}/` as one new folder.

    Weights have no such tickets: those that always survive are better taken with `&`.

    Raises:
        TombolaError: the folder exists or cannot be written, or a ticket vanished in the meantime.
    """
    with publish(out) as draft:
        comparison.write(draft / "comparison.json")
        for kind, of_kind in comparison.kinds.items():
            for task, one in of_kind.tasks.items() if kind != "weights" else ():
                tickets = [Ticket.load(Path(ticket.folder)) for ticket in one.tickets]
                made = {"super-survivors": super_survivors(tickets)}
                made |= super_survivor_controls(tickets, comparison.seed)
                for name, ticket in made.items():
                    ticket.save(draft / kind / task.replace("/", "-") / name)
