"""The model card: parsed by the hub's own library, true to the ticket, and proof against what strangers wrote."""

import re
from pathlib import Path

import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, ModelCardData
from transformers import PreTrainedModel

from builders.encoders import sites, some_weights
from builders.families import ZOO, tickets
from tombola.checkpoints.checkpoint import load, save_shrunk, save_zeros
from tombola.checkpoints.model_card import ModelCardWriter, bytes_on_disk, code, dense_bytes, hub_id, plain
from tombola.subnetworks.subnetwork import expanded, shrunk

FACTS = {"ticket": "good", "task": "sst2", "metric": "accuracy", "split": "dev", "full_score": 0.91, "score": 0.83}
HOSTILE = "x`\n---\n# Owned\u202e\x00 <script>alert(1)</script> | [a](javascript:b) ![i](http://evil) {{x}} ---"


@pytest.fixture
def bert() -> PreTrainedModel:
    return ZOO["bert"].make(dtype=torch.float32)


def card(folder: Path) -> tuple[ModelCardData, str]:
    """Metadata and text, without reaching for the hub."""
    found = ModelCard.load(folder / "README.md")
    assert isinstance(found.data, ModelCardData)
    return found.data, found.text


def test_what_the_ticket_knows_is_said(bert: PreTrainedModel, tmp_path: Path) -> None:
    ticket = sites(bert, [[1, 0, 1, 0], [1, 1, 1, 1]], [1, 0]).with_provenance(**FACTS, threshold=0.9)
    save_shrunk(bert, ticket, tmp_path / "small")
    data, text = card(tmp_path / "small")
    assert data.library_name == "tombola"
    assert data.pipeline_tag == "text-classification"
    assert {"tombola", "pruning", "lottery-ticket", "shrunk"} <= set(data.tags or [])
    assert data.base_model is None
    (result,) = data.eval_results or []
    assert (result.metric_type, result.metric_value, result.dataset_name, result.dataset_split, result.task_type) == (
        *("accuracy", 0.83, "sst2", "dev", "text-classification"),
    )
    assert "surviving heads: 6 of 8" in text
    assert "surviving MLPs: 1 of 2" in text
    assert "full model: 0.9100" in text
    assert "not trained again: 0.8300" in text
    assert f"architecture: `{ticket.architecture}`" in text
    kept = sum(parameter.numel() for parameter in shrunk(bert, ticket).model.parameters())
    whole = sum(parameter.numel() for parameter in bert.parameters())
    assert f"parameters that are not pruned: {kept:,} of {whole:,}" in text
    assert f"parameters on disk: {bytes_on_disk(tmp_path / 'small'):,} bytes" in text
    assert f"original's tensors: {dense_bytes(bert):,}" in text
    assert "tombola.load" in text
    assert re.search(r"difference of an output was \d\.\de-\d\d of the largest", text)


def test_what_the_ticket_does_not_know_is_not_said(bert: PreTrainedModel, tmp_path: Path) -> None:
    save_shrunk(bert, some_weights(bert, 0), tmp_path / "sparse")
    data, text = card(tmp_path / "sparse")
    assert data.eval_results is None
    assert "No scores came with the ticket." in text
    assert "bit for bit" in text
    # The score of a ticket that was trained again is not that of these weights.
    again = some_weights(bert, 0).with_provenance(**FACTS, stage="retrained")
    save_shrunk(bert, again, tmp_path / "retrained")
    data, text = card(tmp_path / "retrained")
    assert data.eval_results is None
    assert "trained again in the search, which the weights here need not be: 0.8300" in text


@pytest.mark.parametrize("value", ["0.9", True, None, [0.9], 10**400, -(10**400), float("nan")])
def test_a_score_that_is_no_number_is_none(value: object, bert: PreTrainedModel, tmp_path: Path) -> None:
    ticket = some_weights(bert, 0).with_provenance(**FACTS | {"score": value, "full_score": value})
    small = shrunk(bert, ticket)
    ModelCardWriter("sparse", bert, small, 0.0).write(tmp_path)
    data, text = card(tmp_path)
    assert data.eval_results is None
    assert "No scores came with the ticket." in text


@pytest.mark.parametrize("kind", ["heads+mlps", "weights"])
def test_a_score_is_not_that_of_weights_that_were_trained_again(
    kind: str, bert: PreTrainedModel, tmp_path: Path
) -> None:
    ticket = tickets(bert)["random 0"] if kind == "heads+mlps" else some_weights(bert, 0)
    # As a study saves a retrained model: in the original shapes, with zeros.
    again = expanded(shrunk(bert, ticket))
    ticket = ticket.with_provenance(**FACTS)
    save_shrunk(again, ticket, tmp_path / "small")
    data, text = card(tmp_path / "small")
    assert data.eval_results is None
    assert "that score is not theirs" in text
    save_shrunk(bert, ticket, tmp_path / "other")
    data, text = card(tmp_path / "other")
    assert len(data.eval_results or []) == 1
    assert "that score is not theirs" not in text


def test_a_folder_of_zeros_says_how_to_load_it(bert: PreTrainedModel, tmp_path: Path) -> None:
    ticket = tickets(bert)["random 0"].with_provenance(**FACTS)
    save_zeros(bert, ticket, tmp_path / "zeros")
    data, text = card(tmp_path / "zeros")
    assert data.library_name == "transformers"
    lines = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert lines.splitlines()[0] == "from transformers import BertForSequenceClassification"


@pytest.mark.parametrize(
    "value", [HOSTILE, "", " ", "yes", "1e5", ["a", {"b": None}], None, float("inf"), "9" * 10_000]
)
def test_hostile_facts_stay_facts(value: object, bert: PreTrainedModel, tmp_path: Path) -> None:
    names = (*FACTS, "model", "seed", "study", "threshold", "stage")
    facts = {name: value for name in names if name != "stage"} | {"score": 0.5}
    # JSON has no infinity, so that no ticket on disk has.
    ticket = some_weights(bert, 0).with_provenance(**facts if value != float("inf") else FACTS | {"task": "inf"})
    ticket = ticket.with_provenance(study=str(value).encode("utf-8", "ignore").decode())
    try:
        save_shrunk(bert, ticket, tmp_path / "small")
    except UnicodeEncodeError:
        pytest.fail("a lone surrogate got through")
    content = (tmp_path / "small" / "README.md").read_text(encoding="utf-8")
    data, _ = card(tmp_path / "small")
    assert data.library_name == "tombola"
    assert load(tmp_path / "small") is not None
    _, head, body = content.split("---\n", 2)
    assert yaml.safe_load(head)["library_name"] == "tombola"
    headings = [line for line in body.splitlines() if line.startswith("#")]
    assert headings == [
        "# A pruned BertForSequenceClassification",
        *("## How to load it", "## The ticket", "## Scores", "## Sizes", "## Self-check"),
    ]
    outside = re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", body, flags=re.DOTALL))
    for sign in ("<script", "](", "\u202e", "\x00", "|"):
        assert sign not in outside
    assert "\u202e" not in content
    assert max(map(len, body.splitlines())) < 1000


def test_a_foreign_value_is_one_short_line() -> None:
    assert plain("a\n\tb\u2028c\u202e\x07") == "a b c"
    assert len(plain("x" * 1000)) == 121
    assert code("a`b``c") == "`a'b''c`"
    assert code("\u200b") == "(empty)"


def test_a_hub_id_is_named_only_if_the_hub_knows_it(
    bert: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "hub" / "models--some--bert" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    monkeypatch.chdir(tmp_path)
    for name, known in (("some/bert", "some/bert"), ("other/bert", None), (str(tmp_path), None), ("", None)):
        bert.name_or_path = name
        assert hub_id(bert) == known
    bert.name_or_path = "some/bert"
    save_shrunk(bert, some_weights(bert, 0), tmp_path / "small")
    assert card(tmp_path / "small")[0].base_model == "some/bert"
    # A local folder of that name goes before the hub.
    (tmp_path / "some" / "bert").mkdir(parents=True)
    assert hub_id(bert) is None
