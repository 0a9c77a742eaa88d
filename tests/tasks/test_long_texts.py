"""Long texts are cut before they are tokenised, and what is kept of them stays the same."""

import copy
import functools
import itertools
import os
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, PythonBackend

from builders import language_models, task_types
from tombola.foundations.errors import TombolaError
from tombola.tasks.fine_tuned.text_to_text import TextToTextTask
from tombola.tasks.fine_tuned.token_classification import TokenClassificationTask
from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.language.abilities.language_modelling import guess_bits
from tombola.tasks.language.bos_token import choose
from tombola.tasks.language.encoding import Encoder
from tombola.tasks.long_texts import beginning, encoded, ending, pieces

pytestmark = pytest.mark.slow

DRAW = random.Random(0)
WORDS = ["".join(DRAW.choices("abcdeé", k=DRAW.randint(1, 9))) for _ in range(200)]
GAPS = (" ", " ", " ", "  ", "\n", "\t ", ", ", ". ", "'", " — ")


def prose(words: int, seed: int) -> str:
    draw = random.Random(seed)
    return "".join(draw.choice(WORDS) + draw.choice(GAPS) for _ in range(words))


CORPUS = [prose(300, seed) for seed in range(20)]
METASPACE = pre_tokenizers.Metaspace(split=False)
TRAINED: dict[str, Any] = {
    "WordPiece": (models.WordPiece(unk_token="<unk>"), trainers.WordPieceTrainer, pre_tokenizers.BertPreTokenizer()),
    "BPE of bytes": (models.BPE(), trainers.BpeTrainer, pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "BPE of the whole text": (models.BPE(unk_token="<unk>"), trainers.BpeTrainer, None),
    "SentencePiece": (models.Unigram(), trainers.UnigramTrainer, pre_tokenizers.Metaspace()),
    "SentencePiece of the whole text": (
        models.Unigram(),
        trainers.UnigramTrainer,
        pre_tokenizers.Metaspace(split=False),
    ),
    "words": (models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer, pre_tokenizers.Whitespace()),
}


@functools.cache
def trained(kind: str) -> PreTrainedTokenizerFast:
    model, trainer, before = TRAINED[kind]
    core = Tokenizer(model)
    core.normalizer = normalizers.Lowercase()
    if before is not None:
        core.pre_tokenizer = before
    special: dict[str, Any] = {"special_tokens": ["<unk>", "<pad>"]}
    if "Sentence" in kind:
        special["unk_token"] = "<unk>"
    elif kind == "BPE of the whole text":
        # As of Llama: a mark for each space, and merges that may not begin within a word.
        core.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "\u2581")])
    core.train_from_iterator(CORPUS, trainer(vocab_size=300, show_progress=False, **special))
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", pad_token="<pad>")


LONG = {
    "prose": prose(9000, 99),
    "one word": "abcde" * 9000,
    "blanks": "a" + " " * 30_000 + "b c d e" * 4000,
    "few borders": prose(40, 5) + "é" * 40_000 + prose(40, 6),
}


@pytest.mark.parametrize("kind", list(TRAINED))
@pytest.mark.parametrize("text", list(LONG))
def test_the_first_tokens_are_those_of_the_whole_text(kind: str, text: str) -> None:
    tokenizer, whole = trained(kind), LONG[text]
    for tokens in (1, 17, 512):
        cut = beginning(whole, tokenizer, tokens)
        assert tokenizer(cut)["input_ids"][:tokens] == tokenizer(whole)["input_ids"][:tokens]
    for pair in ([whole, "a b"], ["a b", whole]):
        (found,) = encoded([pair[0]], [pair[1]], tokenizer, 512)
        assert found["input_ids"] == tokenizer(*pair, truncation=True, max_length=512)["input_ids"]


@pytest.mark.parametrize("mark", ["none", "before each text"])
@pytest.mark.parametrize("kind", list(TRAINED))
@pytest.mark.parametrize("text", list(LONG))
def test_the_last_tokens_are_those_of_the_whole_text(kind: str, text: str, mark: str) -> None:
    tokenizer, whole = copy.deepcopy(trained(kind)), LONG[text]
    if mark != "none":
        core = tokenizer.backend_tokenizer
        core.normalizer = normalizers.Sequence([normalizers.Prepend("ab"), core.normalizer])
    for tokens in (1, 17, 512):
        cut = ending(whole, tokenizer, tokens)
        assert tokenizer(cut)["input_ids"][-tokens:] == tokenizer(whole)["input_ids"][-tokens:]


@pytest.mark.parametrize("side", ["right", "left"])
def test_of_a_long_text_little_is_read(side: str) -> None:
    cut, tokenizer = {"right": beginning, "left": ending}[side], trained("words")
    assert len(cut(LONG["prose"], tokenizer, 128)) < 20_000 < len(LONG["prose"])


@pytest.mark.parametrize("kind", list(TRAINED))
@pytest.mark.parametrize("side", ["right", pytest.param("left", marks=pytest.mark.exhaustive)])
def test_encoded_are_pairs_as_the_tokenizer_truncates_them(kind: str, side: str) -> None:
    tokenizer = copy.deepcopy(trained(kind))
    tokenizer.truncation_side = side
    core = tokenizer.backend_tokenizer
    core.post_processor = processors.TemplateProcessing(
        single="<pad> $A", pair="<pad> $A <unk> $B:1 <pad>:1", special_tokens=[("<pad>", 1), ("<unk>", 0)]
    )
    texts = [prose(words, words) for words in (1, 3, 6, 40, 100)]
    first, second = zip(*itertools.product([*texts, ""], texts), strict=True)
    for length in (4, 5, 8, 17, 128):
        options = {"truncation": True, "max_length": length}
        for one, other in ((first, second), (second, first), (first, None)):
            wanted = tokenizer(list(one), None if other is None else list(other), **options)
            found = encoded(list(one), None if other is None else list(other), tokenizer, length)
            assert found == [{name: wanted[name][row] for name in wanted} for row in range(len(one))]


def test_of_two_long_texts_the_longer_keeps_the_odd_token() -> None:
    tokenizer = copy.deepcopy(trained("words"))
    tokenizer.backend_tokenizer.no_truncation()
    pair = LONG["prose"] * 20, LONG["prose"] * 30
    assert encoded([pair[0]], None, tokenizer, 17)
    # What was asked of it does not stay in it, to be saved with it.
    assert tokenizer.backend_tokenizer.truncation is None
    for one, other, kept in ((*pair, (8, 9)), (*pair[::-1], (9, 8)), (pair[0], pair[0], (8, 9))):
        (found,) = encoded([one], [other], tokenizer, 17)
        ids = [tokenizer(text[:2000])["input_ids"][:number] for text, number in zip((one, other), kept, strict=True)]
        assert found["input_ids"] == [*ids[0], *ids[1]]


@pytest.mark.parametrize("cut", [beginning, ending])
@pytest.mark.parametrize("kind", list(TRAINED))
def test_a_book_is_not_read_for_its_first_words(kind: str, cut: Any) -> None:
    assert len(cut(LONG["prose"] * 20, trained(kind), 128)) <= 20_000


class InPython(PythonBackend):
    """A tokenizer of characters, and of the words `ab`, in Python."""

    read = 0

    @property
    def vocab_size(self) -> int:
        return 200

    def get_vocab(self) -> dict[str, int]:
        return {chr(32 + number): number for number in range(200)}

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        self.read += len(text)
        return re.findall("ab|.", text, re.DOTALL)

    def _convert_token_to_id(self, token: str) -> int:
        return sum(map(ord, token)) % 200


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_tokenizer_in_python_reads_little_of_a_long_text(side: str) -> None:
    text = LONG["prose"] * 3
    make: Any = InPython
    whole, found = (make(truncation_side=side, pad_token="a") for _ in range(2))
    wanted = whole([text], truncation=True, max_length=128)["input_ids"]
    assert [one["input_ids"] for one in encoded([text], None, found, 128)] == wanted
    cut = beginning if side == "right" else ending
    assert cut(text, found, 128) in text
    assert found.read < 70_000 < len(text)


def test_short_texts_and_those_of_a_tokenizer_that_keeps_the_end_are_not_cut() -> None:
    tokenizer = trained("words")
    assert beginning("a b c", tokenizer, 1) == "a b c"
    tokenizer.truncation_side = "left"
    assert encoded([LONG["prose"]], None, tokenizer, 16)[0]["input_ids"] == tokenizer(LONG["prose"])["input_ids"][-16:]
    tokenizer.truncation_side = "right"


def test_samples_of_a_long_text_are_those_of_the_whole() -> None:
    encoder = Encoder(language_models.tokenizer(), 1, 48)
    text = language_models.sentence(3, 20_000)
    whole = [encoder.samples([text[:8000]], 16, 4), encoder.samples([text], 16, 4)]
    assert whole[0] == whole[1]


def test_all_of_a_long_text_is_read_in_pieces() -> None:
    text = LONG["prose"] * 30
    parts = list(pieces(text))
    assert "".join(parts) == text
    assert max(map(len, parts)) <= 2**20 < len(text)
    for kind in TRAINED:
        whole = trained(kind)(text[: 2**20 + 5000], verbose=False)["input_ids"]
        found = [token for part in pieces(text[: 2**20 + 5000]) for token in trained(kind)(part)["input_ids"]]
        assert len(found) == pytest.approx(len(whole), abs=2), kind
    assert [*pieces("a" * (2**20 + 1))] == ["a" * 2**20, "a"]
    assert [*pieces("")] == [""]


def test_nothing_tokenises_a_long_text_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text, tokenizer = language_models.sentence(3, 600_000), language_models.tokenizer()
    read = type(tokenizer)._encode_plus

    def watched(self: Any, text: Any, **options: Any) -> Any:
        assert max(map(len, [text] if isinstance(text, str) else text)) <= 2**20
        return read(self, text=text, **options)

    monkeypatch.setattr(type(tokenizer), "_encode_plus", watched)
    assert len(text) > 2**21
    guess_bits(tokenizer, [text], [text])
    encoder = Encoder(tokenizer, 1, 48)
    assert len(encoder.stream([text])) == 600_001
    assert sum(len(item.sequences[0]) - 1 for item in encoder.windows(text)) == 600_000
    choose(language_models.llama(dtype=torch.float32), tokenizer, [text])
    pairs = Ability("a", "A", "choice", (Example((text, "b a")),), "made up")
    with pytest.raises(TombolaError, match="tokens do not fit"):
        encoder.items(pairs)


@pytest.mark.parametrize("kind", [TextToTextTask, TokenClassificationTask])
@pytest.mark.parametrize("side", ["right", "left"])
def test_no_task_tokenises_all_of_a_long_text(kind: Any, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words, tokenizer = [f"word{number % 30}" for number in range(200_000)], task_types.splitting_tokenizer()
    tokenizer.truncation_side = side
    rows = task_types.written_rows(3, 0) if kind is TextToTextTask else task_types.tagged_rows(3, 0)
    names = ("source", "target") if kind is TextToTextTask else ("tokens", "ner_tags")
    long = ((" ".join(words),) * 2) if kind is TextToTextTask else (words, ["O"] * len(words))
    read, given = PreTrainedTokenizerFast.__call__, list[int]()

    def recorded(self: Any, texts: Any = None, **options: Any) -> Any:
        given.extend(map(len, texts if isinstance(texts, list) else options.get("text_target") or [texts]))
        return read(self, texts, **options)

    monkeypatch.setattr(PreTrainedTokenizerFast, "__call__", recorded)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = kind.from_rows(rows, [*rows, dict(zip(names, long, strict=True))], tokenizer, max_length=12)
        found = task.encoded("dev")[-1]
    assert len(found["input_ids"]) == 12
    assert max(given) < 100_000


@pytest.mark.parametrize("cut", [beginning, ending])
@pytest.mark.parametrize("kind", ["words", "BPE of bytes"])
def test_a_text_without_borders_is_not_read_whole(kind: str, cut: Any) -> None:
    book = "é" * 3_000_000 if kind == "BPE of bytes" else "x" * 7_000_000
    assert len(cut(book, trained(kind), 128)) <= (80_000 if kind == "BPE of bytes" else 5_200_000)


MEASURED = """
import resource, sys, warnings
from builders import task_types
from builders.task_types import splitting_tokenizer
from tombola.foundations.errors import TombolaError
from tombola.tasks.fine_tuned import multiple_choice, question_answering, text_classification, text_to_text
from tombola.tasks.fine_tuned import token_classification

warnings.simplefilter("ignore")
def pairs(count, seed):
    return [{"sentence1": "word1", "sentence2": "word2", "label": row % 2} for row in range(count)]

KINDS = {
    "sentence1": (text_classification.TextTask, pairs),
    "sentence2": (text_classification.TextTask, pairs),
    "sent1": (multiple_choice.MultipleChoiceTask, task_types.choice_rows),
    "ending0": (multiple_choice.MultipleChoiceTask, task_types.choice_rows),
    "context": (question_answering.QuestionAnsweringTask, task_types.question_rows),
    "question": (question_answering.QuestionAnsweringTask, task_types.question_rows),
    "source": (text_to_text.TextToTextTask, task_types.written_rows),
    "target": (text_to_text.TextToTextTask, task_types.written_rows),
    "tokens": (token_classification.TokenClassificationTask, task_types.tagged_rows),
}
column, text, side = sys.argv[1:]
kind, made = KINDS[column]
long = {"words": "word1 fine2 " * (10**8 // 12), "one word": "x" * 10**8, "letters": "\\u4e00" * 10**8}[text]
dev, tokenizer = made(6, 2), splitting_tokenizer()
dev[2] = {"tokens": [long], "ner_tags": ["O"]} if column == "tokens" else {**dev[2], column: long}
tokenizer.truncation_side = side
before, said = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "read"
try:
    task = kind.from_rows(made(12, 1), dev, tokenizer, max_length=16)
    for batch in task.batches("dev", 6):
        assert batch.inputs["input_ids"].shape[-1] <= 16
except TombolaError as error:
    said = str(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1000, said)
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("text", ["words", "one word", "letters"])
@pytest.mark.parametrize(
    "column", ["sentence1", "sentence2", "sent1", "ending0", "context", "question", "source", "target", "tokens"]
)
def test_a_text_of_a_hundred_megabytes_takes_little_memory(column: str, text: str, side: str) -> None:
    path = os.pathsep.join((str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")))
    given = [sys.executable, "-c", MEASURED, column, text, side]
    done = subprocess.run(given, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=True)
    megabytes, said = done.stdout.split(maxsplit=1)
    # The text itself is there several times, and of letters beyond Latin twice as large; its tokens took 23.7 GB.
    assert int(megabytes) < 2000
    refused = "are read at most" in said if column in ("context", "question") else said == "read\n"
    assert refused, said
