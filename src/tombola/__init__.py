"""Draw winning lottery tickets from neural networks: small subnetworks that do what the whole network does.

The way through the house: a *task* gives data, loss and score; `dissect` finds the heads, MLPs and weights of a
model; `search_ticket` prunes until the score no longer holds and gives a `Ticket`; `controls` draws others of its size
to compare with; `retrain` trains a ticket from rewound weights; `verdict` says whether it matches the full model.
`Study` does all of it for several seeds, resumably; `tombola.report.build` makes a page of its folder.
"""

import importlib
from typing import TYPE_CHECKING

from tombola.foundations.shown import draw_by

if TYPE_CHECKING:
    from tombola.analysis.agreement.comparison import compare
    from tombola.architectures.dissect import dissect
    from tombola.checkpoints.checkpoint import load, save, save_shrunk, save_zeros
    from tombola.checkpoints.export_onnx import save_onnx
    from tombola.checkpoints.loading import tokenizer_of
    from tombola.checkpoints.semi_structured import not_semi_structured, prune_semi_structured, to_semi_structured
    from tombola.foundations.errors import TombolaError
    from tombola.metrics.statistics import Verdict, verdict
    from tombola.pruning import controls
    from tombola.pruning.evaluation import Evaluation, EvaluationOptions, evaluate, score
    from tombola.pruning.importance_methods import register_importance
    from tombola.pruning.one_shot import one_shot
    from tombola.pruning.search.loop import search_ticket
    from tombola.pruning.search.options import SearchOptions
    from tombola.pruning.search.records import Search
    from tombola.pruning.streamed_pruning import prune_checkpoint
    from tombola.pruning.weight_criteria import Criterion, WeightCut, register_criterion
    from tombola.pruning.weight_pruning import prune_weights
    from tombola.report.opened_study import open_study
    from tombola.report.result_tables import results
    from tombola.study.config import StudyConfig
    from tombola.study.study import Study
    from tombola.study.sweep import Sweep
    from tombola.study.sweep_file import SweepFile
    from tombola.subnetworks.recognition import recognise
    from tombola.subnetworks.subnetwork import Subnetwork, expanded, masked, shrunk, whole
    from tombola.tasks.base import Task
    from tombola.tasks.fine_tuned.image_classification import ImageClassificationTask
    from tombola.tasks.fine_tuned.multiple_choice import MultipleChoiceTask
    from tombola.tasks.fine_tuned.question_answering import QuestionAnsweringTask
    from tombola.tasks.fine_tuned.text_classification import TextTask
    from tombola.tasks.fine_tuned.text_to_text import TextToTextTask
    from tombola.tasks.fine_tuned.token_classification import TokenClassificationTask
    from tombola.tasks.images.task import ImageTask
    from tombola.tasks.language.task import LanguageTask
    from tombola.tickets.import_masks import import_masks
    from tombola.tickets.ticket import Ticket
    from tombola.training.loop import retrain, train
    from tombola.training.recipe import Recipe

__all__ = [
    "Criterion",
    "Evaluation",
    "EvaluationOptions",
    "ImageClassificationTask",
    "ImageTask",
    "LanguageTask",
    "MultipleChoiceTask",
    "QuestionAnsweringTask",
    "Recipe",
    "Search",
    "SearchOptions",
    "Study",
    "StudyConfig",
    "Subnetwork",
    "Sweep",
    "SweepFile",
    "Task",
    "TextTask",
    "TextToTextTask",
    "Ticket",
    "TokenClassificationTask",
    "TombolaError",
    "Verdict",
    "WeightCut",
    "compare",
    "controls",
    "dissect",
    "evaluate",
    "expanded",
    "import_masks",
    "load",
    "masked",
    "not_semi_structured",
    "one_shot",
    "open_study",
    "prune_checkpoint",
    "prune_semi_structured",
    "prune_weights",
    "recognise",
    "register_criterion",
    "register_importance",
    "results",
    "retrain",
    "save",
    "save_onnx",
    "save_shrunk",
    "save_zeros",
    "score",
    "search_ticket",
    "shrunk",
    "to_semi_structured",
    "tokenizer_of",
    "train",
    "verdict",
    "whole",
]

draw_by("tombola.report.notebook")

_HOMES = {
    "tombola.analysis.agreement.comparison": ("compare",),
    "tombola.report.opened_study": ("open_study",),
    "tombola.report.result_tables": ("results",),
    "tombola.tasks.images.task": ("ImageTask",),
    "tombola.tasks.language.task": ("LanguageTask",),
    "tombola.tickets.import_masks": ("import_masks",),
    "tombola.pruning": ("controls",),
    "tombola.architectures.dissect": ("dissect",),
    "tombola.checkpoints.checkpoint": ("load", "save", "save_shrunk", "save_zeros"),
    "tombola.study.config": ("StudyConfig",),
    "tombola.foundations.errors": ("TombolaError",),
    "tombola.pruning.evaluation": ("Evaluation", "EvaluationOptions", "evaluate", "score"),
    "tombola.checkpoints.export_onnx": ("save_onnx",),
    "tombola.pruning.one_shot": ("one_shot",),
    "tombola.subnetworks.recognition": ("recognise",),
    "tombola.pruning.search.loop": ("search_ticket",),
    "tombola.pruning.search.options": ("SearchOptions",),
    "tombola.pruning.search.records": ("Search",),
    "tombola.checkpoints.semi_structured": ("not_semi_structured", "prune_semi_structured", "to_semi_structured"),
    "tombola.metrics.statistics": ("Verdict", "verdict"),
    "tombola.pruning.streamed_pruning": ("prune_checkpoint",),
    "tombola.study.study": ("Study",),
    "tombola.study.sweep": ("Sweep",),
    "tombola.study.sweep_file": ("SweepFile",),
    "tombola.subnetworks.subnetwork": ("Subnetwork", "expanded", "masked", "shrunk", "whole"),
    "tombola.tasks.base": ("Task",),
    "tombola.tasks.fine_tuned.text_classification": ("TextTask",),
    "tombola.tasks.fine_tuned.token_classification": ("TokenClassificationTask",),
    "tombola.tasks.fine_tuned.multiple_choice": ("MultipleChoiceTask",),
    "tombola.tasks.fine_tuned.text_to_text": ("TextToTextTask",),
    "tombola.tasks.fine_tuned.question_answering": ("QuestionAnsweringTask",),
    "tombola.tasks.fine_tuned.image_classification": ("ImageClassificationTask",),
    "tombola.checkpoints.loading": ("tokenizer_of",),
    "tombola.tickets.ticket": ("Ticket",),
    "tombola.training.loop": ("retrain", "train"),
    "tombola.training.recipe": ("Recipe",),
    "tombola.pruning.weight_criteria": ("Criterion", "WeightCut", "register_criterion"),
    "tombola.pruning.importance_methods": ("register_importance",),
    "tombola.pruning.weight_pruning": ("prune_weights",),
}


def __getattr__(name: str) -> object:
    """Import a public name on first use: PyTorch takes seconds, and `tombola --help` does without."""
    for home, names in _HOMES.items():
        if name in names:
            value = importlib.import_module(f"{home}.{name}") if name == "controls" else None
            value = value or getattr(importlib.import_module(home), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'tombola' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
