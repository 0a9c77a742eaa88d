"""No hub, one thread (the models are tiny), and the fixtures that several files share."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import copy
import gc
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from builders.shared_folder import SHARED_FOLDER

# PyTorch and what builds on it are imported where they are needed: xdist's first process, which runs no test and which
# the others wait for, takes seconds less.
if TYPE_CHECKING:
    from torch import nn

    from builders.encoders import Exact

QUIET: Any = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# The same examples in every run: whether a change lands must not hang on luck. The exhaustive tier looks further.
settings.register_profile("tombola", max_examples=25, derandomize=True, **QUIET)
settings.register_profile("exhaustive", max_examples=100, **QUIET)
settings.load_profile("tombola")


def pytest_configure(config: pytest.Config) -> None:
    """The processes of the tests share a folder, so that what takes long is made once."""
    if SHARED_FOLDER not in os.environ:
        os.environ[SHARED_FOLDER] = tempfile.mkdtemp(prefix="tombola-tests-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(SHARED_FOLDER)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Without the garbage collector, which goes through all that is imported again and again, and finds nothing."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_finish() -> None:
    """One thread: the models are tiny."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _no_waiting() -> Iterator[None]:
    """No test reads a clock or cuts the power: passes are timed no longer than asked for, and no disk is waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tombola.profiling.model_cost.ENOUGH", 0.0)
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-trained tiny BERT without an output layer, and its tokenizer, as the hub lays them out."""
    import torch
    from transformers import BertModel

    from builders.encoders import config, tokenizer

    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(7)
    BertModel(config("bert")).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def task() -> "Exact":
    """A small learnable task of single texts in two classes."""
    from builders.encoders import synthetic

    return synthetic()


@pytest.fixture(scope="session")
def _trained(checkpoint: Path, task: "Exact") -> "nn.Module":
    from tombola.training.loop import train
    from tombola.training.recipe import Recipe

    model = task.load(str(checkpoint), seed=0).double()
    train(model, task, Recipe(epochs=8, learning_rate=3e-3, batch_size=16), seed=0)
    return model


@pytest.fixture
def trained(_trained: "nn.Module") -> "nn.Module":
    """A tiny BERT, in fp64, that has learned `task`."""
    return copy.deepcopy(_trained)
