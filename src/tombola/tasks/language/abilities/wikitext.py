"""WikiText from the hub: whole articles of Wikipedia (Merity et al. 2016), on which the field gives perplexities."""

import re
from collections.abc import Iterable

from tombola.foundations.errors import TombolaError
from tombola.tasks.language.abilities.text_corpus import Text

HUB = "Salesforce/wikitext"
CONFIGURATIONS = {
    "wikitext": "wikitext-2-raw-v1",
    "wikitext-2": "wikitext-2-raw-v1",
    "wikitext-103": "wikitext-103-raw-v1",
}
"""Names of the data set here → on the hub."""
# The title of an article is a line of its own between single equals signs; those of sections have more of them.
_TITLE = re.compile(r" ?= [^=].*[^=] = ?\n?")


def load(name: str = "wikitext") -> Text:
    """The articles: those of the test split judge, those of the training split are trained on.

    Args:
        name: a key of `CONFIGURATIONS`.

    Raises:
        TombolaError: the hub cannot be reached, or has other columns.
    """
    import datasets  # It takes a second, and nothing else needs it.

    configuration = CONFIGURATIONS[name]
    try:
        splits = datasets.load_dataset(HUB, configuration)
        train, dev = (articles(splits[split]["text"]) for split in ("train", "test"))
    except Exception as error:  # the hub's client, datasets and the network have no common error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TombolaError(
            f"cannot load {HUB} ({configuration}) from the hub: {reason}; give a text file, as "
            "language-modelling=FILE, or take the plot summaries, which need no hub"
        ) from error
    return Text(tuple(train), tuple(dev), f"{HUB} ({configuration})")


def articles(lines: Iterable[str]) -> list[str]:
    """The articles of its lines, as they are, but for what is empty around them."""
    found: list[list[str]] = [[]]
    for line in lines:
        if _TITLE.fullmatch(line):
            found.append([])
        found[-1].append(line if line.endswith("\n") else f"{line}\n")
    return [text for part in found if (text := "".join(part).strip())]
