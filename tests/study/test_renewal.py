"""A study's folder under other settings: what depends on them is made anew, the rest is reused, and nothing mixes."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from builders import shared_folder, small_study
from builders.renewed_study import assert_alike, assert_back, assert_renewed
from builders.small_study import read_rows, timeless
from tombola.cli import main
from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError
from tombola.foundations.progress import SILENT
from tombola.report import build
from tombola.study.config import StudyConfig
from tombola.study.finished_run import FinishedRun
from tombola.study.renewal import SET_ASIDE, Renewal
from tombola.study.step import StudyStep
from tombola.study.step_record import FileStamp, StepRecord
from tombola.study.study import Study

pytestmark = pytest.mark.slow

SEEDS = (0, 1)
BASE: Mapping[str, Any] = {
    **small_study.SETTINGS,
    # Short, as each setting takes two studies.
    "train_rows": 96,
    "dev_rows": 48,
    "controls": ("random",),
    "heads_step": 0.5,
    "mlps_step": 2,
    "weights_cuts": 4,
    "bootstrap_resamples": 20,
    "device": "cpu",
    "at_chance": "continue",
    "text_column": "sentence",
}
OTHERS: Mapping[str, Any] = {
    "train_rows": 80,
    "dev_rows": 32,
    "max_length": 5,
    "search_split": "train",
    "methods": ("weights", "heads"),
    "controls": ("bad",),
    "random_draw": "bernoulli",
    "bad_draw": "pruned",
    "super_random": "outside",
    "iterative": True,
    "rewind": "final",
    "precision": "bf16",
    "bootstrap_resamples": 30,
    "eval_batch_size": 7,
    "threshold": 0.99,
    "over_chance": True,
    "heads_step": 0.25,
    "mlps_step": 1,
    "neurons_step": 0.5,
    "neuron_block": 8,
    "refine": False,
    "refine_heads_step": 0.5,
    "refine_neurons_step": 0.5,
    "weights_step": 0.5,
    "weights_cuts": 2,
    "sparsities": (0.2, 0.5),
    "curve_until": 0.1,
    "normalise_layers": False,
    "normalise_over": "all",
    "importance": "accumulated",
    "emptied_attention": "nothing",
    "calibration_samples": 8,
    "sequence_length": 32,
    "epochs": 3,
    "learning_rate": 2e-2,
    "batch_size": 16,
    "weight_decay": 0.1,
    "warmup_ratio": 0.5,
    "max_grad_norm": 0.1,
    "gradient_accumulation_steps": 3,
    "text_column": "other",
    "text_pair_column": "other",
    "label_column": "turned",
    "regression": True,
    "metric": "f1",
    "class_weights": "balanced",
    "task_type": "text-classification",
    "search_metric": "f1",
}
"""Another value of every setting that is a value; those that are files, and those that are neutral, have tests of
their own."""


@pytest.fixture(scope="module")
def rows() -> Path:
    """Sentences with a pair, and two columns of labels."""

    def write(folder: Path) -> None:
        small_study.write_task(folder)
        for file in folder.iterdir():
            lines = [line.split("\t") for line in file.read_text().splitlines()[1:]]
            made = [
                f"{text}\t{' '.join(text.split()[::-1])}\t{int(label == 'good')}\t{int(label != 'good')}"
                for text, label in lines
            ]
            file.write_text("\n".join(["sentence\tother\tlabel\tturned", *made]) + "\n")

    return shared_folder.once("rows", write)


def study_of(out: Path, rows: Path, seeds: tuple[int, ...] = SEEDS, **settings: Any) -> Study:
    values = {"model": str(small_study.model()), "task": str(rows), "label_column": "label", **BASE, **settings}
    return Study(StudyConfig.of("quick", **values), out=out, seeds=seeds)


@pytest.fixture(scope="module")
def base(rows: Path) -> Study:
    return small_study.run_once(study_of(shared_folder.home() / "renewed", rows))


@pytest.fixture
def copy(base: Study, tmp_path: Path) -> Path:
    return shutil.copytree(base.folder, tmp_path / "copy")


def check(copy: Path, base: Study, fresh: Path, rows: Path, **settings: Any) -> None:
    """A changed study in the folder of another is what it is from nothing; and back again nothing is computed."""
    renewed, alone = study_of(copy, rows, **settings), study_of(fresh, rows, **settings)
    assert_renewed(renewed, alone, study_of(copy, rows), base)


class Changed(NamedTuple):
    """The study under another threshold, run in a copy of its folder; when each result was made; what it said."""

    study: Study
    before: Mapping[str, int]
    after: Mapping[str, int]
    said: str


@pytest.fixture(scope="module")
def changed(base: Study, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Changed:
    copied = shutil.copytree(base.folder, tmp_path_factory.mktemp("changed") / "copy")
    study, said = study_of(copied, rows, threshold=0.99), io.StringIO()
    before = made(study)
    with contextlib.redirect_stderr(said):
        study.run()
    return Changed(study, before, made(study), said.getvalue())


QUICK = ("bootstrap_resamples",)


def test_every_setting_is_changed(base: Study) -> None:
    files = {"model", "task", "validation_file", "full", "data"}
    neutral = {"device", "analyses", "at_chance", "gradient_checkpointing"}
    # Of held-out rows, of data without dev rows, of data of the hub, and of long contexts of questions.
    of_others = {"search_rows", "validation_split", "dataset_config", "doc_stride"}
    assert {*OTHERS} | files | neutral | of_others == {*base.config.settings()}
    assert [
        name
        for name, value in OTHERS.items()
        if base.config.settings()[name] in (value, list(value) if isinstance(value, tuple) else value)
    ] == []


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=() if one in QUICK else pytest.mark.exhaustive) for one in OTHERS if one != "threshold"],
)
def test_another_value_in_the_same_folder_gives_what_it_gives_in_a_new_one(
    name: str, copy: Path, base: Study, rows: Path, tmp_path: Path
) -> None:
    check(copy, base, tmp_path / "fresh", rows, **{name: OTHERS[name]})


def test_another_threshold_gives_what_it_gives_in_a_new_folder(
    changed: Changed, base: Study, rows: Path, tmp_path: Path
) -> None:
    alone = study_of(tmp_path / "fresh", rows, threshold=OTHERS["threshold"])
    alone.run()
    assert_alike(changed.study, alone)
    assert timeless(read_rows(alone.folder)) != timeless(read_rows(base.folder)), "it has nothing to make anew"
    assert_back(study_of(shutil.copytree(changed.study.folder, tmp_path / "copy"), rows), base)


@pytest.mark.exhaustive
def test_rows_held_out_for_the_search(copy: Path, base: Study, rows: Path, tmp_path: Path) -> None:
    check(copy, base, tmp_path / "fresh", rows, search_split="train", search_rows=30)
    check(copy, base, tmp_path / "fewer", rows, search_split="train", search_rows=20)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["model", "task", "full"])
def test_another_file_in_its_place(name: str, copy: Path, base: Study, rows: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / Path(base.config.task if name == "task" else base.config.model).name
    if name == "model":
        small_study.write_model(other, seed=9)
    elif name == "full":
        other = base.seed_folder(1).full
    else:
        _turned(rows, other)
    check(copy, base, tmp_path / "fresh", rows, **{name: str(other)})


@pytest.mark.exhaustive
def test_another_validation_file(rows: Path, tmp_path: Path) -> None:
    now: dict[str, Any] = {"task": str(rows / "train.tsv"), "validation_file": str(rows / "dev.tsv")}
    other = {**now, "validation_file": str(_turned(rows, tmp_path / "other") / "dev.tsv")}
    base = small_study.run_once(study_of(tmp_path / "base", rows, **now))
    copy = shutil.copytree(base.folder, tmp_path / "copy")
    renewed, alone = study_of(copy, rows, **other), study_of(tmp_path / "fresh", rows, **other)
    assert_renewed(renewed, alone, study_of(copy, rows, **now), base)


def _turned(rows: Path, folder: Path) -> Path:
    """A copy of the rows with those to score in the opposite order."""
    shutil.copytree(rows, folder)
    lines = (rows / "dev.tsv").read_text().splitlines()
    (folder / "dev.tsv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    return folder


def made(study: Study) -> dict[str, int]:
    """When each result was made."""
    return {step.what: step.result.stat().st_mtime_ns for step in study.steps()}


def computes_nothing(patch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        patch.setattr(f"tombola.study.{name}", lambda *_, **__: pytest.fail("computed again"))


def test_what_a_study_beside_it_made_is_copied(base: Study, rows: Path, tmp_path: Path) -> None:
    there = shutil.copytree(base.folder, tmp_path / base.folder.name)
    for model in there.glob("**/seed-0/full/model.safetensors"):
        model.write_bytes(model.read_bytes()[:-1] + b"?")
    study = study_of(tmp_path, rows, threshold=0.99)
    found = Renewal(study.folder, [there])
    found.check(study.steps())
    full, damaged = study.seed_folder(1).full, study.seed_folder(0).full
    assert full in found.copied
    assert not damaged.exists()
    assert not StepRecord.path(damaged).exists()
    # Whatever goes by the threshold is not there.
    assert not [result for result in found.copied if "heads+mlps" in str(result) or "weights" in str(result)]
    for file in (file for file in full.rglob("*") if file.is_file()):
        assert file.read_bytes() == (there / file.relative_to(study.folder)).read_bytes()
    assert all(step.done() for step in study.steps() if step.result in found.copied)
    assert sorted(one.name for one in study.folder.iterdir()) == [base.seed_folder(0).folder.parent.name]


@pytest.mark.exhaustive
def test_a_study_goes_on_from_what_one_beside_it_made(
    base: Study, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    there = shutil.copytree(base.folder, out / base.folder.name)
    before = {file: file.stat().st_mtime_ns for file in there.rglob("*") if file.is_file()}
    study = study_of(out, rows, threshold=0.99)
    assert study.folder != there
    with pytest.MonkeyPatch.context() as patch:
        computes_nothing(patch, "seed_run.train")
        study.run()
    assert re.search(rf"of these 2 fine-tunings[^;]* copied from {there}", capsys.readouterr().err)
    alone = study_of(tmp_path / "fresh", rows, threshold=0.99)
    alone.run()
    assert_alike(study, alone)
    assert {file: file.stat().st_mtime_ns for file in there.rglob("*") if file.is_file()} == before
    # A full model that is damaged there is made again.
    for model in there.glob("**/seed-0/full/model.safetensors"):
        model.write_bytes(model.read_bytes()[:-1] + b"?")
    shutil.rmtree(study.folder)
    study_of(out, rows, threshold=0.99).run()
    assert re.search(r"of these 1 fine-tuning[^;]* copied from", capsys.readouterr().err)
    assert_alike(study_of(out, rows, threshold=0.99), alone)


def test_neutral_settings_change_nothing(copy: Path, base: Study, rows: Path) -> None:
    before = made(study_of(copy, rows))
    again = study_of(copy, rows, at_chance="stop", analyses=("survivors",), device="cpu:0")
    again.run()
    assert before.items() >= made(again).items()
    assert not (copy / SET_ASIDE).exists()
    assert read_json(copy / "study.json")["config"]["at_chance"] == "stop"
    # The attention maps that nobody asked for this time are as true as they were.
    assert again.seed_folder(0).analysis("attention").is_file()


def test_another_batch_size_of_scores_trains_no_full_model(
    base: Study, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"eval_batch_size": 7, "methods": ("heads",), "controls": (), "analyses": ("attention",)}
    alone = study_of(tmp_path / "fresh", rows, **settings)
    alone.run()
    with pytest.MonkeyPatch.context() as patch:
        computes_nothing(patch, "seed_run.train")
        for place in ("in the folder", "in one beside it"):
            copy = shutil.copytree(base.folder, tmp_path / place / base.folder.name)
            study = study_of(copy if place == "in the folder" else copy.parent, rows, **settings)
            study.run()
            assert_alike(study, alone)
            assert not list(study.folder.rglob(".trained"))
            assert "2 fine-tunings trained alike before, and only scored" in capsys.readouterr().err


def test_where_tickets_rewind_to_is_nothing_to_the_full_model(copy: Path, base: Study, rows: Path) -> None:
    for rewind, alike in (("final", True), ("step-2", False)):
        study = study_of(copy, rows, rewind=rewind)
        Renewal(study.folder).check(study.steps())
        assert [study.seed_folder(seed).full.is_dir() for seed in SEEDS] == [alike] * len(SEEDS)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *((name, "heads+mlps") for name in ("heads_step", "refine", "normalise_layers", "importance")),
        *((name, "weights") for name in ("weights_step", "weights_cuts", "sparsities")),
    ],
)
def test_a_search_is_made_anew_by_its_own_settings_alone(
    name: str, method: str, copy: Path, base: Study, rows: Path
) -> None:
    assert name not in base.config.settings() or base.config.settings()[name] != OTHERS[name]
    study = study_of(copy, rows, **{name: OTHERS[name]})
    Renewal(study.folder).check(study.steps())
    tickets = {one: study.seed_folder(0).ticket(one, "good") for one in study.config.methods}
    # A ranking is one of the full model too, which every search begins with; it is not trained for it.
    both = name == "importance"
    assert {one for one, ticket in tickets.items() if not ticket.is_dir()} == ({*tickets} if both else {method})


def test_another_importance_trains_no_full_model(copy: Path, rows: Path) -> None:
    study = study_of(copy, rows, importance="accumulated")
    found = Renewal(study.folder)
    found.check(study.steps())
    assert found.trained == {study.seed_folder(seed).full for seed in SEEDS}


def test_only_what_depends_on_it_is_made_anew(changed: Changed) -> None:
    reused = {what for what, when in changed.after.items() if changed.before[what] == when}
    own = ("guessing", "fine-tune the full model", "attention of the full model")
    assert reused == {f"seed {seed}: {what}" for seed in SEEDS for what in own}
    assert "threshold changed: 4 searches, 14 trainings, 2 analyses" in changed.said
    assert "2 fine-tunings, 2 analyses and 2 others reused" in changed.said


def test_a_seed_that_nobody_asks_for_is_not_mixed_in(copy: Path, base: Study, rows: Path) -> None:
    study = study_of(copy, rows, seeds=(0,), threshold=0.99)
    study.run()
    assert {row["seed"] for row in study.rows() if row["ticket"] == "good"} == {0}
    assert {row["seed"] for row in study.rows() if row["ticket"] == "full"} == {0, 1}
    assert not list((copy / "rows").glob("seeds-*"))
    both = study_of(copy, rows)
    both.run()
    assert_alike(both, base)


def test_killed_while_it_sets_aside_it_mixes_nothing(
    copy: Path, base: Study, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, left = Path.rename, [0]

    def deadly(self: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", deadly)
    for renames in (1, 2, 5, 11):
        left[0] = renames
        with pytest.raises(KeyboardInterrupt):
            study_of(copy, rows, seeds=(0,), controls=("bad",), threshold=0.99).run()
    left[0] = 0
    study, alone = (
        study_of(out, rows, seeds=(0,), controls=("bad",), threshold=0.99) for out in (copy, tmp_path / "fresh")
    )
    study.run()
    alone.run()
    good = [row for row in read_rows(study.folder) if row["seed"] == 0]
    assert timeless(good) == timeless(read_rows(alone.folder))


def writing(result: Path, content: bytes) -> StudyStep:
    def run(_: object) -> None:
        result.write_bytes(content)

    return StudyStep("search", 1, 1, result, run)


def test_a_change_far_inside_a_large_file_is_noticed(tmp_path: Path) -> None:
    result = tmp_path / "model.json"
    step = writing(result, bytes(3 * 2**20))
    step(SILENT)
    assert step.done()
    content = bytearray(result.read_bytes())
    content[-1] = 1
    result.write_bytes(content)
    with pytest.raises(TombolaError, match="is damaged"):
        step.done()


def test_a_file_as_it_was_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = tmp_path / "model.json"
    step = writing(result, b"{}")
    step(SILENT)
    os.utime(result)
    assert step.done(), "copied: its content tells"
    monkeypatch.setattr(FileStamp, "of", lambda _: pytest.fail("read again"))
    assert step.done()


class TestFull:
    @pytest.mark.exhaustive
    def test_all_seeds_begin_with_the_model_that_is_given(
        self, base: Study, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tombola.study.seed_run.train", lambda *_, **__: pytest.fail("fine-tuned"))
        full, methods = base.seed_folder(0).full, ("weights",)
        study = study_of(tmp_path, rows, full=str(full), methods=methods)
        page = build(study.run()).read_text()
        assert "All seeds begin with one fine-tuned model" in page
        one, other, own = (
            read_json(place / "score.json")["score"]
            for place in (*(study.seed_folder(seed).full for seed in SEEDS), full)
        )
        assert one == other == own
        for verdict in study.verdicts():
            assert (verdict["n_seeds"], verdict["rule"]) == (2, "bootstrap")
        # What seed 0 made of the same model, it makes again; its tickets start from the pre-trained weights.
        alike = [
            {key: row[key] for key in ("ticket", "stage", "score", "weights")}
            for row in study.rows()
            if row["seed"] == 0 and row["method"] == "weights"
        ]
        assert alike == [
            {key: row[key] for key in alike[0]}
            for row in base.rows()
            if row["seed"] == 0 and row["method"] == "weights"
        ]

    def test_a_model_for_each_seed(self, base: Study, rows: Path, tmp_path: Path) -> None:
        pattern = str(base.seed_folder(0).full).replace("seed-0", "seed-{seed}")
        study = study_of(tmp_path, rows, full=pattern, methods=("weights",))
        study.run()
        assert [row["score"] for row in study.rows() if row["ticket"] == "full"] == [
            row["score"] for row in base.rows() if row["ticket"] == "full"
        ]
        assert {verdict["rule"] for verdict in study.verdicts()} == {"seeds"}

    @pytest.mark.parametrize("wrong", ["shapes", "labels", "pre-trained", "nowhere"])
    def test_a_model_that_does_not_fit_is_one_line(self, wrong: str, base: Study, rows: Path, tmp_path: Path) -> None:
        full, more = base.seed_folder(0).full, dict[str, Any]()
        if wrong == "shapes":
            more["model"] = str(small_study.write_model(tmp_path / "tiny-bert", layers=2))
        elif wrong == "pre-trained":
            full = small_study.model()
        elif wrong == "nowhere":
            full = tmp_path / "nowhere" / "at" / "all"
        else:
            file = shutil.copytree(rows, tmp_path / "rows") / "train.tsv"
            file.write_text(file.read_text() + "what\tever\t2\t2\n")
            more["task"] = str(tmp_path / "rows")
        with pytest.raises(TombolaError) as caught:
            study_of(tmp_path / "out", rows, full=str(full), **more).run()
        assert "\n" not in str(caught.value)
        assert str(full) in str(caught.value)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("settings", "message"),
        [({"rewind": "init"}, "nobody knows where"), ({"rewind": "step-3"}, "nobody knows where")],
    )
    def test_nothing_is_known_of_its_training(self, settings: dict[str, Any], message: str, rows: Path) -> None:
        with pytest.raises(TombolaError, match=message):
            study_of(Path("out"), rows, full="mine", **settings)

    def test_a_regime_without_fine_tuning_has_none(self) -> None:
        with pytest.raises(TombolaError, match="understanding fine-tunes no model"):
            StudyConfig.of("quick", task="understanding", full="mine")


def test_a_finished_study_of_a_model_for_each_seed_is_known_by_these_models(
    base: Study, rows: Path, tmp_path: Path
) -> None:
    for seed in SEEDS:
        shutil.copytree(base.seed_folder(seed).full, tmp_path / f"mine-{seed}")
    study = study_of(tmp_path / "out", rows, full=str(tmp_path / "mine-{seed}"), methods=("weights",), controls=())
    study.run()
    FinishedRun.record(study.folder, study.hash, study.config.analyses, SEEDS, study.save, len(study.steps()), [], [])
    given = study.config, tmp_path / "out", SEEDS, study.save
    assert FinishedRun.find(*given) is not None
    shutil.rmtree(tmp_path / "mine-1")
    shutil.copytree(tmp_path / "mine-0", tmp_path / "mine-1")
    assert FinishedRun.find(*given) is None


def test_a_finished_study_says_so_without_pytorch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = small_study.flags(device="cpu", methods="weights", epochs=1, dev_rows=32, workers=1)
    assert main(["study", *flags, "--out", str(tmp_path)]) == 0
    first = capsys.readouterr().out
    (folder,) = tmp_path.glob("tiny-bert-*")
    report = folder / "report.html"
    before = small_study.listing(folder), report.stat().st_mtime_ns
    code = (
        "import sys; from tombola.cli.main import main; code = main(sys.argv[1:]); "
        "print(code, 'torch' in sys.modules, file=sys.stderr)"
    )
    call = [sys.executable, "-c", code, "study", *flags, "--out", str(tmp_path)]
    again = subprocess.run(call, capture_output=True, text=True, env=small_study.environment(), check=True)
    assert again.stdout == first
    assert re.search(r"all \d+ steps are done\n0 False", again.stderr)
    assert (small_study.listing(folder), report.stat().st_mtime_ns) == before
    # A change of any file is looked into.
    verdicts = (folder / "verdicts.json").read_bytes()
    (folder / "verdicts.json").write_text("{}")
    assert main(["study", *flags, "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == first
    assert (folder / "verdicts.json").read_bytes() == verdicts
