"""The sample of a study.yaml is what a study without a file takes, says every setting, and fits the schema."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tombola.cli import main
from tombola.foundations.settings import setting_fields
from tombola.study.config import PRESETS, SHARED, StudyConfig, preset_seeds
from tombola.study.sample_config import sample_config
from tombola.study.study_file import RUN, StudyFile, json_schema
from tombola.tasks.registry import named_tasks, regime_of

NEEDS: dict[str, dict[str, Any]] = {"images": {"data": "photos, of 'mine': #1"}}


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    found = json_schema()
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("task", [*named_tasks(), "/nowhere/mine"])
def test_it_reads_back_as_what_it_was_made_of(
    task: str, preset: str, schema: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    config = StudyConfig.of(preset, task=task, **NEEDS.get(task, {}))
    seeds = preset_seeds(preset, task)
    study = StudyFile(config, seeds, Path("runs"), "good", "auto")
    text = sample_config(study, preset)
    (tmp_path / "study.yaml").write_text(text)
    # The other preset shows that the file itself has all of them.
    for other in (None, "paper"):
        assert StudyFile.read(tmp_path / "study.yaml", other) == study
    schema.validate(yaml.safe_load(text))
    keys = [one.name for kind in (*SHARED, regime_of(task).settings) for one in setting_fields(kind)]
    assert {*yaml.safe_load(text)} == {*RUN, *keys} - {"trust_remote_code"}


def test_every_key_has_its_help_choices_and_default_above_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--sample-config", "--task", "cola", "--epochs", "7", "--seeds", "0-2"]) == 0
    blocks = capsys.readouterr().out.split("\n\n")
    assert "# passes over the training rows; default 1\nepochs: 7" in blocks
    (precision,) = (block for block in blocks if block.endswith("\nprecision: auto"))
    said = precision.replace("\n# ", " ")
    assert "auto takes bf16 where it is fast" in said
    assert "one of auto, fp32, bf16, fp16; default auto" in said
    assert "# training rows held out for the search; default null\nsearch_rows: null" in blocks
    assert any(block.endswith("\nseeds: [0, 1, 2]") for block in blocks)
    assert all(block.startswith("#") for block in blocks)
    assert max(map(len, "\n".join(blocks).splitlines())) <= 120


def test_flags_go_before_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("task: cola\nout: there\nworkers: 2\nsave: none\nseeds: 0-4\nepochs: 9\n")
    assert main(["study", str(file), "--sample-config", "--seeds", "7,1-2", "--save", "all", "--epochs", "3"]) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    named = ("task", "out", "workers", "save", "seeds", "epochs")
    assert [found[name] for name in named] == ["cola", "there", 2, "all", [7, 1, 2], 3]
