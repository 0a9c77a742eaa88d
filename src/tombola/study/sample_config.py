"""Sample of a `study.yaml`: every key of a task and preset, with what it is, its choices and its default."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tombola.foundations.settings import SettingField
from tombola.study.config import preset_settings, setting_groups
from tombola.study.study_file import RUN, StudyFile, choices, json_schema

_WIDTH = 100
"""Characters of a line."""
_HEAD = (
    "Settings of a study: tombola study study.yaml. A line that is taken out goes by the preset, and flags go first."
)


def sample_config(study: StudyFile, preset: str) -> str:
    """Text of a file that says all of a study, which `StudyFile.read` takes; defaults are those of a preset."""
    schema, defaults = json_schema()["properties"], preset_settings(preset, study.config.task)
    run: Mapping[str, Any] = {
        "preset": preset,
        "seeds": list(study.seeds),
        "out": str(study.out or "runs"),
        "save": study.save or "good",
        "workers": study.workers or "auto",
    }
    lines = [*_comment(_HEAD), ""]
    for name, value in run.items():
        lines += [*_comment(RUN[name]), _line(name, value), ""]
    values = study.config.settings()
    for title, (_, fields) in setting_groups().items():
        if named := [one for one in fields if one.name in values]:
            lines += [f"# {title} ".ljust(_WIDTH, "-"), ""]
            for one in named:
                about = _about(one, schema[one.name], defaults[one.name])
                lines += [*_comment(about), _line(one.name, values[one.name]), ""]
    return "\n".join(lines)


def _about(one: SettingField, schema: Mapping[str, Any], default: object) -> str:
    """Description of a setting, with its choices where it does not say them, and its default."""
    found = [name for name in one.choices or choices(schema) if name not in one.description]
    named = [f"one of {', '.join(one.choices)}"] if found and one.choices else []
    shown = ",".join(map(str, default)) or "none" if isinstance(default, tuple) else _shown(default)
    return "; ".join((one.description, *named, f"default {shown}"))


def _shown(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _line(name: str, value: object) -> str:
    # As in a list, where a scalar is quoted if need be and has no line end.
    listed = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=float("inf"))
    return f"{name}: {listed.strip()[1:-1]}"


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, _WIDTH - 2, break_long_words=False, break_on_hyphens=False))
