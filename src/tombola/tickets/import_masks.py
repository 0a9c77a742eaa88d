"""Import of foreign tickets: a tree of NumPy masks of heads, and MLPs, checked and turned into tickets of ours."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

from tombola.architectures.anatomy import Anatomy
from tombola.foundations.atomic_files import publish
from tombola.foundations.errors import TombolaError, check_folder, one_line, reading
from tombola.foundations.plurals import plural
from tombola.tickets.kinds import TicketKind
from tombola.tickets.ticket import Ticket

HEADS, MLPS = "head_mask.npy", "mlp_mask.npy"
LAYOUT = f"DIR/<task>/<seed>/{HEADS}, with or without {MLPS}"
IMPORTED = "imported"
"""Model type in the signature of tickets that no model was checked for."""


@dataclass(frozen=True)
class Imported:
    """A ticket that was read from NumPy masks, and the task and seed it is of."""

    task: str
    seed: str
    ticket: Ticket


def imported_signature(heads: tuple[int, int], mlps: int | None) -> str:
    """Signature where only the masks' shapes are known, for example `imported-12x12-5f0c1e7a`.

    Tickets of the same shapes have the same and so can be combined and compared with each other. No model has it,
    because no model type is called so: a ticket whose model nobody named is applied to none.
    """
    digest = hashlib.sha256(json.dumps([IMPORTED, heads, mlps]).encode()).hexdigest()
    return f"{IMPORTED}-{heads[0]}x{heads[1]}-{digest[:8]}"


def read_masks(folder: Path | str, anatomy: Anatomy | None = None, model: str | None = None) -> tuple[Imported, ...]:
    """Read a tree of NumPy masks, `<task>/<seed>/head_mask.npy` [layers, heads] and `mlp_mask.npy` [layers].

    Without any `mlp_mask.npy`, the tickets are of heads alone.

    Args:
        folder: the tree. Names that begin with a dot, and files elsewhere, are passed over.
        anatomy: of the model that the masks are of: the tickets then fit it. Without, they fit no model.
        model: its name, for the provenance.

    A mask is of any real number type and holds 0 (pruned) and 1 (survives) only. Nothing is unpickled.

    Raises:
        TombolaError: the tree is missing or empty, a mask lacks where others are, lies elsewhere, cannot be read or is
            no mask, the shapes differ within the tree, or the model has others.
    """
    folder = Path(folder)
    found = [(seed, *_read(seed)) for seed in _seeds(folder)]
    first, heads, mlps = found[0]
    for seed, its_heads, _ in found[1:]:
        if its_heads.shape != heads.shape:
            raise TombolaError(
                f"the masks of {seed} are for {_shape(its_heads)}, those of {first} for {_shape(heads)}; "
                "import the masks of one model at a time"
            )
    of_mlps = None if mlps is None else len(mlps)
    if anatomy is not None and (anatomy.heads != heads.shape or of_mlps not in (None, anatomy.mlps)):
        raise TombolaError(
            f"the masks in {folder} are for {_shape(heads)}, {model or 'the model'} has {anatomy.heads[0]} x "
            f"{anatomy.heads[1]} heads and {anatomy.mlps} MLPs; give the model that they were made for, or none"
        )
    rows, most = heads.shape
    signature = imported_signature((rows, most), of_mlps) if anatomy is None else anatomy.signature
    # Rows of a model that was shrunk may have fewer heads than the masks are wide.
    kind: TicketKind = "heads" if mlps is None else "heads+mlps"
    sizes = {} if anatomy is None else Ticket.full(anatomy, kind).sizes
    tickets = []
    for seed, its_heads, its_mlps in found:
        masks = {"heads": torch.from_numpy(its_heads)}
        if its_mlps is not None:
            masks["mlps"] = torch.from_numpy(its_mlps)
        ticket = Ticket(kind, signature, masks, _provenance(seed, model), sizes)
        tickets.append(Imported(seed.parent.name, _name(seed), ticket))
    return tuple(tickets)


def import_masks(
    folder: Path | str, out: Path | str, anatomy: Anatomy | None = None, model: str | None = None
) -> tuple[Imported, ...]:
    """Write a tree of NumPy masks as tickets, `<out>/<task>/seed-<s>/good/`: all of them or none.

    Raises:
        TombolaError: as `read_masks`; two seeds have one name, or `out` exists or cannot be written.
    """
    tickets = read_masks(folder, anatomy, model)
    with publish(Path(out)) as draft:
        for one in tickets:
            place = draft / one.task / f"seed-{one.seed}" / "good"
            if place.exists():
                raise TombolaError(f"two folders of {Path(folder) / one.task} are of seed {one.seed}; rename one")
            place.mkdir(parents=True)
            one.ticket.write(place)
    return tickets


def _provenance(seed: Path, model: str | None) -> dict[str, object]:
    name = _name(seed)
    return {
        "ticket": "good",
        "task": seed.parent.name,
        "seed": int(name) if name.isdecimal() else name,
        **({} if model is None else {"model": model}),
        "imported_from": str(seed),
        "sha256": {
            file: hashlib.sha256((seed / file).read_bytes()).hexdigest()
            for file in (HEADS, MLPS)
            if (seed / file).is_file()
        },
    }


def _name(seed: Path) -> str:
    """The seed that a folder is named for: `1` for `1`, `seed-1`, `seed_1` and `seed1`; any other name as it is."""
    bare = seed.name.lower().removeprefix("seed").lstrip("-_ =")
    return bare if bare.isdecimal() else seed.name


def _seeds(folder: Path) -> list[Path]:
    check_folder(folder, f"give the folder of a tree {LAYOUT}")
    seeds = sorted(path for path in folder.glob("[!.]*/[!.]*") if path.is_dir())
    for name in (HEADS, MLPS):
        for path in sorted(folder.rglob(name)):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if path.parent not in seeds and not hidden:
                raise TombolaError(f"{path} lies at the wrong depth; the tree is {LAYOUT}")
    if not seeds:
        raise TombolaError(f"there are no masks in {folder}; give the folder of a tree {LAYOUT}")
    # Of heads alone only where no folder has a mask of MLPs: a single one that lacks is a mistake.
    needed = [HEADS, *([MLPS] if any((seed / MLPS).is_file() for seed in seeds) else [])]
    for seed in seeds:
        missing = [name for name in needed if not (seed / name).is_file()]
        if missing:
            raise TombolaError(f"{seed} has no {' and no '.join(missing)}; add the masks, or take the folder away")
    return seeds


def _read(seed: Path) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    heads = _mask(seed / HEADS, ("layers", "heads"))
    if not (seed / MLPS).is_file():
        return heads, None
    mlps = _mask(seed / MLPS, ("layers",))
    if len(heads) != len(mlps):
        raise TombolaError(
            f"{seed / HEADS} has {len(heads)} layers, {MLPS} beside it {len(mlps)}; they must have as many"
        )
    return heads, mlps


_LARGEST = 2**26
"""Bytes of a file with a mask, at most."""


def _mask(path: Path, axes: Sequence[str]) -> NDArray[np.bool_]:
    mend = "save it again with numpy.save"
    with reading(path, mend), one_line(f"{path} is no NumPy array of numbers", mend), path.open("rb") as file:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST:,} bytes")
        # Not np.load: it takes archives too.
        values: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    if values.dtype.kind not in "biuf":
        raise TombolaError(f"{path} is of type {values.dtype}, a mask is of floats; save it again with numpy.save")
    if values.ndim != len(axes) or not values.size:
        raise TombolaError(f"{path} has the shape {list(values.shape)}, a mask here is [{', '.join(axes)}]")
    wrong = np.argwhere((values != 0) & (values != 1))
    if len(wrong):
        at = tuple(wrong[0].tolist())
        raise TombolaError(
            f"{path} is no mask: it holds {values[at]} at {list(at)}, and 0 or 1 must stand everywhere "
            f"({len(wrong):,} of {values.size:,} values are neither)"
        )
    return values.astype(bool)


def _shape(heads: NDArray[np.bool_]) -> str:
    return f"{plural(heads.shape[0], 'layer')} of {plural(heads.shape[1], 'head')}"
