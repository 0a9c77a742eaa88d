"""Rewinding: to the pre-trained weights, random ones, those of a training step, or no weights but the schedule."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from tombola.foundations.atomic_files import write_bytes
from tombola.foundations.errors import TombolaError, check_choice
from tombola.tasks.base import State, Task

Point = Literal["pretrained", "init", "step", "final"]
"""Point that training rewinds to."""


@dataclass(frozen=True)
class Rewinding:
    """Point to rewind to: `pretrained`, `init`, `step` k of the full model's training, or not at all: `final`.

    `init` is the classical lottery ticket (Frankle & Carbin 2019): the full model is trained from the random
    initialisation, and its tickets again from the same one. `final` keeps the trained weights and goes back with the
    schedule of the learning rate alone (Renda, Frankle, Carbin 2020).
    """

    to: Point = "pretrained"
    step: int = 0

    def __post_init__(self) -> None:
        check_choice("point to rewind to", self.to, get_args(Point))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `pretrained`, `init`, `step-K` or `final`.

        Raises:
            TombolaError: it is none of these.
        """
        if text == "pretrained":
            return cls("pretrained")
        if text == "init":
            return cls("init")
        if text == "final":
            return cls("final")
        word, _, number = text.partition("-")
        if word == "step" and number.isdecimal() and int(number) > 0:
            return cls("step", int(number))
        raise TombolaError(f"cannot rewind to {text!r}; choose pretrained, init, final or step-K, as step-100")

    def __str__(self) -> str:
        return f"step-{self.step}" if self.to == "step" else self.to

    @property
    def initial_state(self) -> State:
        """Initial state of the full model's training: at random for `init`, else from the pre-trained weights."""
        return "init" if self.to == "init" else "pretrained"

    def load(self, task: Task, source: str, *, seed: int, full: Path) -> nn.Module:
        """The rewound whole model.

        Args:
            task: loads the model.
            source: asset, folder or hub id of the pre-trained model.
            seed: the full model's, so that the new output layer starts where the full model's did.
            full: the full model's folder, where `step_file` lies.

        Raises:
            TombolaError: the weights of the step, or the full model's, are missing or damaged.
        """
        if self.to == "final":
            return task.load(str(full), seed=seed, state="trained")
        model = task.load(source, seed=seed, state=self.initial_state)
        if self.to == "step":
            path = self.step_file(full)
            try:
                model.load_state_dict(load_file(path))
            except (OSError, SafetensorError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                raise TombolaError(f"{path} cannot be read ({reason}); delete {full} and start again") from None
        return model

    def step_file(self, full: Path) -> Path:
        """File in which the full model's training leaves its weights of the step."""
        return full / f"{self}.safetensors"

    def save_step(self, model: nn.Module, full: Path) -> None:
        """Write the weights that training has now, for `load`."""
        # Cloned, because tied parameters share memory and the format has no name for that.
        state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
        write_bytes(self.step_file(full), save(state))
