"""lm-evaluation-harness as an engine for its own tasks, at the model in memory: their numbers are its numbers.

An optional dependency: `pip install 'tombola[language]'`. Nothing is changed about its tasks, prompts or metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tombola.anatomy import device_of
from tombola.errors import TombolaError
from tombola.language.reading import causal


@dataclass(frozen=True)
class HarnessScore:
    """One metric of one of its tasks.

    Attributes:
        task: its name there.
        metric: its name there, with the filter where there is one: `acc`, `acc_norm`, `exact_match,strict-match`.
        value: the score.
        error: its standard error; None where there is none.
        higher_is_better: None where the harness does not say.
        n: documents.
    """

    task: str
    metric: str
    value: float
    error: float | None
    higher_is_better: bool | None
    n: int


def score(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[str],
    *,
    folder: Path | None = None,
    limit: int | None = None,
    batch_size: int = 16,
    start: int | None = None,
    seed: int = 0,
) -> tuple[HarnessScore, ...]:
    """Evaluate a model on tasks of the harness.

    Args:
        model: on its device: whole, shrunk or with zeroed weights. Under the gates of a masked one nothing is masked
            here: shrink it first.
        tokenizer: of the model.
        tasks: names of its tasks.
        folder: YAML files of tasks of one's own, looked at before its own.
        limit: documents of each task; None for all.
        batch_size: of its model.
        start: id of the token that it puts before texts that nothing comes before; by default its own choice.
        seed: of few-shot samples and bootstraps.

    Raises:
        TombolaError: it is not installed, knows no such task, or cannot load the task's data; or the model is not
            causal, or its outputs are not finite.
    """
    try:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise TombolaError(
            f"tasks of lm-evaluation-harness need it ({error}); pip install 'tombola[language]', or name abilities "
            "that Tombola measures itself"
        ) from None
    # Its own thousands of task files take seconds to look through, and may not be needed.
    manager = TaskManager(include_path=None if folder is None else str(folder), include_defaults=folder is None)
    if folder is not None and not set(tasks) <= set(manager.all_tasks):
        manager = TaskManager(include_path=str(folder))
    known = set(manager.all_tasks)
    for name in tasks:
        if name not in known:
            raise TombolaError(f"lm-evaluation-harness knows no task {name!r}; lm-eval ls tasks lists them")
    # The harness takes the first of several NaN for the best, so that a broken model would answer all rightly.
    causal(model)
    options: dict[str, Any] = {} if start is None else {"prefix_token_id": start}
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            engine = HFLM(
                pretrained=model, tokenizer=tokenizer, device=str(device_of(model)), batch_size=batch_size, **options
            )
            found = simple_evaluate(
                engine,
                tasks=list(tasks),
                limit=limit,
                log_samples=False,
                bootstrap_iters=1000,
                task_manager=manager,
                random_seed=seed,
                numpy_random_seed=seed,
                torch_random_seed=seed,
                fewshot_random_seed=seed,
            )
    # Its loaders raise whatever the data sets library does, which may be anything.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise TombolaError(
            f"lm-evaluation-harness cannot evaluate {', '.join(tasks)} ({reason}); its data sets come from the hub: "
            "check that it can be reached, or name abilities that Tombola measures itself"
        ) from error
    finally:
        model.train(training)
    assert found is not None
    return tuple(_scores(dict(found)))


def _scores(found: dict[str, Any]) -> list[HarnessScore]:
    scores = []
    for task, values in found["results"].items():
        better = found.get("higher_is_better", {}).get(task, {})
        n = int(found.get("n-samples", {}).get(task, {}).get("effective", 0))
        for key, value in values.items():
            metric, comma, way = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = values.get(f"{metric}_stderr,{way}")
            scores.append(
                HarnessScore(
                    task,
                    metric if way == "none" else key,
                    float(value),
                    float(error) if isinstance(error, int | float) else None,
                    better.get(metric),
                    n,
                )
            )
    return scores
