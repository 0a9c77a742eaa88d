"""A ticket with its zeros baked in: a plain folder of the original shapes, for tools that know nothing of tickets."""

from dataclasses import replace
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel

from tombola.card import Card
from tombola.checkpoint import transformers_model
from tombola.errors import TombolaError
from tombola.selfcheck import computed, difference, precise, random_inputs
from tombola.sources import quiet, save_tokenizer
from tombola.sparse import same_bits
from tombola.store import publish
from tombola.subnetwork import expanded, masked, shrunk
from tombola.ticket import Ticket


def save_zeros(model: nn.Module, ticket: Ticket, folder: Path | str, *, tokenizer: str | None = None) -> float:
    """Write a model with zeros in place of what was pruned, for plain `from_pretrained`, and prove it on what it loads.

    Args:
        model: the whole model; it is not changed.
        ticket: what survives.
        folder: new.
        tokenizer: source of a tokenizer to put beside the model, where it has one.

    Returns:
        The largest difference of an output between the model that was read back and the masked one, relative to the
        largest output. With a ticket of weights it is 0: there every bit of every tensor was compared.

    Raises:
        TombolaError: the ticket is for another model, the folder exists, or the model that was read back is another
            (nothing is written then).
    """
    model = transformers_model(model)
    small = shrunk(model, ticket)
    with publish(Path(folder)) as draft, quiet():
        baked = expanded(small)
        assert isinstance(baked, PreTrainedModel)
        baked.save_pretrained(draft)
        ticket.write(draft)
        save_tokenizer(tokenizer, draft)
        again = type(model).from_pretrained(draft, dtype=model.dtype)
        apart = 0.0
        if ticket.pruning == "weights":
            found = again.state_dict()
            for name, tensor in small.model.state_dict().items():
                if name not in found or not same_bits(tensor, found[name]):
                    raise TombolaError(
                        f"the model with zeros differs from the masked one in {name}, so it was not saved; please "
                        "report this model and ticket"
                    )
        else:
            exact, given = precise(model), random_inputs(model, 4)
            output = computed(replace(small, model=precise(again)), given)
            apart = difference(computed(masked(exact, ticket), given), output, "the model with zeros")
        Card("zeros", model, small, apart).write(draft)
    return apart
