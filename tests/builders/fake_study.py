"""A plausible study's folder without a model: what the report's tests read."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tombola.foundations.atomic_files import write_json, write_lines
from tombola.metrics import statistics
from tombola.metrics.statistics import Verdict
from tombola.pruning.importance import Importance
from tombola.study.results import TicketVerdict, beside_controls
from tombola.tickets.kinds import TICKETS, TicketKind
from tombola.tickets.pruning_methods import in_words
from tombola.tickets.ticket import Ticket

ROLES = ("query", "key", "value", "attention_output", "mlp_in", "mlp_out")
HOSTILE = "<script>alert('x')</script>"
RETRAINED = {"good": 0.842, "random": 0.826, "layer-matched": 0.831, "bad": 0.804}
PRUNED = {"good": 0.771, "random": 0.603, "layer-matched": 0.655, "bad": 0.531}
FULL = 0.846
AGAINST = {"random": 0.016, "layer-matched": 0.009, "bad": 0.038}


PAPERS: tuple[TicketKind, ...] = ("heads+mlps", "weights")
HEAD = 4 * 384 * 384
INNER = 1536
MLP = 2 * 384 * INNER


@dataclass(frozen=True)
class Shape:
    """An architecture: rows of heads, MLPs, and the names of several stacks."""

    rows: int
    heads: int
    mlps: int
    blocks: int = 24
    layer_names: tuple[str, ...] = ()
    attention_names: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return self.rows * HEAD + self.mlps * MLP

    def weights(self, heads: int, neurons: int) -> int:
        return heads * HEAD // self.heads + neurons * MLP // INNER

    def kept(self, kind: str) -> tuple[int, ...]:
        return {"heads": (self.rows, self.heads), "mlps": (self.mlps,), "neurons": (self.mlps, self.blocks)}[kind]


def two_stacks(layers: int, heads: int) -> Shape:
    """As in T5: a layer of the decoder has two rows of heads."""
    encoder, decoder = ([f"{stack} {layer}" for layer in range(layers)] for stack in ("encoder", "decoder"))
    rows = [name for layer in decoder for name in (layer, f"{layer} cross")]
    return Shape(3 * layers, heads, 2 * layers, layer_names=(*encoder, *decoder), attention_names=(*encoder, *rows))


def fake_study(
    folder: Path,
    *,
    seeds: Sequence[int] = (0,),
    methods: Sequence[TicketKind] = PAPERS,
    layers: int = 6,
    heads: int = 12,
    stacks: bool = False,
    finer: Sequence[float] = (0.8, 0.75, 0.85, 0.8, 0.8),
    glue: str | None = None,
    model: str = "minilm",
    finished: bool = True,
    hostile: bool = False,
) -> Path:
    """Write a study and return its folder.

    Args:
        folder: where to.
        seeds: the seeds that are done.
        methods: the methods that are done.
        layers, heads: the architecture.
        stacks: an encoder and a decoder of so many layers each.
        finer: surviving weights of good tickets of neurons, as a share of those of MLPs, seed by seed.
        glue: the name that GLUE gives the task.
        model: the model's name.
        finished: False leaves out verdicts and retrained tickets.
        hostile: put markup into every text that a user can choose.
    """
    bad_text = HOSTILE if hostile else ""
    model += bad_text
    name = (glue or "rotten-tomatoes").lower()
    metric = "matthews_correlation" if glue == "CoLA" else "accuracy"
    draw = random.Random(7)
    shape = two_stacks(layers, heads) if stacks else Shape(layers, heads, layers)
    rows = [
        row for seed in seeds for row in _rows(draw, seed, methods, shape, finer[seed], model, name, metric, finished)
    ]
    if hostile:
        for row in rows:
            row["metric"] = f"accuracy{bad_text}"
    write_lines(folder / "results.jsonl", rows)
    write_json(folder / "study.json", _facts(name, bad_text, model, metric, glue, list(seeds), methods, shape))
    if finished:
        write_json(folder / "verdicts.json", {"verdicts": _verdicts(rows, methods, metric, bad_text)})
    for seed in seeds:
        for method in methods:
            _search(draw, folder / name / f"seed-{seed}" / method, method, shape, bad_text)
    return folder


def _size(method: str, shape: Shape, finer: float) -> dict[str, Any]:
    heads, neurons, mlps = shape.rows * shape.heads, shape.mlps * INNER, shape.mlps
    if "heads" in method:
        heads = round(0.55 * heads)
    if "mlps" in method:
        mlps -= 2
        neurons = mlps * INNER
    if "neurons" in method:
        neurons = round((finer * shape.weights(heads, neurons - 2 * INNER) - shape.weights(heads, 0)) * INNER / MLP)
    left = round(0.478 * shape.total) if method == "weights" else shape.weights(heads, neurons)
    parameters = 22_713_986 - (0 if method == "weights" else shape.total - left)
    return {
        "heads": heads, "mlps": mlps, "neurons": neurons, "channels": 0, "weights": left,
        "sparsity": 1 - left / shape.total, "parameters": parameters, "bytes": 4 * parameters, "loss": 0.4,
    }  # fmt: skip


def _rows(
    draw: random.Random,
    seed: int,
    methods: Sequence[str],
    shape: Shape,
    finer: float,
    model: str,
    name: str,
    metric: str,
    finished: bool,
) -> list[dict[str, Any]]:
    def row(method: str, ticket: str, stage: str, score: float, seconds: float) -> dict[str, Any]:
        score = round(score + draw.gauss(0, 0.004), 5) if ticket != "guessing" else score
        half = 1.96 * math.sqrt(abs(score * (1 - score)) / 2000)
        return {
            "model": model, "task": name, "seed": seed, "method": method, "ticket": ticket, "stage": stage,
            "metric": metric, "score": score, "score_low": score - half, "score_high": score + half, "n": 2000,
            **_size(method, shape, finer), "seconds": seconds, "more": {"f1": round(score - 0.012, 4)},
        }  # fmt: skip

    floor = 0.0 if metric == "matthews_correlation" else 0.512
    found = [row("none", "full", "none", FULL, 241.3), row("none", "guessing", "none", floor, 0.0)]
    for method in methods:
        shift = 0.011 if method == "weights" else 0.0
        for ticket in TICKETS:
            found.append(row(method, ticket, "pruned", PRUNED[ticket] + shift, 5.2))
            if finished:
                found.append(row(method, ticket, "retrained", RETRAINED[ticket] + shift / 4, 187.9))
    return found


def _verdicts(
    rows: Sequence[Mapping[str, Any]], methods: Sequence[str], metric: str, bad_text: str
) -> list[dict[str, object]]:
    def mean_std(method: str, ticket: str, stage: str) -> tuple[float, float]:
        place = (method, ticket, stage)
        return statistics.mean_std([r["score"] for r in rows if (r["method"], r["ticket"], r["stage"]) == place])

    n = len({row["seed"] for row in rows})
    full_mean, full_std = mean_std("none", "full", "none")
    found = []
    for method in methods:
        for ticket in TICKETS:
            mean, std = mean_std(method, ticket, "retrained")
            difference = mean - full_mean
            verdict = Verdict(
                matches=ticket == "good", metric=metric, mean=mean, std=std, full_mean=full_mean, full_std=full_std,
                difference=difference, low=difference - 0.012, high=difference + 0.011, n_seeds=n, n_examples=2000,
                chance=0.0, learned=True, rule="seeds" if n > 1 else "bootstrap",
            )  # fmt: skip
            sentence = verdict.sentence(f"the {ticket} ticket of {in_words(method)}{bad_text}")
            against = {one: (gap, gap - 0.01, gap + 0.01) for one, gap in AGAINST.items() if ticket == "good"}
            sentence = f"{sentence} {beside_controls(against)}".strip()
            found.append(TicketVerdict(method, ticket, "retrained", sentence, verdict, against).entry())
    return found


def _facts(
    name: str,
    bad_text: str,
    model: str,
    metric: str,
    glue: str | None,
    seeds: list[int],
    methods: Sequence[str],
    shape: Shape,
) -> dict[str, Any]:
    return {
        "name": f"{name}{bad_text}",
        "hash": "1b2c3d4e",
        "command": f"tombola study --model minilm --task {name} --seeds {','.join(map(str, seeds))}{bad_text}",
        "config": {
            "model": model, "task": name, "search_split": "dev", "precision": "bf16",
            "preset": "quick", "epochs": 2, "batch_size": 32, "learning_rate": 5e-5, "rewind": "pretrained",
            "refine": True, "heads_step": 0.1, "weights_step": 0.1, "max_length": 128, "train_rows": None,
            "methods": list(methods), "neuron_block": INNER // shape.blocks,
        },
        "threshold": 0.9,
        "seeds": seeds,
        "versions": {"tombola": "0.1.0", "torch": "2.9.1", "transformers": "5.2.0", "python": "3.11.7"},
        "machine": {"processor": "AMD EPYC 7B13", "cores": 2, "memory_gib": 15.6, "device": "cpu"},
        "architecture": {
            "signature": f"bert-{shape.rows}x{shape.heads}-1b2c3d4e", "model_type": "bert", "layers": shape.mlps,
            "heads": shape.heads, "neurons": INNER,
            "layer_names": list(shape.layer_names) or [str(layer) for layer in range(shape.mlps)],
            "attention_names": list(shape.attention_names) or [str(row) for row in range(shape.rows)],
            "matrices": [
                {"role": role, "layer": layer, "shape": [384, 384]} for layer in range(shape.mlps) for role in ROLES
            ],
        },
        "task": {
            "name": name, "title": glue or f"Rotten Tomatoes{bad_text}", "glue": glue, "metric": metric,
            "higher_is_better": True, "classes": [f"rotten{bad_text}", "fresh"],
            "rows": {"train": 10750, "search": 2000, "dev": 2000},
        },
        "seconds": {"fine-tune": 241.3, **{f"search {method}": 98.2 for method in methods}, "retrain": 1503.2,
                    "total": 1931.8},
    }  # fmt: skip


def _search(draw: random.Random, place: Path, method: TicketKind, shape: Shape, bad_text: str) -> None:
    architecture = f"bert-{shape.rows}x{shape.heads}-1b2c3d4e"
    generator = torch.Generator().manual_seed(draw.randrange(10**6))
    if method == "weights":
        steps = _weights_steps(draw, shape)
        masks = {
            f"{layer}.{role}": torch.rand(24, 24, generator=generator) < 0.32 + 0.05 * index + 0.03 * (layer % 4)
            for layer in range(shape.mlps)
            for index, role in enumerate(ROLES)
        }
    else:
        steps, masks = _Sites(draw, method, shape, generator).search()
    write_lines(place / "search.jsonl", steps)
    Ticket(method, architecture, masks).with_provenance(note=bad_text).save(place / "good")


def _weights_steps(draw: random.Random, shape: Shape) -> list[dict[str, Any]]:
    total = shape.total
    steps: list[dict[str, Any]] = []
    left, score = total, FULL
    for iteration in range(9):
        removed = 0 if iteration == 0 else round(0.1 * left)
        left -= removed
        score -= 0.0 if iteration == 0 else 0.0035 * iteration + draw.gauss(0, 0.002)
        holds = score >= 0.9 * FULL and iteration < 8
        steps.append(
            {
                "iteration": iteration, "phase": "magnitude" if iteration else "full",
                "removed": {"weights": removed} if iteration else {}, "heads": shape.rows * shape.heads,
                "mlps": shape.mlps, "neurons": shape.mlps * INNER, "weights": left, "sparsity": 1 - left / total,
                "score": score if holds else 0.744, "holds": holds, "seconds": 5.1, "importance": None,
            }
        )  # fmt: skip
        if not holds:
            break
    return steps


class _Sites:
    """A search of sites."""

    def __init__(self, draw: random.Random, method: TicketKind, shape: Shape, generator: torch.Generator) -> None:
        self._draw, self._shape = draw, shape
        self._kinds = method.split("+")
        self._worth = {kind: torch.rand(shape.kept(kind), generator=generator) ** 2 for kind in self._kinds}
        self._masks = {kind: torch.ones(shape.kept(kind), dtype=torch.bool) for kind in self._kinds}
        self._score = FULL
        self._steps: list[dict[str, Any]] = []

    def search(self) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
        sizes = {kind: 1 if kind == "mlps" else self._masks[kind].numel() // 10 for kind in self._kinds}
        self._record("full", {}, FULL, True)
        for loss, holds in ((0.012, True), (0.031, True), (0.118, False)):
            self._cut("joint", sizes, loss, holds)
        for kind in self._kinds:
            part = {kind: max(1, sizes[kind] // 2)}
            for loss, holds in ((0.079, False),) if kind == "mlps" else ((0.008, True), (0.009, True), (0.034, False)):
                self._cut(kind, part, loss, holds)
        return self._steps, self._masks

    def _cut(self, phase: str, sizes: Mapping[str, int], loss: float, holds: bool) -> None:
        before = {kind: mask.clone() for kind, mask in self._masks.items()}
        gone: dict[str, Any] = {}
        loss += self._draw.gauss(0, 0.001)
        for kind, size in sizes.items():
            alive = self._worth[kind].where(self._masks[kind], torch.inf).flatten()
            sites = alive.argsort()[:size].tolist()
            self._masks[kind].view(-1)[sites] = False
            wide = self._masks[kind].shape[-1]
            gone[kind] = sites if kind == "mlps" else [[site // wide, site % wide] for site in sites]
        self._record(phase, gone, self._score - loss, holds)
        if holds:
            self._score -= loss
        else:
            self._masks = before

    def _record(self, phase: str, removed: dict[str, Any], score: float, holds: bool) -> None:
        shape, masks = self._shape, self._masks
        heads = int(masks["heads"].sum()) if "heads" in masks else shape.rows * shape.heads
        mlps = int(masks["mlps"].sum()) if "mlps" in masks else shape.mlps
        neurons = int(masks["neurons"].sum()) * INNER // shape.blocks if "neurons" in masks else mlps * INNER
        weights = shape.weights(heads, neurons)
        self._steps.append(
            {
                "iteration": len(self._steps), "phase": phase, "removed": removed, "heads": heads, "mlps": mlps,
                "neurons": neurons, "weights": weights, "sparsity": 1 - weights / shape.total, "score": score,
                "holds": holds, "seconds": 6.1,
                "importance": Importance(
                    {kind: (worth / worth.max()).where(masks[kind], torch.nan) for kind, worth in self._worth.items()}
                ).lists(),
            }
        )  # fmt: skip


def spoil(path: Path, name: str, value: object) -> None:
    """Change one field of a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content[name] = value
    path.write_text(json.dumps(content), encoding="utf-8")
