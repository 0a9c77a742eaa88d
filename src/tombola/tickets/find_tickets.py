"""Finding tickets in folders: single ones, studies, sweeps, imported trees."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError
from tombola.tickets.ticket import TICKET_KINDS, Ticket, TicketKind

NO_TASK = "unknown task"
"""Name for the task of tickets whose provenance names none."""


@dataclass(frozen=True)
class FoundTicket:
    """A ticket on disk, whose masks are not read yet.

    Attributes:
        folder: where it lies.
        kind: what it removes.
        architecture: of the model that it fits.
        task: as its provenance says.
        seed: as its provenance says, for people: a number, or `–` where it says none.
    """

    folder: Path
    kind: TicketKind
    architecture: str
    task: str
    seed: str

    def load(self) -> Ticket:
        """Read the ticket."""
        return Ticket.load(self.folder)


def find_tickets(places: Iterable[Path | str], ticket: str = "good") -> dict[TicketKind, dict[str, list[FoundTicket]]]:
    """The tickets in some folders: kind → task → tickets, sorted by seed.

    Args:
        places: folders of tickets, or folders that hold any at whatever depth: a study, a sweep, an imported tree.
        ticket: the tickets to take from the latter: those in folders of this name. A ticket that is named itself is
            taken whatever it is.

    A ticket that is named twice is taken once.

    Raises:
        TombolaError: a folder is missing or holds no such ticket, a ticket is damaged, or the tickets of one kind
            are for different architectures.
    """
    folders: dict[Path, Path] = {}
    for place in map(Path, places):
        for folder in _folders(place, ticket):
            folders.setdefault(folder.resolve(), folder)
    found = [_look(folder) for folder in folders.values()]
    groups: dict[TicketKind, dict[str, list[FoundTicket]]] = {}
    for kind in TICKET_KINDS:
        tickets = [one for one in found if one.kind == kind]
        if tickets:
            _check(tickets)
            tasks = sorted({one.task for one in tickets})
            groups[kind] = {task: sorted((one for one in tickets if one.task == task), key=_order) for task in tasks}
    return groups


def ticket_folder(place: Path) -> Path:
    """Folder of a ticket, by that or by a folder that holds one good ticket at whatever depth, as `prune` writes it.

    Raises:
        TombolaError: there are several.
    """
    if (place / "ticket.json").is_file():
        return place
    found = _inside(place, "good") if place.is_dir() else []
    if len(found) > 1:
        raise TombolaError(f"{place} holds {len(found)} good tickets; name one of them, such as {found[0]}")
    return found[0] if found else place


def _folders(place: Path, ticket: str) -> Sequence[Path]:
    if not place.is_dir():
        problem = "is a file, not a folder" if place.exists() else "does not exist"
        raise TombolaError(f"{place} {problem}; give folders of tickets, of studies, or of imported masks")
    if (place / "ticket.json").is_file():
        return [place]
    found = _inside(place, ticket)
    methods = {path: _method(path) for path in found}
    # Other methods find tickets of the same kind, which are no seeds of one another's.
    paths = [path for path, (method, kind) in methods.items() if method == kind]
    if found and not paths:
        several = set(methods.values())
        if len(several) > len({kind for _, kind in several}):
            names = ", ".join(sorted(str(method) for method, _ in several))
            raise TombolaError(f"{place} holds tickets of several methods ({names}); give the folders of one of them")
        paths = found
    if not paths:
        other = sorted({path.parent.name for path in place.rglob("ticket.json")} - {"shrunk"})
        hint = f"there are others, take them with --ticket: {', '.join(other)}" if other else "is it a study's folder?"
        raise TombolaError(f"no ticket in a folder {ticket}/ anywhere under {place}; {hint}")
    return paths


def _inside(place: Path, ticket: str) -> list[Path]:
    """Folders of tickets of a name anywhere under a folder; what a killed run left half-written begins with a dot."""
    paths = (path.parent for path in sorted(place.rglob(f"{ticket}/ticket.json")))
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(place).parts)]


def _method(folder: Path) -> tuple[object, object]:
    """Method that found a ticket, and its kind; the standard method is called like the kind."""
    head = read_json(folder / "ticket.json")
    provenance, kind = head.get("provenance"), head.get("kind")
    return (provenance.get("method", kind) if isinstance(provenance, Mapping) else kind), kind


def _look(folder: Path) -> FoundTicket:
    head = read_json(folder / "ticket.json")
    provenance = head.get("provenance")
    if head.get("kind") not in TICKET_KINDS or not isinstance(provenance, Mapping):
        # Loading says what is wrong with it.
        Ticket.load(folder)
        raise TombolaError(f"the ticket in {folder} is damaged: its provenance is no object; find it again")
    task, seed = provenance.get("task"), provenance.get("seed")
    return FoundTicket(
        folder=folder,
        kind=head["kind"],
        architecture=str(head.get("architecture")),
        task=task if isinstance(task, str) and task else NO_TASK,
        seed=str(seed) if isinstance(seed, int | str) and seed != "" else "–",
    )


def _check(tickets: Sequence[FoundTicket]) -> None:
    first = tickets[0]
    for other in tickets[1:]:
        if other.architecture != first.architecture:
            raise TombolaError(
                f"tickets of different architectures cannot be compared: {first.folder} is for {first.architecture}, "
                f"{other.folder} for {other.architecture}; compare those of each by themselves"
            )


def _order(found: FoundTicket) -> tuple[bool, int, str, str]:
    number = int(found.seed) if found.seed.isdecimal() else 0
    return not found.seed.isdecimal(), number, found.seed, str(found.folder)
