"""A regime that somebody else brings runs a whole study with its report, and nothing in Tombola knows of it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tombola
from builders import small_study, toy_regime
from tombola.cli.main import main
from tombola.foundations.errors import TombolaError
from tombola.report import build
from tombola.study.config import StudyConfig
from tombola.study.study import Study
from tombola.tasks import registry
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _regime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "registered", dict(registry.registered))
    registry.register(toy_regime.REGIME)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "registered", dict(registry.registered))
        registry.register(toy_regime.REGIME)
        config = StudyConfig.of("quick", **toy_regime.settings_of())
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


def test_a_name_that_is_taken_is_refused() -> None:
    class Other(toy_regime.SumRegime):
        name = "other"

    with pytest.raises(TombolaError, match="the regime numbers has the name or a task of other already"):
        registry.register(Other())


def test_an_installed_package_brings_a_regime(tmp_path: Path) -> None:
    info = tmp_path / "adders-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: adders\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tombola.regimes]\nnumbers = builders.toy_regime:REGIME\n")
    code = "from tombola.tasks.registry import named_tasks; print(*named_tasks())"
    paths = f"{tmp_path}:{Path(__file__).parents[1]}:{Path(tombola.__file__).parents[1]}"
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=small_study.environment(PYTHONPATH=paths),
    )
    assert found.stdout.split()[-1] == "sums"
