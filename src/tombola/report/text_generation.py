"""The section on creative writing: how texts of tickets look in numbers, and the same beginnings continued by all."""

from collections.abc import Sequence

from tombola.analysis.generation_profile import Author, WritingProfile
from tombola.report import number_format as figures
from tombola.report.figure_registry import Gallery
from tombola.report.labels import METHOD_TITLES, TICKET_TITLES
from tombola.report.layout import section
from tombola.report.markup import Html, element, join
from tombola.report.study_data import Record
from tombola.report.tables import Block, Body, Column, Table

PROMPTS = 4
"""Beginnings that are shown with what the models made of them; the numbers are of all."""

Works = Sequence[tuple[str, WritingProfile]]


def writing(record: Record, gallery: Gallery) -> Html | None:
    """The section; None where nobody was asked to write."""
    full, works = read_works(record)
    if not works:
        return None
    sampling, prompts = works[0][1].sampling, works[0][1].prompts
    lead = (
        f"{len(prompts)} beginnings of stories, each continued {figures.plural(sampling.each, 'time')} by up to "
        f"{sampling.tokens} tokens (temperature {sampling.temperature:g}, the most probable {100 * sampling.top_p:g} "
        "%), with the same random numbers for all models. Variety is the share of different 1-, 2- and 3-grams, "
        "repetition that of 4-grams that a text had before. Perplexity is that of the full model, which finds noise "
        "surprising and babble not: it says little without repetition."
    )
    shown = [_side_by_side(method, profile, full) for method, profile in works]
    return section("What it writes", gallery.table(_table(full, works), "text-generation"), join(*shown), lead=lead)


def read_works(record: Record) -> tuple[Author | None, Works]:
    """The full model, and the profile of every method that has one. Of several seeds the first."""
    full, works = None, []
    for method in ("", *record.methods):
        paths = [seed_folder.analysis("text-generation", method) for seed_folder in record.seed_folders]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            continue
        profile = WritingProfile.read(path)
        if method:
            works.append((method, profile))
        else:
            full = next(iter(profile.authors), None)
    return full, works


def called(author: Author) -> str:
    """A model in words: `good, retrained`."""
    title = TICKET_TITLES[author.ticket]
    return title if author.stage == "none" else f"{title}, {author.stage}"


def _table(full: Author | None, works: Works) -> Table:
    columns = (
        Column("method", "group"),
        Column("model", "head"),
        *(Column(name, "number") for name in ("removed", "distinct-1", "distinct-2", "distinct-3", "repetition")),
        *(Column(name, "number") for name in ("tokens", "ended", "perplexity")),
    )
    bodies = [] if full is None else [Body((_line(full),), "")]
    bodies += [Body(tuple(map(_line, profile.authors)), METHOD_TITLES[method]) for method, profile in works]
    return Table("What the full model and tickets write, in numbers", columns, tuple(bodies))


def _line(author: Author) -> Block:
    found = author.writing
    cells = (
        figures.share(author.sparsity),
        *map(figures.score, found.distinct),
        figures.score(found.repetition),
        figures.count(found.length),
        figures.share(found.ended),
        figures.score(found.perplexity),
    )
    return Block((cells,), (called(author),))


def _side_by_side(method: str, profile: WritingProfile, full: Author | None) -> Html:
    """The first continuation of some prompts by each model."""
    authors = [*([] if full is None else [full]), *profile.authors]
    parts = []
    for number, prompt in enumerate(profile.prompts[:PROMPTS]):
        cards = (_card(author, prompt, number * profile.sampling.each) for author in authors)
        parts.append(element("div", *cards, class_="written"))
    summary = f"{METHOD_TITLES[method]}: the same beginnings, continued by the full model and by tickets"
    return element("details", element("summary", summary), *parts)


def _card(author: Author, prompt: str, number: int) -> Html:
    texts = author.writing.texts
    rest = texts[number] if number < len(texts) else ""
    # What broke, or ended at once, has nothing to show; the text is the model's own and may be anything.
    text = rest if rest.strip() else "(nothing)"
    return element(
        "article",
        element("h4", called(author)),
        element("p", element("strong", prompt), " ", text),
    )
