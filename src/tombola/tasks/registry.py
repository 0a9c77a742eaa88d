"""From the name of a task to the task."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tombola.foundations.errors import TombolaError
from tombola.foundations.precision import resolve_device
from tombola.study.config import StudyConfig
from tombola.tasks.base import Task, rows_held_out
from tombola.tasks.data import files, glue, rotten_tomatoes
from tombola.tasks.data.corpus import Corpus
from tombola.tasks.language.abilities import catalog
from tombola.tasks.language.task import Blocks, LanguageTask
from tombola.tasks.regimes import DIGITS, IMAGES, LANGUAGE, NAMED_TASKS, TEXTS, Regime
from tombola.tasks.text.task import TextTask, tokenizer_of


def open_task(config: StudyConfig) -> Task:
    """Load the data that a configuration names, with the tokenizer of its model.

    Raises:
        TombolaError: unknown task, or its data or tokenizer cannot be loaded.
    """
    return _OPEN[config.regime](config)


def _texts(config: StudyConfig) -> Task:
    corpus, title, metrics = _corpus(config)
    more = dict.fromkeys(metrics[1:], "dev")
    for split in corpus.splits:
        if split.startswith("dev_"):
            more[metrics[0]] = split
    return TextTask(
        corpus,
        tokenizer_of(config.model, trust_remote_code=config.trust_remote_code),
        score=metrics[0],
        more=more,
        max_length=config.max_length,
        train_rows=config.train_rows,
        dev_rows=config.dev_rows,
        search_rows=_held_out(config, len(corpus.splits["train"]), len(corpus.splits["dev"])),
        name=config.task_name,
        title=title,
        attention="sdpa" if config.device == "cuda" else "eager",
        trust_remote_code=config.trust_remote_code,
    )


def _held_out(config: StudyConfig, train: int, dev: int) -> int | None:
    """How many training rows are held out for the search; None to search on the dev split."""
    if config.search_split == "dev":
        return None
    return rows_held_out(config.search_rows, config.dev_rows, train, dev)


def _digits(config: StudyConfig) -> Task:
    # Diffusers takes seconds to import, which no other task should wait for.
    from tombola.tasks.images import digits

    return digits.digits(
        train_rows=config.train_rows,
        dev_rows=config.dev_rows,
        search_rows=_held_out(config, digits.TRAIN, digits.HELD_OUT),
    )


def _image_folder(config: StudyConfig) -> Task:
    # Diffusers takes seconds to import, which no other task should wait for.
    from tombola.tasks.images.image_folder import image_folder

    assert config.data is not None
    return image_folder(
        Path(config.data).expanduser(),
        config.model,
        size=config.image_size,
        feature_model=config.feature_model,
        pipeline=config.pipeline,
        device=resolve_device(config.device).type,
        train_rows=config.train_rows,
        dev_rows=config.dev_rows,
        held_out=config.search_split == "train",
        search_rows=config.search_rows,
    )


def _language(config: StudyConfig) -> LanguageTask:
    options: dict[str, Any] = {
        "bos_token": config.bos_token,
        "importance": Blocks(config.importance_samples, config.importance_sequence_length),
        "retain": config.retain,
        "name": config.task_name,
        "trust_remote_code": config.trust_remote_code,
    }
    if config.search_split == "train":
        # There are no training rows of abilities: half of the examples judge, the other half is searched on.
        options["held_out"] = 0.5
    if config.text_tokens is not None:
        options["text_tokens"] = config.text_tokens
    if config.recovery_tokens:
        options["train"] = Blocks(max(1, config.recovery_tokens // config.max_length), config.max_length)
    text_file = None if config.text_file is None else Path(config.text_file).expanduser()
    names = config.abilities or catalog.DEFAULT
    return LanguageTask.open(config.model, names, text_file=text_file, rows=config.dev_rows, **options)


_OPEN: Mapping[Regime, Callable[[StudyConfig], Task]] = MappingProxyType(
    {TEXTS: _texts, LANGUAGE: _language, DIGITS: _digits, IMAGES: _image_folder}
)


def glue_title(name: str) -> str | None:
    """The title of a GLUE task, None for any other."""
    return glue.GLUE[name].title if name in glue.GLUE else None


def _corpus(config: StudyConfig) -> tuple[Corpus, str, tuple[str, ...]]:
    """The data, its title, and its metrics, the primary one first."""
    name = config.task
    if name in glue.GLUE:
        task = glue.GLUE[name]
        return (
            glue.load(name, None if config.data is None else Path(config.data).expanduser()),
            task.title,
            task.metrics,
        )
    if name == "rotten-tomatoes":
        return rotten_tomatoes.load(), "Rotten Tomatoes", ("accuracy",)
    path = Path(name).expanduser()
    if not path.exists():
        raise TombolaError(f"unknown task {name!r}: it is no file or folder, nor one of {', '.join(NAMED_TASKS)}")
    corpus = files.read(
        path,
        validation_file=None if config.validation_file is None else Path(config.validation_file).expanduser(),
        text_column=config.text_column,
        text_pair_column=config.text_pair_column,
        label_column=config.label_column,
        regression=config.regression,
    )
    return corpus, corpus.name, (config.metric or ("pearson" if config.regression else "accuracy"),)
