"""The table of the paper's protocol says what the presets and options are."""

import re
from pathlib import Path

from tombola.study.config import StudyConfig
from tombola.study.study_file import StudyFile

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
ROWS = {cells[0]: cells[1:] for row in re.findall(r"^\| (.+) \|$", PAGE, re.M) if (cells := re.split(r" *\| *", row))}


def test_the_table_says_what_is_set() -> None:
    paper, quick = (StudyConfig.of(preset, task="cola") for preset in ("paper", "quick"))
    step, cuts = ROWS["weights that a cut of m-pruning takes"], ROWS["cuts of m-pruning, at most"]
    assert (
        step[2]
        == f"{quick.search.weights_step:.0%}; **`--preset paper`: {paper.search.weights_step:.0%}** ".replace("%", " %")
        + "(`--weights-step`)"
    )
    assert f"`--preset paper`: {paper.search.weights_cuts}" in cuts[2]
    assert quick.search.weights_cuts is None
    trained, recipe = ROWS["fine-tuning"], quick.recipe
    assert (
        trained[0]
        == f"{paper.recipe.epochs} epochs, 2e-5, batches of {paper.recipe.batch_size}, {paper.max_length} tokens"
    )
    assert (paper.recipe.learning_rate, paper.recipe.warmup_ratio, paper.recipe.weight_decay) == (2e-5, 0, 0)
    assert (paper.precision, quick.precision, recipe.warmup_ratio) == ("fp32", "auto", 0.1)
    assert f"weight decay {recipe.weight_decay}" in trained[2]
    assert (recipe.epochs, recipe.learning_rate) == (1, 1e-4)


def test_the_seeds_are_those_of_the_code(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("preset: paper\ntask: cola\n", encoding="utf-8")
    assert ", ".join(map(str, StudyFile.read(file, None).seeds)) == ROWS["seeds"][1]


def test_the_code_of_the_paper_is_a_study(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```yaml[^\n]*\n(.*?)^```", PAGE, re.M | re.S)
    file = tmp_path / "study.yaml"
    file.write_text(text, encoding="utf-8")
    config = StudyFile.read(file, None).config
    given = dict(line.split(": ") for line in text.splitlines())
    flags = {name.replace("_", "-") for name in given} - {"preset", "model", "task"}
    # Every choice of the code that the table names as an option is in the file, and each is another than the default.
    assert flags <= set(re.findall(r"`--([a-z-]+)", PAGE))
    default, said = StudyConfig.of("paper", task="stsb").settings(), config.settings()
    assert {name for name in said if said[name] != default[name]} == {
        name for name in given if name not in ("preset", "task")
    }
