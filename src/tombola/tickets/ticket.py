"""A ticket: which heads, MLPs or weights survive, as an immutable value with set algebra, saved without pickle."""

import bisect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, cast

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from tombola.architectures.anatomy import SHRUNK, Anatomy
from tombola.architectures.site_names import SITE_NAMES
from tombola.architectures.sites import Kept
from tombola.foundations.atomic_files import publish, write_bytes, write_json
from tombola.foundations.errors import TombolaError, check_choice, reading
from tombola.foundations.frozen_dict import FrozenDict
from tombola.foundations.plurals import plural
from tombola.foundations.shown import Shown
from tombola.tickets.kinds import BLOCK, TICKET_KINDS, TicketKind, kinds_in_words
from tombola.tickets.ticket_files import FORMAT, HEAD, MASKS, MEND, read_head


def every_site(anatomy: Anatomy) -> TicketKind:
    """The sites that a model is seen as, unless the user says otherwise."""
    if anatomy.residuals:
        return "heads+channels" if anatomy.attentions else "channels"
    present = [kind for kind in ("heads", "mlps") if any(anatomy.sizes(kind))]
    return cast(TicketKind, "+".join(present or ["heads"]))


@dataclass(frozen=True, eq=False)
class Ticket(Shown):
    """A subnetwork: its masks, the architecture they fit, and where they came from.

    Attributes:
        kind: `weights`, or the kinds of sites that are pruned: `heads+mlps`, `heads+neurons`, ...
        architecture: `Anatomy.signature` of the model that it fits.
        masks: bool tensors on the CPU, True survives. For each kind of site: `heads` [rows, heads] and `mlps` [MLPs],
            as the `Anatomy` has them (one row and one MLP a layer in most families), `neurons` [MLPs, blocks], a block
            being some neighbouring neurons of an MLP, `channels` [residual blocks, groups]. `weights`: one mask of its
            shape for every prunable parameter, by `<layer>.<role>`.
        provenance: JSON values that say how it was found; not part of equality.
        sizes: kind of site → sites of each row, where rows have unequally many. What stands in the mask beyond them is
            no site, and False.
        attention_bias: whether an attention that loses all its heads keeps the bias of its output, as its gates at zero
            leave it.

    Two tickets are equal when kind, architecture and masks are. `a & b`, `a | b` and `~a` are those of sets of
    survivors. The masks must not be modified.

    Raises:
        TombolaError: a mask is not boolean, or two tickets that are combined fit different architectures.
    """

    kind: TicketKind
    architecture: str
    masks: Mapping[str, Tensor]
    provenance: Mapping[str, object] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    attention_bias: bool = True

    def __post_init__(self) -> None:
        check_choice("kind of ticket", self.kind, TICKET_KINDS)
        if not self.masks or any(mask.dtype != torch.bool for mask in self.masks.values()):
            raise TombolaError("a ticket's masks must be boolean tensors: True survives, False is pruned")
        masks = {name: mask & self.exists(name) if name in self.sizes else mask for name, mask in self.masks.items()}
        object.__setattr__(self, "masks", FrozenDict(masks))
        object.__setattr__(self, "sizes", FrozenDict(self.sizes))
        object.__setattr__(self, "provenance", FrozenDict(self.provenance))

    @classmethod
    def full(cls, anatomy: Anatomy, kind: TicketKind, block: int = BLOCK, *, attention_bias: bool = True) -> Self:
        """The ticket from which nothing is pruned; `block` neurons make a block, where they are pruned.

        Raises:
            TombolaError: an MLP's neurons cannot be divided into such blocks, or an attention has no bias of its own.
        """
        if not attention_bias and not all(row.bias for row in anatomy.attentions if row.heads):
            raise TombolaError(
                f"the attention of this {anatomy.model_type} has no bias of its own that could go with its heads; "
                "leave emptied_attention out"
            )
        if "neurons" in kind:
            _check_block(anatomy, block)
        shapes, sizes = _shapes(anatomy, kind, block)
        masks = {name: torch.ones(shape).bool() for name, shape in shapes.items()}
        return cls(kind, anatomy.signature, masks, sizes=sizes, attention_bias=attention_bias)

    @property
    def sites(self) -> tuple[str, ...]:
        """The kinds of sites that are pruned, in order; none in a ticket of weights."""
        return () if self.kind == "weights" else tuple(self.kind.split("+"))

    @property
    def method(self) -> str:
        """Name of the pruning method that found it, by its provenance; else the standard one of its kind."""
        return str(self.provenance.get("method", self.kind))

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

    @property
    def channels(self) -> Tensor:
        """Surviving groups of channels, bool [residual blocks, groups]; only a ticket in which they are pruned."""
        return self.masks["channels"]

    def exists(self, kind: str) -> Tensor:
        """Places of a mask that are sites: bool, of its shape."""
        mask = self.masks[kind]
        if kind not in self.sizes:
            return torch.ones_like(mask)
        sites = torch.arange(mask[0].numel()) < torch.tensor(self.sizes[kind])[:, None]
        return sites.reshape(mask.shape)

    def rows(self, kind: str) -> list[Tensor]:
        """The rows of the mask of a kind of site, bool [sites] each; MLPs have one to a row."""
        mask = self.masks[kind].reshape(len(self.masks[kind]), -1)
        sizes = self.sizes.get(kind, (mask.shape[1],) * len(mask))
        return [row[:size] for row, size in zip(mask, sizes, strict=True)]

    def kept(self, anatomy: Anatomy) -> Kept:
        """Structure that survives: all that the ticket does not prune."""

        def rows(kind: str) -> list[Tensor]:
            if kind in self.masks:
                return self.rows(kind)
            return [torch.ones(size, dtype=torch.bool) for size in anatomy.sizes(kind)]

        mlps = self.masks.get("mlps", torch.ones(anatomy.mlps, dtype=torch.bool))
        pairs = zip(anatomy.feed_forwards, rows("neurons") if "neurons" in self.masks else rows("mlps"), strict=True)
        return Kept(
            heads=tuple(rows("heads")),
            mlps=mlps,
            neurons=tuple(blocks.repeat_interleave(row.neurons // max(1, len(blocks))) for row, blocks in pairs),
            channels=tuple(rows("channels")),
            attention_bias=(self.attention_bias,) * len(anatomy.attentions),
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
        return sum(sum(self.sizes[name]) if name in self.sizes else mask.numel() for name, mask in self.masks.items())

    def survivors(self, anatomy: Anatomy) -> dict[str, int]:
        """Surviving `heads`, `mlps` (those with any neurons), `neurons`, `channels` and `weights`.

        A ticket of weights leaves every site standing. Of channels, groups are counted.
        """
        kept = self.kept(anatomy)
        return {
            "heads": sum(int(mask.sum()) for mask in kept.heads),
            "mlps": sum(bool(mask.any()) for mask in kept.neurons),
            "neurons": sum(int(mask.sum()) for mask in kept.neurons),
            "channels": sum(int(mask.sum()) for mask in kept.channels),
            "weights": len(self) if self.kind == "weights" else anatomy.surviving_weights(kept),
        }

    def sparsity(self, anatomy: Anatomy) -> float:
        """Share of the prunable weights that is removed, 0 to 1."""
        return 1 - self.survivors(anatomy)["weights"] / anatomy.weights

    def without(self, sites: Mapping[str, Iterable[Any]]) -> Self:
        """Ticket with some sites pruned too: kind → those to remove, as a pass of a search names them.

        Raises:
            TombolaError: it has no such sites; they are counted from 0, heads and blocks as [row, place].
        """
        masks = {kind: mask.clone() for kind, mask in self.masks.items()}
        for kind, removed in sites.items():
            check_choice("kind of site of this ticket", kind, self.sites)
            exists = self.exists(kind)
            for site in removed:
                place = (site,) if isinstance(site, Integral) else tuple(site)
                inside = all(0 <= one < size for one, size in zip(place, exists.shape, strict=False))
                if len(place) != exists.ndim or not inside or not exists[place]:
                    raise TombolaError(f"there is no {site!r} among the {kind} of this ticket; they are counted from 0")
                masks[kind][place] = False
        return replace(self, masks=masks)

    def overlap(self, other: Self) -> float:
        """Jaccard similarity of the two sets of survivors; 1 for two empty ones."""
        union = len(self | other)
        return len(self & other) / union if union else 1.0

    def _combined(self, other: "Ticket", operator: Callable[[Tensor, Tensor], Tensor]) -> "Ticket":
        if (self.kind, self.architecture) != (other.kind, other.architecture):
            raise TombolaError(
                f"tickets of {self.kind} for {self.architecture} and of {other.kind} for {other.architecture} "
                "cannot be combined"
            )
        masks = {name: operator(mask, other.masks[name]) for name, mask in self.masks.items()}
        return replace(self, masks=masks, provenance={})

    def __and__(self, other: "Ticket") -> "Ticket":
        return self._combined(other, torch.logical_and)

    def __or__(self, other: "Ticket") -> "Ticket":
        return self._combined(other, torch.logical_or)

    def __invert__(self) -> "Ticket":
        masks = {name: ~mask for name, mask in self.masks.items()}
        return replace(self, masks=masks, provenance={})

    def __le__(self, other: "Ticket") -> bool:
        """True if every survivor of this ticket survives in the other too."""
        return (self & other) == self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ticket):
            return NotImplemented
        return (
            (self.kind, self.architecture, self.attention_bias)
            == (other.kind, other.architecture, other.attention_bias)
            and self.masks.keys() == other.masks.keys()
            and all(torch.equal(mask, other.masks[name]) for name, mask in self.masks.items())
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.architecture, tuple(self.counts().items())))

    def __repr__(self) -> str:
        sites = [(kind, self.counts()[kind], int(self.exists(kind).sum())) for kind in self.sites]
        kept = [f"{left:,} of {plural(total, *SITE_NAMES[kind])}" for kind, left, total in sites]
        return f"Ticket({self.architecture}: {', '.join(kept) or f'{len(self):,} of {self.total:,} weights'})"

    def check(self, anatomy: Anatomy) -> None:
        """Raise a TombolaError unless the ticket fits this architecture."""
        if self.architecture != anatomy.signature:
            # Signature of `tombola.tickets.import_masks`: of masks whose model nobody named.
            imported = self.architecture.startswith("imported-")
            hint = "; bind imported masks to a model by `tombola import-masks --model`" if imported else ""
            if self.architecture.endswith(SHRUNK):
                hint = "; it was found on a shrunk model: give that one"
            elif anatomy.removal is not None and anatomy.removal.whole.signature == self.architecture:
                hint = ", which was shrunk since; give the one that it was shrunk from"
            raise TombolaError(
                f"this ticket is for another model: it fits {self.architecture}, the model is {anatomy.signature}{hint}"
            )
        block = self._block(anatomy) if "neurons" in self.masks else 1
        found = {name: tuple(mask.shape) for name, mask in self.masks.items()}, dict(self.sizes)
        if block == 0 or _shapes(anatomy, self.kind, block) != found:
            raise TombolaError(
                "this ticket is damaged: its masks do not have the shapes of its architecture; find it again"
            )

    def _block(self, anatomy: Anatomy) -> int:
        """Neurons of a block; 0 where the mask of neurons does not fit."""
        # The largest MLP has as many blocks as the mask is wide.
        most, width = max((row.neurons for row in anatomy.feed_forwards), default=0), self.masks["neurons"].shape[-1]
        block = most // width
        return block if block * width == most and anatomy.neurons % block == 0 else 0

    def with_provenance(self, **facts: object) -> "Ticket":
        """Ticket with more facts about its origin."""
        return replace(self, provenance={**self.provenance, **facts})

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
        facts: dict[str, object] = {"sizes": dict(self.sizes)} if self.sizes else {}
        if not self.attention_bias:
            facts["attention_bias"] = False
        write_head(folder, self.kind, self.architecture, shapes, self._stated(), self.provenance, facts)

    def _stated(self) -> dict[str, int]:
        return {"weights": len(self)} if self.kind == "weights" else self.counts()

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read a ticket that `save` wrote.

        Raises:
            TombolaError: no ticket there, or one of its files is damaged or of a newer format.
        """
        folder = Path(folder)
        head = read_head(folder)
        with reading(f"the ticket in {folder}", MEND):
            masks = {}
            with safe_open(folder / MASKS, "np") as file:
                for name, shape in head["shapes"].items():
                    flat = np.unpackbits(file.get_tensor(name), count=math.prod(shape))
                    masks[name] = torch.from_numpy(flat.astype(bool)).reshape(shape)
            sizes = {name: tuple(found) for name, found in head.get("sizes", {}).items()}
            for name, found in sizes.items():
                rows, width = len(masks[name]), masks[name][0].numel()
                if (
                    masks[name].ndim > 2
                    or len(found) != rows
                    or any(type(size) is not int or not 0 <= size <= width for size in found)
                ):
                    raise ValueError(f"{name} has rows of {found}")
            attention_bias = head.get("attention_bias", True)
            if type(attention_bias) is not bool:
                raise ValueError("attention_bias is neither true nor false")
            ticket = cls(head["kind"], head["architecture"], masks, head["provenance"], sizes, attention_bias)
            stated = head["survivors"]
        if stated != ticket._stated():
            raise TombolaError(f"the ticket in {folder} is damaged: its masks do not have the survivors it states")
        return ticket


def bits(mask: Tensor) -> Tensor:
    """A mask as the file of masks holds it: eight to a byte, uint8."""
    return torch.from_numpy(np.packbits(mask.numpy()))


def write_head(
    folder: Path,
    kind: TicketKind,
    architecture: str,
    shapes: Mapping[str, tuple[int, ...]],
    survivors: Mapping[str, int],
    provenance: Mapping[str, object],
    more: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Write `ticket.json`, all of a ticket but its masks; `more` are facts that few tickets have."""
    facts = {"format": FORMAT, "kind": kind, "architecture": architecture, "shapes": dict(shapes), **more}
    write_json(folder / HEAD, {**facts, "survivors": dict(survivors), "provenance": dict(provenance)})


def _shapes(
    anatomy: Anatomy, kind: TicketKind, block: int
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """The shape of every mask of a ticket for this architecture, and the sites of each row where rows are unequal."""
    if kind == "weights":
        return {matrix.name: matrix.shape for matrix in anatomy.matrices}, {}
    shapes: dict[str, tuple[int, ...]] = {}
    sizes = {}
    for site in kind.split("+"):
        rows = anatomy.sizes(site, block)
        if not any(rows):
            known = [one for one in ("heads", "mlps", "neurons", "channels") if any(anatomy.sizes(one))]
            has = kinds_in_words("+".join(known)) if known else "weights"
            raise TombolaError(f"this {anatomy.model_type} has no {kinds_in_words(site)} to prune; it has {has}")
        shapes[site] = (len(rows),) if site == "mlps" else (len(rows), max(rows))
        if len(set(rows)) > 1:
            sizes[site] = rows
    return shapes, sizes


def _check_block(anatomy: Anatomy, size: int) -> None:
    if not any(anatomy.sizes("mlps")):
        return
    neurons = anatomy.neurons
    if size < 1 or neurons % size:
        divisors = [one for one in range(1, neurons + 1) if neurons % one == 0]
        above = bisect.bisect(divisors, size)
        raise TombolaError(
            f"the {neurons} neurons of an MLP cannot be divided into blocks of {size}; blocks of "
            f"{' or '.join(map(str, divisors[max(0, above - 1) : above + 1]))} can"
        )
