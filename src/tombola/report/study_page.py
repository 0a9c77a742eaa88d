"""The page of a study: verdict first, then results, pictures and how it was made."""

from tombola.foundations.plurals import plural
from tombola.report.html.elements import element, join
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.page import document, ending, heading
from tombola.report.sections.agreement import agreement
from tombola.report.sections.attention import attention
from tombola.report.sections.generated_images import generated_images
from tombola.report.sections.importance import importance
from tombola.report.sections.interactions import interactions
from tombola.report.sections.missing_steps import missing_steps
from tombola.report.sections.model_sizes import model_sizes
from tombola.report.sections.neurons_vs_mlps import neurons_vs_mlps
from tombola.report.sections.omitted_analyses import omitted_analyses
from tombola.report.sections.provenance import provenance
from tombola.report.sections.published_scores import published_scores
from tombola.report.sections.random_tickets import random_tickets
from tombola.report.sections.representations import representations
from tombola.report.sections.results import results
from tombola.report.sections.retention import retention
from tombola.report.sections.searches import searches
from tombola.report.sections.survival import density, survival
from tombola.report.sections.text_generation import text_generation
from tombola.report.sections.ticket_scores import super_survivors, ticket_scores
from tombola.report.sections.verdicts import verdicts
from tombola.report.study_data import StudyData, short_title

SECTIONS = (
    missing_steps,
    results,
    model_sizes,
    retention,
    generated_images,
    text_generation,
    searches,
    ticket_scores,
    neurons_vs_mlps,
    survival,
    agreement,
    super_survivors,
    random_tickets,
    attention,
    interactions,
    representations,
    density,
    importance,
    published_scores,
    omitted_analyses,
)
"""Sections between the verdict and the provenance, in the page's order; each is None where it has no data."""


def study_page(study: StudyData, registry: FigureRegistry) -> str:
    """The report of a study as HTML; `registry` takes its charts and tables."""
    sections = [html for section in SECTIONS if (html := section(study, registry)) is not None]
    model, task = short_title(study.model), short_title(study.task.title)
    examples, seeds = plural(study.rows[0].n, "example"), plural(study.seeds, "seed")
    facts = (study.metric_title, examples, seeds, f"study {study.facts.name}")
    header = heading(join(element("span", model), " on ", element("span", task)), facts)
    main = join(verdicts(study), *sections, provenance(study))
    version, digest = study.facts.versions.get("tombola", ""), study.facts.hash
    made = f"Made by Tombola{f' {version}' if version else ''}{f' from study {digest}' if digest else ''}."
    return document(f"{model} on {task}: winning tickets", header, main, ending(made))
