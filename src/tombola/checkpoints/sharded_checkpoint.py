"""Checkpoint folder in Hugging Face layout, whose tensors are read and overwritten one by one, in place.

The reader of safetensors maps a whole file, whose pages then count as the process's memory, and its writer wants all
tensors at once. The format is plain: the length of a header (8 bytes, little-endian), the header (JSON), the values.
"""

import json
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from tombola.foundations.atomic_files import disk_errors, read_json
from tombola.foundations.errors import TombolaError, reading
from tombola.foundations.parsing import json_value

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
    """Place of a tensor: from byte `start` to `end` of a file; `dtype` is None for one that is not known here."""

    path: Path
    dtype: torch.dtype | None
    shape: tuple[int, ...]
    start: int
    end: int


class TensorFiles:
    """Open files; made by `open`, `create` or `copy_into`, to be closed, which makes them durable if they were written.

    Attributes:
        slots: where their tensors lie, by name.
        lacking: names in an index that no shard holds, as a tied tensor's may be: whoever knows the model judges.
    """

    def __init__(self, paths: Iterable[Path], slots: Mapping[str, Slot], *, writable: bool) -> None:
        self.slots = slots
        self.lacking: tuple[str, ...] = ()
        self._writable = writable
        self._files = {path: path.open("r+b" if writable else "rb") for path in paths}

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The shards of an existing folder, to read.

        Raises:
            TombolaError: there is no safetensors checkpoint, or a shard is missing or damaged.
        """
        index = folder / SAFE_WEIGHTS_INDEX_NAME
        where: Any = {}
        if index.is_file():
            where = read_json(index).get("weight_map")
            # Plain names: an index must not lead out of its folder.
            if not isinstance(where, dict) or not where or any(Path(str(name)).name != name for name in where.values()):
                raise TombolaError(f"{index} names no shards; download the checkpoint again")
        elif not (folder / SAFE_WEIGHTS_NAME).is_file():
            raise TombolaError(
                f"{folder} holds no checkpoint in safetensors ({SAFE_WEIGHTS_NAME} or its index); load the model with "
                "transformers and save it with save_pretrained first"
            )
        paths = [folder / name for name in sorted({*where.values()} or {SAFE_WEIGHTS_NAME})]
        slots = {name: slot for path in paths for name, slot in _read_slots(path).items()}
        files = cls(paths, slots, writable=False)
        files.lacking = tuple(name for name in where if name not in slots)
        return files

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
        return cls([path], dict(_slots(path, head, 8 + len(text))), writable=True)

    def copy_into(self, folder: Path, without: Collection[str]) -> "TensorFiles":
        """Files of the same layout in another folder, with all tensors but those that will be written anyway."""
        skipped = [self.slots[name] for name in without]
        for path, file in self._files.items():
            holes = sorted((slot.start, slot.end) for slot in skipped if slot.path == path)
            copy = folder / path.name
            with disk_errors(copy), copy.open("xb") as copied:
                at = 0
                for start, end in [*holes, (path.stat().st_size,) * 2]:
                    copied.seek(at)
                    file.seek(at)
                    for left in range(start - at, 0, -_PIECE):
                        copied.write(file.read(min(left, _PIECE)))
                    at = end
                copied.truncate(at)
        slots = {name: replace(slot, path=folder / slot.path.name) for name, slot in self.slots.items()}
        return TensorFiles([folder / path.name for path in self._files], slots, writable=True)

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(path.stat().st_size for path in self._files)

    def read(self, name: str) -> Tensor:
        """A tensor, in memory of its own.

        Raises:
            TombolaError: its dtype is not known.
        """
        slot = self.slots[name]
        if slot.dtype is None:
            raise TombolaError(f"{slot.path.name} holds {name} in a number format that is not known here")
        tensor = torch.empty(slot.shape, dtype=slot.dtype)
        file = self._files[slot.path]
        file.seek(slot.start)
        file.readinto(_bytes(tensor))  # type: ignore[attr-defined]
        return tensor

    def mapped(self, name: str) -> Tensor:
        """A tensor whose pages are read when they are looked at: for a table of embeddings, of which few rows are."""
        slot = self.slots[name]
        if slot.dtype is None or slot.start == slot.end:
            return self.read(name)
        # Copy on write, as PyTorch knows no memory that must not be written.
        raw = np.memmap(slot.path, np.uint8, "c", slot.start, (slot.end - slot.start,))
        return torch.from_numpy(raw).view(slot.dtype).view(slot.shape)

    def write(self, name: str, tensor: Tensor) -> None:
        """Overwrite a tensor by one of its shape and dtype."""
        slot = self.slots[name]
        assert (slot.dtype, slot.shape) == (tensor.dtype, tuple(tensor.shape))
        with disk_errors(slot.path):
            self._files[slot.path].seek(slot.start)
            self._files[slot.path].write(_bytes(tensor.detach().cpu().contiguous()))

    def close(self) -> None:
        """Close the files."""
        for path, file in self._files.items():
            if self._writable and not file.closed:
                with disk_errors(path):
                    file.flush()
                    os.fsync(file.fileno())
            file.close()


def _read_slots(path: Path) -> dict[str, Slot]:
    mend = "download the checkpoint again"
    if not path.exists():
        raise TombolaError(f"{path} is missing; {mend}")
    with reading(path, mend):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _LONGEST_HEADER:
                raise ValueError("its header is too long")
            slots = dict(_slots(path, json_value(file.read(length), path, mend), 8 + length))
        if any(slot.end > path.stat().st_size for slot in slots.values()):
            raise ValueError("it ends too early")
    return slots


def _slots(path: Path, head: Mapping[str, object], values: int) -> Iterator[tuple[str, Slot]]:
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
        yield name, Slot(path, dtype, shape, values + start, values + end)


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.flatten().view(torch.uint8).numpy().data


_WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf", ".onnx", ".data"})
_OWN = frozenset({"README.md", "ticket.json"})
"""Files that are true of the source only."""


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
