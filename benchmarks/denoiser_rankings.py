"""Which heads and channels of a denoiser to remove: rankings against chance, at equal parameters, after retraining.

A denoiser of digits is trained for each seed; then every ranking removes groups of channels and heads, least important
first, until so many of the prunable weights are left, and what is left is trained again for some epochs. Chance is
drawn over the whole model, and with as many of each residual block and attention as the first ranking keeps.

    python benchmarks/denoiser_rankings.py [--seeds 0,1,2] [--keep 0.5] [--start final]
"""

import argparse
import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from tombola import controls
from tombola.anatomy import Anatomy, dissect
from tombola.evaluation import evaluate
from tombola.gates import attach
from tombola.importance import FirstOrder
from tombola.statistics import mean_std
from tombola.subnetwork import Subnetwork, shrunk, whole
from tombola.tasks.digits import digits
from tombola.tasks.images import ImageTask
from tombola.ticket import Ticket
from tombola.training import Recipe, retrain, train

Scores = Mapping[str, Tensor]
"""Kind of site → fp64 in the shape of its mask: the lower goes first."""


class Squared(FirstOrder):
    """The Fisher information of the gates: E_x (∂L(x)/∂ξ)², instead of the mean absolute value."""

    def add(self, losses: Tensor, gates: list[Tensor]) -> None:
        """As in `FirstOrder`."""
        found = torch.autograd.grad(losses.sum(), gates)
        self._examples += len(losses)
        for ((kind, row), sites), gradient in zip(self._gates.places(), found, strict=True):
            self._sums[kind][row, sites] += gradient.square().sum(0).cpu().double()


def gradients(part: Subnetwork, task: ImageTask, kind: type[FirstOrder]) -> Scores:
    """Of the loss on training images, with noise and a timestep each."""
    with attach(part.model, part.anatomy, part.present, part.present) as gates:
        found = kind(gates)
        for batch in task.batches("train", 64, shuffle=0):
            opened = gates.open(len(batch.indices), torch.device("cpu"), grad=True)
            found.add(task.output(part.model, batch).losses, opened)
        return found.result().sites


def sizes(anatomy: Anatomy) -> Scores:
    """Prunable weights that go with each site alone."""
    everything = Ticket.everything(anatomy, "heads+channels")
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
        weight = model.get_submodule(attention.output).weight
        assert isinstance(weight, Tensor)
        heads[row] = weight.detach().double().unflatten(1, (anatomy.heads[1], -1)).square().sum((0, 2)).sqrt()
    rows = []
    for residual in anatomy.residuals:
        weight = model.get_submodule(residual.output).weight
        assert isinstance(weight, Tensor)
        rows.append(weight.detach().double().unflatten(1, (residual.groups, -1)).square().sum((0, 2, 3, 4)).sqrt())
    return {"heads": heads, "channels": torch.stack(rows)}


def within(scores: Scores) -> Scores:
    """Ranks within each block, so that every block loses the same share."""
    return {kind: of.argsort(1).argsort(1).double() for kind, of in scores.items()}


def cut(scores: Scores, anatomy: Anatomy, keep: float) -> Ticket:
    """The ticket that is left when the lowest have gone, kind by kind in step, until a share of the weights is left."""
    ticket = Ticket.everything(anatomy, "heads+channels")
    order = []
    for kind, of in scores.items():
        sites = np.argwhere(np.ones(of.shape, dtype=bool)).tolist()
        ranked = sorted(sites, key=lambda site, of=of: (float(of[tuple(site)]), site))  # type: ignore[misc]
        order += [(place / len(ranked), kind, site) for place, site in enumerate(ranked)]
    for _, kind, site in sorted(order, key=lambda one: one[0]):
        if ticket.survivors(anatomy)["weights"] <= keep * anatomy.weights:
            break
        ticket = ticket.without({kind: [site]})
    return ticket


def main() -> None:
    """Train, rank, cut, retrain, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--model", default="unet-16-32")
    parser.add_argument("--keep", type=float, default=0.5, help="share of the prunable weights")
    parser.add_argument("--epochs", type=int, default=16, help="of retraining; the full model has 53")
    parser.add_argument("--start", choices=("final", "init"), default="final", help="weights that are trained again")
    options = parser.parse_args()
    task = digits()
    recipe = Recipe(epochs=53, learning_rate=2e-3, batch_size=64, warmup=0.07)
    again = Recipe(epochs=options.epochs, learning_rate=1e-3, batch_size=64, warmup=0.07)
    found: dict[str, list[tuple[float, float, float, int]]] = {}
    for seed in map(int, options.seeds.split(",")):
        initial = task.load(options.model, seed=seed)
        model = copy.deepcopy(initial)
        train(model, task, recipe, seed=seed)
        part = whole(model)
        anatomy = dissect(model)
        absolute = gradients(part, task, FirstOrder)
        weigh = sizes(anatomy)
        scores = {
            "first order": absolute,
            "first order, a weight": {kind: of / weigh[kind] for kind, of in absolute.items()},
            "first order, block by block": within(absolute),
            "Fisher": gradients(part, task, Squared),
            "norm": norms(model, anatomy),
            "norm, block by block": within(norms(model, anatomy)),
        }
        rankings = {"full model, trained on": part.ticket}
        rankings |= {name: cut(ranking, anatomy, options.keep) for name, ranking in scores.items()}
        best = rankings["first order"]
        rankings |= {f"random {draw}": controls.random(best, 100 * seed + draw, None, anatomy) for draw in range(2)}
        rankings["random, layer-matched"] = controls.random_layerwise(best, 100 * seed)
        score = evaluate(part, task, batch_size=200)
        print(f"seed {seed}: full model {score.score:.3f}, loss {score.losses.mean():.4f}", flush=True)
        for name, ticket in rankings.items():
            before = evaluate(shrunk(model, ticket), task, batch_size=200).score
            base = model if options.start == "final" else initial
            done = retrain(base, ticket, task, again, seed=seed)
            after = evaluate(done, task, batch_size=200)
            kept = ticket.survivors(anatomy)["weights"]
            found.setdefault(name.removesuffix(" 0").removesuffix(" 1"), []).append(
                (before, after.score, float(after.losses.mean()), kept)
            )
            loss = after.losses.mean()
            print(f"  {name:<30} {before:>9.2f} -> {after.score:.3f}  loss {loss:.4f}  {kept:,}", flush=True)
    print(f"{'ranking':<30} {'Fréchet distance':>20} {'loss':>18} {'weights':>9} {'n':>3}")
    for name, rows in found.items():
        _, distances, losses, weights = zip(*rows, strict=True)
        (mean, std), (loss, spread) = mean_std(distances), mean_std(losses)
        size = f"{np.mean(weights):>9,.0f} {len(rows):>3}"
        print(f"{name:<30} {mean:>12.3f} ± {std:.3f} {loss:>10.4f} ± {spread:.4f} {size}")


if __name__ == "__main__":
    main()
