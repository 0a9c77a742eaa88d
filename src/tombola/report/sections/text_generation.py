"""Section on text generation: texts of tickets in numbers, and the same beginnings continued by all."""

from collections.abc import Sequence

from tombola.analysis.generation_profile import GeneratingModel, GenerationProfile
from tombola.foundations.plurals import plural
from tombola.report import number_format
from tombola.report.html.elements import Html, element, folded, join, section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import method_title, model_title
from tombola.report.study_data import StudyData
from tombola.report.table import Block, Body, Column, Table, numbers

PROMPTS = 4
"""Beginnings that are shown with what the models made of them; the numbers are of all."""

GenerationProfiles = Sequence[tuple[str, GenerationProfile]]


def text_generation(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section; None where nobody was asked to write."""
    full, profiles = read_generation_profiles(study)
    if not profiles:
        return None
    settings, prompts = profiles[0][1].settings, profiles[0][1].prompts
    lead = (
        f"{plural(len(prompts), 'beginning')} of stories, each continued {plural(settings.continuations, 'time')} "
        f"by up to {plural(settings.max_new_tokens, 'token')} (temperature {settings.temperature:g}, the most probable "
        f"{100 * settings.top_p:g} %), with the same random numbers for all models. Variety is the share of different "
        "1-, 2- and 3-grams, repetition that of 4-grams that a text had before. Perplexity is that of the full model, "
        "which finds noise surprising and babble not: it says little without repetition."
    )
    shown = [_side_by_side(method, profile, full) for method, profile in profiles]
    return section("What it writes", registry.table(_table(full, profiles), "text-generation"), join(*shown), lead=lead)


def read_generation_profiles(study: StudyData) -> tuple[GeneratingModel | None, GenerationProfiles]:
    """The full model, and the profile of every method that has one. Of several seeds the first."""
    found = {
        method: next(iter(study.analyses(GenerationProfile, "text-generation", method).values()), None)
        for method in ("", *study.methods)
    }
    whole = found.pop("")
    full = whole.models[0] if whole is not None and whole.models else None
    return full, [(method, profile) for method, profile in found.items() if profile is not None]


def _table(full: GeneratingModel | None, profiles: GenerationProfiles) -> Table:
    columns = (
        Column("method", "group"),
        Column("model", "head"),
        *numbers("removed", "distinct-1", "distinct-2", "distinct-3", "repetition", "tokens", "ended", "perplexity"),
    )
    bodies = [] if full is None else [Body((_line(full),), "")]
    bodies += [Body(tuple(map(_line, profile.models)), method_title(method)) for method, profile in profiles]
    return Table("What the full model and tickets write, in numbers", columns, tuple(bodies))


def _line(model: GeneratingModel) -> Block:
    found = model.generated
    cells = (
        number_format.share(model.sparsity),
        *map(number_format.score, found.distinct),
        number_format.score(found.repetition),
        number_format.count(found.length),
        number_format.share(found.ended),
        number_format.score(found.perplexity),
    )
    return Block((cells,), (model_title(model.ticket, model.stage),))


def _side_by_side(method: str, profile: GenerationProfile, full: GeneratingModel | None) -> Html:
    models = [*([] if full is None else [full]), *profile.models]
    parts = []
    for number, prompt in enumerate(profile.prompts[:PROMPTS]):
        cards = (_card(model, prompt, number * profile.settings.continuations) for model in models)
        parts.append(element("div", *cards, class_="written"))
    summary = f"{method_title(method)}: the same beginnings, continued by the full model and by tickets"
    return folded(summary, *parts)


def _card(model: GeneratingModel, prompt: str, number: int) -> Html:
    texts = model.generated.texts
    rest = texts[number] if number < len(texts) else ""
    # What broke, or ended at once, has nothing to show; the text is the model's own and may be anything.
    text = rest if rest.strip() else "(nothing)"
    title = element("h4", model_title(model.ticket, model.stage))
    return element("article", title, element("p", element("strong", prompt), " ", text))
