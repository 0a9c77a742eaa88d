"""Rows, a tokenizer and tiny models for each task type of fine-tuned models."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import pre_tokenizers
from transformers import (
    BertForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from builders.encoders import config, randomise, tokenizer
from builders.families import T5_SIZES, T5_TOKENS

TAGS = ("O", "B-GOOD", "I-GOOD", "B-BAD", "I-BAD")


def splitting_tokenizer() -> PreTrainedTokenizerFast:
    """The encoders' tokenizer, for which a word with a dash in it is three tokens."""
    made = tokenizer()
    made.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    return made


def tagged_rows(count: int, seed: int, *, longest: int = 9) -> list[dict[str, Any]]:
    """Sentences of neutral words, and entities of one or two words, whose tag each word gives away."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        tokens, tags = list[str](), list[str]()
        while len(tokens) < rng.integers(2, longest):
            kind = int(rng.integers(3))
            number = int(rng.integers(6))
            if kind == 0:
                tokens.append(f"word{number}-word{number + 1}" if number > 3 else f"word{number}")
                tags.append("O")
                continue
            name, tag = (("fine", "GOOD"), ("poor", "BAD"))[kind - 1]
            # Even numbers begin an entity, odd ones go on with it.
            tokens += [f"{name}{number // 2 * 2}", f"{name}{number // 2 * 2 + 1}"][: 1 + number % 2]
            tags += [f"B-{tag}", f"I-{tag}"][: 1 + number % 2]
        made.append({"tokens": tokens, "ner_tags": tags})
    return made


def choice_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows in SWAG's columns: of four endings of several lengths one has a fine word."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        label = int(rng.integers(4))
        endings = [
            [f"word{number}" for number in rng.integers(0, 30, size=rng.integers(1, 7))]
            + [f"{'fine' if place == label else 'poor'}{rng.integers(6)}"]
            for place in range(4)
        ]
        made.append(
            {
                **{"sent1": f"word{rng.integers(30)} word{rng.integers(30)}", "sent2": f"word{rng.integers(30)}"},
                **{f"ending{place}": " ".join(words) for place, words in enumerate(endings)},
                "label": label,
            }
        )
    return made


def question_rows(count: int, seed: int, *, answerless: bool = False) -> list[dict[str, Any]]:
    """Rows in SQuAD's columns: the answer is the fine word, or words, among neutral ones."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        words = [f"word{n}" for n in rng.integers(0, 30, size=rng.integers(3, 12))]
        answer = " ".join(f"fine{n}" for n in rng.integers(0, 6, size=rng.integers(1, 3)))
        place = int(rng.integers(len(words)))
        none = answerless and number % 4 == 0
        context = " ".join([*words[:place], *([] if none else [answer]), *words[place:]])
        answers = {"text": [] if none else [answer], "answer_start": [] if none else [context.index(answer)]}
        made.append(
            {"id": str(number), "question": f"word{rng.integers(30)} ?", "context": context, "answers": answers}
        )
    return made


def written_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Texts of neutral words with fine ones among them, which the target repeats in their order."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        fine = [f"fine{number}" for number in rng.integers(0, 3, size=rng.integers(1, 3))]
        words = [f"word{number}" for number in rng.integers(0, 5, size=rng.integers(1, 6))]
        made.append({"source": " ".join([*fine, *words]), "target": " ".join(fine)})
    return made


def t5(*, seed: int = 0, scale: float = 0.25) -> Any:
    """A random T5 for the tokens of `splitting_tokenizer`."""
    torch.manual_seed(seed)
    options: Any = {**T5_SIZES, **T5_TOKENS, "eos_token_id": 3}
    made = T5Config(**options)
    made._attn_implementation = "eager"
    model = T5ForConditionalGeneration(made)
    randomise(model, scale)
    return model.eval()


def image_rows(count: int, seed: int, *, size: tuple[int, int] = (20, 14)) -> list[dict[str, Any]]:
    """Noise that is redder, or greener, in the class of that name."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        label = int(rng.integers(2))
        pixels = rng.integers(0, 200, (*size, 3))
        pixels[..., label] += 55
        made.append({"image": Image.fromarray(pixels.astype(np.uint8)), "label": ("red", "green")[label]})
    return made


def vit(*, seed: int = 0, scale: float = 0.25, labels: tuple[str, ...] = ("green", "red")) -> Any:
    """A random ViT of 16 x 16 pixels in patches of 8."""
    torch.manual_seed(seed)
    sizes: Any = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    made = ViTConfig(**sizes, image_size=16, patch_size=8, id2label=dict(enumerate(labels)), label2id={})
    made._attn_implementation = "eager"
    model = ViTForImageClassification(made)
    randomise(model, scale)
    return model.eval()


def image_processor() -> Any:
    """ViT's, which scales to 16 x 16 pixels."""
    return ViTImageProcessorPil(size={"height": 16, "width": 16})


def bert(kind: Any = BertForTokenClassification, *, seed: int = 0, scale: float = 0.25, **options: Any) -> Any:
    """A random BERT of a class of transformers; `options` are of its configuration."""
    torch.manual_seed(seed)
    made = config("bert", **options)
    made._attn_implementation = "eager"
    model = kind(made)
    randomise(model, scale)
    assert isinstance(model, PreTrainedModel)
    return model.eval()
