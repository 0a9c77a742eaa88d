"""Real weights and real sentences, as small as still tells good from bad."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

import small
from small import read_rows, tombola
from tombola.anatomy import dissect
from tombola.ticket import Ticket

SHARED = os.environ.get("TOMBOLA_SHARED_DATA")
SETTINGS = ("--train-rows", 1440, "--batch-size", 16, "--dev-rows", 400, "--max-length", 48)
# Threads that sleep while they wait: beside another busy process, spinning ones make everything thirty times slower.
THREADS = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.slow
def test_real_winners_beat_real_losers(tmp_path: Path) -> None:
    ran = tombola(
        "study", "--prunings", "weights", "--seeds", 0, *SETTINGS, "--out", tmp_path, "--json", timeout=500, **THREADS
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    folder = Path(found["folder"])
    assert folder.name.startswith("minilm-rotten-tomatoes-")
    rows = read_rows(folder)
    assert found["rows"] == rows
    score = {(row["ticket"], row["stage"]): row["score"] for row in rows}
    full = score["full", "none"]
    assert full > score["majority", "none"] + 0.1
    assert score["good", "pruned"] >= 0.9 * full
    assert score["good", "pruned"] > score["bad", "pruned"] + 0.05
    assert score["good", "retrained"] > score["bad", "retrained"] + 0.05
    assert score["good", "retrained"] > score["random", "retrained"] + 0.03
    good = next(row for row in rows if row["ticket"] == "good")
    assert 0.1 < good["sparsity"] < 0.9
    seed = folder / "rotten-tomatoes" / "seed-0"

    ticket = Ticket.load(seed / "weights" / "good")
    model = AutoModelForSequenceClassification.from_pretrained(seed / "weights" / "good" / "retrained")
    for matrix, weight in dissect(model).prunable(model):
        assert torch.count_nonzero(weight[~ticket.masks[f"{matrix.layer}.{matrix.kind}"]]) == 0
    assert (folder / "report.html").stat().st_size > 10_000

    # The other pruning, a step at a time from the same full model.
    out = tmp_path / "sites"
    ran = tombola("prune", "--model", seed / "full", *SETTINGS, "--out", out, "--json", timeout=300, **THREADS)
    assert ran.returncode == 0, ran.stderr
    pruned: dict[str, Any] = json.loads(ran.stdout)
    assert pruned["full_score"] == pytest.approx(full, abs=0.01)
    assert pruned["score"] >= 0.9 * pruned["full_score"]
    assert pruned["heads"] < 72
    assert len(Ticket.load(out / "good").heads) == 6


@pytest.mark.skipif(SHARED is None, reason="TOMBOLA_SHARED_DATA names no folder with glue/CoLA")
def test_glue_from_its_own_files(tmp_path: Path) -> None:
    assert SHARED is not None
    settings = small.flags(task="cola", data=Path(SHARED) / "glue", epochs=1, train_rows=100)
    ran = tombola("study", *settings, "--out", tmp_path, "--json")
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(ran.stdout)["rows"]
    assert len(rows) == 18
    assert {row["metric"] for row in rows} == {"matthews_correlation"}
    assert {row["task"] for row in rows} == {"cola"}
    # Guessing the larger class correlates with nothing.
    assert rows[0]["score"] == 0
    said = json.loads((Path(json.loads(ran.stdout)["folder"]) / "study.json").read_text())
    assert said["task"]["glue"] == "CoLA"
    assert said["task"]["rows"] == {"train": 100, "dev": 96}
