"""No hub, one thread (the models are tiny), and the fixtures that several files share."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import copy
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import nn
from transformers import BertModel

from builders.encoders import Exact, config, synthetic, tokenizer
from builders.small_study import SHARED_FOLDER
from tombola.training.loop import train
from tombola.training.recipe import Recipe

QUIET: Any = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# The same examples in every run: whether a change lands must not hang on luck. The exhaustive tier looks further.
settings.register_profile("tombola", max_examples=25, derandomize=True, **QUIET)
settings.register_profile("exhaustive", max_examples=100, **QUIET)
settings.load_profile("tombola")
torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """The processes of the tests share a folder, so that what takes long is made once."""
    if SHARED_FOLDER not in os.environ:
        os.environ[SHARED_FOLDER] = tempfile.mkdtemp(prefix="tombola-tests-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(SHARED_FOLDER)))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-trained tiny BERT without an output layer, and its tokenizer, as the hub lays them out."""
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(7)
    BertModel(config("bert")).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def task() -> Exact:
    """A small learnable task of single texts in two classes."""
    return synthetic()


@pytest.fixture(scope="session")
def _trained(checkpoint: Path, task: Exact) -> nn.Module:
    model = task.load(str(checkpoint), seed=0).double()
    train(model, task, Recipe(epochs=8, learning_rate=3e-3, batch_size=16), seed=0)
    return model


@pytest.fixture
def trained(_trained: nn.Module) -> nn.Module:
    """A tiny BERT, in fp64, that has learned `task`."""
    return copy.deepcopy(_trained)
