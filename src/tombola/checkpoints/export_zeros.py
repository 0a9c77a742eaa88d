"""A ticket with its zeros baked in: a plain folder of the original shapes, for tools that know nothing of tickets."""

from pathlib import Path

from torch import nn

from tombola.checkpoints.loading import quiet
from tombola.checkpoints.model_card import ModelCardWriter
from tombola.checkpoints.model_libraries import library_of, save_companions
from tombola.foundations.atomic_files import publish
from tombola.subnetworks.equivalence import verify_equivalent
from tombola.subnetworks.subnetwork import expanded, shrunk
from tombola.tickets.ticket import Ticket


def save_zeros(model: nn.Module, ticket: Ticket, folder: Path | str, *, tokenizer: str | None = None) -> float:
    """Write a model with zeros in place of what was pruned, for plain `from_pretrained`, and prove it on what it loads.

    Args:
        model: the whole model, of transformers or a denoiser of diffusers; it is not changed.
        ticket: what survives.
        folder: new.
        tokenizer: source of a tokenizer to put beside the model, where it has one; of a denoiser, of its schedule.

    Returns:
        The largest difference of an output between the model that was read back and the masked one, relative to the
        largest output. With a ticket of weights it is 0: there every bit of every tensor was compared.

    Raises:
        TombolaError: the ticket is for another model, the folder exists, or the model that was read back is another
            (nothing is written then).
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
