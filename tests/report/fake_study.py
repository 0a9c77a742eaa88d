"""A plausible study's folder without a model: what the report's tests read."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tombola import statistics
from tombola.results import TicketVerdict
from tombola.statistics import Verdict
from tombola.store import write_json, write_lines
from tombola.ticket import PRUNINGS, TICKETS, Ticket

KINDS = ("query", "key", "value", "attention_output", "mlp_in", "mlp_out")
HOSTILE = "<script>alert('x')</script>"
RETRAINED = {"good": 0.842, "random": 0.826, "random-layerwise": 0.831, "bad": 0.804}
PRUNED = {"good": 0.771, "random": 0.603, "random-layerwise": 0.655, "bad": 0.531}
FULL = 0.846


def fake_study(
    folder: Path,
    *,
    seeds: Sequence[int] = (0,),
    prunings: Sequence[str] = PRUNINGS,
    layers: int = 6,
    heads: int = 12,
    glue: str | None = None,
    model: str = "minilm",
    finished: bool = True,
    hostile: bool = False,
) -> Path:
    """Write a study and return its folder.

    Args:
        folder: where to.
        seeds: the seeds that are done.
        prunings: the prunings that are done.
        layers, heads: the architecture.
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
    rows = [row for seed in seeds for row in _rows(draw, seed, prunings, layers, heads, model, name, metric, finished)]
    if hostile:
        for row in rows:
            row["metric"] = f"accuracy{bad_text}"
    write_lines(folder / "results.jsonl", rows)
    write_json(folder / "study.json", _facts(name, bad_text, model, metric, glue, list(seeds), layers, heads))
    if finished:
        write_json(folder / "verdicts.json", {"verdicts": _verdicts(rows, prunings, metric, bad_text)})
    for seed in seeds:
        for pruning in prunings:
            _search(draw, folder / name / f"seed-{seed}" / pruning, pruning, layers, heads, bad_text)
    return folder


def _size(pruning: str, layers: int, heads: int) -> dict[str, Any]:
    total = layers * (4 * 384 * 384 + 2 * 384 * 1536)
    if pruning == "weights":
        left = {"heads": layers * heads, "mlps": layers, "weights": round(0.478 * total)}
    elif pruning == "none":
        left = {"heads": layers * heads, "mlps": layers, "weights": total}
    else:
        kept, mlps = round(0.55 * layers * heads), layers - 2
        left = {"heads": kept, "mlps": mlps, "weights": kept * 4 * 384 * 384 // heads + mlps * 2 * 384 * 1536}
    parameters = 22_713_986 - (total - left["weights"] if pruning == "heads+mlps" else 0)
    return {**left, "sparsity": 1 - left["weights"] / total, "parameters": parameters, "bytes": 4 * parameters}


def _rows(
    draw: random.Random,
    seed: int,
    prunings: Sequence[str],
    layers: int,
    heads: int,
    model: str,
    name: str,
    metric: str,
    finished: bool,
) -> list[dict[str, Any]]:
    def row(pruning: str, ticket: str, stage: str, score: float, seconds: float) -> dict[str, Any]:
        score = round(score + draw.gauss(0, 0.004), 5) if ticket != "majority" else score
        half = 1.96 * math.sqrt(abs(score * (1 - score)) / 2000)
        return {
            "model": model, "task": name, "seed": seed, "pruning": pruning, "ticket": ticket, "stage": stage,
            "metric": metric, "score": score, "score_low": score - half, "score_high": score + half, "n": 2000,
            **_size(pruning, layers, heads), "seconds": seconds, "more": {"f1": round(score - 0.012, 4)},
        }  # fmt: skip

    floor = 0.0 if metric == "matthews_correlation" else 0.512
    found = [row("none", "full", "none", FULL, 241.3), row("none", "majority", "none", floor, 0.0)]
    for pruning in prunings:
        shift = 0.011 if pruning == "weights" else 0.0
        for ticket in TICKETS:
            found.append(row(pruning, ticket, "pruned", PRUNED[ticket] + shift, 5.2))
            if finished:
                found.append(row(pruning, ticket, "retrained", RETRAINED[ticket] + shift / 4, 187.9))
    return found


def _verdicts(
    rows: Sequence[Mapping[str, Any]], prunings: Sequence[str], metric: str, bad_text: str
) -> list[dict[str, object]]:
    def mean_std(pruning: str, ticket: str, stage: str) -> tuple[float, float]:
        place = (pruning, ticket, stage)
        return statistics.mean_std([r["score"] for r in rows if (r["pruning"], r["ticket"], r["stage"]) == place])

    n = len({row["seed"] for row in rows})
    full_mean, full_std = mean_std("none", "full", "none")
    found = []
    for pruning in prunings:
        for ticket in TICKETS:
            mean, std = mean_std(pruning, ticket, "retrained")
            difference = mean - full_mean
            verdict = Verdict(
                matches=ticket == "good", metric=metric, mean=mean, std=std, full_mean=full_mean, full_std=full_std,
                difference=difference, low=difference - 0.012, high=difference + 0.011, n_seeds=n, n_examples=2000,
                chance=0.0, learned=True, rule="seeds" if n > 1 else "bootstrap",
            )  # fmt: skip
            sentence = verdict.sentence(f"the {ticket} ticket of {pruning}{bad_text}")
            found.append(TicketVerdict(pruning, ticket, "retrained", verdict, sentence).entry())
    return found


def _facts(
    name: str, bad_text: str, model: str, metric: str, glue: str | None, seeds: list[int], layers: int, heads: int
) -> dict[str, Any]:
    return {
        "name": f"{name}{bad_text}",
        "hash": "1b2c3d4e",
        "command": f"tombola study --model minilm --task {name} --seeds {','.join(map(str, seeds))}{bad_text}",
        "config": {
            "model": model, "task": name, "threshold": 0.9, "search_split": "dev", "precision": "bf16",
            "preset": "quick", "epochs": 2, "batch_size": 32, "learning_rate": 5e-5, "rewind": "pretrained",
            "refine": True, "heads_step": 0.1, "weights_step": 0.1, "max_length": 128, "train_rows": None,
        },
        "seeds": seeds,
        "versions": {"tombola": "0.1.0", "torch": "2.9.1", "transformers": "5.2.0", "python": "3.11.7"},
        "machine": {"processor": "AMD EPYC 7B13", "cores": 2, "memory_gib": 15.6, "device": "cpu"},
        "architecture": {
            "signature": f"bert-{layers}x{heads}-1b2c3d4e", "model_type": "bert", "layers": layers, "heads": heads,
            "matrices": [
                {"kind": kind, "layer": layer, "shape": [384, 384]} for layer in range(layers) for kind in KINDS
            ],
        },
        "task": {
            "name": name, "title": glue or f"Rotten Tomatoes{bad_text}", "glue": glue, "metric": metric,
            "higher_is_better": True, "classes": [f"rotten{bad_text}", "fresh"],
            "rows": {"train": 10750, "search": 2000, "dev": 2000},
        },
        "seconds": {"fine-tune": 241.3, "search heads+mlps": 98.2, "search weights": 71.0, "retrain": 1503.2,
                    "total": 1931.8},
    }  # fmt: skip


def _search(draw: random.Random, place: Path, pruning: str, layers: int, heads: int, bad_text: str) -> None:
    architecture = f"bert-{layers}x{heads}-1b2c3d4e"
    generator = torch.Generator().manual_seed(draw.randrange(10**6))
    if pruning == "weights":
        steps = _weights_steps(draw, layers, heads)
        masks = {
            f"{layer}.{kind}": torch.rand(24, 24, generator=generator) < 0.32 + 0.05 * index + 0.03 * (layer % 4)
            for layer in range(layers)
            for index, kind in enumerate(KINDS)
        }
        good = Ticket("weights", architecture, masks)
    else:
        steps, good = _sites_steps(draw, layers, heads, architecture)
    write_lines(place / "search.jsonl", steps)
    good.with_provenance(note=bad_text).save(place / "good")


def _weights_steps(draw: random.Random, layers: int, heads: int) -> list[dict[str, Any]]:
    total = _size("none", layers, heads)["weights"]
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
                "removed": {"weights": removed} if iteration else {}, "heads": layers * heads, "mlps": layers,
                "weights": left, "sparsity": 1 - left / total, "score": score if holds else 0.744, "holds": holds,
                "seconds": 5.1, "importance": None,
            }
        )  # fmt: skip
        if not holds:
            break
    return steps


def _sites_steps(
    draw: random.Random, layers: int, heads: int, architecture: str
) -> tuple[list[dict[str, Any]], Ticket]:
    head_mask = torch.ones(layers, heads, dtype=torch.bool)
    mlp_mask = torch.ones(layers, dtype=torch.bool)
    worth = [[draw.random() ** 2 for _ in range(heads)] for _ in range(layers)]
    mlp_worth = [draw.random() for _ in range(layers)]
    steps: list[dict[str, Any]] = []
    total = _size("none", layers, heads)["weights"]
    score = FULL

    def record(phase: str, removed: dict[str, Any], score: float, holds: bool) -> None:
        weights = int(head_mask.sum()) * 4 * 384 * 384 // heads + int(mlp_mask.sum()) * 2 * 384 * 1536
        top, mlp_top = max(map(max, worth)), max(mlp_worth)
        steps.append(
            {
                "iteration": len(steps), "phase": phase, "removed": removed, "heads": int(head_mask.sum()),
                "mlps": int(mlp_mask.sum()), "weights": weights, "sparsity": 1 - weights / total, "score": score,
                "holds": holds, "seconds": 6.1,
                "importance": {
                    "heads": [
                        [worth[i][j] / top if head_mask[i, j] else None for j in range(heads)] for i in range(layers)
                    ],
                    "mlps": [mlp_worth[i] / mlp_top if mlp_mask[i] else None for i in range(layers)],
                },
            }
        )  # fmt: skip

    def cut(phase: str, heads_number: int, mlps_number: int, loss: float, holds: bool) -> None:
        nonlocal score, head_mask, mlp_mask
        before = head_mask.clone(), mlp_mask.clone()
        sites = sorted((worth[i][j], i, j) for i in range(layers) for j in range(heads) if head_mask[i, j])
        gone = [[i, j] for _, i, j in sites[:heads_number]]
        for i, j in gone:
            head_mask[i, j] = False
        lost = sorted((mlp_worth[i], i) for i in range(layers) if mlp_mask[i])[:mlps_number]
        mlps_gone = [i for _, i in lost]
        for i in mlps_gone:
            mlp_mask[i] = False
        record(phase, {"heads": gone, "mlps": mlps_gone}, score - loss, holds)
        if holds:
            score -= loss
        else:
            head_mask, mlp_mask = before

    step = max(1, layers * heads // 10)
    record("full", {}, FULL, True)
    cut("joint", step, 1, 0.012, True)
    cut("joint", step, 1, 0.031, True)
    cut("joint", step, 1, 0.118, False)
    cut("heads", step // 2, 0, 0.008, True)
    cut("heads", step // 2, 0, 0.013, True)
    cut("heads", step // 2, 0, 0.034, False)
    cut("mlps", 0, 1, 0.079, False)
    return steps, Ticket("heads+mlps", architecture, {"heads": head_mask, "mlps": mlp_mask})


def spoil(path: Path, name: str, value: object) -> None:
    """Change one field of a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content[name] = value
    path.write_text(json.dumps(content), encoding="utf-8")
