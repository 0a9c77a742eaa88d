import itertools
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import vl_convert

from builders import small_study
from builders.fake_study import HOSTILE, fake_study, spoil
from builders.report_pages import MIXED, Reader, named, names, read, values
from tombola.foundations.atomic_files import write_lines
from tombola.foundations.errors import TombolaError
from tombola.report import build, number_format
from tombola.report.charts import theme
from tombola.report.charts.grids import survival_grid
from tombola.report.charts.vega import bundle, pictures
from tombola.report.html.elements import element, join
from tombola.report.study_data import read_study
from tombola.report.summary import read_rows, summarise
from tombola.tickets.kinds import TicketKind
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow

STUDIES: Mapping[str, Mapping[str, Any]] = {
    "one seed": {},
    "three seeds": {"seeds": (0, 1, 2), "glue": "CoLA", "layers": 12, "model": "bert-base-uncased"},
    "in progress": {"finished": False, "methods": ("heads+mlps",)},
    "three methods": {"methods": MIXED, "seeds": (0, 1, 2)},
    "neurons alone": {"methods": ("neurons",)},
    "one kind at a time": {"methods": ("heads", "mlps", "neurons"), "seeds": (0, 1)},
    "two stacks": {"methods": MIXED, "stacks": True, "layers": 2, "heads": 4},
    "two stacks, MLPs alone": {"methods": ("mlps",), "stacks": True, "layers": 2, "heads": 4},
}


@pytest.fixture(scope="module", params=[*STUDIES, "hostile"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    return fake_study(folder, **STUDIES.get(request.param, {"hostile": True, "methods": MIXED}))


@pytest.fixture(scope="module")
def page(study: Path) -> Reader:
    return read(build(study))


def test_build_returns_the_path_of_the_page(study: Path) -> None:
    assert build(study) == study / "report.html"


def test_every_number_of_the_table_is_the_one_in_the_rows(study: Path, page: Reader) -> None:
    for summary in summarise(read_rows(study)):
        numbers = [number_format.score(summary.score), summary.spread, number_format.share(summary.mean("sparsity"))]
        assert " ".join(numbers[:2]) in page.words
        assert numbers[2] in page.words


def test_the_page_loads_nothing(page: Reader) -> None:
    loading = {"src", "srcset", "href", "action", "poster", "data", "xlink:href"}
    addresses = {value for _, attributes in page.elements for key, value in attributes.items() if key in loading}
    assert addresses == {"data:,"}
    for _, attributes in page.elements:
        assert "@import" not in str(attributes.get("style", ""))


def test_the_policy_forbids_loading_and_admits_exactly_the_two_scripts(study: Path, page: Reader) -> None:
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.count("'sha256-") == sum("type" not in attributes for attributes, _ in page.scripts) == 2
    assert "http" not in policy


def test_own_text_and_specs_name_no_address(study: Path) -> None:
    text = (study / "report.html").read_text(encoding="utf-8").replace(bundle(), "")
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_the_libraries_can_stand_in_a_script_element() -> None:
    library = bundle()
    assert "</script" not in library.lower()
    assert "<!--" not in library
    # A browser turns these into other characters, and the policy's hash would no longer fit.
    assert "\r" not in library
    assert "\0" not in library


def test_hostile_text_is_shown_and_never_run(tmp_path: Path) -> None:
    page = read(build(fake_study(tmp_path, hostile=True)))
    assert [attributes for attributes, _ in page.scripts if "type" not in attributes] == [{}, {}]
    assert f"minilm{HOSTILE}" in page.words
    assert f"rotten{HOSTILE}" in page.words
    assert HOSTILE in json.dumps(page.specs)
    assert "<script>alert" not in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_plot_has_its_specification_and_draws(page: Reader) -> None:
    plots = [attributes for _, attributes in page.elements if attributes.get("class") == "plot"]
    assert {attributes["data-spec"] for attributes in plots} == set(page.specs)
    assert len({attributes["data-name"] for attributes in plots}) == len(plots)
    assert all(attributes["aria-label"] for attributes in plots)
    # Every chart is in several of the studies, and its place in another makes it dark there.
    for spec, colours in zip(page.specs.values(), itertools.cycle((theme.LIGHT, theme.DARK)), strict=False):
        assert spec["width"] == "container"
        picture = vl_convert.vegalite_to_svg({**spec, "width": 400, "config": colours}, allowed_base_urls=[])
        assert picture.startswith("<svg")
        assert "NaN" not in picture


def test_a_picture_under_no_data_is_not_there(tmp_path: Path) -> None:
    page = read(build(fake_study(tmp_path, finished=False, methods=("heads+mlps",))))
    assert "No verdict yet" in page.words
    assert "Where the surviving weights lie" not in page.words
    assert "Beside the paper" not in page.words
    assert "retrained" not in " ".join(re.findall(r"<td>(.*?)</td>", (tmp_path / "report.html").read_text()))


def test_sections_stand_in_their_order(tmp_path: Path) -> None:
    page = read(build(fake_study(tmp_path, seeds=(0, 1), glue="SST-2")))
    order = [
        "Over 2 seeds, the good ticket of heads and MLPs matches the full model",
        "Results",
        "How far each search could go",
        "Good tickets against random and bad ones",
        "Heads and MLPs that survive",
        "Where the surviving weights lie",
        "How important every site is",
        "Beside the paper’s figures for SST-2",
        "How it was made",
    ]
    places = [page.words.index(words) for words in order]
    assert places == sorted(places)


def test_it_says_how_it_was_made(page: Reader) -> None:
    for fact in ("tombola study --model minilm", "AMD EPYC 7B13", "5.2.0", "bf16", "15.6", "searched on", "1b2c3d4e"):
        assert fact in page.words


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        (("weights",), "as large as the full model when it runs."),
        (("heads+mlps", "weights"), "Only tickets of heads and MLPs are physically smaller."),
        (MIXED, "Only tickets of heads and MLPs or of heads and neurons are physically smaller."),
    ],
)
def test_zeroed_weights_are_not_sold_as_memory(tmp_path: Path, methods: tuple[TicketKind, ...], words: str) -> None:
    page = read(build(fake_study(tmp_path, methods=methods)))
    assert "Zeroed weights save no memory by themselves" in page.words
    assert words in page.words


def test_curves_tell_what_was_removed_and_where_the_line_is(tmp_path: Path) -> None:
    page = read(build(fake_study(tmp_path)))
    spec = json.dumps(page.specs["spec-1"])
    search = [json.loads(line) for line in (tmp_path / "rotten-tomatoes/seed-0/heads+mlps/search.jsonl").open()]
    for step in search:
        assert f'"score": {step["score"]}' in spec
    layer, head = search[1]["removed"]["heads"][0]
    assert f"heads {layer}.{head}, " in spec
    assert f'"score": {0.9 * search[0]["score"]}' in spec
    assert "90 % of the full score" in spec


def test_every_pruning_has_its_pictures(tmp_path: Path) -> None:
    page = read(build(fake_study(tmp_path, methods=MIXED, seeds=(0, 1))))
    slugs = ("heads-mlps", "heads-neurons", "weights")
    assert names(page) == {
        *(f"{what}-{method}" for what in ("search", "tickets") for method in slugs),
        *("survivors-heads-mlps", "survivors-heads-neurons", "survivors-heads-neurons-shares"),
        *("importance-heads", "importance-mlps", "importance-neurons", "density", "finer-heads-neurons"),
    }  # fmt: skip
    for words in ("Heads, MLPs and neurons that survive", "What pruning neurons buys", "blocks of neurons (by chance"):
        assert words in page.words
    tips = {row["removed"] for row in values(named(page, "search-heads-neurons")) if "removed" in row}
    assert any(tip.endswith("; 14 blocks of neurons") for tip in tips)
    assert "7 blocks of neurons" in tips


def test_neurons_alone_need_no_heads(tmp_path: Path) -> None:
    page = read(build(fake_study(tmp_path, methods=("neurons",))))
    assert names(page) == {"search-neurons", "tickets-neurons", "survivors-neurons-shares", "importance-neurons"}
    assert "Neurons that survive" in page.words
    assert "Among blocks of neurons importance looks" in page.words
    for words in ("ranks first", "Head scores", "Zeroed weights", "What pruning neurons buys"):
        assert words not in page.words


def test_the_share_of_neurons_is_that_of_the_tickets(tmp_path: Path) -> None:
    record = read_study(fake_study(tmp_path, methods=("heads+neurons",), seeds=(0, 1)))
    rows = values(named(read(build(tmp_path)), "survivors-heads-neurons-shares"))
    shares = {row["row"]: row["share"] for row in rows if row["which"] == "in a seed, on average"}
    masks = [Ticket.load(good).neurons for good in sorted(tmp_path.rglob("good"))]
    assert len(masks) == 2
    assert list(shares) == [str(layer) for layer in range(6)]
    for layer, share in enumerate(shares.values()):
        assert share == pytest.approx(sum(float(mask[layer].float().mean()) for mask in masks) / 2)
    assert record.survival[0].sites["neurons"].everywhere == int((masks[0] & masks[1]).sum())


def test_rows_of_two_stacks_are_named(tmp_path: Path) -> None:
    page = read(build(fake_study(tmp_path, methods=MIXED, stacks=True, layers=2, heads=4)))
    heads = ["encoder 0", "encoder 1", "decoder 0", "decoder 0 cross", "decoder 1", "decoder 1 cross"]
    layers = [name for name in heads if "cross" not in name]
    grid = named(page, "survivors-heads-mlps")
    rows = values(grid)
    assert list(dict.fromkeys(row["row"] for row in rows if row["column"] != "MLP")) == heads
    assert [row["row"] for row in rows if row["column"] == "MLP"] == layers
    y = grid["layer"][0]["encoding"]["y"]
    assert (y["scale"]["domain"], y["title"]) == (heads, None)
    assert list(dict.fromkeys(row["row"] for row in values(named(page, "density")))) == layers
    assert [row["row"] for row in values(named(page, "importance-neurons"))] == layers
    assert re.search(r"Head (en|de)coder \d( cross)?\.\d ranks first", page.words)
    assert "layer encoder" not in page.words
    assert "layer decoder" not in page.words


def test_mlps_alone_are_a_line_for_each_stack(tmp_path: Path) -> None:
    page = read(build(fake_study(tmp_path, methods=("mlps",), stacks=True, layers=3, heads=4)))
    cells = [(row["row"], row["column"]) for row in values(named(page, "survivors-mlps"))]
    assert cells == [(stack, layer) for stack in ("encoder", "decoder") for layer in ("0", "1", "2")]
    page = read(build(fake_study(tmp_path / "one", methods=("mlps",), layers=3)))
    cells = [(row["row"], row["column"]) for row in values(named(page, "survivors-mlps"))]
    assert cells == [("MLP", "0"), ("MLP", "1"), ("MLP", "2")]


def test_a_study_older_than_names_counts_its_rows(tmp_path: Path) -> None:
    fake_study(tmp_path)
    architecture = json.loads((tmp_path / "study.json").read_text())["architecture"]
    older = {key: value for key, value in architecture.items() if not key.endswith("_names") and key != "neurons"}
    spoil(tmp_path / "study.json", "architecture", older)
    grid = named(read(build(tmp_path)), "survivors-heads-mlps")
    assert grid["layer"][0]["encoding"]["y"]["scale"]["domain"] == ["0", "1", "2", "3", "4", "5"]
    assert grid["layer"][0]["encoding"]["y"]["title"] == "layer"


def test_the_card_says_both_halves_of_the_verdict(tmp_path: Path) -> None:
    page = read(build(fake_study(tmp_path, methods=("weights",))))
    assert "✓ matches the full model" in page.words
    assert "✓ better than bad and random" in page.words or "✓ better than random and bad" in page.words
    assert "✗ not clearly better or worse than layer-matched random" in page.words
    assert page.words.count("not clearly better or worse than the layer-matched random ticket (+0.009, ") == 2
    assert "overlap" not in page.words


def test_rows_that_keep_equally_many_are_named_together(tmp_path: Path) -> None:
    fake_study(tmp_path, methods=("heads",), layers=4, heads=4)
    heads = torch.zeros(4, 4, dtype=torch.bool)
    heads[1, 0] = heads[2, 3] = True
    place = tmp_path / "rotten-tomatoes/seed-0/heads/good"
    shutil.rmtree(place)
    Ticket("heads", "bert-4x4-1b2c3d4e", {"heads": heads}).save(place)
    words = read(build(tmp_path)).words
    assert "layer 1 and layer 2 keep most heads (1 each), layer 0 and layer 3 keep fewest (0 each)" in words


def test_a_lower_metric_is_worded_the_other_way_round(tmp_path: Path) -> None:
    fake_study(tmp_path, methods=("weights",))
    task = json.loads((tmp_path / "study.json").read_text())["task"]
    spoil(tmp_path / "study.json", "task", {**task, "higher_is_better": False})
    words = read(build(tmp_path)).words
    assert re.search(r"the last state that held scored 0\.\d{3}, the full model 0.846", words)
    assert "% of the full score and" not in words
    good = number_format.score(read_study(tmp_path).summary("weights", "good", "retrained").score)  # type: ignore[union-attr]
    full = read_study(tmp_path).full
    assert full is not None
    word = "better" if float(good) < full.score else "worse"
    assert re.search(rf"the good ticket scores {good}[^.]*, 0.\d* {word} than the full model", words)
    assert number_format.difference(3.355, 3.607, higher_is_better=False) == "0.252 better than"


def test_a_lower_metric_turns_the_line_round(tmp_path: Path) -> None:
    fake_study(tmp_path)
    task = json.loads((tmp_path / "study.json").read_text())["task"]
    spoil(tmp_path / "study.json", "task", {**task, "higher_is_better": False})
    record = read_study(tmp_path)
    assert record.bound(9.0) == pytest.approx(10.0)
    assert read(build(tmp_path)).specs


def test_a_study_is_needed(tmp_path: Path) -> None:
    with pytest.raises(TombolaError, match=r"^\S+ holds no study .*`tombola study`$"):
        build(tmp_path)


@pytest.mark.parametrize("content", [None, ""])
def test_results_are_needed(tmp_path: Path, content: str | None) -> None:
    fake_study(tmp_path)
    (tmp_path / "results.jsonl").unlink()
    if content is not None:
        (tmp_path / "results.jsonl").write_text(content)
    with pytest.raises(TombolaError, match=r"has no results yet") as error:
        build(tmp_path)
    assert "\n" not in str(error.value)


def test_a_damaged_field_is_named(tmp_path: Path) -> None:
    fake_study(tmp_path)
    spoil(tmp_path / "verdicts.json", "verdicts", [{"method": 3}])
    with pytest.raises(TombolaError, match=r"verdicts.json, verdicts\[0\]: 'method' should be a text, but found 3"):
        build(tmp_path)


def test_a_chart_can_be_exported_as_svg(tmp_path: Path) -> None:
    record = read_study(fake_study(tmp_path, seeds=(0, 1)))
    charts = {"grid": survival_grid(record.survival[0], record.places)}
    ((_, found),) = pictures(charts, width=300, svg_alone=True)
    assert [*found] == ["svg"]
    assert found["svg"].startswith(b"<svg")
    assert b'fill="white"' in found["svg"]


def test_markup_escapes_all_but_markup() -> None:
    assert element("b", "<i>", element("i", "&"), title='"') == '<b title="&quot;">&lt;i&gt;<i>&amp;</i></b>'
    assert join("<", element("br_", class_="x")) == '&lt;<br_ class="x"></br_>'


@pytest.mark.parametrize(
    ("model", "title"),
    [
        ("google/bert_uncased", "google/bert_uncased"),
        ("/models/minilm", "minilm"),
        ("runs/tiny-bert-moods-aacbdb0f/moods/seed-0/full", "tiny-bert-moods-aacbdb0f, seed 0"),
    ],
)
def test_the_heading_is_no_path(tmp_path: Path, model: str, title: str) -> None:
    assert (
        f"Tombola · lottery tickets {title} on Rotten Tomatoes" in read(build(fake_study(tmp_path, model=model))).words
    )


def test_a_page_without_controls_speaks_of_none(tmp_path: Path) -> None:
    fake_study(tmp_path, methods=("weights",), finished=False)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").open()]
    write_lines(tmp_path / "results.jsonl", [one for one in lines if one["ticket"] in ("full", "guessing", "good")])
    page = read(build(tmp_path))
    assert "Scores of the tickets" in page.words
    assert "random and bad" not in page.words
    assert "chance in training" not in page.words
    assert "retrained" not in json.dumps(named(page, "tickets-weights"))


@pytest.mark.parametrize("ticket", ["bad", "layer-matched"])
def test_controls_of_other_weights_are_said_to_be(tmp_path: Path, ticket: str) -> None:
    """Of grouped queries, as many heads hold as many weights only where they are of as many groups."""
    fake_study(tmp_path, methods=("heads+mlps",))
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").open()]
    good = next(one["weights"] for one in lines if one["ticket"] == "good")
    assert "not hold as many weights" not in read(build(tmp_path)).words
    for one in lines:
        if one["ticket"] == ticket:
            one["weights"] -= 400_000
    write_lines(tmp_path / "results.jsonl", lines)
    words = read(build(tmp_path)).words
    (said,) = re.findall(r"As many sites do not hold as many weights here: [^.]*", words)
    assert f"good {good:,}" in said
    assert f"{ticket} {good - 400_000:,}" in said
    assert "the same size" not in words


def test_blocks_without_sites_are_named(tmp_path: Path) -> None:
    fake_study(tmp_path)
    assert "Never pruned" not in read(build(tmp_path)).words
    architecture = json.loads((tmp_path / "study.json").read_text())["architecture"]
    blocks = {"mid_block.attentions.0": "Attention: no <b>entry</b>"}
    spoil(tmp_path / "study.json", "architecture", {**architecture, "without_sites": blocks})
    said = "Never pruned, as no sites of them are known: mid_block.attentions.0 (Attention: no <b>entry</b>)."
    assert said in read(build(tmp_path)).words


def test_results_of_unlike_machines_are_told_of(tmp_path: Path) -> None:
    folder = shutil.copytree(small_study.finished().folder, tmp_path / "study")
    assert "unlike machines" not in build(folder).read_text(encoding="utf-8")
    record = folder / "moods" / "seed-0" / "heads+mlps" / "bad" / ".retrained.files.json"
    there = json.loads(record.read_text())
    assert "PyTorch" in there["computed_on"]
    record.write_text(json.dumps({**there, "computed_on": "Another <b>processor</b>"}))
    page = build(folder).read_text(encoding="utf-8")
    assert "Computed on unlike machines" in page
    assert "Another &lt;b&gt;processor&lt;/b&gt; (1 result)" in page
