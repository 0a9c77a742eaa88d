"""Section on provenance: what one needs to judge a study's numbers and to make them again."""

from collections.abc import Iterable

from tombola.report import number_format
from tombola.report.html.layout import section
from tombola.report.html.markup import Html, element, escape, join
from tombola.report.optional_json import Fields
from tombola.report.study_data import Record

_WORDS = {"glue": "GLUE task", "memory_gib": "memory (GiB)", "iterative": "iterative magnitude pruning"}
_EACH = {"heads": "heads a layer", "neurons": "neurons an MLP"}


def making(record: Record) -> Html:
    """The section with configuration, versions, machine, split, precision, seconds and command."""
    facts = record.facts
    task = facts.inside("task")
    config = facts.inside("config")
    cards = [
        _card("Task", _task(task, config)),
        _card("Model", _model(record)),
        _card(
            "Machine",
            [(_words(name), _value(value)) for name, value in facts.inside("machine").values.items()],
        ),
        _card("Versions", [(name, _value(value)) for name, value in facts.inside("versions").values.items()]),
        _card("Seconds", _seconds(facts.inside("seconds"))),
    ]
    command = facts.get("command", str)
    body = [element("pre", element("code", command), tabindex="0")] if command else []
    split = _split(config) if record.trajectories else Html("")
    return section("How it was made", *body, element("div", *cards, class_="cards"), _settings(config), split)


def _settings(config: Fields) -> Html:
    pairs = [(_words(name), _value(value)) for name, value in config.values.items() if value is not None]
    unset = [_words(name) for name, value in config.values.items() if value is None]
    note = element("p", f"Not set: {', '.join(unset)}.", class_="note") if unset else Html("")
    return join(_card("Configuration", pairs), note)


def _split(config: Fields) -> Html:
    split = config.get("search_split", str)
    if split == "train":
        text = escape(
            "The tickets were searched on held-out training rows, so that nothing was chosen on the dev split, "
            "which judges them."
        )
    elif split == "dev":
        text = join(
            "The tickets were searched on the dev split, which judges them too, as in the paper: scores of pruned good "
            "tickets are somewhat optimistic. ",
            element("code", "search_split: train"),
            " keeps the two apart.",
        )
    else:
        return Html("")
    return element("p", text, class_="note")


def _task(task: Fields, config: Fields) -> list[tuple[str, str]]:
    pairs = [(_words(name), text) for name in ("title", "metric", "glue") if (text := task.get(name, str))]
    classes = task.values.get("classes")
    if isinstance(classes, list):
        pairs.append(("classes", ", ".join(str(one) for one in classes)))
    rows = task.inside("rows")
    pairs += [(f"{name} rows", number_format.count(rows.get(name, int))) for name in rows.values]
    split = config.get("search_split", str)
    return pairs + ([("searched on", split)] if split else [])


def _model(record: Record) -> list[tuple[str, str]]:
    architecture = record.facts.inside("architecture")
    pairs = [("model", record.model)]
    pairs += [
        (_EACH.get(name, _words(name)), _value(architecture.values[name]))
        for name in ("model_type", "layers", "heads", "neurons", "signature")
        if architecture.values.get(name) is not None
    ]
    full = record.full
    parameters = full.mean("parameters") if full else None
    return pairs + ([("parameters", number_format.count(parameters))] if parameters is not None else [])


def _seconds(seconds: Fields) -> list[tuple[str, str]]:
    names = sorted(seconds.values, key=lambda name: name == "total")
    return [(_words(name), number_format.seconds(seconds.get(name, float))) for name in names]


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
