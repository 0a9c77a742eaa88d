"""Terminal table of text generation: what a full model and its tickets write, in numbers."""

from tombola.foundations.plain_table import PlainTable
from tombola.report import number_format
from tombola.report.sections.text_generation import read_generation_profiles
from tombola.report.study_data import StudyData


def generation_table(study: StudyData) -> PlainTable | None:
    """A line for each model; None where nobody was asked to write."""
    full, profiles = read_generation_profiles(study)
    if not profiles:
        return None
    found = PlainTable("What is written: variety, repetition, tokens, perplexity under the full model")
    found.heads("", "", "", numbers=("distinct-2", "repeated", "tokens", "perplexity"))
    models = [(method, one) for method, profile in profiles for one in profile.models]
    for method, model in [*([] if full is None else [("full model", full)]), *models]:
        whole, generated = model.stage == "none", model.generated
        found.line(
            method,
            *(("", "") if whole else (model.ticket, model.stage)),
            number_format.score(generated.distinct[1]),
            number_format.score(generated.repetition),
            number_format.count(generated.length),
            number_format.score(generated.perplexity),
            style="bold" if model is full else "",
        )
    return found
