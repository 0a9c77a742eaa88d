"""Half of the heads, and half of the MLPs or of their neurons: dense, masked and shrunk, side by side in one run.

What shrinking should give is promised by the multiply-adds, all of them, that the shrunk model has left: half of them,
twice as fast. The goal: at batch 32 at least 90 % of the promised speed-up, by the median of the repeats.

    python benchmarks/shrinking.py [--models minilm smollm2] [--kinds heads+mlps heads+neurons] [--lengths 128 24]
                                   [--dtype float32] [--json FILE]

Tickets are drawn at random, with a seed, as costs depend on their shape alone. In SmolLM2 three heads share keys and
values: heads are drawn one by one, which leaves groups of uneven sizes, and as whole groups.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from results_file import ResultsFile
from tombola import Ticket, controls, dissect
from tombola.architectures.dummy_inputs import dummy_inputs
from tombola.checkpoints.loading import load_model
from tombola.profiling.model_cost import CostOptions, compare, passes, table
from tombola.subnetworks.gates import Variant
from tombola.subnetworks.subnetwork import masked, shrunk
from tombola.tickets.kinds import TicketKind
from turns import ratio

GOAL = 0.9
KINDS: tuple[TicketKind, ...] = ("heads+mlps", "heads+neurons")
BATCHES = (1, 32)


def half(model: nn.Module, kind: TicketKind, seed: int) -> Ticket:
    """A ticket of half of the sites of each kind."""
    whole = Ticket.full(dissect(model), kind)
    sized = {kind: (torch.arange(mask.numel()) < mask.numel() // 2).view_as(mask) for kind, mask in whole.masks.items()}
    return controls.random(Ticket(kind, whole.architecture, sized), seed)


def whole_groups(model: nn.Module, ticket: Ticket, seed: int) -> Ticket:
    """Tickets as above, with heads that stay or go together with all those that share their keys and values."""
    rows = dissect(model).attentions
    groups = torch.tensor([row.kv_heads for row in rows])
    drawn: Tensor = torch.randperm(int(groups.sum()), generator=torch.Generator().manual_seed(seed))
    kept = (drawn < len(drawn) // 2).view(len(rows), -1).repeat_interleave(rows[0].group, 1)
    return Ticket(ticket.kind, ticket.architecture, {**ticket.masks, "heads": kept})


def tickets(model: nn.Module, kinds: list[TicketKind], seed: int) -> Iterator[tuple[str, Ticket]]:
    """Tickets to measure, with their names."""
    for kind in kinds:
        ticket = half(model, kind, seed)
        yield f"half of {kind}", ticket
        if dissect(model).attentions[0].group > 1:
            yield f"half of {kind}, whole groups of heads", whole_groups(model, ticket, seed)


def timed(model: nn.Module, ticket: Ticket, length: int, repeats: int) -> dict[str, Any]:
    """Seconds of each repeat, `seconds` by the clock and `processor` of all processors, and how many times as fast."""
    variants: dict[str, Variant] = {
        "dense": model.eval(),
        "masked": masked(model, ticket),
        "shrunk": shrunk(model, ticket),
    }
    found: dict[str, Any] = {"seconds": {}, "processor": {}, "ratio": {}, "processor_ratio": {}}
    for batch in BATCHES:
        # The first round warms up.
        _, *rounds = passes(variants, dummy_inputs(model, batch, length), repeats + 1)
        for which, name, quotient in ((0, "seconds", "ratio"), (1, "processor", "processor_ratio")):
            times = {variant: [one[place][which] for one in rounds] for place, variant in enumerate(variants)}
            found[name][str(batch)] = times
            found[quotient][str(batch)] = {one: ratio(times["dense"], times[one]) for one in times if one != "dense"}
    return found


def main() -> None:
    """Print a table for each model, length and ticket, and whether the goal was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["minilm", "smollm2"])
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--lengths", nargs="+", type=int, default=[128, 24])
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="keep every line in this file, and go on where it ends")
    options = parser.parse_args()
    console = Console(width=110)
    settings = {name: getattr(options, name) for name in ("dtype", "device", "repeats", "seed")}
    results = ResultsFile(options.json, settings, ("model", "ticket", "length"))
    for source in options.models:
        model = load_model(source, getattr(torch, options.dtype)).to(options.device)
        for name, ticket in tickets(model, options.kinds, options.seed):
            for length in options.lengths:
                if results.has(source, name, length):
                    continue
                # What does not depend on how busy the machine is; a pass of the smallest batch is timed in passing.
                costs = compare(model, ticket, CostOptions(length, batches=BATCHES, repeats=1, memory=True))
                fixed = {
                    variant: {name: getattr(one, name) for name in ("parameters", "disk", "multiply_adds", "memory")}
                    for variant, one in costs.variants.items()
                }
                measured = timed(model, ticket, length, options.repeats)
                results.add(
                    model=source,
                    ticket=name,
                    length=length,
                    variants=fixed,
                    theoretical=costs.theoretical_speedup(),
                    **measured,
                )
                console.print(f"\n{source}, {name}: {ticket}", highlight=False, markup=False)
                console.print(table(costs))
                median, least, most = measured["ratio"][str(max(BATCHES))]["shrunk"]
                print(
                    f"{median:.2f} times as fast [{least:.2f}, {most:.2f}], {costs.theoretical_speedup():.2f} promised"
                )
    for name in ("ratio", "processor_ratio"):
        shares = [line[name][str(max(BATCHES))]["shrunk"][0] / line["theoretical"] for line in results.lines]
        print(
            f"{sum(one >= GOAL for one in shares)} of {len(shares)} reach {GOAL:.0%} of the promised speed-up, {name}"
        )


if __name__ == "__main__":
    main()
