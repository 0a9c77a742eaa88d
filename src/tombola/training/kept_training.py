"""State of a training, kept on disk, so that one that is killed goes on from there with the same result bit by bit.

One safetensors file, written atomically: weights that are trained, moments of the optimizer, and random states, with
the steps that are done, and what the training is of, as JSON in its header.
"""

import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tombola.foundations.atomic_files import file_draft
from tombola.foundations.errors import TombolaError, reading
from tombola.foundations.tensor_bits import as_bits
from tombola.training.replica import Replica, laid_out, whole

INTERVAL = 600.0
"""Seconds of training after which its state is written, and again each time: shorter ones begin anew."""
_FILE, _HEADER = "state.safetensors", "training"


@dataclass(frozen=True)
class TrainingFolder:
    """Folder that keeps the state of a training until its result is published.

    Attributes:
        path: of the folder, which is made when there is something to keep.
        made_from: what its data, and whatever else the result depends on that `train` is not given, are known by.
    """

    path: Path
    made_from: str = ""

    def remove(self) -> None:
        """Delete it: the result is there."""
        shutil.rmtree(self.path, ignore_errors=True)


class KeptTraining:
    """State of one training in its folder.

    Args:
        place: the folder; None to keep nothing.
        replica: the model, as it is before the first step, and its optimizer.
        scaler: of the loss.
        facts: JSON values that the training depends on, beside the initial weights.
        masks: of weights that stay zero.
    """

    def __init__(
        self,
        place: TrainingFolder | None,
        replica: Replica,
        scaler: torch.amp.GradScaler,
        facts: Mapping[str, object],
        masks: Mapping[str, Tensor],
    ) -> None:
        self._place, self._replica, self._scaler = place, replica, scaler
        self._written = time.monotonic()
        if place is not None:
            digest = hashlib.sha256(json.dumps([place.made_from, replica.count, dict(facts)], sort_keys=True).encode())
            for name, tensor in (*replica.gather().state_dict().items(), *masks.items()):
                plain = tensor.detach().cpu().contiguous()
                digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
                digest.update(as_bits(plain).reshape(-1).numpy().data)
            self._identity = digest.hexdigest()

    @property
    def _named(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, one) for name, one in self._replica.model.named_parameters() if one.requires_grad)

    def resume(self, first_step: int) -> int:
        """Number of steps that are done: those of the state, which is taken over, or else `first_step`."""
        if self._place is None:
            return first_step
        path, done, tensors = self._place.path / _FILE, first_step, dict[str, Tensor]()
        try:
            with reading(path), safe_open(path, "pt") as file:
                header = json.loads(file.metadata()[_HEADER])
                if header["identity"] == self._identity:
                    done, tensors = int(header["done"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except TombolaError as error:
            if path.is_file():
                warnings.warn(f"{error}: the training begins anew", stacklevel=2)
        # Of processes on several machines one may not see the file.
        if len({int(one) for one in self._replica.each(torch.tensor([done]))}) > 1 or not tensors:
            return first_step
        self._load(tensors, header["scaler"])
        return done

    def _load(self, tensors: Mapping[str, Tensor], scaler: dict[str, Any]) -> None:
        replica, optimizer = self._replica, self._replica.optimizer
        numbers = {id(one): i for i, one in enumerate(p for group in optimizer.param_groups for p in group["params"])}
        moments: dict[int, dict[str, Tensor]] = {}
        with torch.no_grad():
            for name, tensor in (*replica.model.named_buffers(), *self._named):
                kept = laid_out(tensors[f"model {name}"], tensor)
                if kept.shape == tensor.shape:
                    tensor.copy_(kept)
                else:
                    # It grows with the vocabulary that texts have.
                    tensor.data = kept
        for name, parameter in self._named:
            for what in ("step", "exp_avg", "exp_avg_sq"):
                if (found := tensors.get(f"{what} {name}")) is not None:
                    value = found if what == "step" else laid_out(found, parameter)
                    moments.setdefault(numbers[id(parameter)], {})[what] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        self._scaler.load_state_dict(scaler)
        torch.set_rng_state(tensors[f"random {replica.rank}"])
        if replica.device.type == "cuda":
            torch.cuda.set_rng_state(tensors[f"random of GPU {replica.rank}"], replica.device)

    def step(self, done: int) -> None:
        """Write the state after so many steps, if that is due."""
        if self._place is None or not self._replica.agreed(int(time.monotonic() - self._written >= INTERVAL)):
            return
        tensors, header = self._tensors(), {"done": done, "identity": self._identity}
        try:
            if self._replica.rank == 0:
                with file_draft(self._place.path / _FILE) as draft:
                    text = json.dumps({**header, "scaler": self._scaler.state_dict()})
                    save_file(tensors, draft, metadata={_HEADER: text})
        except TombolaError as error:
            warnings.warn(f"the training goes on, but its state was not kept: {error}", stacklevel=2)
        self._written = time.monotonic()

    def _tensors(self) -> dict[str, Tensor]:
        replica, optimizer = self._replica, self._replica.optimizer
        found: dict[str, Tensor] = {}
        for name, parameter in self._named:
            moments: Mapping[str, Tensor] = optimizer.state.get(parameter, {})
            for what, tensor in ({"model": parameter.detach()} | dict(moments)).items():
                found[f"{what} {name}"] = whole(tensor).cpu().contiguous()
        for name, buffer in replica.model.named_buffers():
            # Some share their memory, for which the format has no name.
            found[f"model {name}"] = buffer.detach().cpu().clone().contiguous()
        for rank, state in enumerate(replica.each(torch.get_rng_state())):
            found[f"random {rank}"] = state
        if replica.device.type == "cuda":
            for rank, state in enumerate(replica.each(torch.cuda.get_rng_state(replica.device))):
                found[f"random of GPU {rank}"] = state
        return found
