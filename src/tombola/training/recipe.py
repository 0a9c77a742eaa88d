"""Recipe of fine-tuning, and the weights that a ticket is trained from."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self, cast, get_args

from tombola.foundations.atomic_files import write_bytes
from tombola.foundations.errors import TombolaError, check_choice, check_number, reading
from tombola.foundations.settings import Count, Flag, NotNegative, Positive, ShareOrNone, described, settings

if TYPE_CHECKING:
    # They take PyTorch, seconds to import, which no list of settings should wait for.
    from torch import nn

    from tombola.tasks.base import State, Task

_setting = described("training")


@settings
class Recipe:
    """Recipe of fine-tuning: AdamW, linear warm-up and decay, clipped gradients.

    The defaults are usual for BERT on GLUE (Devlin et al. 2019). Biases and norms do not decay. A batch is what the
    weights take a step for, however many processes and parts share it: these change results by rounding, and by what
    dropout draws.
    """

    epochs: Annotated[Count, _setting("passes over the training rows")] = 3
    learning_rate: Annotated[Positive, _setting("peak of the schedule")] = 2e-5
    batch_size: Annotated[Count, _setting("training examples in a step")] = 32
    weight_decay: Annotated[NotNegative, _setting("of AdamW")] = 0.01
    warmup_ratio: Annotated[ShareOrNone, _setting("share of the steps that warm up")] = 0.1
    max_grad_norm: Annotated[Positive, _setting("largest norm of the gradient")] = 1.0
    gradient_accumulation_steps: Annotated[
        Count, _setting("parts of each batch, one after another, of which each process holds one in memory")
    ] = 1
    gradient_checkpointing: Annotated[
        Flag, _setting("compute activations again in the backward pass, to save memory", neutral=True)
    ] = False

    def steps(self, examples: int) -> int:
        """Optimizer steps over so many training examples."""
        return self.epochs * -(-examples // self.batch_size)


Point = Literal["pretrained", "init", "step", "final"]


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
        check_number("the step to rewind to", self.step, 1 if self.to == "step" else 0, whole=True)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `pretrained`, `init`, `step-K` or `final`.

        Raises:
            TombolaError: it is none of these.
        """
        if text != "step" and text in get_args(Point):
            return cls(cast(Point, text))
        word, _, number = text.partition("-")
        if word == "step" and number.isdecimal() and int(number) > 0:
            return cls("step", int(number))
        raise TombolaError(f"cannot rewind to {text!r}; choose pretrained, init, final or step-K, as step-100")

    def __str__(self) -> str:
        return f"step-{self.step}" if self.to == "step" else self.to

    @property
    def initial_state(self) -> "State":
        """Initial state of the full model's training: at random for `init`, else from the pre-trained weights."""
        return "init" if self.to == "init" else "pretrained"

    def load(self, task: "Task", source: str, *, seed: int, full: Path) -> "nn.Module":
        """The rewound whole model; `source` is pre-trained, `full` the fine-tuned model's folder, with its `step_file`.

        With the full model's seed, the new output layer starts where that of the full model did.

        Raises:
            TombolaError: the weights of the step, or the full model's, are missing or damaged.
        """
        if self.to == "final":
            return task.load(str(full), seed=seed, state="trained")
        model = task.load(source, seed=seed, state=self.initial_state)
        if self.to == "step":
            from safetensors.torch import load_file

            path = self.step_file(full)
            with reading(path, f"delete {full} and start again"):
                model.load_state_dict(load_file(path))
        return model

    def step_file(self, full: Path) -> Path:
        """File in which the full model's training leaves its weights of the step."""
        return full / f"{self}.safetensors"

    def save_step(self, model: "nn.Module", full: Path) -> None:
        """Write the weights that training has now, for `load`."""
        from safetensors.torch import save

        # Cloned, because tied parameters share memory and the format has no name for that.
        state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
        write_bytes(self.step_file(full), save(state))
