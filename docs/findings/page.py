"""Write the tables of the pages that tell results from the files beside this one, between their marks.

Their prose is written by hand, and every sentence of it that tells a result is checked: `--check` names those that do
not follow from the files (see `statements`).
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Callable, Iterator

import benchmark_tables
import classifier_tables
import denoiser_tables
import language_tables
from statements import PAGES, problems
from stored import HERE, Line

DOCS = HERE.parent
TABLES: dict[str, Callable[[], Iterator[Line]]] = {
    "sizes": classifier_tables.sizes,
    "scores": classifier_tables.tickets,
    "verdicts": classifier_tables.verdicts,
    "seeds": classifier_tables.seeds,
    "quick": classifier_tables.quick,
    "paper": classifier_tables.paper,
    "agreement": classifier_tables.seeds_agree,
    "between": classifier_tables.between,
    "attention": classifier_tables.classes,
    "weightings": classifier_tables.weightings,
    "transfer": classifier_tables.transfer,
    "random": classifier_tables.random,
    "interactions": classifier_tables.interactions,
    "representations": classifier_tables.representations,
    "falls": language_tables.falls,
    "abilities": language_tables.abilities,
    "recovery": language_tables.recovery,
    "methods": language_tables.methods,
    "comparisons": language_tables.comparisons,
    "drawn": denoiser_tables.drawn,
    "curve": denoiser_tables.curve,
    "rewound": denoiser_tables.rewound,
    "rankings": denoiser_tables.rankings,
    **benchmark_tables.TABLES,
}
CAPTIONS = {"recovery": language_tables.recovery_said, **benchmark_tables.CAPTIONS}
"""Table → the line before it, which is left out with it."""


def filled(page: str) -> str:
    """The page with every marked table made anew; one that has no data is left out, with the line before it.

    Raises:
        KeyError: it marks a table that is not known.
    """

    def table(match: re.Match[str]) -> str:
        made = [*TABLES[match[1]]()]
        if not made:
            return f"<!-- table: {match[1]} -->\n<!-- end -->"
        head, *lines = made
        rows = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
        text = "\n".join(f"| {' | '.join(row)} |".replace("  ", " ") for row in rows)
        if match[1] in CAPTIONS:
            text = f"\n{textwrap.fill(CAPTIONS[match[1]](), 120)}\n\n{text}"
        return f"<!-- table: {match[1]} -->\n{text}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", table, page, flags=re.DOTALL)


def faults(name: str, page: str) -> list[str]:
    """Faults of a page: tables that are not what the results give, sentences that do not follow from them."""
    return [*([] if filled(page) == page else ["a table is not what the results give"]), *problems(name, page)]


def main() -> int:
    """Write the tables, or with --check change nothing; either way name what is wrong, and exit 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    found = []
    for name in PAGES:
        path = DOCS / name
        page = path.read_text(encoding="utf-8")
        if not options.check:
            page = filled(page)
            path.write_text(page, encoding="utf-8")
        found += [f"{name}: {fault}" for fault in faults(name, page)]
    if found:
        sys.stderr.write("\n".join(found) + "\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
