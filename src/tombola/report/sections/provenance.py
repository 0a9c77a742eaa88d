"""Section on provenance: what one needs to judge a study's numbers and to make them again."""

from collections.abc import Iterable, Mapping

from tombola.foundations.plurals import plural
from tombola.foundations.settings import setting_fields
from tombola.pruning.search.options import SearchOptions
from tombola.report import number_format
from tombola.report.html.elements import Html, element, join, note, section
from tombola.report.study_data import StudyData
from tombola.study.used_settings import used_settings

_WORDS = {"glue": "GLUE task", "memory_gib": "memory (GiB)", "iterative": "iterative magnitude pruning"}
_OF_CUTS = {"neuron_block", "normalise_layers", "calibration_samples", "sequence_length"}
_OF_SEARCHES = {"search_split", "search_rows"} | {one.name for one in setting_fields(SearchOptions)} - _OF_CUTS
"""Settings that say something only where there was a search."""
_EACH = {"heads": "heads a layer", "neurons": "neurons an MLP"}


def provenance(study: StudyData) -> Html:
    """The section with configuration, versions, machine, split, precision, seconds and command."""
    facts = study.facts
    seconds = sorted(facts.seconds.items(), key=lambda item: item[0] == "total")
    cards = [
        _card("Task", _task(study)),
        _card("Model", _model(study)),
        _card("Machine", [(_words(name), _value(value)) for name, value in facts.machine.items()]),
        _card("Versions", facts.versions.items()),
        _card("Seconds", [(_words(name), number_format.seconds(value)) for name, value in seconds]),
    ]
    command = [element("pre", element("code", facts.command), tabindex="0")] if facts.command else []
    body = (
        element("div", *cards, class_="cards"),
        _settings(study),
        _split(study),
        machines_note(study.machines),
        _without_sites(study),
    )
    return section("How it was made", *command, *body)


def machines_note(machines: Mapping[str, int]) -> Html:
    """Note that results were computed by unlike machines; nothing where it was one."""
    listed = "; ".join(f"{machine} ({plural(results, 'result')})" for machine, results in machines.items())
    text = f"Computed on unlike machines, which make other last digits of the same numbers: {listed}."
    return note(text) if len(machines) > 1 else Html("")


def _without_sites(study: StudyData) -> Html:
    blocks = study.facts.architecture.without_sites
    listed = "; ".join(f"{name} ({why})" for name, why in blocks.items())
    return note(f"Never pruned, as no sites of them are known: {listed}.") if blocks else Html("")


def _settings(study: StudyData) -> Html:
    left_out = frozenset() if study.trajectories else _OF_SEARCHES
    config = {name: value for name, value in used_settings(study.facts.config).items() if name not in left_out}
    pairs = [(_words(name), _value(value)) for name, value in config.items() if value is not None]
    unset = [_words(name) for name, value in config.items() if value is None]
    return join(_card("Configuration", pairs), note(f"Not set: {', '.join(unset)}.") if unset else "")


def _split(study: StudyData) -> Html:
    # A ticket of a single cut was searched for nowhere.
    split = study.facts.config.get("search_split") if study.trajectories else None
    if split == "train":
        return note(
            "The tickets were searched on held-out training rows, so that nothing was chosen on the dev split, "
            "which judges them."
        )
    if split == "dev":
        return note(
            "The tickets were searched on the dev split, which judges them too, as in the paper: scores of pruned good "
            "tickets are somewhat optimistic. ",
            element("code", "search_split: train"),
            " keeps the two apart.",
        )
    return Html("")


def _task(study: StudyData) -> list[tuple[str, str]]:
    task, split = study.task, study.facts.config.get("search_split") if study.trajectories else None
    pairs = [(_words(name), text) for name in ("title", "metric", "glue") if (text := getattr(task, name))]
    pairs += [("classes", ", ".join(task.classes))] if task.classes is not None else []
    pairs += [(f"{name} rows", number_format.count(rows)) for name, rows in task.rows.items()]
    return pairs + ([("searched on", str(split))] if split else [])


def _model(study: StudyData) -> list[tuple[str, str]]:
    names = ("model_type", "layers", "heads", "neurons", "signature")
    known = {name: getattr(study.facts.architecture, name) for name in names}
    pairs = [("model", study.model)]
    pairs += [(_EACH.get(name, _words(name)), _value(value)) for name, value in known.items() if value is not None]
    parameters = study.full.mean("parameters") if study.full else None
    return pairs + ([("parameters", number_format.count(parameters))] if parameters is not None else [])


def _card(title: str, pairs: Iterable[tuple[str, str]]) -> Html:
    lines = [element("div", element("dt", name), element("dd", value)) for name, value in pairs]
    if not lines:
        return Html("")
    return element("div", element("h3", title), element("dl", *lines), class_=f"card {title.lower()}")


def _words(name: str) -> str:
    return _WORDS.get(name, name.replace("_", " "))


def _value(value: object) -> str:
    if value is None:
        return number_format.MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(_value(one) for one in value)
    return str(value)
