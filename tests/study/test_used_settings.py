"""Settings that a page shows are those that the study's regime and methods go by, and no others."""

import json
from typing import Any

import pytest

from tombola.study.config import StudyConfig
from tombola.study.used_settings import used_settings

TRAINING = {"epochs", "learning_rate", "batch_size", "weight_decay", "warmup_ratio", "max_grad_norm"}
TRAINING |= {"gradient_accumulation_steps", "gradient_checkpointing"}
OWN_DATA = {"data", "validation_file", "text_column", "label_column", "regression", "metric"}
TEXT_OF_CALIBRATION = {"calibration_samples", "sequence_length"}


@pytest.mark.parametrize(
    ("settings", "used", "unused"),
    [
        (
            {"task": "rotten-tomatoes"},
            {"max_length", "heads_step", "mlps_step", "weights_step", "rewind", *TRAINING},
            {
                "neurons_step",
                "neuron_block",
                "sparsities",
                "search_rows",
                "image_size",
                *OWN_DATA,
                *TEXT_OF_CALIBRATION,
            },
        ),
        (
            {"task": "mine.tsv", "text_column": "review", "methods": ("heads+neurons", "wanda"), "sparsities": (0.5,)},
            {"text_column", "neuron_block", "neurons_step", "sparsities", *TEXT_OF_CALIBRATION},
            {"label_column", "mlps_step", "weights_step", "weights_cuts"},
        ),
        (
            {"task": "cola", "methods": ("weights",), "controls": (), "analyses": ()},
            {"weights_step", "bootstrap_resamples"},
            {"heads_step", "refine", "importance", "random_draw", "bad_draw", "super_random", "neuron_block"},
        ),
        (
            {"task": "understanding"},
            {"importance_samples", "bos_token", "sparsities", *TEXT_OF_CALIBRATION},
            {"iterative", "rewind", "max_length", "train_rows", "lora_rank", "bad_draw", *TRAINING},
        ),
        (
            {"task": "understanding", "recovery_tokens": 9000, "lora_rank": 4},
            {"recovery_tokens", "lora_rank", "lora_learning_rate", "max_length", *TRAINING},
            {"iterative", "rewind"},
        ),
        (
            {"task": "images", "data": "photos"},
            {"data", "neurons_step", "train_rows", *TRAINING},
            {"image_size", "pipeline", "max_length", "mlps_step", *TEXT_OF_CALIBRATION},
        ),
    ],
    ids=("text", "own texts", "weights alone", "language", "recovery", "images"),
)
def test_what_nothing_uses_is_left_out(settings: dict[str, Any], used: set[str], unused: set[str]) -> None:
    config = json.loads(json.dumps(StudyConfig.of("quick", **settings).settings()))
    found = used_settings(config)
    assert used <= {*found}
    assert not unused & {*found}
    assert found == {name: config[name] for name in found}
    assert {"model", "task", "methods", "threshold"} <= {*found}
