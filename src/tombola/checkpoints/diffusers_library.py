"""Denoisers of diffusers, as a model library. Their import takes seconds, so that it waits until there is one."""

from pathlib import Path
from typing import Any, cast

from accelerate import init_empty_weights
from torch import nn
from typing_extensions import override

from tombola.architectures.denoisers import class_of_denoiser
from tombola.architectures.parameters import dtype_of
from tombola.checkpoints.loading import quiet
from tombola.checkpoints.model_library import Library

_BATCHES = (1, 4, 16)
_MOST = 2e11
"""Multiply-adds of a batch of images, at most, unless the user says which batches: seconds on a CPU."""


class DiffusersLibrary(Library):
    """Models of diffusers."""

    name = "diffusers"
    iterative = True

    @property
    @override
    def version(self) -> str:
        import diffusers

        return str(diffusers.__version__)

    @override
    def owns(self, model: nn.Module) -> bool:
        return any(
            kind.__name__ == "ModelMixin" and kind.__module__.partition(".")[0] == "diffusers"
            for kind in type(model).__mro__
        )

    @override
    def class_of(self, folder: Path) -> type[nn.Module]:
        from tombola.checkpoints import denoisers

        return denoisers.class_of(str(folder))

    @override
    def load(self, source: str, *, check: bool = True) -> nn.Module:
        from tombola.checkpoints import denoisers

        with quiet():
            return denoisers.load(source, dtype=None)

    @override
    def write_config(self, model: nn.Module, folder: Path) -> None:
        cast(Any, model).save_config(folder)

    @override
    def blank(self, kind: str, folder: Path) -> nn.Module | None:
        import diffusers

        found: Any = getattr(diffusers, kind, None)
        if not (isinstance(found, type) and issubclass(found, diffusers.ModelMixin)):
            return None
        config = cast(Any, found).load_config(folder)
        with init_empty_weights(include_buffers=False):
            return cast(nn.Module, cast(Any, found).from_config(config))

    @override
    def finish(self, model: nn.Module, folder: Path) -> None:
        pass

    @override
    def save(self, model: nn.Module, folder: Path) -> None:
        cast(Any, model).save_pretrained(folder)

    @override
    def read(self, like: nn.Module, folder: Path) -> nn.Module:
        kind: Any = type(like)
        return cast(nn.Module, kind.from_pretrained(folder, torch_dtype=dtype_of(like), use_safetensors=True))

    @override
    def save_companions(self, source: str, folder: Path) -> None:
        from tombola.checkpoints.pipelines import SCHEDULE, schedule_of

        schedule = schedule_of(source)
        if schedule is not None:
            schedule.save_pretrained(folder / SCHEDULE)

    @override
    def origin(self, model: nn.Module) -> str:
        return str(getattr(model.config, "_name_or_path", ""))

    @override
    def usage(self, model: nn.Module, original: str) -> str:
        # The pipeline takes a part that it is given as it is, whatever its shapes.
        return (
            "\n\nfrom diffusers import DiffusionPipeline\n"
            f'pipeline = DiffusionPipeline.from_pretrained("{original}", {class_of_denoiser(model).part}=model)'
        )

    @override
    def batch_sizes(self, multiply_adds: int) -> tuple[int, ...]:
        return tuple(batch for batch in _BATCHES if batch == 1 or batch * multiply_adds < _MOST)
