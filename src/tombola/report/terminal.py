"""A study's results as tables in the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from tombola.foundations.plain_table import PlainTable
from tombola.metrics.scores import direction, metric_title
from tombola.report import number_format
from tombola.report.sections.retention import read_profiles, recoveries, recovery_in_words
from tombola.report.sections.text_generation import read_generation_profiles
from tombola.report.study_data import StudyData
from tombola.report.summary import SIZES, read_rows, sites_of, summarise
from tombola.report.sweep_data import SweepData
from tombola.study.results import Row
from tombola.tickets.pruning_methods import in_words

_HEADS = {"bytes": "MB", "seconds": "s"}
"""Heads of columns that are narrower than the names of what they show."""
_SITES = 10
"""Characters of the sites' names: a terminal often has no more than 80, so that the seconds make way for more sites."""
_UNITS = {"accuracy": "", "bits per byte": " bits/byte"}
"""Units of raw scores; a line of accuracies needs none."""
_STYLES = {"full": "bold", "guessing": "dim", "good": "bold green", "bad": "red"}


def results_table(source: Path | Sequence[Row], *, higher_is_better: bool = True) -> PlainTable:
    """A summary of a study's folder, or of its rows, to be printed by `rich.console.Console.print`.

    Where scores are errors or distances (`higher_is_better` is false), the title says so.

    Raises:
        TombolaError: the folder holds no study, or the study has no results yet.
    """
    rows = read_rows(source) if isinstance(source, Path) else tuple(source)
    several = len({row.seed for row in rows}) > 1
    spread = "± standard deviation over seeds" if several else "with its 95 % interval over examples"
    metric = f"{metric_title(rows[0].metric)}{direction(higher_is_better)}" if rows else ""
    found = PlainTable(f"{metric} {spread}, n = {number_format.count(rows[0].n)}" if rows else "")
    sites = sites_of(rows)
    narrow = len("".join(sites)) > _SITES
    sizes = (*sites, *(SIZES[:-1] if narrow else SIZES))
    for name in ("", "", "score", "± std" if several else "interval"):
        found.add_column(name, no_wrap=True)
    heads = _HEADS | ({"sparsity": "sparse"} if narrow else {})
    for name in sizes:
        found.add_column(in_words(name) if name in sites else heads.get(name, name), justify="right", no_wrap=True)
    group = ""
    for summary in summarise(rows):
        if summary.method not in ("none", group):
            group = summary.method
            found.add_row()
            # Its own name is shorter than its title, and no wider than the names of tickets below it.
            found.add_row(Text(group, style="bold underline"))
        found.line(
            "full model" if summary.ticket == "full" else summary.ticket,
            "" if summary.stage == "none" else summary.stage,
            number_format.score(summary.score),
            summary.spread.replace(" to ", "–"),
            *summary.sizes(sizes, short=True),
            style=_STYLES.get(summary.ticket, ""),
        )
    return found


def sweep_table(sweep: SweepData) -> PlainTable:
    """A line for each method of each study: the full model, the good ticket, random and bad ones of its size."""
    found = PlainTable("Scores, mean over seeds; good with ± std or its 95 % interval")
    found.heads("", numbers=("full", "good", "", "random", "bad", "sparse"))
    for label, study in sweep.studies.items():
        done, of = sweep.steps.get(label, (0, 0))
        state = "" if done == of else f" ({done} of {of} steps)"
        found.add_row(Text(f"{label or study.facts.name}{state}", style="bold underline"))
        for method in study.methods:
            good, *controls = (study.final(method, name) for name in ("good", "random", "bad"))
            found.line(
                method,
                *(number_format.score(None if one is None else one.score) for one in (study.full, good)),
                "" if good is None else good.spread.replace(" to ", "–"),
                *(number_format.score(None if one is None else one.score) for one in controls),
                number_format.share(None if good is None else good.mean("sparsity")),
            )
    return found


def abilities_table(study: StudyData) -> PlainTable | None:
    """A line for each method, a column for each ability; None where a study has no abilities."""
    profiles = read_profiles(study)
    if not profiles:
        return None
    curves, threshold = profiles[0].curves, f"{100 * profiles[0].threshold:g} %"
    found = PlainTable(
        f"Percentage of the prunable weights at which each ability falls under {threshold}, 95 % interval"
    )
    found.heads("", numbers=[curve.title for curve in curves])
    raw = [f"{number_format.score(one.full)}{_UNITS.get(one.measure, one.measure)}" for one in curves]
    raw = [score if one.learned else f"{score} (chance)" for score, one in zip(raw, curves, strict=True)]
    found.line("full, accuracy", *raw, style="bold")
    for profile in profiles:
        # A terminal is narrow.
        falls = (
            curve.fall.in_words("{} ({}–{})") if curve.learned else number_format.MISSING for curve in profile.curves
        )
        found.line(profile.method, *falls)
    return found


def recovery_table(study: StudyData) -> PlainTable | None:
    """A line for each ticket that was trained again, a column for each ability; None where there is none."""
    profiles = read_profiles(study)
    lines = [(profile.method, *one) for profile in profiles for one in recoveries(profile)]
    if not lines:
        return None
    found = PlainTable("Percentage of each ability that tickets keep, pruned → trained again")
    found.heads("", "", numbers=[curve.title for curve in profiles[0].curves])
    for method, ticket, pairs in lines:
        found.line(method, ticket, *(recovery_in_words(*pair, unit="") for pair in pairs))
    return found


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
