"""What the app says is what the library computes for the same tickets."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from builders import small_study
from tombola.analysis.forward_passes import SampleOptions, sampled
from tombola.app.score_command import score_command
from tombola.app.text_bench import SAMPLE, TextBench
from tombola.cli.main import main
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import Evaluation, evaluate
from tombola.subnetworks.subnetwork import shrunk
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow
METHOD = "heads+mlps"


@pytest.fixture(scope="module")
def bench() -> TextBench:
    return TextBench.open(small_study.finished().folder)


@pytest.fixture(scope="module")
def made(bench: TextBench) -> Ticket:
    return bench.full.without({"heads": [(0, 1), (2, 3)], "mlps": [1]})


def probabilities(bench: TextBench, ticket: Ticket, texts: tuple[str, ...]) -> list[float]:
    with torch.no_grad():
        logits = shrunk(bench.model, ticket).model.eval()(**bench.texts.batch_of([texts]).inputs).logits
    found: list[float] = logits.softmax(-1)[0].tolist()
    return found


def test_answers_are_those_of_the_shrunk_networks(bench: TextBench, made: Ticket) -> None:
    texts = bench.texts.texts("dev")[3]
    tickets = {"full": bench.full, **bench.tickets(METHOD)}
    found = bench.answers(texts, METHOD)
    assert [*found] == ["full", "good", "random", "bad", "good, retrained"]
    saved = bench.seed_folder.ticket(METHOD, "good") / "retrained"
    retrained = AutoModelForSequenceClassification.from_pretrained(saved).eval()
    with torch.no_grad():
        expected = retrained(**bench.texts.batch_of([texts]).inputs).logits.softmax(-1)[0]
    assert found["good, retrained"] == pytest.approx(expected.tolist(), abs=1e-6)
    for name in tickets:
        answer = found[name]
        assert answer == pytest.approx(probabilities(bench, tickets[name], texts), abs=1e-6)
    assert bench.look(texts, made).answer == pytest.approx(probabilities(bench, made, texts), abs=1e-6)
    # And the model is the full one again.
    assert bench.answers(texts, METHOD) == found


def test_tickets_of_weights_answer_too(bench: TextBench) -> None:
    texts = bench.texts.texts("dev")[3]
    good = bench.tickets("weights")["good"]
    assert bench.answers(texts, "weights")["good"] == pytest.approx(probabilities(bench, good, texts), abs=1e-6)
    assert bench.methods[-1] == "weights"


def test_maps_are_the_models_own(bench: TextBench) -> None:
    texts = ("word1 bright word2 word3",)
    found = bench.look(texts, bench.full)
    assert [one.strip() for one in found.tokens] == ["[CLS]", "word1", "bright", "word2", "word3", "[SEP]"]
    with torch.no_grad():
        own = bench.model(**bench.texts.batch_of([texts]).inputs, output_attentions=True).attentions
    for row, maps in enumerate(own):
        np.testing.assert_allclose(found.maps[row], maps[0].numpy(), atol=1e-6)


def test_loss_over_the_sample(bench: TextBench, made: Ticket) -> None:
    whole = evaluate(shrunk(bench.model, made), bench.task)
    batches = sampled(bench.task, SampleOptions(batch_size=64, sample=SAMPLE))
    indices = np.concatenate([batch.indices for batch in batches])
    found = bench.sample_loss(made)
    right = whole.predictions[indices] == bench.task.references("dev")[indices]
    assert found.examples == SAMPLE < bench.task.size("dev")
    assert found.loss == pytest.approx(whole.losses[indices].mean(), abs=1e-6)
    assert found.score == right.mean()


def test_disagreements_are_those_of_the_study(bench: TextBench) -> None:
    home = bench.seed_folder.folder
    full, bad = (Evaluation.read(home / part / "evaluation.safetensors") for part in ("full", f"{METHOD}/bad/pruned"))
    found = bench.disagreements(METHOD, "bad")
    assert found
    assert [one.index for one in found] == np.flatnonzero(full.predictions != bad.predictions).tolist()
    for one in found[:3]:
        assert one.texts == bench.texts.texts("dev")[one.index]
        shares = probabilities(bench, bench.tickets(METHOD)["bad"], one.texts)
        assert one.sure == pytest.approx(shares[one.ticket], abs=1e-5)
        assert one.ticket == int(np.argmax(shares)) != one.full


def test_a_saved_ticket_is_scored_the_same_by_the_command_line(
    bench: TextBench, made: Ticket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.save(made, tmp_path / "mine")
    assert Ticket.load(tmp_path / "mine") == made
    command = shlex.split(score_command(bench, tmp_path / "mine"))
    assert main([*command[1:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == bench.score(made).score
    with pytest.raises(TombolaError, match="mine"):
        bench.save(made, tmp_path / "mine")


@pytest.mark.parametrize("text", ["", " \n", "\x89PNG\r\n\x1a\n\x00", "half a pair: \ud83d", "bytes \ufffd"])
def test_what_is_no_text_is_refused_in_one_line(bench: TextBench, text: str) -> None:
    with pytest.raises(TombolaError) as caught:
        bench.look((text,), bench.full)
    assert "\n" not in str(caught.value)


def test_ten_thousand_words_are_cut(bench: TextBench) -> None:
    assert len(bench.look(("bright word1 " * 5000,), bench.full).tokens) == bench.texts.max_length == 16


def test_colours_of_the_grid(bench: TextBench) -> None:
    assert [len(row) for row in bench.importance("heads")] == [4, 4, 4]
    assert [len(row) for row in bench.importance("mlps")] == [1, 1, 1]
    survival = bench.survival(METHOD)
    assert survival is not None
    good = bench.tickets(METHOD)["good"]
    assert [list(row) for row in survival.sites["heads"].rows] == good.heads.double().tolist()
    assert bench.survival("weights") is None
    assert bench.patterns().sum(-1).allclose(torch.ones(3, 4).double())


def test_a_study_that_is_not_ready_says_so(tmp_path: Path) -> None:
    study = small_study.study_in(tmp_path)
    with pytest.raises(TombolaError, match="does not exist"):
        TextBench.open(study.folder)
    study.folder.mkdir(parents=True)
    with pytest.raises(TombolaError, match="holds no study"):
        TextBench.open(study.folder)
    (study.folder / "study.json").write_text("{")
    with pytest.raises(TombolaError, match=r"study\.json"):
        TextBench.open(study.folder)
