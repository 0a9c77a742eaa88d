"""Sentiment of a review sentence, by the probability of the label after a prompt.

A prompt has a liking of its own for one label. Contextual calibration (Zhao et al. 2021, Calibrate Before Use) measures
it on content-free inputs and divides it out; without it, small models give nearly everything the same label.
"""

from tombola.tasks.data.corpus import Corpus
from tombola.tasks.language.abilities.ability import Ability, Example

FREE = ("N/A", "[MASK]", "")
"""Content-free inputs, those of Zhao et al."""
PROMPT = "Review: {}\nSentiment:"
LABELS = (" negative", " positive")


def load(corpus: Corpus) -> Ability:
    """The dev sentences of Rotten Tomatoes, of which class 1 is positive."""
    free = tuple(PROMPT.format(text) for text in FREE)
    texts = corpus.splits["dev"]
    examples = tuple(
        Example(LABELS, int(label), PROMPT.format(text), free, group=LABELS[label].strip(), where=f"sentence {number}")
        for number, (text, label) in enumerate(zip(texts.first, texts.labels, strict=True), start=1)
    )
    return Ability("sentiment", "Sentiment", "choice", examples, f"{corpus.name}, dev")
