"""Statements of the pages about results, computed anew: each must stand on its page, and no other number.

A statement is a sentence, or a part of one, whose numbers are computed and whose words rest on conditions that are
asserted beside it. What a page says without one may have neither a number, nor a number word, nor bold type, unless it
is named as a fact of the set-up.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import cost_statements
import denoiser_statements
import language_statements
import minilm_statements

Statements = Callable[[], Iterator[str]]


@dataclass(frozen=True)
class Section:
    """Section of a page, by what it says of results.

    Attributes:
        statements: makes its sentences; None where it tells no results.
        of_the_set_up: what it says besides in numbers: names, options, how large a model or a text is.
        whole: whether it may say nothing else in numbers; not so where most of them explain a method.
    """

    statements: Statements | None = None
    of_the_set_up: tuple[str, ...] = ()
    whole: bool = True


PAGES: Mapping[str, Mapping[str, Section]] = {
    "findings.md": {
        "What the tickets of MiniLM say": Section(
            minilm_statements.the_papers_findings,
            ("6 layers x 12 heads, 22.7 M parameters, 10.6 M of them prunable", "(2020)"),
        ),
        "The paper's figures beside ours": Section(minilm_statements.beside_the_paper, ("over five seeds",)),
        "How it was made": Section(
            minilm_statements.how_it_was_made,
            (*("**Rotten Tomatoes**", "**SST-2**", "**CoLA**"), "95 % intervals", "bf16", "two cores"),
        ),
        "How far each search could go": Section(minilm_statements.how_far_each_search_could_go),
        "Good tickets against random and bad ones": Section(
            minilm_statements.good_tickets_against_others, ("the five models of a row", "95 % interval by Student's t")
        ),
        "Is it the same in every seed?": Section(minilm_statements.is_it_the_same_in_every_seed, ("two seeds",)),
        "Is it the same for every task?": Section(
            minilm_statements.is_it_the_same_for_every_task, ("95 % range", "tickets of two tasks")
        ),
        "What do the survivors attend to?": Section(
            minilm_statements.what_do_the_survivors_attend_to, ("500 dev inputs", "Five classes", "last two lines")
        ),
        "Is knowledge local, or spread?": Section(
            minilm_statements.is_knowledge_local_or_spread, ("95 % intervals", "at the 5 % level")
        ),
        "What is not here yet": Section(),
        "What SmolLM2 still understands": Section(
            language_statements.what_smollm2_still_understands,
            ("SmolLM2-135M, its 4-bit weights made fp32, bf16", "3,000 tokens of text", "95 % intervals"),
        ),
        "One cut, on the field's own tests": Section(
            language_statements.one_cut,
            (
                *("SmolLM2-135M", "128 x 128 tokens", "95 % intervals", "bf16"),
                "Guessing gets 0.5 of BLiMP and PIQA, 0.25 of ARC-easy",
            ),
        ),
        "What tickets of a denoiser draw": Section(
            denoiser_statements.what_tickets_of_a_denoiser_draw, ("--seeds 0,1,2", "a thousand steps")
        ),
        "Rewound to step 100 instead": Section(
            denoiser_statements.rewound, ("--rewind step-100", "after 100 of the thousand steps")
        ),
        "Which ranking beats random tickets": Section(
            denoiser_statements.which_ranking,
            ("53 epochs", "two draws a seed", "in four cuts, with a quarter of the epochs after each", "four epochs"),
        ),
    },
    "getting-started.md": {
        "How to read it": Section(
            minilm_statements.one_seed, ("bf16", "two cores", "95 % intervals over sentences", "has those of five")
        ),
    },
    "explanation/diffusion.md": {
        "What a run gave": Section(
            denoiser_statements.from_one_study, ("fp32", "95 % intervals over images", "One seed")
        ),
    },
    "explanation/understanding.md": {
        "What a run gave": Section(language_statements.from_one_study, ("bf16",)),
        "Abilities": Section(language_statements.what_a_text_begins_with, whole=False),
        "Read once": Section(of_the_set_up=("two sentences of a pair",)),
    },
    "explanation/speed.md": {
        "Fast, because it is exact where others approximate, and small where others mask": Section(
            of_the_set_up=("bf16 where the processor", "padding to 128 tokens")
        ),
        "What a ticket saves": Section(),
        "Where these numbers come from": Section(),
    },
    "explanation/engine.md": {
        "What was asked of an engine, and what two of them do": Section(of_the_set_up=("two of them", "two workers"))
    },
    "how-to/one-cut.md": {
        "Beside Torch-Pruning": Section(),
        "Weights at once": Section(of_the_set_up=("`tombola prune --method magnitude-2:4`",)),
    },
    "how-to/smaller-models.md": {
        "Smaller models: from a ticket to a model that others can use": Section(
            cost_statements.of_the_quick_study, whole=False
        ),
        "What was measured": Section(cost_statements.of_a_matrix, ("The 2:4 tickets",)),
    },
    "explanation/attention.md": {
        "How often the rules are right": Section(
            of_the_set_up=(
                "10 to 60 tokens, 0 to 40 % of the attention at random",
                "one to four columns",
                "one to three neighbouring offsets",
                "two or three blocks",
                "between two classes",
                "of 6 to 24 tokens",
            )
        ),
        "Cost": Section(),
        "MiniLM, for example": Section(
            minilm_statements.two_weightings, ("from five seeds, 500 dev sentences", "[95 % over sentences]")
        ),
    },
}
"""Page, in docs/ → title → what the section says. Of other pages than that of findings, sections with results."""

NAMES = r"MiniLM|SmolLM2|SST-2|seed-0|step-100|step 100"
_NUMBERS = (
    r"\S*\d\S*|\*\*[^*]+\*\*|\b(?:two|three|four|five|six|seven|eight|nine|ten|twelve|hundred|thousand|half|halves|"
    r"thirds?|quarters?|fifths?|sixths?|sevenths?|tenths?|twice|doubles?|thrice)\b"
)


def sections(page: str) -> dict[str, str]:
    """Title → text of a section on one line, without generated tables, code, pictures and the targets of links."""
    text = re.sub(r"<!-- table: \w+ -->\n.*?<!-- end -->", "", page, flags=re.DOTALL)
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text))
    parts = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {title: " ".join(body.split()) for title, body in zip(parts[1::2], parts[2::2], strict=True)}


def problems(name: str, page: str) -> list[str]:
    """Statements that are not on a page, and what it says in numbers or bold type without one."""
    found, texts = [], sections(page)
    if name == "findings.md" and (unknown := set(texts) ^ set(PAGES[name])):
        found.append(f"sections without statements, or statements without a section: {', '.join(sorted(unknown))}")
    for title, section in PAGES[name].items():
        left = texts.get(title, "")
        stated = [] if section.statements is None else [*section.statements()]
        found += [f"{title}: not there: {one}" for one in stated if one not in left]
        if not section.whole:
            continue
        # The longest first, as one may be a part of another.
        for known in sorted((*stated, *section.of_the_set_up), key=len, reverse=True):
            left = left.replace(known, " ")
        unasked = re.findall(_NUMBERS, re.sub(NAMES, "", left))
        found += [f"{title}: said by no statement: {one}" for one in unasked]
    return found
