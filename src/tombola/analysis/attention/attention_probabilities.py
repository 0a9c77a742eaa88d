"""Attention patterns of every head of a model on real inputs, in one stream of batches."""

from collections.abc import Iterable

from torch import nn
from transformers import PreTrainedTokenizerBase

from tombola.analysis.attention.attention_maps import attention_hooks
from tombola.analysis.attention.example_maps import BestExampleMaps
from tombola.analysis.attention.map_reducer import Reduction
from tombola.analysis.attention.patterns import AttentionPatterns
from tombola.analysis.forward_passes import SampleOptions, forward_passes, sampled
from tombola.subnetworks.subnetwork import masked, whole
from tombola.tasks.base import Batch, Task
from tombola.tickets.ticket import Ticket

SOME = SampleOptions(batch_size=32, sample=500)


def attention_patterns(
    model: nn.Module,
    data: Task | Iterable[Batch],
    options: SampleOptions = SOME,
    *,
    ticket: Ticket | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    example_maps: int = 2,
) -> AttentionPatterns:
    """Classes and features of every head's attention maps, raw and norm-weighted.

    Padding is left out: a map is that of the real tokens. The model runs without dropout, with eager attention (it
    is switched there and back), and is not changed.

    Args:
        model: a whole model of a known family, of one stack of layers.
        data: a task, or batches of one's own, whose inputs go to the model as they are; without an `attention_mask`
            all tokens count as real.
        options: of a task, split, sample and batch size; precision of the forward pass (features are computed in 32
            bits or more) and progress.
        ticket: run the model under it; heads that it prunes have no patterns. By default the full model runs.
        tokenizer: says which tokens are separators (its separator, else its end token) and how tokens read; by
            default the task's own, if it has one. Without it nothing is known to separate.
        example_maps: heads of each class whose clearest map is kept.

    Raises:
        TombolaError: unknown architecture, a model of several stacks or without attention maps, a ticket for another
            one, no examples.
    """
    subnetwork = whole(model) if ticket is None else masked(model, ticket)
    anatomy = subnetwork.anatomy
    tokenizer = tokenizer or getattr(data, "tokenizer", None)
    working = Ticket.full(anatomy, "heads").heads
    if ticket is not None:
        working = ticket.masks.get("heads", working)
    reduction = Reduction(anatomy.heads, _separators(tokenizer), BestExampleMaps(tokenizer))
    batches = sampled(data, options) if isinstance(data, Task) else data
    run = data.output if isinstance(data, Task) else lambda model, batch: model(**batch.inputs)
    with attention_hooks(subnetwork.model, anatomy, reduction.take):
        for batch, forward in forward_passes(subnetwork, batches, run, options):
            reduction.open(batch)
            forward()
    return reduction.result(anatomy.signature, working, example_maps)


def _separators(tokenizer: PreTrainedTokenizerBase | None) -> tuple[int, ...]:
    if tokenizer is None:
        return ()
    found = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    return () if found is None else (int(found),)
