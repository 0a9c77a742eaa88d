"""Rankings of heads and channels of a denoiser against random tickets, at equal parameters, after retraining.

A denoiser of digits is trained for each seed; then every ranking removes groups of channels and heads, least important
first, until so many of the prunable weights are left, and what is left is trained again for some epochs. Chance is
drawn over the whole model, with the same share of each block, and with as many of each as the first ranking keeps.
What is cut gradually is cut in four steps, with a quarter of the epochs after each.

    python benchmarks/denoiser_rankings.py [--seeds 0,1,2] [--density 0.5] [--rewind final] [--only NAMES] [--json FILE]
"""

import argparse
import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from results_file import ResultsFile
from tombola import controls
from tombola.architectures.anatomy import Anatomy
from tombola.metrics.statistics import mean_std
from tombola.pruning.evaluation import EvaluationOptions, evaluate
from tombola.pruning.importance import FirstOrder, checked, gate_gradients
from tombola.subnetworks.gates import attach
from tombola.subnetworks.subnetwork import Subnetwork, expanded, shrunk, whole
from tombola.tasks.images.digits import digits
from tombola.tasks.images.task import ImageTask
from tombola.tickets.ticket import Ticket, bits
from tombola.training.loop import retrain, train
from tombola.training.recipe import Recipe

_ROUNDS = 4
"""Cuts of what is cut gradually."""

Scores = Mapping[str, Tensor]
"""Kind of site → fp64 in the shape of its mask: the lower goes first."""


class Squared(FirstOrder):
    """The Fisher information of the gates: E_x (∂L(x)/∂ξ)², instead of the mean absolute value."""

    def add(self, gradients: Scores) -> None:
        """Update as that of `FirstOrder`."""
        super().add({kind: gradient.square() for kind, gradient in gradients.items()})


def gradients(part: Subnetwork, task: ImageTask, kind: type[FirstOrder]) -> Scores:
    """Importance of the sites for the loss on training images, with noise and a timestep each."""
    with attach(part.model, part.anatomy, part.present, part.present) as gates:
        found = kind()
        for batch in task.batches("train", 64, shuffle=0):
            gates.open(len(batch.indices), torch.device("cpu"), grad=True)
            found.add(gate_gradients(gates, task.output(part.model, batch).losses))
        present = part.present
        return checked("per-example", found.result(), present, present, None).sites


def sizes(anatomy: Anatomy) -> Scores:
    """Prunable weights that go with each site alone."""
    everything = Ticket.full(anatomy, "heads+channels")
    total = everything.survivors(anatomy)["weights"]
    found = {}
    for kind, mask in everything.masks.items():
        found[kind] = torch.zeros(mask.shape, dtype=torch.float64)
        for site in mask.nonzero().tolist():
            found[kind][tuple(site)] = total - everything.without({kind: [site]}).survivors(anatomy)["weights"]
    return found


def norms(model: nn.Module, anatomy: Anatomy) -> Scores:
    """The norm of what each site writes: columns of the attention's output and of the last convolution."""
    heads = torch.zeros(anatomy.heads, dtype=torch.float64)
    for row, attention in enumerate(anatomy.attentions):
        weight = model.get_submodule(attention.outputs[0]).weight
        assert isinstance(weight, Tensor)
        heads[row] = weight.detach().double().unflatten(1, (anatomy.heads[1], -1)).square().sum((0, 2)).sqrt()
    rows = []
    for residual in anatomy.residuals:
        weight = model.get_submodule(residual.output).weight
        assert isinstance(weight, Tensor)
        rows.append(weight.detach().double().unflatten(1, (residual.groups, -1)).square().sum((0, 2, 3, 4)).sqrt())
    return {"heads": heads, "channels": torch.stack(rows)}


def within(scores: Scores) -> Scores:
    """Ranks within each block, so that every block loses the same share; what is gone (NaN) went first."""
    return {kind: of.nan_to_num(nan=-torch.inf).argsort(1).argsort(1).double() for kind, of in scores.items()}


def deletions(part: Subnetwork, task: ImageTask) -> Scores:
    """Rise of the mean loss of training images, noise and timesteps fixed, when a site goes by itself."""
    batches = list(task.batches("train", 200, shuffle=0))

    def loss(model: nn.Module) -> float:
        with torch.no_grad():
            return float(torch.cat([task.output(model.eval(), batch).losses for batch in batches]).mean())

    full, found = loss(part.model), {}
    for kind, mask in part.ticket.masks.items():
        found[kind] = torch.zeros(mask.shape, dtype=torch.float64)
        for site in mask.nonzero().tolist():
            smaller = shrunk(part.model, part.ticket.without({kind: [site]}))
            found[kind][tuple(site)] = loss(smaller.model) - full
    return found


def drawn(anatomy: Anatomy, seed: int) -> Scores:
    """Chance as a ranking."""
    generator = torch.Generator().manual_seed(seed)
    everything = Ticket.full(anatomy, "heads+channels")
    return {
        kind: torch.rand(mask.shape, dtype=torch.float64, generator=generator)
        for kind, mask in everything.masks.items()
    }


def cut(scores: Scores, anatomy: Anatomy, density: float, ticket: Ticket | None = None) -> Ticket:
    """The ticket that is left when the lowest have gone, kind by kind in step, until a share of the weights is left.

    Args:
        scores: of the sites; of those that are gone none counts.
        anatomy: of the whole model.
        density: share of its prunable weights.
        ticket: what is still there; None for everything.
    """
    ticket = ticket or Ticket.full(anatomy, "heads+channels")
    order = []
    for kind, of in scores.items():
        sites = ticket.masks[kind].nonzero().tolist()
        ranked = sorted(sites, key=lambda site, of=of: (float(of[tuple(site)]), site))  # type: ignore[misc]
        order += [(place / len(ranked), kind, site) for place, site in enumerate(ranked)]
    for _, kind, site in sorted(order, key=lambda one: one[0]):
        if ticket.survivors(anatomy)["weights"] <= density * anatomy.weights:
            break
        ticket = ticket.without({kind: [site]})
    return ticket


Rank = Callable[[Subnetwork, int], Scores]
"""Scores of what is left, in a round."""


def gradually(
    part: Subnetwork, task: ImageTask, density: float, rank: Rank, recipe: Recipe, seed: int, *, spread: bool
) -> Subnetwork:
    """Cut by equal shares of what is left, each block alike where they are `spread`, and train after each cut."""
    anatomy = part.anatomy
    each = replace(recipe, epochs=recipe.epochs // _ROUNDS)
    for number in range(1, _ROUNDS + 1):
        scores = rank(part, number)
        ticket = cut(within(scores) if spread else scores, anatomy, density ** (number / _ROUNDS), part.present)
        part = retrain(expanded(part), ticket, task, each, seed=seed)
    return part


def rankings(model: nn.Module, task: ImageTask, density: float, seed: int) -> dict[str, Callable[[], Ticket]]:
    """Name → the ticket that is cut at once, made when it is asked for."""
    part = whole(model)
    anatomy = part.anatomy

    def by(scores: Callable[[], Scores]) -> Callable[[], Ticket]:
        return lambda: cut(scores(), anatomy, density)

    def random(number: int) -> Callable[[], Ticket]:
        return lambda: controls.random(first_order(), number, None, anatomy)

    def spread_random(number: int) -> Callable[[], Ticket]:
        return by(lambda: within(drawn(anatomy, number)))

    def a_weight() -> Scores:
        weigh = sizes(anatomy)
        return {kind: of / weigh[kind] for kind, of in absolute().items()}

    absolute = functools.cache(lambda: gradients(part, task, FirstOrder))
    first_order = functools.cache(by(absolute))
    found: dict[str, Callable[[], Ticket]] = {
        "full model, trained on": lambda: part.ticket,
        "first order": first_order,
        "first order, a weight": by(a_weight),
        "first order, block by block": by(lambda: within(absolute())),
        "Fisher": by(lambda: gradients(part, task, Squared)),
        "deletion": by(lambda: deletions(part, task)),
        "norm": by(lambda: norms(model, anatomy)),
        "norm, block by block": by(lambda: within(norms(model, anatomy))),
        "random, layer-matched": lambda: controls.layer_matched(first_order(), 100 * seed),
    }
    for draw in range(2):
        found[f"random {draw}"] = random(100 * seed + draw)
        found[f"random, block by block {draw}"] = spread_random(100 * seed + draw)
    return found


def ranks(task: ImageTask, seed: int) -> dict[str, tuple[Rank, bool]]:
    """Name → by what is cut gradually, and whether each block alike."""

    def first_order(left: Subnetwork, _: int) -> Scores:
        return gradients(left, task, FirstOrder)

    def random(left: Subnetwork, number: int) -> Scores:
        scores = drawn(left.anatomy, 100 * seed + number)
        return {kind: of.masked_fill(~left.present.masks[kind], torch.nan) for kind, of in scores.items()}

    return {
        "first order, gradually": (first_order, False),
        "first order, block by block, gradually": (first_order, True),
        "random, gradually": (random, False),
        "random, block by block, gradually": (random, True),
    }


def main() -> None:
    """Train, rank, cut, retrain, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--model", default="unet-16-32")
    parser.add_argument("--density", type=float, default=0.5, help="share of the prunable weights")
    parser.add_argument("--epochs", type=int, default=16, help="of retraining; the full model has 53")
    parser.add_argument("--rewind", choices=("final", "init"), default="final", help="weights that are trained again")
    parser.add_argument("--only", default="", help="rankings that have one of these words in their names")
    parser.add_argument("--json", type=Path, help="keep every line in this file, and go on where it ends")
    options = parser.parse_args()
    if options.epochs % _ROUNDS:
        parser.error(f"--epochs must be a multiple of {_ROUNDS}")
    task = digits()
    recipe = Recipe(epochs=53, learning_rate=2e-3, batch_size=64, warmup_ratio=0.07)
    again = Recipe(epochs=options.epochs, learning_rate=1e-3, batch_size=64, warmup_ratio=0.07)
    settings = {name: getattr(options, name) for name in ("model", "density", "epochs", "rewind")}
    results = ResultsFile(options.json, settings, ("seed", "ranking"))
    for seed in map(int, options.seeds.split(",")):
        initial = task.load(options.model, seed=seed)
        names = [
            name
            for name in (*rankings(initial, task, options.density, seed), *ranks(task, seed))
            if any(word in name for word in options.only.split(",")) and not results.has(seed, name)
        ]
        if not names:
            continue
        model = copy.deepcopy(initial)
        train(model, task, recipe, seed=seed)
        base = model if options.rewind == "final" else initial
        full = evaluate(whole(model), task, EvaluationOptions(batch_size=200))
        print(f"seed {seed}: full model {full.score:.3f}, loss {full.losses.mean():.4f}", flush=True)
        at_once, in_steps = rankings(model, task, options.density, seed), ranks(task, seed)
        for name in names:
            if name in at_once:
                done = retrain(base, at_once[name](), task, again, seed=seed)
            else:
                rank, alike = in_steps[name]
                done = gradually(whole(base), task, options.density, rank, again, seed, spread=alike)
            after = evaluate(done, task, EvaluationOptions(batch_size=200))
            loss, kept = float(after.losses.mean()), done.present.survivors(done.anatomy)["weights"]
            masks = {kind: bits(mask.flatten()).numpy().tobytes().hex() for kind, mask in done.present.masks.items()}
            results.add(seed=seed, ranking=name, score=after.score, loss=loss, weights=kept, masks=masks)
            print(f"  {name:<40} {after.score:.3f}  loss {loss:.4f}  {kept:,}", flush=True)
    found: dict[str, list[tuple[float, float, int]]] = {}
    for line in results.lines:
        name = line["ranking"].removesuffix(" 0").removesuffix(" 1")
        found.setdefault(name, []).append((line["score"], line["loss"], line["weights"]))
    print(f"{'ranking':<40} {'Fréchet distance':>20} {'loss':>18} {'weights':>9} {'n':>3}")
    for name, rows in found.items():
        distances, losses, weights = zip(*rows, strict=True)
        (mean, std), (loss, spread) = mean_std(distances), mean_std(losses)
        size = f"{np.mean(weights):>9,.0f} {len(rows):>3}"
        print(f"{name:<40} {mean:>12.3f} ± {std:.3f} {loss:>10.4f} ± {spread:.4f} {size}")


if __name__ == "__main__":
    main()
