"""Values in a notebook: HTML that is well formed and escaped, short texts, rows, charts; a study's folder, opened."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import torch

import tombola
from builders.encoders import classifier, synthetic
from builders.fake_study import HOSTILE, fake_study
from builders.small_study import finished
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.pruning.search.options import SearchOptions
from tombola.subnetworks.subnetwork import whole
from tombola.tickets.kinds import TICKET_KINDS
from tombola.tickets.ticket import Ticket


def parsed(value: Any) -> ET.Element:
    """The HTML that a notebook shows, which must be well formed."""
    return ET.fromstring(f"<p>{value._repr_html_()}</p>")


@pytest.fixture(scope="module")
def search() -> tombola.Search:
    return tombola.search_ticket(classifier(), synthetic(), options=SearchOptions(threshold=0.5))


@pytest.mark.parametrize("kind", [kind for kind in TICKET_KINDS if "channels" not in kind])
def test_a_ticket_shows_every_site(kind: Any) -> None:
    anatomy = dissect(classifier())
    ticket = Ticket.full(anatomy, kind, 4).with_provenance(task=HOSTILE)
    if ticket.sites:
        ticket = ticket.without({one: [[0, 0]] if ticket.masks[one].ndim > 1 else [0] for one in ticket.sites})
    shown = parsed(ticket)
    assert HOSTILE in "".join(shown.itertext())
    cells = len(shown.findall(".//rect"))
    assert cells == (len(ticket.masks) if kind == "weights" else ticket.total)
    fates = [title.text or "" for title in shown.findall(".//rect/title")]
    assert sum("pruned" in fate for fate in fates) == len(ticket.sites)
    frame = ticket.to_pandas()
    assert len(frame) == cells
    assert frame["survivors" if kind == "weights" else "survives"].sum() == len(ticket)
    assert ticket.plot().to_dict()["config"]["background"] == "white"


def test_rows_of_many_sites_are_bars() -> None:
    ticket = Ticket.full(dissect(classifier()), "neurons", 1)
    wide = torch.ones(3, 512, dtype=torch.bool)
    wide[0, :256] = False
    shown = parsed(Ticket("neurons", ticket.architecture, {"neurons": wide}))
    assert shown.findall(".//rect/title")[0].text == "50.0 % of 512 blocks of neurons of row 0"
    assert len(shown.findall(".//rect")) == 6


def test_a_search_shows_its_curve(search: tombola.Search) -> None:
    assert len(parsed(search).findall(".//circle")) == len(search.passes) == len(search.to_pandas())
    assert "score" in search.to_pandas().columns
    assert search.plot().to_dict()["config"]


def test_an_evaluation_shows_importance() -> None:
    plain, ranked = (tombola.score(classifier(), synthetic(), importance=asked) for asked in (False, True))
    assert parsed(plain).findall(".//rect") == []
    assert len(parsed(ranked).findall(".//rect")) == 15
    assert list(plain.to_pandas().columns) == ["prediction", "loss"]
    assert ranked.plot().to_dict()["vconcat"]
    with pytest.raises(TombolaError, match="took no importance to draw; evaluate with importance=True"):
        plain.plot()


def test_other_values(search: tombola.Search) -> None:
    model = classifier()
    anatomy, pruned = dissect(model), tombola.prune_weights(model, tombola.WeightCut("magnitude", 0.5))
    for value in (anatomy, pruned):
        assert parsed(value).findall(".//rect")
        assert len(value.to_pandas()) == len(anatomy.matrices)
        assert value.plot().to_dict()
    evaluation = tombola.score(model, synthetic(), importance=True)
    with pytest.raises(TombolaError, match=r"for a model there is tombola\.score"):
        tombola.evaluate(model, synthetic())  # type: ignore[arg-type]
    # A line each, and no tensors or modules.
    for text in map(repr, (anatomy, pruned, evaluation, evaluation.importance, whole(model), search)):
        assert len(text) < 120
        assert "\n" not in text
        assert "tensor" not in text


@pytest.mark.slow
def test_an_opened_study(tmp_path: Path) -> None:
    folder = fake_study(tmp_path, hostile=True)
    study = tombola.open_study(folder)
    text = "".join(parsed(study).itertext())
    assert HOSTILE in text
    assert "more: to_pandas() has all" in text or len(study.data.summaries) <= 12
    assert len(study.to_pandas()) == len(study.rows)
    names = [name for name in study.tickets if name.endswith("/good")]
    assert len(names) == len(study.tickets)
    assert study.tickets[names[0]].method
    assert len(repr(study)) < 300
    assert study.plot().to_dict() == next(c.to_dict() for n, c in study.figures.items() if n.startswith("tickets-"))
    assert len(study.figures) > 4
    with pytest.raises(TombolaError, match="unknown ticket 'seed-9/heads'; did you mean seed-0"):
        study.tickets["seed-9/heads"]
    with pytest.raises(TombolaError, match="unknown model 'full'"):
        study.models["full"]


@pytest.mark.slow
def test_models_of_an_opened_study_are_loaded_whole_or_shrunk() -> None:
    models = tombola.open_study(finished().folder).models
    sizes = {name: sum(one.numel() for one in models[name].parameters()) for name in models}
    good = "seed-0/heads+mlps/good"
    assert sizes[f"{good}/shrunk"] < sizes[f"{good}/retrained"] == sizes["seed-0/full"]


def test_a_study_without_results(tmp_path: Path) -> None:
    study = tombola.Study(tombola.StudyConfig.of("quick", task="cola", model=HOSTILE), out=tmp_path)
    assert HOSTILE in "".join(parsed(study).itertext())
    assert len(repr(study)) < 400
