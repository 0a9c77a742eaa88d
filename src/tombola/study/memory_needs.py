"""Memory that the steps of a study, or one of the command line, need: asked before they begin."""

from collections.abc import Sequence

import torch
from torch import nn

from tombola.profiling import memory_check
from tombola.profiling.memory_check import BatchSizes, Work
from tombola.study.config import StudyConfig
from tombola.tasks.base import Task
from tombola.tasks.capabilities import GeneratesImages


def check_memory(
    model: nn.Module, task: Task, config: StudyConfig, device: torch.device, works: Sequence[Work]
) -> None:
    """Warn where the passes of a model that draws images may not fit into memory; of others nothing is known.

    Args:
        model: what is run, on its device.
        task: what it is judged on.
        config: says how many examples pass at a time.
        device: where they pass.
        works: all that is done with it.

    Raises:
        TombolaError: they cannot fit.
    """
    if isinstance(task, GeneratesImages):
        sizes = BatchSizes(config.recipe.batch_size, config.eval_batch_size, max(task.seen[1:]))
        memory_check.check_heaviest_pass(model, sizes, device, works)
