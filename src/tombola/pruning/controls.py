"""Controls of a good ticket: of as many sites or weights, but drawn at random, or made of the least useful.

As many sites need not hold as many weights: where heads share keys and values, those go with the last head of a group,
and channels of a wide block weigh more. Random draws come as near as they can; a bad ticket is what it is.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.foundations.random_streams import random_stream
from tombola.pruning.magnitude import keep_largest
from tombola.pruning.search.records import Search
from tombola.tickets.site_groups import SiteGroups, count
from tombola.tickets.ticket import Ticket

CLOSE = 0.005
"""Share of a ticket's weights by which another may differ and still be of its size."""
_SWAPS = 400
"""Sites that change places at most until a random draw is of the right size."""


def random(ticket: Ticket, seed: int, groups: SiteGroups | None = None, anatomy: Anatomy | None = None) -> Ticket:
    """Random ticket of the same size, drawn uniformly from the whole model: as many sites of each kind, or weights.

    See `bernoulli` for one whose size is right only on average.

    Args:
        ticket: whose size the draw has.
        seed: of the draw; two tasks, methods or tickets of one seed draw apart, by the provenance of `ticket`.
        groups: sites that go together: as many groups are drawn as `ticket` has.
        anatomy: of the model. With it, sites of the draw change places with others, at random, for as long as that
            brings its number of weights nearer to the ticket's: a smaller network is a worse one whatever it keeps.
    """
    generator = _stream(ticket, "random", seed)
    drawn = _control(ticket, _drawn(ticket, groups, generator, draw), "random", seed=seed)
    return drawn if groups is not None else _of_weights(ticket, drawn, anatomy, generator)


def bernoulli(ticket: Ticket, seed: int, groups: SiteGroups | None = None, *, draw: str = "random") -> Ticket:
    """Random ticket in which every site survives by itself, with the probability of its kind in `ticket`; or weight.

    So the paper's code draws them, anew for every use: tickets of one seed differ by what the draw is for.
    """
    masks = _drawn(ticket, groups, _stream(ticket, f"bernoulli {draw}", seed), _each_by_itself)
    return _control(ticket, masks, "random", seed=seed)


def _each_by_itself(total: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(total, generator=generator, dtype=torch.float64) * total < count


def _stream(ticket: Ticket, control: str, seed: int) -> torch.Generator:
    facts = (ticket.provenance.get(key) for key in ("ticket", "task", "method"))
    return random_stream(seed, control, ticket.kind, *facts)


def _of_weights(
    ticket: Ticket, drawn: Ticket, anatomy: Anatomy | None, generator: torch.Generator, *, in_rows: bool = False
) -> Ticket:
    """A draw whose sites change places for as long as that brings its weights nearer to the ticket's."""
    if anatomy is None or ticket.kind == "weights":
        return drawn
    best, goal = drawn, ticket.survivors(anatomy)["weights"]
    distance = abs(best.survivors(anatomy)["weights"] - goal)
    for _ in range(_SWAPS):
        if distance <= CLOSE * goal:
            break
        found = replace(best, masks=_swapped(best, generator, in_rows=in_rows))
        other = abs(found.survivors(anatomy)["weights"] - goal)
        if other < distance:
            best, distance = found, other
    return best


def _swapped(ticket: Ticket, generator: torch.Generator, *, in_rows: bool) -> dict[str, Tensor]:
    """Masks in which two sites of each kind have changed places: of the whole model, or of one row drawn for it."""
    masks = {name: mask.clone() for name, mask in ticket.masks.items()}
    for name, mask in masks.items():
        exists = ticket.exists(name)
        if in_rows:
            row = int(torch.randint(len(mask), (), generator=generator))
            mask, exists = mask[row : row + 1], exists[row : row + 1]
        alive, gone = mask.nonzero(), (~mask & exists).nonzero()
        if len(alive) and len(gone):
            for sites, survives in ((alive, False), (gone, True)):
                site = sites[int(torch.randint(len(sites), (), generator=generator))]
                mask[tuple(site.tolist())] = survives
    return masks


def _drawn(
    ticket: Ticket,
    groups: SiteGroups | None,
    generator: torch.Generator,
    draw_of: Callable[[int, int, torch.Generator], Tensor],
) -> dict[str, Tensor]:
    """Masks of a draw; `draw_of` so many of so many units with a generator gives bool [units]."""
    if groups is not None:
        drawn = draw_of(count(groups), len(_groups_of(ticket, groups)), generator)
        return {kind: drawn[of_sites] for kind, of_sites in groups.items()}
    if ticket.kind == "weights":
        parts = draw_of(ticket.total, len(ticket), generator).split([mask.numel() for mask in ticket.masks.values()])
        return {name: part.view_as(mask) for (name, mask), part in zip(ticket.masks.items(), parts, strict=True)}
    masks = {name: torch.zeros_like(mask) for name, mask in ticket.masks.items()}
    for name, mask in ticket.masks.items():
        exists = ticket.exists(name)
        masks[name][exists] = draw_of(int(exists.sum()), int(mask.sum()), generator)
    return masks


def layer_matched(
    ticket: Ticket, seed: int, groups: SiteGroups | None = None, anatomy: Anatomy | None = None
) -> Ticket:
    """Layer-matched random ticket: as many heads and neurons in each layer (weights in each matrix), drawn there.

    It tells whether *these* sites matter or only their profile over depth. A layer has one MLP, so the MLPs stay
    the same.

    Args:
        ticket: whose profile the draw has.
        seed: of the draw.
        groups: sites that go together, each within one layer: as many groups of each row of heads are drawn.
        anatomy: of the model. With it, sites of the draw change places within their rows, as those of a `random` draw
            do: heads that share keys and values have fewer weights together than as many heads of several groups.
    """
    generator = _stream(ticket, "layer-matched", seed)
    if groups is not None:
        kept = torch.zeros(count(groups), dtype=torch.bool)
        survivors = _groups_of(ticket, groups)
        for row, exists in zip(groups["heads"], ticket.exists("heads"), strict=True):
            there = row[exists].unique()
            kept[there] = draw(len(there), sum(int(group) in survivors for group in there), generator)
        masks = {kind: kept[of_sites] for kind, of_sites in groups.items()}
        return _control(ticket, masks, "layer-matched", seed=seed)
    masks = {}
    for name, mask in ticket.masks.items():
        # One row a layer for sites; one row altogether for a matrix of weights.
        rows = mask.reshape(mask.shape[0], -1) if ticket.sites else mask.reshape(1, -1)
        masks[name] = torch.zeros_like(rows)
        for drawn, row, exists in zip(masks[name], rows, ticket.exists(name).view_as(rows), strict=True):
            drawn[exists] = draw(int(exists.sum()), int(row.sum()), generator)
        masks[name] = masks[name].view_as(mask)
    found = _control(ticket, masks, "layer-matched", seed=seed)
    return _of_weights(ticket, found, anatomy, generator, in_rows=True)


def bad(found: Search, model: nn.Module, seed: int | None = None) -> Ticket:
    """Bad ticket: the least useful sites or weights, as many as the good one has.

    Sites: those that the search removed, first removed first, topped up with the survivors of least importance.
    Weights: those of smallest magnitude in `model`, the one that was searched. With a seed, sites are drawn at random
    from all that were removed, as the paper's code does, instead of the first of them.
    """
    ticket = found.good
    if ticket.kind != "weights":
        orders = {kind: found.least_useful_first(kind) for kind in ticket.counts()}
        if seed is not None:
            generator = _stream(ticket, "bad", seed)
            for kind, order in orders.items():
                gone = len(order) - ticket.counts()[kind]
                orders[kind] = [order[index] for index in torch.randperm(gone, generator=generator)] + order[gone:]
        least = {kind: orders[kind][:count] for kind, count in ticket.counts().items()}
        masks = dict((~(ticket | ~ticket).without(least)).masks)
    else:
        weights = dissect(model).weights_of(model)
        masks = {name: ~mask for name, mask in keep_largest(weights, ticket.total - len(ticket)).items()}
    return _control(ticket, masks, "bad")


def _groups_of(ticket: Ticket, groups: SiteGroups) -> set[int]:
    return {group for kind, of_sites in groups.items() for group in of_sites[ticket.masks[kind]].tolist()}


def draw(total: int, count: int, generator: torch.Generator) -> Tensor:
    """Bool [total], of which so many are true, drawn uniformly."""
    mask = torch.zeros(total, dtype=torch.bool)
    mask[torch.randperm(total, generator=generator)[:count]] = True
    return mask


def _control(ticket: Ticket, masks: dict[str, Tensor], name: str, **facts: object) -> Ticket:
    task = {key: ticket.provenance[key] for key in ("task", "method") if key in ticket.provenance}
    return replace(ticket, masks=masks, provenance={"ticket": name, **task, **facts})
