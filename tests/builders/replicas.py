"""Trainings that several processes share: `python -m builders.replicas KIND FOLDER` is one of them."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from builders.encoders import classifier, some_sites, some_weights, synthetic
from builders.killed import Kill, KilledError
from tombola.foundations.launcher import process_rank
from tombola.subnetworks.pruned_model import keep_sparse
from tombola.subnetworks.subnetwork import masked
from tombola.training import kept_training
from tombola.training.kept_training import TrainingFolder
from tombola.training.loop import retrain, train
from tombola.training.lora import LowRank
from tombola.training.recipe import Recipe

# Of 29 examples in batches of 8 the last has 5: parts are unequal.
RECIPE = Recipe(epochs=1, learning_rate=3e-3, batch_size=8, weight_decay=0.3, max_grad_norm=0.5)


def trained(folder: Path | None = None, *, everything: bool) -> dict[str, Tensor]:
    """Weights of a model that was fine-tuned, and of tickets that were retrained, in few steps.

    Args:
        everything: in every way that there is.
        folder: where a training is kept that is killed and goes on.
    """
    task, found = synthetic(train=29, dev=20), dict[str, Tensor]()

    def add(what: str, model: torch.nn.Module) -> None:
        found.update({f"{what}.{name}": tensor.clone() for name, tensor in model.state_dict().items()})

    model = classifier(dropout=0.0)
    weights = some_weights(model, 0, 0.3)
    train(model, task, replace(RECIPE, gradient_accumulation_steps=2), seed=3)
    add("full", model)
    add("weights", retrain(classifier(dropout=0.0), weights, task, RECIPE, seed=3).model)
    if everything:
        add("sites", retrain(classifier(dropout=0.0), some_sites(model, 1), task, RECIPE, seed=3).model)
        adapters = LowRank(2, 1e-2)
        add("adapters", retrain(classifier(dropout=0.0), weights, task, RECIPE, seed=3, low_rank=adapters).model)
        sparse = masked(classifier(dropout=0.0), weights).model
        keep_sparse(sparse, weights)
        train(sparse, task, replace(RECIPE, gradient_checkpointing=True), seed=3)
        add("sparse", sparse)
    if folder is not None:
        kept_training.INTERVAL = 0.0
        keep, again = TrainingFolder(folder / "kept"), classifier(dropout=0.2)
        train(again, task, RECIPE, seed=3)
        add("undisturbed", again)
        try:
            train(classifier(dropout=0.2), task, RECIPE, seed=3, keep=keep, progress=Kill(2))
        except KilledError:
            again = classifier(dropout=0.2)
            train(again, task, RECIPE, seed=3, keep=keep)
        add("resumed", again)
    return found


def _shard_on_cpu() -> None:
    """FSDP, as accelerate sets it up on GPUs alone."""
    from accelerate import Accelerator, FullyShardedDataParallelPlugin
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    Accelerator()
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", cpu_ram_efficient_loading=True
    )
    for state in (PartialState, AcceleratorState):
        state._shared_state["distributed_type"] = DistributedType.FSDP
    AcceleratorState._shared_state["fsdp_plugin"] = plugin


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "fsdp":
        _shard_on_cpu()
    save_file(
        trained(Path(sys.argv[2]), everything=sys.argv[1] == "fsdp"),
        Path(sys.argv[2]) / f"{process_rank()}.safetensors",
    )
