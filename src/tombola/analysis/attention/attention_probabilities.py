"""Attention patterns of every head of a model on real inputs, in one stream of batches."""

import contextlib
import functools
from collections.abc import Callable, Iterable

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from tombola.analysis.attention.attention_maps import attention_hooks
from tombola.analysis.attention.example_maps import BestExampleMaps
from tombola.analysis.attention.map_reducer import Reduction
from tombola.analysis.attention.patterns import AttentionPatterns
from tombola.analysis.sample_batches import sampled
from tombola.architectures.parameters import device_of
from tombola.foundations.precision import Precision, autocast
from tombola.foundations.progress import SILENT, Progress
from tombola.pruning.evaluation import on_device
from tombola.subnetworks.gates import ticket_gates
from tombola.subnetworks.subnetwork import masked, whole
from tombola.tasks.base import Batch, Task
from tombola.tickets.ticket import Ticket


def attention_patterns(
    model: nn.Module,
    data: Task | Iterable[Batch],
    split: str = "dev",
    *,
    ticket: Ticket | None = None,
    sample: int | None = 500,
    seed: int = 0,
    tokenizer: PreTrainedTokenizerBase | None = None,
    example_maps: int = 2,
    batch_size: int = 32,
    precision: Precision = "fp32",
    progress: Progress = SILENT,
) -> AttentionPatterns:
    """Classes and features of every head's attention maps, raw and norm-weighted.

    Padding is left out: a map is that of the real tokens. The model runs without dropout, with eager attention (it
    is switched there and back), and is not changed.

    Args:
        model: a whole model of a known family, of one stack of layers.
        data: a task, or batches of one's own, whose inputs go to the model as they are; without an `attention_mask`
            all tokens count as real.
        split: which of the task's splits.
        ticket: run the model under it; heads that it prunes have no patterns. By default the full model runs.
        sample: of a task's split, use so many examples at random (all of fewer); None for all.
        seed: of the sample.
        tokenizer: says which tokens are separators (its separator, else its end token) and how tokens read; by
            default the task's own, if it has one. Without it nothing is known to separate.
        example_maps: heads of each class whose clearest map is kept.
        batch_size: of a task's batches.
        precision: of the forward pass; features are computed in 32 bits or more.
        progress: counts examples.

    Raises:
        TombolaError: unknown architecture, a model of several stacks or without attention maps, a ticket for another
            one, no examples.
    """
    subnetwork = whole(model) if ticket is None else masked(model, ticket)
    anatomy, running = subnetwork.anatomy, subnetwork.model
    device, training = device_of(running), running.training
    tokenizer = tokenizer or getattr(data, "tokenizer", None)
    working = torch.ones(anatomy.heads, dtype=torch.bool)
    if ticket is not None:
        working = ticket.masks.get("heads", working)
    reduction = Reduction(anatomy.heads, _separators(tokenizer), BestExampleMaps(tokenizer))
    batches: Iterable[Batch]
    run: Callable[[Batch], object]
    if isinstance(data, Iterable):
        batches, run = data, lambda batch: running(**batch.inputs)
    else:
        batches, run = sampled(data, split, sample, seed, batch_size), functools.partial(data.output, running)
    with contextlib.ExitStack() as stack:
        stack.callback(running.train, training)
        running.eval()
        open_gates = stack.enter_context(ticket_gates(subnetwork))
        stack.enter_context(torch.no_grad())
        stack.enter_context(attention_hooks(running, anatomy, reduction.take))
        for batch in batches:
            moved = on_device(batch, device)
            open_gates(len(batch.indices))
            reduction.open(moved)
            with autocast(device, precision):
                run(moved)
            progress.advance(len(batch.indices))
    return reduction.result(anatomy.signature, working, example_maps)


def _separators(tokenizer: PreTrainedTokenizerBase | None) -> tuple[int, ...]:
    """Ids of the tokens that separate segments."""
    if tokenizer is None:
        return ()
    found = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    return () if found is None else (int(found),)
