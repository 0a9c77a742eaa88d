"""Language modelling: how many bits per byte of real text the model needs."""

from collections.abc import Sequence
from pathlib import Path

from tombola.foundations.errors import TombolaError
from tombola.tasks.language.abilities.ability import Ability, Example


def load(texts: Sequence[str], source: str) -> Ability:
    """Texts to be predicted, each from its beginning."""
    examples = tuple(Example((text,), where=f"{source}, text {number}") for number, text in enumerate(texts, start=1))
    return Ability("language-modelling", "Language modelling", "text", examples, source)


def read(path: Path) -> list[str]:
    """The texts of a file: paragraphs, parted by empty lines; a file without an empty line is one text.

    Raises:
        TombolaError: the file cannot be read, is not UTF-8, or has no text.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TombolaError(f"{path}, byte {error.start + 1} is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise TombolaError(f"{path} cannot be read: {error.strerror or error}; give a text file") from None
    texts = [text.strip() for text in content.replace("\r\n", "\n").split("\n\n")]
    found = [text for text in texts if text]
    if not found:
        raise TombolaError(f"{path} holds no text; give a file with text in it")
    return found
