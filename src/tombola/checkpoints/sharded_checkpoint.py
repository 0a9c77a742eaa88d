"""Checkpoint folder in Hugging Face layout, whose tensors are read and overwritten one by one, in place.

The reader of safetensors maps a whole file, whose pages then count as the process's memory, and its writer wants all
tensors at once. The format is plain: the length of a header (8 bytes, little-endian), the header (JSON), the values.
"""

import json
import math
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from tombola.foundations.atomic_files import disk_errors, read_json
from tombola.foundations.errors import TombolaError

_DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
_LONGEST_HEADER = 100_000_000
_PIECE = 1 << 22


@dataclass(frozen=True)
class Slot:
    """Place of a tensor in a file.

    Attributes:
        dtype: PyTorch's; None for one that is not known here.
        shape: of the tensor.
        start, end: bytes, from the beginning of the file.
    """

    dtype: torch.dtype | None
    shape: tuple[int, ...]
    start: int
    end: int


class TensorFile:
    """An open file; made by `open`, `create` or `copy_of`, to be closed, which makes it durable if it was written.

    Attributes:
        path: of the file.
        slots: where its tensors lie, by name.
    """

    def __init__(self, path: Path, slots: Mapping[str, Slot], values: int, *, writable: bool) -> None:
        self.path = path
        self.slots = slots
        self._values = values
        self._writable = writable
        self._file = path.open("r+b" if writable else "rb")

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing file, to read.

        Raises:
            TombolaError: it is missing or damaged.
        """
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if length > _LONGEST_HEADER:
                    raise ValueError("its header is too long")
                head = json.loads(file.read(length))
            slots, size = dict(_slots(head, 8 + length)), path.stat().st_size
            if any(slot.end > size for slot in slots.values()):
                raise ValueError("it ends too early")
        except FileNotFoundError:
            raise TombolaError(f"{path} is missing; download the checkpoint again") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise TombolaError(f"{path} is damaged ({error}); download the checkpoint again") from error
        return cls(path, slots, 8 + length, writable=False)

    @classmethod
    def create(cls, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Self:
        """A new file of bytes (uint8), all zero until they are written."""
        head: dict[str, object] = {}
        end = 0
        for name, shape in shapes.items():
            start, end = end, end + math.prod(shape)
            head[name] = {"dtype": "U8", "shape": list(shape), "data_offsets": [start, end]}
        text = json.dumps(head, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with disk_errors(path), path.open("xb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + end)
        return cls(path, dict(_slots(head, 8 + len(text))), 8 + len(text), writable=True)

    def copy_of(self, path: Path, without: Collection[str]) -> "TensorFile":
        """A new file of the same layout and contents, but for the tensors that are going to be written anyway."""
        holes = sorted((self.slots[name].start, self.slots[name].end) for name in without)
        with disk_errors(path), path.open("xb") as file:
            at = 0
            for start, end in [*holes, (self.path.stat().st_size,) * 2]:
                file.seek(at)
                self._file.seek(at)
                for left in range(start - at, 0, -_PIECE):
                    file.write(self._file.read(min(left, _PIECE)))
                at = end
            file.truncate(at)
        return TensorFile(path, self.slots, self._values, writable=True)

    def read(self, name: str) -> Tensor:
        """A tensor, in memory of its own.

        Raises:
            TombolaError: its dtype is not known.
        """
        slot = self.slots[name]
        if slot.dtype is None:
            raise TombolaError(f"{self.path.name} holds {name} in a number format that is not known here")
        tensor = torch.empty(slot.shape, dtype=slot.dtype)
        self._file.seek(slot.start)
        self._file.readinto(_bytes(tensor))  # type: ignore[attr-defined]
        return tensor

    def mapped(self, name: str) -> Tensor:
        """A tensor whose pages are read when they are looked at: for a table of embeddings, of which few rows are."""
        slot = self.slots[name]
        if slot.dtype is None or slot.start == slot.end:
            return self.read(name)
        # Copy on write, as PyTorch knows no memory that must not be written.
        raw = np.memmap(self.path, np.uint8, "c", slot.start, (slot.end - slot.start,))
        return torch.from_numpy(raw).view(slot.dtype).view(slot.shape)

    def write(self, name: str, tensor: Tensor) -> None:
        """Overwrite a tensor by one of its shape and dtype."""
        slot = self.slots[name]
        assert (slot.dtype, slot.shape) == (tensor.dtype, tuple(tensor.shape))
        with disk_errors(self.path):
            self._file.seek(slot.start)
            self._file.write(_bytes(tensor.detach().cpu().contiguous()))

    def close(self) -> None:
        """Close the file."""
        if self._writable and not self._file.closed:
            with disk_errors(self.path):
                self._file.flush()
                os.fsync(self._file.fileno())
        self._file.close()


def _slots(head: Mapping[str, object], values: int) -> Iterator[tuple[str, Slot]]:
    for name, facts in head.items():
        if name == "__metadata__":
            continue
        if not isinstance(facts, Mapping):
            raise ValueError(f"its header says nothing of {name}")
        start, end = facts["data_offsets"]
        dtype, shape = _DTYPES.get(facts["dtype"]), tuple(facts["shape"])
        if any(type(size) is not int or size < 0 for size in shape):
            raise ValueError(f"{name} has the shape {list(shape)}")
        if not 0 <= start <= end or (dtype is not None and end - start != math.prod(shape) * dtype.itemsize):
            raise ValueError(f"the place of {name} does not fit its shape")
        yield name, Slot(dtype, shape, values + start, values + end)


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.flatten().view(torch.uint8).numpy().data


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
