"""Names of models that are nowhere."""

from pathlib import Path

import pytest

from builders.families import ZOO, sampled
from tombola.architectures.dissect import dissect
from tombola.checkpoints.sources import check_of_kind, check_source, instead
from tombola.foundations.errors import TombolaError


@pytest.mark.parametrize("source", ["minilm", "gpt2", "google-bert/bert-base-uncased", "bert-base-uncased"])
def test_an_asset_or_what_may_be_a_hub_id_passes(source: str) -> None:
    check_source(source)


def test_a_folder_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "minlm").mkdir()
    check_source("minlm")
    check_source(str(tmp_path / "minlm"))


@pytest.mark.parametrize("source", ["./model", "../model", "/model", "~/no such model", "runs/seed-0/full", "model/"])
def test_a_path_that_is_nowhere_is_no_matter_for_the_hub(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TombolaError, match="there is no folder"):
        check_source(source)


def test_what_is_spelt_alike_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "my-bert").mkdir(parents=True)
    assert instead("runs/mybert").startswith("did you mean runs/my-bert? give a local folder, ")
    with pytest.raises(TombolaError, match="no asset of this name; did you mean smollm2"):
        check_source("smolm2")


@pytest.mark.parametrize("name", sampled())
def test_no_ticket_of_a_model_itself_is_taken_for_one_of_another(name: str) -> None:
    model = ZOO[name].make()
    signature, config = dissect(model).signature, model.config.to_dict()
    check_of_kind(signature, name, config)
    kind, rows, digest = signature.rsplit("-", 2)
    with pytest.raises(TombolaError, match="this ticket is for another model"):
        check_of_kind(f"{'gpt2' if kind == 'bert' else 'bert'}-{rows}-{digest}", name, config)
    # Of most families the layers and heads tell too.
    if kind not in ("t5", "albert"):
        with pytest.raises(TombolaError, match=f"it fits {kind}-9{rows}-{digest}, the model {name} is {kind}-{rows}"):
            check_of_kind(f"{kind}-9{rows}-{digest}", name, config)
