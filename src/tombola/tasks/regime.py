"""A regime: a kind of models, the tasks that judge them, and whatever else a study must know of it.

Each regime is a package of `tasks/`, which nothing but the [registry][tombola.tasks.registry] imports. A package of
somebody else's is a regime too, once it is registered.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from tombola.foundations.fingerprint import fingerprint
from tombola.foundations.settings import Count, Flag, Text, described, setting_fields, settings

if TYPE_CHECKING:
    from tombola.tasks.base import Task

Preset = Mapping[str, Any]
"""Settings that go together, shared ones and those of a regime: name → value."""

_what = described("what to study")
_rows = described("how much data")
_running = described("running")


@settings
class TaskOptions:
    """Model, task and rows: the settings that every regime's task is opened with."""

    model: Annotated[Text, _what("asset, local folder or hub id")] = "minilm"
    task: Annotated[Text, _what("name of a task, or path of your own data")] = "rotten-tomatoes"
    train_rows: Annotated[Count | None, _rows("train on a sample of so many rows")] = None
    dev_rows: Annotated[Count | None, _rows("judge on a sample of so many rows")] = None
    max_length: Annotated[
        Count, _rows("tokens that a text to train and judge on is cut to; of calibration, see --sequence-length")
    ] = 128
    search_split: Annotated[
        Literal["dev", "train"], _rows("dev as in the paper, or train for held-out training rows")
    ] = "dev"
    search_rows: Annotated[Count | None, _rows("training rows held out for the search")] = None
    device: Annotated[Text, _running("auto, or PyTorch's name of a device", neutral=True)] = "auto"
    trust_remote_code: Annotated[Flag, _running("run code that comes with a model", neutral=True)] = False

    def held_out(self, train: int, dev: int) -> int | None:
        """Number of training rows held out for the search: as asked, or as many as judge, at most a fifth.

        None to search on the dev split; `train` and `dev` are the rows that there are.
        """
        if self.search_split == "dev":
            return None
        return self.search_rows or max(1, min(self.dev_rows or dev, dev, train // 5))


@settings
class RegimeSettings:
    """Settings of one regime alone: a subclass has their fields."""

    files: ClassVar[tuple[str, ...]] = ()
    """Names of the settings that may be local files or folders, whose content counts."""
    to_retrain: ClassVar[str] = ""
    """Advice for who wants tickets trained again, where `retrains` may be false."""

    @property
    def retrains(self) -> bool:
        """True if tickets are trained again."""
        return True

    @property
    def adapter(self) -> tuple[int, float] | None:
        """Rank and learning rate of the low-rank adapters that tickets are trained through; None for all weights."""
        return None

    def threshold(self, share: float) -> float:
        """Share of the full score that a search must hold, where the threshold is `share`."""
        return share

    def identity(self) -> dict[str, Any]:
        """Settings with the fingerprints of local files instead of their paths: what a study's hash is over."""
        values = {one.name: getattr(self, one.name) for one in setting_fields(type(self))}
        return values | {name: fingerprint(values[name]) for name in self.files if values[name] is not None}


class Regime(ABC):
    """A kind of models and how they are judged.

    Attributes:
        name: of the package, one word.
        subject: its models, as the start of "language models only".
        judges: what its tasks judge, as the end of a sentence.
        presets: name of a task → name of a preset → settings. Tasks without a name are paths of one's own data.
        seeds: name of a preset → seeds of a study that names none; (0,) for a preset that is not here.
        help: text under the heading of the regime's flags.
        settings: class of its own settings; their flags stand under the heading `group`.
        group: that heading.
        unfit: analyses that cannot be asked of its models → what they are of instead, as a clause.
        unused: settings of every study that none of its tasks reads.
        trains: whether the full model is trained on the task, so that there is something to rewind to; otherwise it is
            judged as it comes.
    """

    name: str
    subject: str
    judges: str
    presets: Mapping[str, Mapping[str, Preset]]
    seeds: Mapping[str, tuple[int, ...]] = MappingProxyType({})
    settings: type[RegimeSettings] = RegimeSettings
    group: str = ""
    help: str = ""
    unfit: Mapping[str, str] = MappingProxyType({})
    unused: Sequence[str] = ()
    trains: bool = True

    @property
    def tasks(self) -> Sequence[str]:
        """Names of its tasks."""
        return tuple(self.presets)

    def presets_of(self, task: str) -> Mapping[str, Preset]:
        """Presets of a task, by name."""
        return self.presets[task]

    def check(self, options: TaskOptions, own: Any) -> None:
        """Raise a TombolaError where what every task is opened with and the regime's `own` settings do not fit."""
        return

    def check_model(self, options: TaskOptions, own: Any, source: str, *, trained: bool) -> Mapping[str, Any]:
        """Configuration of a model; a TombolaError where there is none, or it says that it cannot be of the task.

        Nothing here takes PyTorch: it is for what can be told at once. A regime that does not say knows no files.

        Args:
            options, own: as of `check`.
            source: of the model.
            trained: it has to be fine-tuned already, where the regime fine-tunes.
        """
        return {}

    def judged_by(self, options: TaskOptions, own: Any) -> dict[str, Any]:
        """Settings that decide which rows judge, and what is asked of them: where they are equal, scores compare."""
        names = ("dev_rows", "max_length", "search_split", "search_rows")
        return {**{name: getattr(options, name) for name in names}, **own.identity()}

    @abstractmethod
    def open(self, options: TaskOptions, own: Any, name: str) -> "Task":
        """Load the data that the settings name, with what its model needs to read it.

        Args:
            options: what every task is opened with.
            own: the regime's own settings, of its class `settings`.
            name: the task's short name, for folders and rows.

        Raises:
            TombolaError: the data, or the tokenizer, cannot be loaded.
        """


def changed(own: object) -> list[str]:
    """Names of the settings that differ from their defaults."""
    return [one.name for one in setting_fields(type(own)) if getattr(own, one.name) != one.default]
