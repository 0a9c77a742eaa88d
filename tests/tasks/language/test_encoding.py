"""Tokenising: no boundary of a token changes, and every byte of a text is counted once."""

import itertools

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tombola.foundations.errors import TombolaError
from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.language.encoding import Encoder
from tombola.tasks.language.item import Item


def byte_pairs() -> PreTrainedTokenizerFast:
    """Bytes, and the merges `ab` and `Ġc`, as GPT-2 writes a c after a space."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<s>", *alphabet, "ab", "Ġc"])}
    core = Tokenizer(models.BPE(vocabulary, [("a", "b"), ("Ġ", "c")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>")


def ability(*examples: Example, **options: bool) -> Ability:
    return Ability("x", "X", "choice", examples, "nowhere", **options)


def test_a_token_across_the_border_belongs_to_the_continuation() -> None:
    words = byte_pairs()
    encoder = Encoder(words, 0, 50)
    (item,) = encoder.items(ability(Example(("bx", "yx"), 0, "xa")))
    ids = words.get_vocab()
    assert item.sequences == ((0, ids["x"], ids["ab"], ids["x"]), (0, ids["x"], ids["a"], ids["y"], ids["x"]))
    # `a` of the context became `ab`, so that it is the continuation's; so it is in the other, or it would cost nothing.
    assert item.given == (2, 2)
    (item,) = encoder.items(ability(Example((" c", " cx"), 0, "x:")))
    assert item.sequences[0][-1] == ids["Ġc"]
    assert item.given == (3, 3)
    # A context that ends in a space, which the tokenizer joins to the next word.
    (item,) = encoder.items(ability(Example(("c", "cx"), 0, "x: ")))
    assert (item.sequences[0][-1], item.given) == (ids["Ġc"], (3, 3))


def test_choices_of_the_harness_share_a_context_where_one_is_a_token_with_its_end() -> None:
    words = byte_pairs()
    ids = words.get_vocab()
    encoder = Encoder(words, None, 50)

    def item(context: str, *choices: str) -> Item:
        return encoder.items(ability(Example(choices, 0, context, where="x, document 1"), harness=True))[0]

    # lm-evaluation-harness counts two tokens of context: nothing is left of the first choice, and `a` is read in one.
    assert item("xa", "b", "y").sequences == ((ids["x"], ids["ab"]), (ids["x"], ids["a"], ids["y"]))
    assert item("xa", "b", "y").given == (1, 1)
    # Nothing of the context is left to read.
    assert item("a", "b", "y").sequences == ((0, ids["ab"]), (0, ids["a"], ids["y"]))
    assert item("a", "b", "y").given == (1, 1)
    assert item("xa", "x", "y").given == (2, 2)
    assert item("", "<s>x", "y").sequences == ((0, ids["x"]), (0, ids["y"]))


@pytest.mark.parametrize("harness", [False, True])
def test_texts_without_a_token_to_predict_are_one_line(harness: bool) -> None:
    made = Ability("x", "X", "text", (Example(("",), where="x.txt, text 1"),), "nowhere", harness=harness)
    with pytest.raises(TombolaError, match=r"no text of x has a token to predict \(x\.txt, text 1\)"):
        Encoder(byte_pairs(), None, 50).items(made)


def test_what_sentences_share_is_not_scored_and_lengths_are_characters() -> None:
    encoder = Encoder(byte_pairs(), None, 50)
    (item,) = encoder.items(ability(Example(("xyé", "xyzz"))))
    assert item.given == (2, 2)
    # Unless lengths count: then all of a sentence does.
    (item,) = Encoder(byte_pairs(), 0, 50).items(ability(Example(("xyé", "xyzz")), per_character=True))
    assert item.given == (1, 1)
    (item,) = encoder.items(ability(Example((" né", " zzz"), 0, "x:"), per_character=True))
    # As acc_norm of lm-evaluation-harness has it: é is one character, though two bytes.
    assert item.divisors == (2.0, 3.0)
    assert encoder.items(ability(Example((" né", " zzz"), 0, "x:")))[0].divisors == (1.0, 1.0)


@pytest.mark.parametrize("bos_token_id", [None, 0])
@pytest.mark.parametrize("positions", [3, 4, 7, 200])
def test_windows_predict_every_token_once_and_count_every_byte(bos_token_id: int | None, positions: int) -> None:
    text = "abx é cab 漢字 x c 🙂ab"
    words = byte_pairs()
    tokens = words(text, add_special_tokens=False)["input_ids"]
    items = list(Encoder(words, bos_token_id, positions).windows(text))
    predicted = [token for item in items for token in item.sequences[0][1:]]
    assert predicted == (tokens if bos_token_id is not None else tokens[1:])
    assert all(item.positions <= positions for item in items)
    first = len(str(words.decode(tokens[:1])).encode())
    assert sum(item.divisors[0] for item in items) == len(text.encode()) - (0 if bos_token_id is not None else first)
    for one, other in itertools.pairwise(items):
        assert other.sequences[0][0] == one.sequences[0][-1]


def test_blocks_are_whole_unless_the_text_is_shorter() -> None:
    encoder = Encoder(byte_pairs(), 0, 50)
    items = encoder.samples(["xyz", "abx"] * 10, 5, 4)
    assert [len(item.sequences[0]) for item in items] == [6] * 4
    # 4 and 3 tokens with their starts; the last of a block is the first of the next.
    stream = [t for i in range(20) for t in (0, *encoder.tokens(["xyz", "abx"])[i % 2])]
    assert [t for item in items for t in item.sequences[0][:-1]] == stream[:20]
    (short,) = encoder.samples(["xyz"], 100, 4)
    assert short.sequences[0] == (0, *encoder.tokens(["xyz"])[0])
    assert short.divisors == (3.0,)
