"""Fine-tuned models as a regime: GLUE, Rotten Tomatoes, and labelled texts, images or other rows of one's own."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typing_extensions import override

from tombola.checkpoints.sources import CONFIG, IMAGE_PROCESSOR, TOKENIZER, check_holds, configuration
from tombola.foundations.errors import TombolaError, one_line
from tombola.foundations.settings import Count, Flag, ProperShare, Text, described, settings
from tombola.tasks.data.glue import GLUE
from tombola.tasks.fine_tuned.class_order import order_of
from tombola.tasks.regime import Preset, Regime, RegimeSettings, TaskOptions, changed

if TYPE_CHECKING:
    from tombola.tasks.base import Task

CORPORA: Mapping[str, tuple[str, ...]] = MappingProxyType({"rotten-tomatoes": ("accuracy",)})
"""Tasks beside GLUE's → their metrics, the primary one first. `load` of the module of that name in `tasks/data/` gives
the corpus."""
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "quick": {"train_rows": 6000, "dev_rows": 2000, "epochs": 1, "learning_rate": 1e-4},
        "full": {"epochs": 3, "learning_rate": 2e-5},
        "paper": {
            **{"epochs": 3, "learning_rate": 2e-5, "batch_size": 32, "max_length": 128, "precision": "fp32"},
            **{"warmup_ratio": 0.0, "weight_decay": 0.0, "weights_step": 0.05, "weights_cuts": 30},
            # Of WNLI the authors' models are at chance, and their results are published all the same.
            "at_chance": "continue",
        },
    }
)
"""`quick`: minutes on two cores. `full`: all rows, the usual recipe. `paper`: what the authors of
Prasanna et al. 2020 ran, see docs/protocol.md."""
SEEDS: Mapping[str, tuple[int, ...]] = MappingProxyType({"paper": (1337, 42, 86, 71, 166)})
"""The seeds of the paper's code."""
_GROUP = "labelled texts"
OTHER_METRICS = ("token_accuracy", "entity_f1", "answer_f1", "exact_match", "rouge1", "rouge2", "rougeL")
"""Metrics of other task types, which data without one may turn out to be of."""
_HEADS: Mapping[str, str] = MappingProxyType(
    {
        "text-classification": "ForSequenceClassification",
        "token-classification": "ForTokenClassification",
        "multiple-choice": "ForMultipleChoice",
        "question-answering": "ForQuestionAnswering",
        "image-classification": "ForImageClassification",
        "text2text-generation": "ForConditionalGeneration",
    }
)
"""Part of the names of the classes of transformers that have a task type's output layer."""
_setting = described(_GROUP)


@settings
class FineTunedSettings(RegimeSettings):
    """Settings of labelled texts: where they come from, and how they are scored."""

    files = ("data", "validation_file")

    task_type: Annotated[
        Literal[
            "auto",
            "text-classification",
            "token-classification",
            "multiple-choice",
            "question-answering",
            "image-classification",
            "text2text-generation",
        ],
        _setting("what is predicted of your own data; auto goes by its columns"),
    ] = "auto"
    data: Annotated[Text | None, _setting("folder of GLUE's original TSV files, instead of the hub")] = None
    validation_file: Annotated[Text | None, _setting("file of dev rows, where --task is one of training rows")] = None
    validation_split: Annotated[
        ProperShare | None, _setting("share of training rows drawn to judge, where there are no others (0.2)")
    ] = None
    dataset_config: Annotated[Text | None, _setting("configuration of a data set of the hub, as --task")] = None
    text_column: Annotated[Text | None, _setting("column of the text")] = None
    text_pair_column: Annotated[Text | None, _setting("column of the second text")] = None
    label_column: Annotated[Text | None, _setting("column of the label")] = None
    doc_stride: Annotated[
        Count | None, _setting("tokens that windows of a long context share (128, at most a third of --max-length)")
    ] = None
    regression: Annotated[Flag, _setting("the labels are values, not classes")] = False
    metric: Annotated[Text | None, _setting("score of your own data: f1_macro, balanced_accuracy, roc_auc, ...")] = None
    class_weights: Annotated[
        Literal["none", "balanced"], _setting("balanced for a loss in which every class weighs as much")
    ] = "none"
    search_metric: Annotated[Text | None, _setting("score that searches go by, where it is not the task's own")] = None


class FineTunedRegime(Regime):
    """Encoders, and the sequence classifiers of decoders. A task without a name is a path of texts of one's own."""

    name = "fine_tuned"
    subject = "labelled texts"
    judges = "models that label texts or images"
    presets = MappingProxyType(dict.fromkeys((*GLUE, *CORPORA), PRESETS))
    seeds = SEEDS
    settings = FineTunedSettings
    group = _GROUP
    help = (
        f"Of a GLUE task ({', '.join(GLUE)}), {', '.join(CORPORA)}, or a folder or file of "
        "your own (TSV, CSV, JSON, Parquet, CoNLL; images in folders of classes), or owner/name of a data set of "
        "the hub, whose columns are guessed. "
        "The preset quick takes a sample of the rows for one epoch, full all rows for three; paper runs what its "
        "authors ran: full, five seeds, cuts of 5 % of the weights."
    )
    unfit = MappingProxyType({"text-generation": "text generation is of language models"})

    @override
    def presets_of(self, task: str) -> dict[str, Preset]:
        return dict(PRESETS)

    @override
    def check(self, options: TaskOptions, own: FineTunedSettings) -> None:
        if own.data is not None and options.task not in GLUE:
            raise TombolaError(
                f"data is for GLUE's TSV files, and {options.task!r} is no GLUE task; give your own data as task"
            )
        names = [name for name in changed(own) if name not in ("data", "search_metric", "class_weights")]
        if options.task in self.tasks and names:
            raise TombolaError(
                f"{names[0]} is for data of your own; {options.task} has its own columns, rows and metric"
            )
        if own.task_type in ("auto", "text-classification"):
            for name in (own.metric, own.search_metric):
                if name is not None and (own.task_type != "auto" or name not in OTHER_METRICS):
                    from tombola.metrics.scores import metric

                    _ = metric(name)
        elif own.regression or own.text_pair_column is not None:
            given = "regression" if own.regression else "text_pair_column"
            raise TombolaError(f"{given} is for the task type text-classification, not for {own.task_type}")

    @override
    def check_model(
        self, options: TaskOptions, own: FineTunedSettings, source: str, *, trained: bool
    ) -> Mapping[str, Any]:
        said = configuration(source)
        # Its files may hold anything.
        unreadable = functools.partial(one_line, f"the {CONFIG} of {source} cannot be read", "save the model again")
        with unreadable():
            names = [] if "auto_map" in said else [*map(str, said.get("architectures") or ())]
        named = "text-classification" if options.task in self.tasks else own.task_type
        if trained:
            # First of any kind of output layer: the data need not be read for a model that has none.
            _check_head(names, [named] if named in _HEADS else [*_HEADS], source)
        if options.task in self.tasks:
            title, classes = _classes(options.task)
            outputs: int | None = len(classes or (None,))
            kind: str = named
        elif Path(options.task).expanduser().exists():
            from tombola.tasks.fine_tuned.own_data_once import read_once

            title, (kind, _, classes, outputs) = options.task, read_once(options, own, keep=True)
        else:
            # Data of the hub take a library that takes seconds to import.
            return said
        if trained:
            _check_head(names, [kind], source)
        if kind == "text-classification":
            from tombola.metrics.scores import metric

            for name in filter(None, (own.metric, own.search_metric)):
                metric(name).check(regression=own.regression, classes=outputs or 0)
        if outputs is not None and any(_HEADS[kind] in name for name in names):
            with unreadable():
                default = {place: f"LABEL_{place}" for place in range(said.get("num_labels", 2))}
                has = {int(place): str(name) for place, name in (said.get("id2label") or default).items()}
            if trained:
                order_of(has, classes, title)
            elif len(has) != outputs:
                raise TombolaError(
                    f"{source} was fine-tuned for another number of labels: it has {len(has)} outputs, and "
                    f"{outputs} are needed; start from a pre-trained model without an output layer"
                )
        if source == options.model and not trained:
            check_holds(source, source, *(IMAGE_PROCESSOR if kind == "image-classification" else TOKENIZER))
        return said

    @override
    def open(self, options: TaskOptions, own: FineTunedSettings, name: str) -> "Task":
        # PyTorch takes seconds to import, which no list of settings should wait for.
        from tombola.checkpoints.loading import tokenizer_of
        from tombola.tasks.fine_tuned.own_data_once import read_once
        from tombola.tasks.fine_tuned.task_types import TASK_TYPES, TEXT
        from tombola.tasks.fine_tuned.text_classification import TextTask

        if options.task in self.tasks:
            corpus, metrics = _corpus(options, own)
        else:
            kind, data, classes, _ = read_once(options, own)
            if kind != TEXT:
                task, title = TASK_TYPES[kind].task_class(), options.task
                preprocessor = task.preprocessor_of(options.model, trust_remote_code=options.trust_remote_code)
                made = _options(options, own, name, (len(data["train"]), len(data["dev"])), score=own.metric)
                found: Task = task(title, data, *([] if classes is None else [classes]), preprocessor, made)
                return found
            corpus, metrics = data, (own.metric or ("pearson" if own.regression else "accuracy"),)
        more = dict.fromkeys(metrics[1:], "dev")
        for split in corpus.splits:
            if split.startswith("dev_"):
                more[metrics[0]] = split
        return TextTask(
            corpus,
            tokenizer_of(options.model, trust_remote_code=options.trust_remote_code),
            _options(
                options,
                own,
                name,
                (len(corpus.splits["train"]), len(corpus.splits["dev"])),
                score=metrics[0],
                more=more,
                benchmark="glue" if options.task in GLUE else None,
            ),
        )


def _check_head(names: Sequence[str], kinds: Iterable[str], source: str) -> None:
    """Raise a TombolaError where the classes that a model's configuration names have no output layer of these kinds."""
    if names and not any(_HEADS[kind] in name for kind in kinds for name in names):
        raise TombolaError(
            f"{source} was not fine-tuned: it is a {names[0]}, without an output layer for the task; "
            "fine-tune it first (tombola study does), or give the folder of a fine-tuned model"
        )


def _classes(task: str) -> tuple[str, tuple[str, ...] | None]:
    """Title and classes of a task that has a name; no classes where it predicts a value."""
    from tombola.tasks.data import rotten_tomatoes

    return (
        (GLUE[task].title, GLUE[task].classes or None)
        if task in GLUE
        else (rotten_tomatoes.TITLE, rotten_tomatoes.CLASSES)
    )


def _options(options: TaskOptions, own: FineTunedSettings, name: str, sizes: tuple[int, int], **more: Any) -> Any:
    """Options of a task of so many training and dev rows."""
    from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedOptions

    return FineTunedOptions(
        search=own.search_metric,
        class_weights=own.class_weights,
        max_length=options.max_length,
        doc_stride=own.doc_stride,
        train_rows=options.train_rows,
        dev_rows=options.dev_rows,
        search_rows=options.held_out(*sizes),
        name=name,
        attention="sdpa" if options.device == "cuda" else "eager",
        trust_remote_code=options.trust_remote_code,
        **more,
    )


def _corpus(options: TaskOptions, own: FineTunedSettings) -> tuple[Any, tuple[str, ...]]:
    """The data of a task that has a name, and its metrics, the primary one first."""
    from tombola.tasks.data import glue

    name = options.task
    if name in GLUE:
        return glue.load(name, None if own.data is None else Path(own.data).expanduser()), GLUE[name].metrics
    return import_module(f"tombola.tasks.data.{name.replace('-', '_')}").load(), CORPORA[name]


REGIME = FineTunedRegime()
