"""A ticket made by hand, click by click."""

import pytest
import torch

from tombola.app.hand_made_ticket import HandMadeTicket, Site
from tombola.foundations.errors import TombolaError
from tombola.tickets.ticket import Ticket

FULL = Ticket("heads+mlps", "a", {"heads": torch.ones(3, 4).bool(), "mlps": torch.ones(3).bool()})


def test_a_click_switches_one_site_off_and_on_again() -> None:
    made = HandMadeTicket(FULL)
    sites: list[Site] = [("heads", 1, 2), ("mlps", 2, 0), ("heads", 1, 0)]
    for site in sites:
        made.click(site)
    assert made.ticket == FULL.without({"heads": [(1, 2), (1, 0)], "mlps": [2]})
    assert [made.works(site) for site in sites] == [False] * 3
    made.click(("heads", 1, 2))
    assert made.ticket == FULL.without({"heads": [(1, 0)], "mlps": [2]})
    for _ in range(9):
        made.undo()
    assert made.ticket == FULL
    assert made.clicks == 0
    with pytest.raises(TombolaError, match="there is no"):
        made.click(("heads", 5, 0))


def test_it_begins_from_what_it_can_click() -> None:
    heads = Ticket("heads", "a", {"heads": torch.eye(3, 4).bool()}, attention_bias=False)
    made = HandMadeTicket(FULL)
    made.begin_from(heads)
    assert torch.equal(made.ticket.heads, heads.heads)
    assert made.ticket.mlps.all()
    assert not made.ticket.attention_bias
    made.undo()
    assert made.ticket == FULL
    with pytest.raises(TombolaError, match="not made of heads and mlps"):
        made.begin_from(Ticket("weights", "a", {"0.query": torch.ones(2, 2).bool()}))
