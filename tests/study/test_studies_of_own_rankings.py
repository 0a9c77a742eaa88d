"""A ranking of sites and a criterion of weights that somebody else brings run through a whole study and its report."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import tombola
from builders import small_study, toy_rankings, toy_regime
from tombola.cli.main import main
from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError
from tombola.pruning.importance_methods import IMPORTANCES
from tombola.pruning.weight_criteria import CRITERIA
from tombola.report import build
from tombola.study.config import StudyConfig
from tombola.study.study import Study
from tombola.tasks import registry
from tombola.tickets.pruning_methods import forget_criterion
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow
SHORT = ("--controls", "random", "--analyses", "none", "--epochs", "3", "--save", "none")
CHOSEN = {"methods": ("heads+mlps", "noisy-size", "noisy-size-2:4"), "importance": "output-norm"}


def declared(folder: Path) -> Path:
    """A folder with an installed package that declares a regime, a ranking and a criterion."""
    info = folder / "chances-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: chances\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[tombola.regimes]\nnumbers = builders.toy_regime:REGIME\n"
        "[tombola.importances]\noutput-norm = builders.toy_rankings:output_norm\nBad Name = x:y\n"
        "[tombola.criteria]\nnoisy-size = builders.toy_rankings:noisy_size\nwanda = x:y\n"
    )
    return folder


def in_other_process(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = f"{package}:{Path(__file__).parents[1]}:{Path(tombola.__file__).parents[1]}"
    environment = small_study.environment(PYTHONPATH=paths)
    command = [sys.executable, "-m", "tombola", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.exhaustive
def test_a_study_of_an_installed_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = declared(tmp_path)
    flags = ["--task", "sums", "--device", "cpu", "--out", str(tmp_path / "runs"), "--importance", "output-norm"]
    done = in_other_process(
        package, "study", *flags, "--methods", "heads+mlps,noisy-size-2:4", *SHORT, "--json", "--workers", "2"
    )
    assert done.returncode == 0, done.stderr
    folder = Path(json.loads(done.stdout)["folder"])
    (home,) = (path.parent for path in folder.rglob("seed-0"))
    # Its workers have the regime too, as every process has.
    assert read_json(folder / "study.json")["machine"]["workers"] == 2
    page = (folder / "report.html").read_text()
    assert "Weights by noisy-size, 2:4" in page
    assert "output-norm" in page
    assert "before the first cut: as the study&#x27;s own ranking has it" in page
    good = Ticket.load(home / "seed-0" / "noisy-size-2of4" / "good")
    assert good.provenance["method"] == "noisy-size-2of4"
    # The sites that went first are those of the smallest output weights.
    first = json.loads((home / "seed-0" / "heads+mlps" / "search.jsonl").read_text().splitlines()[0])
    task = toy_regime.REGIME.open(StudyConfig.of("quick", task="cola"), toy_regime.SumSettings(), "sums")
    model = task.load(str(home / "seed-0" / "full"), seed=0, state="trained")
    weight = model.get_parameter("bert.encoder.layer.1.attention.output.dense.weight")
    expected = weight.detach().double().unflatten(1, (4, 4)).norm(dim=(0, 2))
    shown = torch.tensor(first["importance"]["heads"][1])
    assert torch.equal(shown.argsort(), expected.argsort())
    # What cannot be taken is named, and takes nothing with it.
    assert re.search(r"the package chances is left out: 'Bad Name' is no name for", done.stderr)
    assert "the criterion wanda of the package chances is left out: the name wanda is taken" in done.stderr
    # This process does not know it.
    assert main(["report", str(folder)]) == 2
    assert "noisy-size-2of4" in capsys.readouterr().err


def test_a_study_by_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "registered", dict(registry.registered))
    registry.register(toy_regime.REGIME)
    tombola.register_importance("output-norm", toy_rankings.output_norm)
    tombola.register_criterion("noisy-size", toy_rankings.noisy_size)
    try:
        config = StudyConfig.of("quick", **toy_regime.settings_of(**CHOSEN, analyses=(), controls=("random",)))
        study = Study(config, out=tmp_path, workers=2)
        with pytest.warns(UserWarning, match="the study runs in one process, as its regime is in no other"):
            study.run()
        assert "Weights by noisy-size" in build(study.folder).read_text()
        assert {row["method"] for row in study.rows()} >= {"heads+mlps", "noisy-size", "noisy-size-2of4"}
    finally:
        for known in (IMPORTANCES, CRITERIA):
            known.forget("output-norm")
            known.forget("noisy-size")
        forget_criterion("noisy-size")
    with pytest.raises(TombolaError, match="unknown importance 'output-norm'"):
        StudyConfig.of("quick", importance="output-norm")
