"""lm-evaluation-harness as an engine for its own tasks, at the model in memory: their numbers are its numbers.

An optional dependency: `pip install 'tombola[language]'`. Nothing is changed about its tasks, prompts or metrics. Tasks
that choose or predict, rather than generate, are abilities too, which the study's own evaluation scores: see
`tombola.tasks.language.abilities.lm_eval_task`.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tombola.architectures.parameters import device_of
from tombola.foundations.errors import TombolaError
from tombola.tasks.language.log_likelihood import causal


@dataclass(frozen=True)
class HarnessScore:
    """Score of one metric of one of lm-evaluation-harness's tasks.

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
    bos_token_id: int | None = None,
    seed: int | None = None,
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
        bos_token_id: id of the token that it puts before texts that nothing comes before; by default its own choice.
        seed: of few-shot samples and bootstraps; None for those of the harness.

    Raises:
        TombolaError: it is not installed, knows no such task, or cannot load the task's data; or the model is not
            causal, or its outputs are not finite.
    """
    tasks_of = manager(folder)
    if folder is not None and not set(tasks) <= set(tasks_of.all_tasks):
        tasks_of = manager(folder, alone=False)
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    for name in tasks:
        if name not in tasks_of.all_tasks:
            raise TombolaError(f"lm-evaluation-harness knows no task {name!r}; lm-eval ls tasks lists them")
    # The harness takes the first of several NaN for the best, so that a broken model would answer all rightly.
    causal(model)
    options: dict[str, Any] = {} if bos_token_id is None else {"prefix_token_id": bos_token_id}
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            engine = HFLM(
                pretrained=model, tokenizer=tokenizer, device=str(device_of(model)), batch_size=batch_size, **options
            )
            # Its own seeds, unless it is told others.
            names = ("random_seed", "numpy_random_seed", "torch_random_seed", "fewshot_random_seed")
            found = simple_evaluate(
                engine,
                tasks=list(tasks),
                limit=limit,
                log_samples=False,
                bootstrap_iters=1000,
                task_manager=tasks_of,
                **({} if seed is None else dict.fromkeys(names, seed)),
            )
    except Exception as error:  # It raises whatever its tasks, the data sets library and the hub's client do.
        raise explained(error, f"evaluate {', '.join(tasks)}") from error
    finally:
        model.train(training)
    assert found is not None
    return tuple(_scores(dict(found)))


def manager(folder: Path | None = None, *, alone: bool = True) -> Any:
    """The harness's TaskManager; to look through its own thousands of task files takes seconds, once.

    Args:
        folder: YAML files of tasks of one's own.
        alone: without the harness's own tasks, where there is a folder.

    Raises:
        TombolaError: the harness is not installed, or there is no such folder.
    """
    try:
        import lm_eval.tasks  # noqa: F401
    except ImportError as error:
        raise TombolaError(
            f"tasks of lm-evaluation-harness need it ({error}); pip install 'tombola[language]', or name abilities "
            "that Tombola measures itself"
        ) from None
    if folder is not None and not folder.is_dir():
        raise TombolaError(f"{folder} is no folder; give the one with the YAML files of your tasks")
    return _manager(folder, alone)


@functools.cache
def _manager(folder: Path | None, alone: bool) -> Any:
    from lm_eval.tasks import TaskManager

    if folder is None:
        return TaskManager()
    return TaskManager(include_path=str(folder), include_defaults=not alone)


def knows(name: str, folder: Path | None = None) -> bool:
    """True if the harness has a task, group or tag of that name.

    Raises:
        TombolaError: as `manager`.
    """
    return name in manager(folder).all_tasks


def explained(error: Exception, doing: str) -> TombolaError:
    """Error of one line for whatever the harness raised: what went wrong, told from what it is, and what to do."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    what = f"lm-evaluation-harness cannot {doing} ({reason})"
    chain = list(_chain(error))
    if any(isinstance(one, torch.OutOfMemoryError | MemoryError) or "out of memory" in str(one) for one in chain):
        return TombolaError(f"{what}; give a smaller batch size, or a limit")
    if any(isinstance(one, ImportError) for one in chain):
        return TombolaError(f"{what}; install what it asks for, or leave the task out")
    if any(_of_the_hub(one) for one in chain):
        return TombolaError(
            f"{what}; its data sets come from the hub: check that it can be reached, or name abilities that Tombola "
            "measures itself"
        )
    if any(isinstance(one, OSError) for one in chain):
        return TombolaError(f"{what}; check the files of the task")
    return TombolaError(f"{what}; mend the task, or leave it out")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it came of."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _of_the_hub(error: BaseException) -> bool:
    # Its client and the data sets library have errors of their own, below those of Python.
    ours = type(error).__module__.split(".")[0]
    return isinstance(error, ConnectionError | TimeoutError) or ours in ("huggingface_hub", "httpx", "requests")


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
