"""Draw winning lottery tickets from neural networks: small subnetworks that do what the whole network does.

The way through the house: a *task* gives data, loss and score; `dissect` finds the heads, MLPs and weights of a
model; `search_ticket` prunes until the score no longer holds and gives a `Ticket`; `controls` draws others of its size
to compare with; `retrain` trains a ticket from rewound weights; `verdict` says whether it matches the full model.
`Study` does all of it for several seeds, resumably, and writes the report.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tombola import controls
    from tombola.anatomy import dissect
    from tombola.checkpoint import load, save_shrunk
    from tombola.config import StudyConfig
    from tombola.errors import TombolaError
    from tombola.evaluation import Evaluation, evaluate, score
    from tombola.one_shot_pruning import one_shot
    from tombola.onnx_graph import save_onnx
    from tombola.recognition import recognise
    from tombola.search import Search, SearchOptions, search_ticket
    from tombola.semi_structured import not_semi_structured, prune_semi_structured, to_semi_structured
    from tombola.statistics import Verdict, verdict
    from tombola.streaming import prune_checkpoint
    from tombola.study import Study
    from tombola.subnetwork import Subnetwork, expanded, masked, shrunk, whole
    from tombola.tasks.base import Task
    from tombola.tasks.text import TextTask, tokenizer_of
    from tombola.ticket import Ticket
    from tombola.training import Recipe, retrain, train
    from tombola.weight_pruning import prune_weights
    from tombola.zeros import save_zeros

__all__ = [
    "Evaluation",
    "Recipe",
    "Search",
    "SearchOptions",
    "Study",
    "StudyConfig",
    "Subnetwork",
    "Task",
    "TextTask",
    "Ticket",
    "TombolaError",
    "Verdict",
    "controls",
    "dissect",
    "evaluate",
    "expanded",
    "load",
    "masked",
    "not_semi_structured",
    "one_shot",
    "prune_checkpoint",
    "prune_semi_structured",
    "prune_weights",
    "recognise",
    "retrain",
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

_HOMES = {
    "tombola": ("controls",),
    "tombola.anatomy": ("dissect",),
    "tombola.checkpoint": ("load", "save_shrunk"),
    "tombola.config": ("StudyConfig",),
    "tombola.errors": ("TombolaError",),
    "tombola.evaluation": ("Evaluation", "evaluate", "score"),
    "tombola.onnx_graph": ("save_onnx",),
    "tombola.one_shot_pruning": ("one_shot",),
    "tombola.recognition": ("recognise",),
    "tombola.search": ("Search", "SearchOptions", "search_ticket"),
    "tombola.semi_structured": ("not_semi_structured", "prune_semi_structured", "to_semi_structured"),
    "tombola.statistics": ("Verdict", "verdict"),
    "tombola.streaming": ("prune_checkpoint",),
    "tombola.study": ("Study",),
    "tombola.subnetwork": ("Subnetwork", "expanded", "masked", "shrunk", "whole"),
    "tombola.tasks.base": ("Task",),
    "tombola.tasks.text": ("TextTask", "tokenizer_of"),
    "tombola.ticket": ("Ticket",),
    "tombola.training": ("Recipe", "retrain", "train"),
    "tombola.weight_pruning": ("prune_weights",),
    "tombola.zeros": ("save_zeros",),
}


def __getattr__(name: str) -> object:
    """Import a public name on first use: PyTorch takes seconds, and `tombola --help` does without."""
    for home, names in _HOMES.items():
        if name in names:
            value = importlib.import_module(f"tombola.{name}" if home == "tombola" else home)
            if home != "tombola":
                value = getattr(value, name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'tombola' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
