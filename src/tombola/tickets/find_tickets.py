"""Finding tickets in folders: single ones, studies, sweeps, imported trees."""

import filecmp
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError, check_folder, did_you_mean
from tombola.tickets.kinds import TICKET_KINDS, TicketKind
from tombola.tickets.ticket_files import BESIDE, HEAD, MASKS, read_head

if TYPE_CHECKING:
    from tombola.tickets.ticket import Ticket

NO_TASK = "unknown task"
"""Name for the task of tickets whose provenance names none."""


@dataclass(frozen=True)
class FoundTicket:
    """A ticket on disk, whose masks are not read yet.

    Attributes:
        folder: where it lies.
        kind: what it removes.
        method: that found it, as its provenance says; the standard one is called like the kind.
        architecture: of the model that it fits.
        task: as its provenance says.
        seed: as its provenance says, for people: a number, or `–` where it says none.
    """

    folder: Path
    kind: TicketKind
    method: str
    architecture: str
    task: str
    seed: str

    def load(self) -> "Ticket":
        """Read the ticket."""
        # It takes PyTorch, seconds to import, which a list of folders should not wait for.
        from tombola.tickets.ticket import Ticket

        return Ticket.load(self.folder)


def find_tickets(
    places: Iterable[Path | str] | Path | str, ticket: str = "good"
) -> dict[TicketKind, dict[str, list[FoundTicket]]]:
    """The tickets in some folders: kind → task → tickets, sorted by seed.

    Args:
        places: one or several folders of tickets, or folders that hold any at whatever depth: a study, a sweep, an
            imported tree.
        ticket: the tickets to take from the latter: those in folders of this name. A ticket that is named itself is
            taken whatever it is.

    A ticket that is named twice is taken once, and so is one that a step took over into its own folder.

    Raises:
        TombolaError: a folder is missing or holds no such ticket, a ticket is damaged, or the tickets of one kind
            are for different architectures.
    """
    found: dict[Path, FoundTicket] = {}
    for place in [places] if isinstance(places, str | Path) else places:
        if not isinstance(place, str | Path):
            raise TombolaError(
                f"folders of tickets are compared, not {place!r:.80}; of two tickets there is a.overlap(b)"
            )
        for one in _find(Path(place), ticket):
            if not any(_same(one, other) for other in found.values()):
                found.setdefault(one.folder.resolve(), one)
    groups: dict[TicketKind, dict[str, list[FoundTicket]]] = {}
    firsts: dict[TicketKind, FoundTicket] = {}
    for one in sorted(found.values(), key=_order):
        first = firsts.setdefault(one.kind, one)
        if one.architecture != first.architecture:
            raise TombolaError(
                f"tickets of different architectures cannot be compared: {first.folder} is for {first.architecture}, "
                f"{one.folder} for {one.architecture}; compare those of each by themselves"
            )
        groups.setdefault(one.kind, {}).setdefault(one.task, []).append(one)
    return groups


def _same(one: FoundTicket, other: FoundTicket) -> bool:
    if one.seed == "–" or replace(one, folder=other.folder) != other:
        return False
    heads = (read_json(found.folder / HEAD) for found in (one, other))
    return next(heads) == next(heads) and filecmp.cmp(one.folder / MASKS, other.folder / MASKS, shallow=False)


def ticket_folder(place: Path) -> Path:
    """Folder of a ticket, by that or by a folder that holds one good ticket at whatever depth, as `prune` writes it.

    Raises:
        TombolaError: there are several.
    """
    if (own := _own(place)) is not None:
        return own
    found = _inside(place, "good") if place.is_dir() else []
    if len(found) > 1:
        raise TombolaError(f"{place} holds {len(found)} good tickets; name one of them, such as {found[0]}")
    return found[0] if found else place


def _own(place: Path) -> Path | None:
    """Folder of the ticket that a folder is, or that stands beside the model in it."""
    return next((one for one in (place, place / BESIDE) if (one / HEAD).is_file()), None)


def _find(place: Path, ticket: str) -> list[FoundTicket]:
    check_folder(place, "give folders of tickets, of studies, or of imported masks")
    if (own := _own(place)) is not None:
        return [_look(own)]
    found = [_look(folder) for folder in _inside(place, ticket)]
    if not found:
        other = sorted({path.parent.name for path in place.rglob(HEAD)} - {"shrunk"})
        alike = did_you_mean(ticket, other)
        hint = (
            f"{alike}there are others, take them with --ticket: {', '.join(other)}"
            if other
            else "is it a study's folder?"
        )
        raise TombolaError(f"no ticket in a folder {ticket}/ anywhere under {place}; {hint}")
    # Other methods find tickets of the same kind, which are no seeds of one another's.
    standard = [one for one in found if one.method == one.kind]
    methods = {(one.method, one.kind) for one in found}
    if not standard and len(methods) > len({one.kind for one in found}):
        names = ", ".join(sorted(method for method, _ in methods))
        raise TombolaError(f"{place} holds tickets of several methods ({names}); give the folders of one of them")
    return standard or found


def _inside(place: Path, ticket: str) -> list[Path]:
    """Folders of tickets of a name anywhere under a folder; what a killed run left half-written begins with a dot."""
    paths = (path.parent for path in sorted(place.rglob(f"{ticket}/{HEAD}")))
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(place).parts)]


def _look(folder: Path) -> FoundTicket:
    head = read_head(folder)
    provenance = head["provenance"]
    task, seed = provenance.get("task"), provenance.get("seed")
    return FoundTicket(
        folder=folder,
        kind=head["kind"],
        method=str(provenance.get("method", head["kind"])),
        architecture=head["architecture"],
        task=task if isinstance(task, str) and task else NO_TASK,
        seed=str(seed) if isinstance(seed, int | str) and seed != "" else "–",
    )


def _order(found: FoundTicket) -> tuple[int, str, bool, int, str, str]:
    is_number = found.seed.isdecimal()
    number = int(found.seed) if is_number else 0
    return TICKET_KINDS.index(found.kind), found.task, not is_number, number, found.seed, str(found.folder)
