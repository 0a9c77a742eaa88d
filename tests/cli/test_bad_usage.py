"""Mistyped commands, flags, values and names: one line, what was meant, and no wait for PyTorch."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from tombola.cli import main
from tombola.foundations.atomic_files import write_bytes, write_json

MISTYPED = (
    (["stdy"], "unknown command 'stdy'; did you mean study? known: study, sweep, prune, "),
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
    (["transfer", "./nowhere", ".", "--out", "out"], "nowhere does not exist; give the folder of a study"),
    (["transfer", ".", "--out", "out"], "give the folders of two studies at least"),
    (["study", "--task", "cola", "--full", "./nowhere-{seed}", "--seeds", "0-1"], "there is no folder ./nowhere-0; "),
    (
        ["study", "--methods", "magnitude"],
        "'magnitude' is a criterion, no pruning method; by it go weights, magnitude-",
    ),
    (["memory", "sd1.5"], "unknown pipeline 'sd1.5'; did you mean sd-1.5? known: sd-1.5, bk-sdm-base, "),
    (["memory", "./nowhere"], "there is no folder ./nowhere; "),
    (["memory"], "name a pipeline: sd-1.5, bk-sdm-base, "),
    (
        ["memory", "sdxl", "--dtype", "float8"],
        "argument --dtype: unknown value 'float8'; did you mean ",
    ),
    (["import-masks", "./nowhere", "--out", "out"], "nowhere does not exist; "),
    (["score", "--task", "cola"], "minilm was not fine-tuned: it is a BertModel, without an output layer for the task"),
    (["score", "--task", "digits"], "unet-32-64 is a network without weights; "),
    (["score", "--task", "cola", "--model", "base"], "base was not fine-tuned: it is a BertModel, "),
    (["prune", "--task", "base", "--model", "base", "--out", "out"], "base was not fine-tuned: it is a BertModel, "),
    (["study", "--task", "cola", "--full", "base"], "base was not fine-tuned: it is a BertModel, "),
    (["study", "--task", "cola", "--model", "nobody/nothing"], "cannot load 'nobody/nothing' ("),
    (["study", "--task", "cola", "--model", "empty"], "nor model_index.json); give a local folder"),
    (["study", "--task", "cola", "--model", "three"], "three was fine-tuned for another number of labels: it has 3 "),
    (["score", "--task", "cola", "--model", "three"], "the model has 3 outputs, CoLA needs 2; give one fine-tuned on"),
    (["score", "--task", "texts2", "--model", "three"], "the model has 3 outputs, texts2 needs 2; give one fine-tuned"),
    (["score", "--task", "texts3", "--model", "three"], "the model lacks the label '0' of texts3; it knows neutral, "),
    (["score", "--task", "texts2", "--model", "tagger"], "tagger was not fine-tuned: it is a BertForTokenClassific"),
    (
        ["score", "--task", "tagged", "--task-type", "token-classification", "--model", "tagger"],
        "2 outputs, tagged need",
    ),
    (
        ["study", "--task-type", "token-clasification"],
        "not 'token-clasification'; did you mean token-classification or",
    ),
    (
        ["study", "--task", "values.csv"],
        "give dev rows (--validation-file); numbers such as 0.25 are values for --regres",
    ),
    (["study", "--task", "texts2", "--model", "three"], "three was fine-tuned for another number of labels: it has 3 "),
    (
        ["study", "--task", "texts2", "--label-column", "lable"],
        "has no column 'lable' for the label; did you mean label? name one of: text, label",
    ),
    (["score", "--task", "cola", "--model", "broken"], "the config.json of broken cannot be read (AttributeError: "),
    (["study", "--task", "understanding", "--model", "base"], "base is a bert, which is no causal language model; "),
    (["score", "--task", "understanding", "--model", "base"], "base is a bert, which is no causal language model; "),
    (["score", "--task", "digits", "--model", "base"], "base holds a bert of another library, which is no model of "),
    (
        ["score", "--task", "mnli", "--model", "three", "--ticket", "deep"],
        "fits bert-6x4-1234abcd, the model three is ",
    ),
    (
        ["retrain", "--task", "cola", "--model", "base", "--ticket", "other", "--out", "out"],
        "fits roberta-3x4-1234abcd",
    ),
    (
        ["score", "--task", "mnli", "--model", "three", "--ticket", "three"],
        "no ticket in three: ticket.json is missing",
    ),
    (["shrink", "three", "deep", "--out", "out"], "this ticket is for another model: it fits bert-6x4-1234abcd, "),
    (["shrink", "deep", "deep", "--out", "out"], "deep holds tickets and their scores, and is no model: "),
    (["shrink", "three/config.json", "deep", "--out", "out"], "cannot load 'three/config.json' (it is a file); "),
    (["export", "three", "torn", "--format", "onnx", "--out", "out"], "the ticket in torn is damaged ("),
    (["export", "three", "three", "--format", "onnx", "--out", "out"], "no ticket in three: "),
    (["import-masks", "empty", "--model", "empty", "--out", "out"], "cannot load 'empty' ("),
    (["compare", "base"], "no ticket in a folder good/ anywhere under base; is it a study's folder?"),
    (["compare", "torn"], "the ticket in torn is damaged ("),
    (
        ["export", "three", "deep", "--format", "zero", "--out", "out"],
        "unknown value 'zero'; did you mean zeros? known: ",
    ),
    (["prune", "--method", "headz", "--out", "out"], "unknown pruning method 'headz'; did you mean heads? known: "),
    (["prune", "--density", "50", "--out", "out"], "--density must be a number from 0 to 1, not 50.0"),
    (["compare", "studies", "--ticket", "goood"], "no ticket in a folder goood/ anywhere under studies; "),
    (["report", "studies"], "studies is no study, it holds 1; name one, such as studies/one"),
    (
        ["prune", "--model", "three", "--density", "head=0.5", "--out", "out"],
        "cannot prune head at once; did you mean hea",
    ),
    (["report", "thee"], "thee does not exist; did you mean three? give the folder of a study"),
    (["compare", "./thee"], "thee does not exist; did you mean three? give folders of tickets"),
    (["score", "--task", "cola", "--ticket", "./dep"], "dep does not exist; did you mean deep? give the folder of a "),
    (["study", "--task", "text2"], "unknown task 'text2'; did you mean texts2 or texts3? known: "),
    (
        ["study", "--task", "texts2/trian.tsv"],
        "unknown task 'texts2/trian.tsv'; did you mean texts2/train.tsv? known: ",
    ),
    (["study", "texts2/study.yaml"], "texts2/study.yaml does not exist"),
    (["report", "base"], "base holds no study (study.json is missing); "),
    (["report", "three/config.json"], "three/config.json is a file, not a folder; give the folder of a study"),
    (["study", "--task", "texts2", "--model", "mute"], "mute has no tokenizer: save it beside the model, or give "),
    (["study", "--device", "gpu"], "device 'gpu' is none; give auto, cpu, cuda, "),
    (["study", "--device", "cuda0"], "device 'cuda0' is none; give auto, cpu, cuda, "),
    (["study", "--seeds", "0,0"], "'0,0' is no list of different whole numbers such as 0,1,2 or 0-2"),
    (["study", "--task", "texts3", "--model", "base", "--metric", "roc_auc"], "roc_auc does not score 3 classes; "),
    (["study", "--task", "images", "--data", "nowhere"], "nowhere does not exist; give the folder of your images"),
    (["shrink", "three", "deep", "--out", "base"], "base exists already; delete it or choose another folder"),
    (["memory", "sd-1.5", "--density", "2"], "the density must lie above 0 and at most at 1, not 2"),
    (["memory", "base"], "base holds a bert of another library, which is no model of "),
    (["transfer", "base", "empty", "--out", "out"], "base holds no study (study.json is missing); "),
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the files of models that have no weights, and of tickets."""
    bert: dict[str, object] = {
        "model_type": "bert",
        "is_decoder": False,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    }
    fine_tuned: dict[str, object] = {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "neutral", "1": "entailment", "2": "contradiction"},
    }
    models: dict[str, dict[str, object]] = {
        "base": {"architectures": ["BertModel"]},
        "mute": {"architectures": ["BertModel"]},
        "three": fine_tuned,
        "broken": {**fine_tuned, "id2label": [1]},
        "tagger": {"architectures": ["BertForTokenClassification"]},
    }
    for name, more in models.items():
        write_json(tmp_path / name / "config.json", {**bert, **more})
        if name != "mute":
            write_json(tmp_path / name / "tokenizer.json", {})
    for name, signature in (("deep", "bert-6x4-1234abcd"), ("other", "roberta-3x4-1234abcd"), ("torn", "bert-3x4-0")):
        head = {"format": 1, "kind": "heads", "architecture": signature, "shapes": {"heads": [6, 4]}}
        write_json(tmp_path / name / "ticket.json", {**head, "survivors": {"heads": 24}, "provenance": {}})
        masks = {"heads": np.full(3, 255, np.uint8)}
        write_bytes(tmp_path / name / "masks.safetensors", save(masks)[: -2 if name == "torn" else None])
    for name, split in itertools.product(("texts2", "texts3", "tagged"), ("train", "dev")):
        (tmp_path / name).mkdir(exist_ok=True)
        if name == "tagged":
            text = "".join(f"{split}{row} {'OBI'[row % 3]}\n\n" for row in range(9))
        else:
            text = "text\tlabel\n" + "".join(f"{split} {row}\t{row % int(name[-1])}\n" for row in range(9))
        (tmp_path / name / f"{split}.{'conll' if name == 'tagged' else 'tsv'}").write_text(text)
    (tmp_path / "values.csv").write_text("text,label\n" + "".join(f"{row},{row + 0.25}\n" for row in range(9)))
    write_json(tmp_path / "studies" / "one" / "study.json", {})
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"), MISTYPED, ids=lambda one: " ".join(one) if isinstance(one, list) else ""
)
def test_a_mistake_is_one_line_that_says_what_was_meant(
    arguments: list[str], said: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(place.rglob("*"))
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, errors = capsys.readouterr()
    assert (code, out) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith("tombola")
    assert said in line
    assert sorted(place.rglob("*")) == before


def test_none_of_them_waits_for_pytorch(place: Path) -> None:
    given = [arguments for arguments, _ in MISTYPED]
    program = (
        "import sys\nfrom tombola.cli import main\n"
        f"for arguments in {given!r}:\n"
        "    try: main(arguments)\n"
        "    except SystemExit: pass\n"
        "    slow = {'torch', 'scipy', 'transformers', 'altair'} & {*sys.modules}\n"
        "    assert not slow, (arguments, slow)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
