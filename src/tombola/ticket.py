"""A ticket: which heads, MLPs or weights survive, as an immutable value with set algebra, saved without pickle."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tombola.anatomy import Anatomy, Kept
from tombola.errors import TombolaError
from tombola.store import publish, write_bytes, write_json

Pruning = Literal["heads+mlps", "heads+neurons", "heads", "mlps", "neurons", "weights"]
"""What is removed: sites of one or two kinds (s-pruning) or single weights (m-pruning)."""

PRUNINGS: tuple[Pruning, ...] = ("heads+mlps", "heads+neurons", "heads", "mlps", "neurons", "weights")


BLOCK = 32
"""Neurons of a block, unless the user says otherwise."""

TICKETS = ("good", "random", "random-layerwise", "bad")
"""The tickets of each pruning in a study, in the order of rows, tables and charts."""

SUPER_TICKETS = ("super-survivors", "super-random", "super-bad")
"""The tickets of what survives in every seed of a study, with random and bad ones of their size."""

FORMAT = 1
MASKS = "masks.safetensors"
"""The file of a ticket's masks."""


@dataclass(frozen=True, eq=False)
class Ticket:
    """A subnetwork: its masks, the architecture they fit, and where they came from.

    Attributes:
        pruning: `weights`, or the kinds of sites that are pruned: `heads+mlps`, `heads+neurons`, ...
        architecture: `Anatomy.signature` of the model that it fits.
        masks: bool tensors on the CPU, True survives. For each kind of site: `heads` [rows, heads] and `mlps` [MLPs],
            as the `Anatomy` has them (one row and one MLP a layer in most families), `neurons` [MLPs, blocks], a block
            being some neighbouring neurons of an MLP. `weights`: one mask of its shape for every prunable parameter,
            by `<layer>.<kind>`.
        provenance: JSON values that say how it was found; not part of equality.

    Two tickets are equal when pruning, architecture and masks are. `a & b`, `a | b` and `~a` are those of sets of
    survivors. The masks must not be modified.

    Raises:
        TombolaError: a mask is not boolean, or two tickets that are combined fit different architectures.
    """

    pruning: Pruning
    architecture: str
    masks: Mapping[str, Tensor]
    provenance: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pruning not in PRUNINGS:
            raise TombolaError(f"unknown pruning {self.pruning!r}; known: {', '.join(PRUNINGS)}")
        if not self.masks or any(mask.dtype != torch.bool for mask in self.masks.values()):
            raise TombolaError("a ticket's masks must be boolean tensors: True survives, False is pruned")
        object.__setattr__(self, "masks", MappingProxyType(dict(self.masks)))
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    @classmethod
    def everything(cls, anatomy: Anatomy, pruning: Pruning, block: int = BLOCK) -> Self:
        """The ticket from which nothing is pruned; `block` neurons make a block, where they are pruned.

        Raises:
            TombolaError: an MLP's neurons cannot be divided into such blocks.
        """
        shapes = _shapes(anatomy, pruning, _blocks(anatomy, block) if "neurons" in pruning else 0)
        return cls(pruning, anatomy.signature, {name: torch.ones(shape).bool() for name, shape in shapes.items()})

    @property
    def sites(self) -> tuple[str, ...]:
        """The kinds of sites that are pruned, in order; none in a ticket of weights."""
        return () if self.pruning == "weights" else tuple(self.pruning.split("+"))

    @property
    def heads(self) -> Tensor:
        """Surviving heads, bool [rows, heads]; only a ticket in which heads are pruned has them."""
        return self.masks["heads"]

    @property
    def mlps(self) -> Tensor:
        """Surviving MLPs, bool [MLPs]; only a ticket in which MLPs are pruned has them."""
        return self.masks["mlps"]

    @property
    def neurons(self) -> Tensor:
        """Surviving blocks of neurons, bool [MLPs, blocks]; only a ticket in which neurons are pruned has them."""
        return self.masks["neurons"]

    def kept(self, anatomy: Anatomy) -> Kept:
        """What of the structure survives, unit by unit: all that the ticket does not prune."""
        mlps = self.masks.get("mlps", torch.ones(anatomy.mlps, dtype=torch.bool))
        neurons = self.masks.get("neurons", mlps[:, None])
        pairs = zip(anatomy.feed_forwards, neurons, strict=True)
        return Kept(
            heads=self.masks.get("heads", torch.ones(anatomy.heads, dtype=torch.bool)),
            mlps=mlps,
            neurons=tuple(blocks.repeat_interleave(row.neurons // len(blocks)) for row, blocks in pairs),
        )

    def counts(self) -> dict[str, int]:
        """Survivors of each mask."""
        return {name: int(mask.sum()) for name, mask in self.masks.items()}

    def __len__(self) -> int:
        """Number of survivors."""
        return sum(self.counts().values())

    @property
    def total(self) -> int:
        """Number of sites or weights, surviving or not."""
        return sum(mask.numel() for mask in self.masks.values())

    def survivors(self, anatomy: Anatomy) -> dict[str, int]:
        """Surviving `heads`, `mlps` (those with any neurons), `neurons` and `weights`.

        A ticket of weights leaves every site standing.
        """
        kept = self.kept(anatomy)
        return {
            "heads": int(kept.heads.sum()),
            "mlps": sum(bool(mask.any()) for mask in kept.neurons),
            "neurons": sum(int(mask.sum()) for mask in kept.neurons),
            "weights": len(self) if self.pruning == "weights" else anatomy.surviving_weights(kept),
        }

    def sparsity(self, anatomy: Anatomy) -> float:
        """Share of the prunable weights that is removed, 0 to 1."""
        return 1 - self.survivors(anatomy)["weights"] / anatomy.weights

    def without(self, sites: Mapping[str, Iterable[Any]]) -> Self:
        """The same ticket with some sites pruned too: kind → those to remove, as a search's step names them."""
        masks = {kind: mask.clone() for kind, mask in self.masks.items()}
        for kind, removed in sites.items():
            for site in removed:
                masks[kind][site if isinstance(site, int) else tuple(site)] = False
        return replace(self, masks=masks)

    def overlap(self, other: Self) -> float:
        """Jaccard similarity of the two sets of survivors; 1 for two empty ones."""
        union = len(self | other)
        return len(self & other) / union if union else 1.0

    def _combined(self, other: "Ticket", operator: Callable[[Tensor, Tensor], Tensor]) -> "Ticket":
        if (self.pruning, self.architecture) != (other.pruning, other.architecture):
            raise TombolaError(
                f"tickets of {self.pruning} for {self.architecture} and of {other.pruning} for {other.architecture} "
                "cannot be combined"
            )
        masks = {name: operator(mask, other.masks[name]) for name, mask in self.masks.items()}
        return Ticket(self.pruning, self.architecture, masks)

    def __and__(self, other: "Ticket") -> "Ticket":
        return self._combined(other, torch.logical_and)

    def __or__(self, other: "Ticket") -> "Ticket":
        return self._combined(other, torch.logical_or)

    def __invert__(self) -> "Ticket":
        return Ticket(self.pruning, self.architecture, {name: ~mask for name, mask in self.masks.items()})

    def __le__(self, other: "Ticket") -> bool:
        """Whether every survivor of this ticket survives in the other too."""
        return (self & other) == self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ticket):
            return NotImplemented
        return (
            (self.pruning, self.architecture) == (other.pruning, other.architecture)
            and self.masks.keys() == other.masks.keys()
            and all(torch.equal(mask, other.masks[name]) for name, mask in self.masks.items())
        )

    def __hash__(self) -> int:
        return hash((self.pruning, self.architecture, tuple(self.counts().items())))

    def __repr__(self) -> str:
        if self.pruning == "weights":
            return f"Ticket({self.architecture}: weights {len(self)}/{self.total})"
        kept = ", ".join(f"{name} {int(mask.sum())}/{mask.numel()}" for name, mask in self.masks.items())
        return f"Ticket({self.architecture}: {kept})"

    def check(self, anatomy: Anatomy) -> None:
        """Raise a TombolaError unless the ticket fits this architecture."""
        if self.architecture != anatomy.signature:
            # Signature of `tombola.analysis.imported`: of masks whose model nobody named.
            imported = self.architecture.startswith("imported-")
            hint = "; bind imported masks to a model by `tombola import-masks --model`" if imported else ""
            raise TombolaError(
                f"this ticket is for another model: it fits {self.architecture}, the model is {anatomy.signature}{hint}"
            )
        blocks = self.masks["neurons"].shape[-1] if "neurons" in self.masks else 0
        fits = _shapes(anatomy, self.pruning, blocks) == {name: tuple(mask.shape) for name, mask in self.masks.items()}
        if not fits or (blocks and anatomy.neurons % blocks):
            raise TombolaError(
                "this ticket is damaged: its masks do not have the shapes of its architecture; find it again"
            )

    def with_provenance(self, **facts: object) -> "Ticket":
        """The same ticket with more facts about its origin."""
        return Ticket(self.pruning, self.architecture, self.masks, {**self.provenance, **facts})

    def save(self, folder: Path | str) -> None:
        """Write `ticket.json` and `masks.safetensors` (packed bits) as one new folder, atomically.

        Raises:
            TombolaError: the folder exists, or the disk is full.
        """
        with publish(Path(folder)) as draft:
            self.write(draft)

    def write(self, folder: Path) -> None:
        """Write the two files of a ticket into an existing folder."""
        write_bytes(folder / MASKS, save({name: bits(mask) for name, mask in self.masks.items()}))
        shapes = {name: tuple(mask.shape) for name, mask in self.masks.items()}
        write_head(folder, self.pruning, self.architecture, shapes, self._stated(), self.provenance)

    def _stated(self) -> dict[str, int]:
        """The survivors that `ticket.json` states."""
        return {"weights": len(self)} if self.pruning == "weights" else self.counts()

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read a ticket that `save` wrote.

        Raises:
            TombolaError: no ticket there, or one of its files is damaged or of a newer format.
        """
        folder = Path(folder)
        path = folder / "ticket.json"
        try:
            head = json.loads(path.read_text(encoding="utf-8"))
            if head["format"] != FORMAT:
                raise TombolaError(f"{path} has format {head['format']}, this Tombola reads {FORMAT}; update Tombola")
            if head["pruning"] not in PRUNINGS or not head["shapes"]:
                raise ValueError(f"no masks of {head['pruning']}")
            masks = {}
            with safe_open(folder / MASKS, "pt") as file:
                for name, shape in head["shapes"].items():
                    if not shape or any(type(size) is not int or size < 1 for size in shape):
                        raise ValueError(f"{name} has the shape {shape}")
                    packed, size = file.get_tensor(name).numpy(), math.prod(shape)
                    # Unpacking would fill what lacks with zeros.
                    if packed.shape != (-(-size // 8),):
                        raise ValueError(f"{name} does not have {size} bits")
                    bits = np.unpackbits(packed, count=size)
                    masks[name] = torch.from_numpy(bits.astype(bool)).reshape(shape)
            ticket = cls(head["pruning"], head["architecture"], masks, head["provenance"])
            stated = head["survivors"]
        except FileNotFoundError:
            missing = path.name if not path.exists() else MASKS
            raise TombolaError(
                f"no ticket in {folder}: {missing} is missing; give the folder of a ticket, such as good/"
            ) from None
        except (KeyError, TypeError, ValueError, AttributeError, SafetensorError, OSError) as error:
            raise TombolaError(
                f"the ticket in {folder} is damaged ({type(error).__name__}: {error}); find it again"
            ) from None
        if stated != ticket._stated():
            raise TombolaError(f"the ticket in {folder} is damaged: its masks do not have the survivors it states")
        return ticket


def bits(mask: Tensor) -> Tensor:
    """A mask as the file of masks holds it: eight to a byte, uint8."""
    return torch.from_numpy(np.packbits(mask.numpy()))


def write_head(
    folder: Path,
    pruning: Pruning,
    architecture: str,
    shapes: Mapping[str, tuple[int, ...]],
    survivors: Mapping[str, int],
    provenance: Mapping[str, object],
) -> None:
    """Write `ticket.json`, all of a ticket but its masks."""
    write_json(
        folder / "ticket.json",
        {
            "format": FORMAT,
            "pruning": pruning,
            "architecture": architecture,
            "shapes": {name: list(shape) for name, shape in shapes.items()},
            "survivors": dict(survivors),
            "provenance": dict(provenance),
        },
    )


def _shapes(anatomy: Anatomy, pruning: Pruning, blocks: int) -> dict[str, tuple[int, ...]]:
    """The shape of every mask of a ticket for this architecture."""
    if pruning == "weights":
        return {matrix.name: matrix.shape for matrix in anatomy.matrices}
    of_kind: dict[str, tuple[int, ...]] = {
        "heads": anatomy.heads,
        "mlps": (anatomy.mlps,),
        "neurons": (anatomy.mlps, blocks),
    }
    return {kind: of_kind[kind] for kind in pruning.split("+")}


def _blocks(anatomy: Anatomy, size: int) -> int:
    """Number of blocks of `size` neurons in an MLP."""
    neurons = anatomy.neurons
    if size < 1 or neurons % size:
        sizes = [divisor for divisor in range(1, neurons + 1) if neurons % divisor == 0]
        near = {
            max((one for one in sizes if one <= size), default=1),
            min((one for one in sizes if one > size), default=1),
        }
        raise TombolaError(
            f"the {neurons} neurons of an MLP cannot be divided into blocks of {size}; blocks of "
            f"{' or '.join(str(divisor) for divisor in sorted(near))} can"
        )
    return neurons // size
