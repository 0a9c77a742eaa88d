"""List of the steps of a study, kept in its folder: what is missing of one that runs, was stopped, or failed in parts.

No PyTorch is imported for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tombola.foundations.json_dataclasses import InnerPath, JsonRecord
from tombola.study.omitted_analyses import OmittedAnalysis

STEPS = "steps.json"
"""File of the list."""


@dataclass(frozen=True)
class ListedStep(JsonRecord):
    """Step of a study.

    Attributes:
        what: for people.
        result: path of what it publishes, from the study's folder.
    """

    what: str
    result: InnerPath


@dataclass(frozen=True)
class StepList(JsonRecord):
    """Steps of a study, as it runs them.

    Attributes:
        steps: in their order.
        failed: what each step that failed last time failed of, by its name.
        left_out: results of steps that were run last time and had nothing to publish, with a warning that says why.
    """

    steps: Sequence[ListedStep]
    failed: Mapping[str, str] = field(default_factory=dict)
    left_out: Sequence[InnerPath] = ()

    def missing(self, folder: Path) -> list[ListedStep]:
        """Steps whose result is not in a study's folder; what was left out is none of them."""
        return [one for one in self.steps if one.result not in self.left_out and not _made(folder / one.result)]

    def with_failure(self, what: str, why: str) -> "StepList":
        """The list with a step that failed."""
        return replace(self, failed={**self.failed, what: why})

    def with_left_out(self, result: str) -> "StepList":
        """The list with a step that had nothing to publish."""
        return replace(self, left_out=[*self.left_out, result])


def _made(result: Path) -> bool:
    return result.exists() or OmittedAnalysis.path(result).is_file()
