"""Real weights and real sentences, as small as still tells good from bad."""

import json
import os
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from builders import small_study
from builders.small_study import read_rows, tombola
from tombola.architectures.dissect import dissect
from tombola.tickets.ticket import Ticket

SHARED = os.environ.get("TOMBOLA_SHARED_DATA")
SETTINGS = ("--train-rows", 1440, "--batch-size", 16, "--dev-rows", 400, "--max-length", 48)
# Threads that sleep while they wait: beside another busy process, spinning ones make everything thirty times slower.
THREADS = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.exhaustive
@pytest.mark.timeout(1200)
def test_real_winners_beat_real_losers(tmp_path: Path) -> None:
    ran = tombola("study", "--seeds", 0, *SETTINGS, "--out", tmp_path, "--json", timeout=1000, **THREADS)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    folder = Path(found["folder"])
    assert folder.name.startswith("minilm-rotten-tomatoes-")
    rows = read_rows(folder)
    assert found["rows"] == rows
    assert len(rows) == 18
    score = {(row["ticket"], row["stage"]): row["score"] for row in rows if row["method"] != "heads+mlps"}
    full = score["full", "none"]
    assert full > score["guessing", "none"] + 0.1
    assert score["good", "pruned"] >= 0.9 * full
    assert score["good", "pruned"] > score["bad", "pruned"] + 0.05
    assert score["good", "retrained"] > score["bad", "retrained"] + 0.05
    assert score["good", "retrained"] > score["random", "retrained"] + 0.03
    sites = {(row["ticket"], row["stage"]): row for row in rows if row["method"] == "heads+mlps"}
    assert sites["good", "pruned"]["score"] >= 0.9 * full
    assert sites["good", "pruned"]["score"] > sites["bad", "pruned"]["score"]
    assert len({(row["heads"], row["mlps"], row["weights"]) for row in sites.values()}) == 1
    assert sites["good", "pruned"]["bytes"] < next(row["bytes"] for row in rows if row["ticket"] == "full")
    good = next(row for row in rows if row["ticket"] == "good" and row["method"] == "weights")
    assert 0.1 < good["sparsity"] < 0.9
    seed = folder / "rotten-tomatoes" / "seed-0"

    ticket = Ticket.load(seed / "weights" / "good")
    model = AutoModelForSequenceClassification.from_pretrained(seed / "weights" / "good" / "retrained")
    for matrix, weight in dissect(model).prunable(model):
        assert torch.count_nonzero(weight[~ticket.masks[matrix.name]]) == 0
    assert (folder / "report.html").stat().st_size > 10_000

    # A step on its own agrees with the study.
    good_sites = seed / "heads+mlps" / "good"
    flags = ("--dev-rows", 400, "--max-length", 48, "--json")
    ran = tombola("score", "--model", seed / "full", "--ticket", good_sites, *flags, timeout=120, **THREADS)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["score"] == pytest.approx(sites["good", "pruned"]["score"], abs=0.01)


@pytest.mark.skipif(SHARED is None, reason="TOMBOLA_SHARED_DATA names no folder with glue/CoLA")
def test_glue_from_its_own_files(tmp_path: Path) -> None:
    assert SHARED is not None
    settings = small_study.flags(task="cola", data=Path(SHARED) / "glue", epochs=1, train_rows=100)
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
