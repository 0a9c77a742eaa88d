"""A checkpoint folder in Hugging Face layout: which of its safetensors shards holds which tensor."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from tombola.checkpoints.safetensors_file import Slot, TensorFile
from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError

_WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf", ".onnx", ".data"})


_OWN = frozenset({"README.md", "ticket.json"})
"""Files that are true of the source only."""


class Shards:
    """The open shards of a folder.

    Attributes:
        files: by name.
        where: tensor → name of its file.
    """

    def __init__(self, files: Mapping[str, TensorFile]) -> None:
        self.files = files
        self.where = {tensor: name for name, file in files.items() for tensor in file.slots}

    @classmethod
    def open(cls, folder: Path) -> "Shards":
        """Open the shards of an existing folder.

        Raises:
            TombolaError: there is no safetensors checkpoint, a shard is missing or damaged, or lacks what its index
                says.
        """
        index = folder / SAFE_WEIGHTS_INDEX_NAME
        if index.is_file():
            where = read_json(index).get("weight_map")
            # Plain names: an index must not lead out of its folder.
            if not isinstance(where, dict) or not where or any(Path(str(name)).name != name for name in where.values()):
                raise TombolaError(f"{index} names no shards; download the checkpoint again")
            found = cls({name: TensorFile.open(folder / name) for name in sorted(set(where.values()))})
            missing = [tensor for tensor in where if tensor not in found.where]
            if missing:
                raise TombolaError(f"no shard of {folder} holds {missing[0]}; download the checkpoint again")
            return found
        if (folder / SAFE_WEIGHTS_NAME).is_file():
            return cls({SAFE_WEIGHTS_NAME: TensorFile.open(folder / SAFE_WEIGHTS_NAME)})
        raise TombolaError(
            f"{folder} holds no checkpoint in safetensors ({SAFE_WEIGHTS_NAME} or its index); load the model with "
            "transformers and save it with save_pretrained first"
        )

    def slot(self, tensor: str) -> Slot:
        """Slot of a tensor in its file."""
        return self.files[self.where[tensor]].slots[tensor]

    def read(self, tensor: str) -> Tensor:
        """A tensor, in memory of its own."""
        return self.files[self.where[tensor]].read(tensor)

    def mapped(self, tensor: str) -> Tensor:
        """A tensor whose pages are read when they are looked at."""
        return self.files[self.where[tensor]].mapped(tensor)

    def write(self, tensor: str, values: Tensor) -> None:
        """Overwrite a tensor."""
        self.files[self.where[tensor]].write(tensor, values)

    def copy_into(self, folder: Path, without: frozenset[str]) -> "Shards":
        """Shards of the same layout in another folder, with all tensors but those that are going to be written."""
        return Shards(
            {
                name: file.copy_of(folder / name, [tensor for tensor in file.slots if tensor in without])
                for name, file in self.files.items()
            }
        )

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.path.stat().st_size for file in self.files.values())

    def close(self) -> None:
        """Close all files."""
        for file in self.files.values():
            file.close()


def companions(folder: Path) -> list[Path]:
    """The files of a checkpoint folder besides its weights: configuration, tokenizer, index; not its model card."""
    return sorted(
        file
        for file in folder.iterdir()
        if file.is_file()
        and file.suffix not in _WEIGHTS
        and file.name not in _OWN
        and not file.name.startswith(".")
        # The index of weights in another format would name files that are not there.
        and (file.name == SAFE_WEIGHTS_INDEX_NAME or not file.name.endswith(".index.json"))
    )
