"""A regime that somebody else brings runs a whole study with its report, and nothing in Tombola knows of it."""

import re
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest

import tombola
from builders import toy_regime
from generated_pages import command_line
from tombola.cli.main import COMMANDS, main
from tombola.foundations.errors import TombolaError
from tombola.foundations.registry import installed
from tombola.foundations.settings import described, settings
from tombola.report import build
from tombola.study.config import StudyConfig, setting_groups
from tombola.study.study import Study
from tombola.tasks import registry
from tombola.tasks.regime import Preset, Regime, RegimeSettings
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow


def other_regime(names: dict[str, type], group: str = "others") -> Regime:
    """A regime of no models, which has settings of these names and types."""
    fields = {name: Annotated[kind, described(group)("something")] for name, kind in names.items()}
    own: type[RegimeSettings] = settings(
        type("Own", (RegimeSettings,), {"__annotations__": fields, **{name: kind() for name, kind in names.items()}})
    )

    presets: dict[str, dict[str, Preset]] = {"others": {"quick": {}, "paper": {}}}
    values = {"name": "other", "presets": presets, "settings": own, "group": group}
    made: Regime = type("Other", (toy_regime.SumRegime,), values)()
    return made


def declared(folder: Path, target: str) -> Path:
    """A folder with an installed package that declares a regime."""
    info = folder / "adders-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: adders\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[tombola.regimes]\nnumbers = {target}\n")
    return folder


@pytest.fixture(autouse=True)
def _regime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "registered", dict(registry.registered))
    registry.register(toy_regime.REGIME)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "registered", dict(registry.registered))
        registry.register(toy_regime.REGIME)
        config = StudyConfig.of("quick", **toy_regime.settings_of(epochs=3, learning_rate=2e-2))
        found = Study(config, out=tmp_path_factory.mktemp("sums"), seeds=(0, 1))
        found.run()
        build(found.folder)
    return found


def test_it_runs_a_whole_study_with_its_report(study: Study) -> None:
    rows = {(row["seed"], row["method"], row["ticket"], row["stage"]): row for row in study.rows()}
    for seed in (0, 1):
        full = rows[seed, "none", "full", "none"]
        # The network adds, and guessing does not.
        assert full["metric"] == "pearson"
        assert full["score"] > 0.9
        assert abs(rows[seed, "none", "guessing", "none"]["score"]) < 0.1
        for method in ("heads+mlps", "weights"):
            assert rows[seed, method, "good", "pruned"]["score"] >= 0.9 * full["score"]
            for ticket in ("good", "random", "layer-matched", "bad"):
                assert (seed, method, ticket, "retrained") in rows
    page = (study.folder / "report.html").read_text()
    assert "Sums of numbers" in page
    assert "super-survivors" in page


def test_its_scores_are_those_of_its_own_arithmetic(study: Study) -> None:
    task, folder = study.task, study.seed_folder(0)
    model = task.load(str(folder.full), seed=0, state="trained")
    ticket = Ticket.load(folder.ticket("heads+mlps", "good"))
    found = tombola.evaluate(tombola.shrunk(model, ticket), task).predictions
    row = next(
        row
        for row in study.rows()
        if (row["seed"], row["method"], row["ticket"], row["stage"]) == (0, "heads+mlps", "good", "pruned")
    )
    assert row["score"] == pytest.approx(np.corrcoef(found, task.references("dev"))[0, 1], abs=1e-6)


def test_its_settings_are_flat_like_any(capsys: pytest.CaptureFixture[str]) -> None:
    assert StudyConfig.of("quick", **toy_regime.settings_of(noise=0.5)).settings()["noise"] == 0.5
    plain, noisy = (StudyConfig.of("quick", **toy_regime.settings_of(noise=noise)).hash() for noise in (0.1, 0.5))
    assert plain != noisy
    with pytest.raises(TombolaError, match="noise must be at most 1, as more drowns the sums"):
        StudyConfig.of("quick", **toy_regime.settings_of(noise=2))
    with pytest.raises(TombolaError, match="noise is for networks that add numbers, not for 'cola'"):
        StudyConfig.of("quick", task="cola", noise=0.5)
    with pytest.raises(TombolaError, match="regression is for labelled texts, not for 'sums'"):
        StudyConfig.of("quick", **toy_regime.settings_of(regression=True))
    with pytest.raises(TombolaError, match="attention patterns are of texts; sums judges sums"):
        StudyConfig.of("quick", **toy_regime.settings_of(analyses=("attention",)))
    with pytest.raises(SystemExit):
        main(["study", "--help"])
    assert "--noise NOISE" in capsys.readouterr().out


def test_the_command_line_prunes_its_models(study: Study, tmp_path: Path) -> None:
    full = study.seed_folder(0).full
    arguments = [
        "prune",
        "--model",
        str(full),
        "--task",
        "sums",
        "--method",
        "heads+mlps",
        "--out",
        str(tmp_path / "p"),
    ]
    assert main([*arguments, "--dev-rows", "128", "--noise", "0.2", "--device", "cpu"]) == 0


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("study --task sums --sample-config", "noise: 0.1"),
        ("study --schema", '"noise"'),
        ("study --task sums --device cpu --out {out} --dry-run", "retrain good weights"),
        ("score --model {full} --task sums --device cpu", "Pearson correlation"),
        ("retrain --model adder --task sums --ticket {good} --device cpu --out {out} --dry-run", "steps: 1 to run"),
        ("results {study}", "pearson"),
        ("report {study}", "report.html"),
    ],
)
def test_every_command_knows_it(
    command: str, shown: str, study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = study.seed_folder(0)
    places = {"full": seed.full, "good": seed.ticket("weights", "good"), "study": study.folder, "out": tmp_path / "new"}
    assert main(command.format(**places).split()) == 0
    assert shown in capsys.readouterr().out


def test_a_name_that_is_taken_is_refused() -> None:
    class Other(toy_regime.SumRegime):
        name = "other"

    with pytest.raises(TombolaError, match="the regime numbers has the name or a task of other already"):
        registry.register(Other())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"epochs": int}, "the regime other has a setting epochs of its own, as every study has; rename it"),
        ({"seed": int}, "the regime other has a setting named as the flag --seed; rename it"),
        ({"no_iterative": bool}, "the regime other has a setting named as the flag --no-iterative; rename it"),
        ({"data": int}, "the regime other has a setting data of another type than that of fine_tuned; rename it"),
    ],
)
def test_a_setting_whose_name_is_taken_is_refused(names: dict[str, type], message: str) -> None:
    def study() -> StudyConfig:
        registry.register(other_regime(names))
        return StudyConfig.of(task="others")

    with pytest.raises(TombolaError, match=message):
        study()
    # What others have is as it was.
    assert StudyConfig.of("quick", **toy_regime.settings_of(epochs=2)).recipe.epochs == 2


def test_a_regime_that_is_registered_again_is_one() -> None:
    before = registry.regimes()
    registry.register(toy_regime.REGIME)
    assert registry.regimes() == before


def test_what_is_no_regime_is_refused() -> None:
    with pytest.raises(TombolaError, match=r"Ellipsis is no regime; give an instance of a subclass of tombola\."):
        registry.register(...)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("name", None, "the regime None has no name, subject and judges, which are texts"),
        ("presets", {}, "the regime other has no presets by the names of its tasks, of which it needs one or more"),
        ("presets", {3: {}}, "the regime other has no presets by the names of its tasks"),
        ("settings", object, r"the regime other has no settings, which are a subclass of tombola\.tasks\.regime\."),
        ("settings", RegimeSettings(), "the regime other has no settings, which are a subclass"),
    ],
)
def test_a_regime_that_is_half_made_is_refused(part: str, value: object, message: str) -> None:
    values = {"name": "other", "presets": {"others": {"quick": {}}}, part: value}
    with pytest.raises(TombolaError, match=message):
        registry.register(type("Other", (toy_regime.SumRegime,), values)())


def test_names_of_the_commands_own_flags_are_taken() -> None:
    settings = {one.name for _, fields in setting_groups().values() for one in fields}
    for command in (name for name, one in COMMANDS.items() if one.groups):
        section = command_line.page().split(f"{{ #tombola-{command} }}")[1].split("\n## ")[0]
        flags = {flag.replace("-", "_") for flag in re.findall(r"(?<![\w-])--(?!no-)([a-z][a-z-]*)", section)}
        assert flags - settings <= registry.TAKEN


@pytest.mark.parametrize("group", ["", "training", "others"])
@pytest.mark.parametrize("names", [{}, {"data": str}, {"noise": float}, {"loudness": float}])
def test_a_regime_needs_no_flags_and_no_heading_of_its_own(
    group: str, names: dict[str, type], capsys: pytest.CaptureFixture[str]
) -> None:
    registry.register(other_regime(names, group))
    for command in ("study", "prune"):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        shown = capsys.readouterr().out
        # A single step has no flags of training.
        heeded = group != "training" or command == "study"
        assert [name for name in names if f"--{name}" not in shown and (heeded or name != "loudness")] == []


def test_it_runs_in_one_process_where_others_do_not_know_it(tmp_path: Path) -> None:
    study = Study(StudyConfig.of("quick", **toy_regime.settings_of()), out=tmp_path, workers=2)
    with pytest.warns(UserWarning, match="runs in one process, as its regime is in no other"):
        assert study.worker_count(study.steps()) == 1


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("nowhere.at_all:REGIME", "No module named 'nowhere'"),
        (
            "builders.toy_regime:TERMS",
            r"4 is no regime; give an instance of a subclass of tombola\.tasks\.regime\.Regime",
        ),
        ("builders.toy_regime:NONE", "AttributeError: module 'builders.toy_regime' has no attribute 'NONE'"),
    ],
)
def test_a_broken_package_is_left_out_with_a_note(
    target: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "registered", {})
    monkeypatch.syspath_prepend(declared(tmp_path, target))
    installed.cache_clear()
    with pytest.raises(SystemExit, match="0"):
        main(["study", "--help"])
    note = r"tombola: note: the regime numbers of the package adders is left out: {}; mend or uninstall it\n"
    assert re.fullmatch(note.format(reason), capsys.readouterr().err)
    assert all(registry.is_ours(one) for one in registry.regimes())
    installed.cache_clear()
