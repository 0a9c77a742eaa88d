"""The folder of a shrunk model, given to every command that takes a model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import small_study
from builders.small_study import flags
from tombola.cli import main
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow


def test_it_is_scored_pruned_shrunk_exported_and_retrained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full, cut = small_study.finished().seed_folder(0).full, tmp_path / "cut"
    small, out = tmp_path / "small", tmp_path / "pruned"

    def run(*arguments: object) -> dict[str, Any]:
        assert main([*map(str, arguments), "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    run("prune", *flags("prune", model=full), "--density", "heads=0.5,mlps=0.67", "--out", cut)
    run("shrink", full, cut, "--no-measure", "--out", small)
    score = run("score", *flags("score", model=full), "--ticket", cut)["score"]
    assert run("score", *flags("score", model=small))["score"] == score
    assert run("score", *flags("score", model=small), "--out", tmp_path / "scored")["score"] == score
    found = run("prune", *flags("prune", model=small, threshold=0.5), "--density", "heads=0.5,mlps=1", "--out", out)
    assert found["full_score"] == score
    ticket = Ticket.load(found["ticket"])
    # Half of the heads that are left, of rows as long as they are.
    left = Ticket.load(small).counts()
    assert ticket.total == sum(left.values())
    assert ticket.counts() == {**left, "heads": round(left["heads"] / 2)}
    assert ticket.architecture.endswith("-shrunk")
    under = run("score", *flags("score", model=small), "--ticket", out)["score"]
    run("shrink", small, out, "--no-measure", "--force", "--out", tmp_path / "smaller")
    run("export", small, out, "--format", "zeros", "--out", tmp_path / "zeros")
    for folder in ("smaller", "zeros"):
        assert run("score", *flags("score", model=tmp_path / folder))["score"] == pytest.approx(under)
    again = run("retrain", *flags("retrain", model=small), "--ticket", out, "--out", tmp_path / "again")
    assert run("score", *flags("score", model=tmp_path / "again"))["score"] == pytest.approx(again["score"])
    run("prune", *flags("prune", model=small), "--density", "heads=0.5,neurons=0.5", "--out", tmp_path / "finer")
    # Pages and comparisons of rows some of which are empty.
    run("compare", found["ticket"], "--out", tmp_path / "alone")
    for folder in ("scored", "pruned", "again", "finer"):
        assert main(["report", str(tmp_path / folder)]) == 0
    capsys.readouterr()
    assert main(["compare", str(cut), found["ticket"], "--out", str(tmp_path / "compared")]) == 2
    assert "tickets of different architectures cannot be compared" in capsys.readouterr().err
    masks = tmp_path / "masks" / "mood" / "0"
    masks.mkdir(parents=True)
    heads = np.ones(tuple(ticket.heads.shape))
    np.save(masks / "head_mask.npy", heads)
    np.save(masks / "mlp_mask.npy", np.ones(len(heads)))
    imported = run("import-masks", tmp_path / "masks", "--model", small, "--out", tmp_path / "imported")
    assert imported["architecture"] == ticket.architecture
    assert Ticket.load(tmp_path / "imported" / "mood" / "seed-0" / "good").counts() == left
