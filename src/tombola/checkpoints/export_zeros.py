"""Export with zeros: a model under a ticket in its original shapes, for `from_pretrained`."""

from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from tombola.checkpoints.loading import quiet
from tombola.checkpoints.model_card import ModelCardWriter
from tombola.checkpoints.model_libraries import library_of, save_companions
from tombola.foundations.atomic_files import publish
from tombola.subnetworks.equivalence import verify_equivalent
from tombola.subnetworks.subnetwork import expanded, shrunk
from tombola.tickets.ticket import Ticket

if TYPE_CHECKING:
    pass


def save_zeros(model: nn.Module, ticket: Ticket, folder: Path | str, *, tokenizer: str | None = None) -> float:
    """Write a model with zeros in place of what was pruned, for plain `from_pretrained`, and prove it on what it loads.

    Arguments, what it returns, and errors are those of `save_shrunk`.
    """
    library = library_of(model)
    small = shrunk(model, ticket)
    with publish(Path(folder)) as draft, quiet():
        library.save(expanded(small), draft)
        ticket.write(draft)
        save_companions(tokenizer, draft)
        again = library.read(model, draft)
        apart = verify_equivalent(model, small, again, "the model with zeros")
        ModelCardWriter("zeros", model, small, apart).write(draft)
    return apart
