"""Half of the heads, and half of the MLPs or of their neurons: dense, masked and shrunk, side by side in one run.

What shrinking should give is promised by the multiply-adds, all of them, that the shrunk model has left: half of them,
twice as fast. The goal: at batch 32 at least 90 % of the promised speed-up.

    python benchmarks/shrinking.py [--models minilm smollm2] [--lengths 128 24] [--dtype float32] [--json FILE]

Tickets are drawn at random, with a seed, as costs depend on their shape alone. In SmolLM2 three heads share keys and
values: heads are drawn one by one, which leaves groups of uneven sizes, and as whole groups.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn

from tombola import Ticket, controls, dissect
from tombola.checkpoints.loading import load_model
from tombola.profiling.model_cost import CostOptions, compare, sentence, table
from tombola.tickets.kinds import TicketKind

GOAL = 0.9
KINDS: tuple[TicketKind, ...] = ("heads+mlps", "heads+neurons")


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


def tickets(model: nn.Module, seed: int) -> Iterator[tuple[str, Ticket]]:
    """Tickets to measure, with their names."""
    for kind in KINDS:
        ticket = half(model, kind, seed)
        yield f"half of {kind}", ticket
        if dissect(model).attentions[0].group > 1:
            yield f"half of {kind}, whole groups of heads", whole_groups(model, ticket, seed)


def main() -> None:
    """Print a table for each model, length and ticket, and whether the goal was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["minilm", "smollm2"])
    parser.add_argument("--lengths", nargs="+", type=int, default=[128, 24])
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    console, found = Console(width=110), []
    shares: list[tuple[float, float]] = []
    for source in options.models:
        model = load_model(source, getattr(torch, options.dtype)).to(options.device)
        for name, ticket in tickets(model, options.seed):
            for length in options.lengths:
                memory = length == max(options.lengths)
                costs = compare(model, ticket, CostOptions(length, repeats=options.repeats, memory=memory))
                console.print(f"\n{source}, {name}: {ticket}", highlight=False, markup=False)
                console.print(table(costs))
                console.print(sentence(costs), highlight=False)
                found.append({"model": source, "ticket": name, **costs.entry()})
                shares.append((costs.share(), costs.share(processor=True)))
                if options.json is not None:
                    options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    clock, processor = (sum(share >= GOAL for share in column) for column in zip(*shares, strict=True))
    print(f"\n{clock} of {len(shares)} reach {GOAL:.0%} of the promised speed-up, {processor} in processor time")


if __name__ == "__main__":
    main()
