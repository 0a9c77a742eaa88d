"""Mistyped commands, flags, values and names: one line, what was meant, and no wait for PyTorch."""

import subprocess
import sys
from pathlib import Path

import pytest

from tombola.cli import main

MISTYPED = (
    (["stdy"], "unknown command 'stdy'; did you mean study? known: study, prune, "),
    (["study", "--epoch", "3"], "unrecognized arguments: --epoch; did you mean --epochs?; "),
    (["study", "--zzz"], "unrecognized arguments: --zzz; tombola study --help"),
    (["study", "--epochs", "three"], "argument --epochs: invalid int value: 'three'; "),
    (["study", "--epochs", "0"], "epochs must be 1 or more, not 0"),
    (["study", "--preset", "quik"], "unknown preset 'quik'; did you mean quick? known: quick, full, paper"),
    (["study", "--methods", "wandaa"], "unknown pruning method 'wandaa'; did you mean wanda"),
    (["study", "--task", "rottentomatoes"], "unknown task 'rottentomatoes'; did you mean rotten-tomatoes? known: "),
    (["study", "--controls", "randm"], "unknown control 'randm'; did you mean random? known: "),
    (["study", "--model", "minlm"], "no asset of this name; did you mean minilm? "),
    (["prune", "--task", "cola"], "the following arguments are required: --out"),
    (["prune", "--model", "./nowhere", "--task", "cola", "--out", "out"], "there is no folder ./nowhere; give a "),
    (["score", "--task", "./nowhere"], "unknown task './nowhere'; known: "),
    (["score", "--task", "cola", "--ticket", "./nowhere"], "nowhere does not exist; give the folder of a ticket"),
    (["retrain", "--ticket", "./nowhere", "--out", "out"], "nowhere does not exist; give the folder of a ticket"),
    (["shrink", "./nowhere", "./ticket", "--out", "out"], "there is no folder ./nowhere; "),
    (["export", "minilm", "./nowhere", "--format", "onnx", "--out", "out"], "nowhere does not exist; "),
    (["report", "./nowhere"], "nowhere does not exist; give the folder of a study"),
    (["compare", "./nowhere"], "nowhere does not exist; give folders of tickets"),
    (["transfer", "./nowhere", "--out", "out"], "nowhere does not exist; give folders of studies"),
    (["transfer", ".", "--out", "out"], "give the folders of two studies at least"),
    (["study", "--task", "cola", "--full", "./nowhere-{seed}", "--seeds", "0-1"], "there is no folder ./nowhere-0; "),
    (
        ["study", "--methods", "magnitude"],
        "'magnitude' is a criterion, no pruning method; by it go weights, magnitude-",
    ),
    (["memory", "sd1.5"], "unknown pipeline 'sd1.5'; did you mean sd-1.5? known: sd-1.5, bk-sdm-base, "),
    (["memory", "./nowhere"], "there is no folder ./nowhere; "),
    (["memory"], "name a pipeline: sd-1.5, bk-sdm-base, "),
    (["memory", "sdxl", "--dtype", "float8"], "argument --dtype: invalid choice: 'float8'"),
    (["import-masks", "./nowhere", "--out", "out"], "nowhere does not exist; "),
)


@pytest.mark.parametrize(
    ("arguments", "said"), MISTYPED, ids=lambda one: " ".join(one) if isinstance(one, list) else ""
)
def test_a_mistake_is_one_line_that_says_what_was_meant(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, errors = capsys.readouterr()
    assert (code, out) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith("tombola")
    assert said in line
    assert not list(tmp_path.iterdir())


def test_none_of_them_waits_for_pytorch(tmp_path: Path) -> None:
    given = [arguments for arguments, _ in MISTYPED]
    program = (
        "import sys\nfrom tombola.cli import main\n"
        f"for arguments in {given!r}:\n"
        "    try: main(arguments)\n"
        "    except SystemExit: pass\n"
        "    slow = {'torch', 'scipy', 'transformers', 'altair'} & {*sys.modules}\n"
        "    assert not slow, (arguments, slow)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
