"""Refusals of folders and configurations, before a library reads them: each is one line that says what is there."""

import contextlib
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers.activations import ACT2FN
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tombola.architectures.parameters import count_parameters
from tombola.checkpoints.sources import MARK
from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError, reading


def refuse_shrunk(source: str, folder: Path) -> None:
    """Raise a TombolaError where a folder, that of `source`, holds a shrunk model."""
    if (folder / MARK).is_file():
        raise TombolaError(
            f"{source} is a shrunk model, which is not pruned file by file; prune it in memory (tombola.prune_weights)"
        )


_ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function", "dense_act_fn")


def check_known(config: Mapping[str, Any], where: str) -> None:
    """Raise a TombolaError where a configuration names a kind of model, or an activation, that transformers lacks."""
    for name, known in (("model_type", CONFIG_MAPPING), *((one, ACT2FN) for one in _ACTIVATIONS)):
        value = config.get(name)
        if isinstance(value, str) and value not in known and "auto_map" not in config:
            raise TombolaError(f"{where}: this transformers has no {name} {value!r}; mend it, or update transformers")


MOST_LAYERS = 1000
"""Layers of a model, or of a block of it, at most: a library makes as many as its configuration says."""


def check_layers(config: Mapping[str, Any], where: str) -> None:
    """Raise a TombolaError where a configuration, read from `where`, holds NaN or counts more than `MOST_LAYERS`."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            check_layers(value, where)
        counts = value if isinstance(value, list | tuple) else [value]
        if "layer" in str(name) and any(isinstance(one, int) and one > MOST_LAYERS for one in counts):
            raise TombolaError(f"{where}: {name} is {value}, and {MOST_LAYERS:,} layers are read at most; mend it")
        if any(isinstance(one, float) and math.isnan(one) for one in counts):
            # PyTorch takes it for a probability, of dropout, until it draws.
            raise TombolaError(f"{where}: {name} is not a number; mend it")


def check_size(
    build: Callable[[], nn.Module],
    files: Iterable[Path],
    what: str,
    mend: str = "give the configuration that it was saved with",
    *,
    weights_a_byte: int = 4,
) -> None:
    """Raise a TombolaError where a model would have far more parameters than its files, if there are any, hold.

    A library fills the memory before it compares them.

    Args:
        build: makes the model, here without memory.
        files: of its weights.
        what: asks for it, as `the configuration of ...`; `mend` says what to do.
        mend: see there.
        weights_a_byte: parameters that a byte may hold: four-bit weights are two to a byte.
    """
    size, count = _bytes(files), 0
    # What cannot be made is refused by what loads it.
    with contextlib.suppress(Exception), torch.random.fork_rng([]), torch.device("meta"):
        count = count_parameters(build()) if size else 0
    if size and count > weights_a_byte * size + _NEW:
        raise TombolaError(f"{what} asks for {count:,} parameters, and its files hold {size:,} bytes; {mend}")


_NEW = 2**26
"""Parameters of a new output layer, at most."""


def _bytes(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)


@contextlib.contextmanager
def sized(files: Iterable[Path], what: str) -> Iterator[None]:
    """Refuse what `check_size` does while transformers makes a model in the block, without memory, before it fills any.

    So the model need not be made once more to be counted.

    Args:
        files: of its weights; nothing is refused where there are none.
        what: asks for it, as `the configuration of ...`.

    Raises:
        TombolaError: by what makes the model: it would have far more parameters than the files hold.
    """
    size, count = _bytes(files), 0
    seen: dict[int, nn.Parameter] = {}

    def registered(_: nn.Module, __: str, parameter: object) -> None:
        nonlocal count
        # Kept, so that no other gets its place in memory: what has none costs none.
        if isinstance(parameter, nn.Parameter) and parameter.is_meta and id(parameter) not in seen:
            seen[id(parameter)] = parameter
            count += parameter.numel()
            if size and count > 4 * size + _NEW:
                mend = "give the configuration that it was saved with"
                raise TombolaError(
                    f"{what} asks for {count:,} parameters or more, and its files hold {size:,} bytes; {mend}"
                )

    with register_module_parameter_registration_hook(registered):
        yield


def refuse_lacking(source: str, kind: type, missing: Collection[str]) -> None:
    """Raise a TombolaError where tensors of a class are missing from the checkpoint of `source`."""
    if missing:
        raise TombolaError(
            f"{source} lacks {len(missing)} tensors of a {kind.__name__}, {min(missing)} among them, which would be "
            "random; give a folder with all weights"
        )


def refuse_pickles(source: str, folder: Path) -> None:
    """Raise a TombolaError where a local folder's weights are pickles alone, or its index leads to some.

    Whoever wrote a pickle may run code where it is opened. Of a hub id only safetensors are asked for.
    """
    kinds = () if any(folder.glob("*.safetensors")) else ("*.bin", "*.bin.index.json")
    pickles = sorted(file.name for kind in kinds for file in folder.glob(kind))
    for index in sorted(folder.rglob("*.safetensors.index.json")):
        shards = read_json(index).get("weight_map")
        names = [*map(str, shards.values())] if isinstance(shards, dict) else []
        pickles += [name for name in names if not name.endswith(".safetensors")]
        if outside := [name for name in names if {"..", "/"} & {*Path(name).parts}]:
            raise TombolaError(f"{index} leads out of its folder, to {outside[0]}; download the model again")
    if pickles:
        raise _pickle(source, pickles[0])


def refuse_quantised(source: str, packing: object) -> None:
    """Raise a TombolaError where a configuration has such a `quantization_config`.

    Of some kinds a library takes plain weights for packed ones or unpacks them, others it passes over in silence; and
    what is saved of the model would still say that it is packed.
    """
    if packing is not None:
        known = isinstance(packing, Mapping) and packing.get("quant_method")
        raise TombolaError(
            f"cannot load {source!r}: its weights are quantised ({known or 'in a way that it does not name'}), and "
            "those are not pruned: give it in 16 or 32 bits, without quantization_config in its config.json"
        )


def refuse_other_shapes(source: str, model: nn.Module, folder: Path) -> None:
    """Raise a TombolaError where a local folder's safetensors are of other shapes than a model's of their names.

    Only the heads of the files are read.
    """
    wanted = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    for file in sorted(folder.glob("*.safetensors")):
        with reading(file, "save the model again"), safe_open(file, "pt") as tensors:
            for name in sorted(wanted.keys() & set(tensors.keys())):
                if (stored := tensors.get_slice(name).get_shape()) != wanted[name]:
                    raise other_shape(source, name, stored, wanted[name])


def other_shape(source: str, name: str, stored: Iterable[int], wanted: Iterable[int]) -> TombolaError:
    """Error for a tensor that is stored in another shape than the configuration of `source` asks for."""
    return TombolaError(
        f"{source} holds {name} as {list(stored)}, and its configuration asks for {list(wanted)}; give the "
        "configuration that it was saved with"
    )


def _pickle(source: str, name: str) -> TombolaError:
    return TombolaError(
        f"{source} holds weights as a pickle ({name}), which Tombola does not open, as it may run code; give them as "
        "safetensors"
    )


@contextlib.contextmanager
def no_pickles(source: str) -> Iterator[None]:
    """Refuse pickles while the block runs, wherever an index of `source`, at the hub too, leads a library.

    Raises:
        TombolaError: the library was about to open one.
    """

    def refuse(file: object, *_: object, **__: object) -> None:
        raise _pickle(source, Path(str(file)).name)

    # Libraries have no way to be told: they look at how the name of each file ends.
    opener: Any = torch
    before, opener.load = opener.load, refuse
    try:
        yield
    finally:
        opener.load = before
