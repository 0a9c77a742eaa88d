"""Second derivatives of the loss by pairs of gates, and measured deletions beside them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from tombola.analysis.array_record import Floats
from tombola.analysis.forward_passes import SampleOptions, eager, sampled
from tombola.analysis.locality.interactions import NOTHING, Deletions, Interactions, Site
from tombola.architectures.parameters import device_of, evaluating
from tombola.foundations.errors import TombolaError
from tombola.foundations.progress import Progress, shown
from tombola.pruning.evaluation import on_device
from tombola.subnetworks.gates import Gates, Place, attach, ticket_gates
from tombola.subnetworks.subnetwork import Subnetwork, shrunk, whole
from tombola.tasks.base import Batch, Task
from tombola.tickets.ticket import Ticket

SAMPLE, PAIRS, SUBSETS, DELETED = 100, 60, 40, 0.1
"""Examples, pairs and random subsets that are deleted for real, and the share of the sites that a subset loses."""
SOME = SampleOptions(batch_size=16, sample=SAMPLE)
PASS_COST = 2.5
"""Cost of one row of the Hessian, in forward passes of one example, as seen with MiniLM."""


def interactions_cost(sites: int, examples: int) -> float:
    """Expected cost, in forward passes of one example."""
    return examples * (PASS_COST * sites + sites + PAIRS + SUBSETS)


def interactions(
    model: nn.Module,
    task: Task,
    options: SampleOptions = SOME,
    *,
    ticket: Ticket | None = None,
    pairs: int = PAIRS,
    subsets: int = SUBSETS,
    deleted: float = DELETED,
) -> Interactions:
    """First and second derivatives of the loss by the gates of heads and MLPs, exactly, and deletions beside them.

    Every example has its own gates, so that one Hessian-vector product with the unit vector of a site gives its row
    of every example's Hessian at once, and the errors over examples come for free. The model runs in fp32 with eager
    attention, whose gradient has a gradient, without dropout, and is not changed.

    Args:
        model: a whole fine-tuned model of a known family.
        options: split and sample of the examples; batch size, with which memory grows; a seed, of pairs and subsets
            too; progress, which counts examples for each row of the Hessian and each deletion. All is in fp32.
        ticket: look at its surviving heads and MLPs only, in the network without the others; by default at all.
        pairs: how many pairs to delete for real, drawn at random; 0 for none.
        subsets: how many random subsets to delete for real.
        deleted: share of the sites that each subset loses, at least two.

    Raises:
        TombolaError: unknown architecture, a ticket of something else or of another model, fewer than two sites, or a
            loss that is not finite.
    """
    if ticket is not None and ticket.kind != "heads+mlps":
        raise TombolaError(f"interactions are between heads and MLPs; this ticket is of {ticket.kind}")
    subnetwork = whole(model) if ticket is None else shrunk(model, ticket)
    with shown(options.progress, "interactions") as progress, evaluating(subnetwork.model), eager(subnetwork.model):
        batches = [on_device(batch, subnetwork.model) for batch in sampled(task, options)]
        sites = _sites(subnetwork.present)
        if len(sites) < 2:
            raise TombolaError("one site has nobody to interact with; take a ticket of two heads or MLPs at least")
        found = _derivatives(subnetwork, task, batches, progress)
        if not np.isfinite(found.hessian).all():
            what = f"the loss or its derivatives on the {options.split} split"
            raise TombolaError(f"{what} are not finite; train the model again")

        def cost(deletion: Sequence[int]) -> float:
            return _loss(subnetwork, task, batches, [sites[number] for number in deletion], progress) - found.loss

        alone = np.array([cost([site]) for site in range(len(sites))])
        rng = np.random.default_rng(options.seed)
        lost = max(2, round(deleted * len(sites)))
        drawn = [tuple(sorted(rng.choice(len(sites), lost, replace=False).tolist())) for _ in range(subsets)]
        return replace(
            found,
            alone=alone,
            pairs=_delete(_pairs(len(sites), pairs, rng), cost, found, alone),
            subsets=_delete(drawn, cost, found, alone),
        )


def _derivatives(subnetwork: Subnetwork, task: Task, batches: Sequence[Batch], progress: Progress) -> Interactions:
    """Derivatives alone, nothing deleted yet."""
    sites = _sites(subnetwork.present)
    places = [site[:2] for site in sites]
    depths = torch.tensor([_depth(place) for place in places])
    examples, loss, n = 0, 0.0, len(sites)
    # Of every second example, and of the others.
    gradients = torch.zeros(2, n, dtype=torch.float64)
    sums = torch.zeros(2, n, n, dtype=torch.float64)
    squares = torch.zeros(n, n, dtype=torch.float64)
    with attach(subnetwork.model, subnetwork.anatomy, subnetwork.present) as gates, torch.enable_grad():
        for batch in batches:
            opened = gates.open(len(batch.indices), device_of(subnetwork.model), grad=True)
            losses = task.output(subnetwork.model, batch).losses
            first = torch.cat(torch.autograd.grad(losses.sum(), opened, create_graph=True), -1)
            halves = [slice((examples + half) % 2, None, 2) for half in (0, 1)]
            for site, place in enumerate(places):
                # The Hessian is symmetric: a row is taken from its own layer on, which spares the layers before.
                later = [number for number, other in enumerate(gates.opened) if _depth(other) >= _depth(place)]
                # Examples do not touch each other's gates: this is the site's row of each example's Hessian.
                rows = torch.autograd.grad(
                    first[:, site].sum(),
                    [opened[number] for number in later],
                    retain_graph=True,
                    materialize_grads=True,
                )
                row = torch.cat(rows, -1).detach().cpu().double()
                columns = depths >= _depth(place)
                for half, members in enumerate(halves):
                    sums[half, site, columns] += row[members].sum(0)
                squares[site, columns] += (row**2).sum(0)
                progress.advance(len(batch.indices))
            for half, members in enumerate(halves):
                gradients[half] += first.detach().cpu().double()[members].sum(0)
            examples += len(batch.indices)
            loss += float(losses.detach().double().sum())
    counts = torch.tensor([examples - examples // 2, examples // 2], dtype=torch.float64).clamp(min=1)
    mean = sums.sum(0) / examples
    variance = (squares / examples - mean**2).clamp(min=0) * examples / max(1, examples - 1)
    errors = _mirrored((variance / examples).sqrt(), depths)
    hessians = [_mirrored(half / count, depths) for half, count in zip(sums, counts, strict=True)]
    return Interactions(
        architecture=subnetwork.anatomy.signature,
        sites=sites,
        examples=examples,
        loss=loss / examples,
        gradients=(gradients / counts[:, None]).numpy(),
        hessians=torch.stack(hessians).numpy(),
        errors=errors.numpy() if examples > 1 else np.full(errors.shape, np.inf),
        alone=np.zeros(n),
        pairs=NOTHING,
        subsets=NOTHING,
    )


def _mirrored(rows: Tensor, depths: Tensor) -> Tensor:
    """A symmetric matrix from its rows, each of which was taken from its own depth on."""
    taken = depths[:, None] <= depths
    # Where two sites are of one depth both rows have the pair, and differ by rounding.
    return ((rows + rows.T) / 2).where(taken & taken.T, rows.where(taken, rows.T))


def _depth(place: Place) -> int:
    """Position of a place in the order of the layers: the MLP of a layer comes after its heads."""
    kind, row = place
    return 2 * row + (kind == "mlps")


def _sites(present: Ticket) -> tuple[Site, ...]:
    """The sites that are there, in the order in which gates are opened."""
    return tuple(
        (kind, row, site)
        for (kind, row), there in Gates(present, present).places()
        for site in there.nonzero().flatten().tolist()
    )


def _loss(
    subnetwork: Subnetwork, task: Task, batches: Sequence[Batch], deletion: Sequence[Site], progress: Progress
) -> float:
    """Mean loss with some sites deleted: a gate at zero is the deletion of its site."""
    lost: dict[str, list[object]] = {}
    for kind, row, site in deletion:
        lost.setdefault(kind, []).append(row if kind == "mlps" else (row, site))
    cut = replace(subnetwork, ticket=subnetwork.present.without(lost))
    examples, loss = 0, 0.0
    with ticket_gates(cut) as open_gates:
        for batch in batches:
            open_gates(len(batch.indices))
            loss += float(task.output(subnetwork.model, batch).losses.double().sum())
            examples += len(batch.indices)
            progress.advance(len(batch.indices))
    return loss / examples


def _pairs(sites: int, count: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Different pairs, drawn at random; all of them where there are no more."""
    drawn = rng.permutation(sites * (sites - 1) // 2)[:count]
    return [(int(row), int(column)) for row, column in np.transpose(np.triu_indices(sites, 1))[drawn]]


def _delete(
    deletions: Sequence[tuple[int, ...]], cost: Callable[[Sequence[int]], float], found: Interactions, alone: Floats
) -> Deletions:
    gradient, hessian = found.gradient, found.hessian
    predicted = [-gradient[list(sites)].sum() + hessian[np.ix_(sites, sites)].sum() / 2 for sites in deletions]
    return Deletions(
        tuple(deletions),
        np.array([cost(sites) for sites in deletions]),
        np.array(predicted),
        np.array([alone[list(sites)].sum() for sites in deletions]),
    )
