"""Model library, the interface: what differs between models of transformers and of diffusers."""

from abc import ABC, abstractmethod
from pathlib import Path

from torch import nn


class Library(ABC):
    """Library that models come from.

    Attributes:
        name: of the package.
        iterative: whether an example takes many passes of its models, as an image does of a denoiser.
    """

    name: str
    iterative: bool = False

    @property
    @abstractmethod
    def version(self) -> str:
        """Version of the library that is installed."""

    @abstractmethod
    def owns(self, model: nn.Module) -> bool:
        """True if a model is of this library."""

    @abstractmethod
    def class_of(self, folder: Path) -> type[nn.Module]:
        """The class that the configuration in a folder names, imported.

        Raises:
            TombolaError: it cannot be read.
        """

    @abstractmethod
    def load(self, source: str, *, check: bool = True) -> nn.Module:
        """A model as it was saved, in its own dtype, on the CPU.

        Args:
            source: an asset, a local folder or a hub id.
            check: of a type that the table of families lacks, see
                [`recognise`][tombola.subnetworks.recognition.recognise].

        Raises:
            TombolaError: it cannot be found, or is not known.
        """

    @abstractmethod
    def write_config(self, model: nn.Module, folder: Path) -> None:
        """Write all but the weights into an existing folder."""

    @abstractmethod
    def blank(self, kind: str, folder: Path) -> nn.Module | None:
        """A model of the original size without memory for its parameters, from what `write_config` wrote.

        Buffers are computed, as rotary frequencies and position ids stand in no file. No code of the folder runs.

        Args:
            kind: name of one of the library's own classes.
            folder: where its configuration is.

        Returns:
            None if the library has no such model.
        """

    @abstractmethod
    def finish(self, model: nn.Module, folder: Path) -> None:
        """Do what `blank` could not before there were weights."""

    @abstractmethod
    def save(self, model: nn.Module, folder: Path) -> None:
        """Write a whole model, for the library's `from_pretrained`."""

    @abstractmethod
    def read(self, like: nn.Module, folder: Path) -> nn.Module:
        """Read what `save` wrote of a model like this one, in its dtype."""

    @abstractmethod
    def save_companions(self, source: str, folder: Path) -> None:
        """Write what stands beside the model of a source into a folder, where there is any: tokenizer or schedule."""

    @abstractmethod
    def origin(self, model: nn.Module) -> str:
        """The folder or hub id that a model was loaded from; empty where it was not."""

    @abstractmethod
    def usage(self, model: nn.Module, original: str) -> str:
        """Further lines of Python for a model card, after those that load `model`.

        Args:
            model: one of this library.
            original: hub id, or description, of what it was pruned from.
        """

    @abstractmethod
    def batch_sizes(self, multiply_adds: int) -> tuple[int, ...]:
        """Batch sizes at which a model's cost is measured by default; one example takes so many multiply-adds."""
