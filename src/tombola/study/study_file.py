"""`study.yaml`: settings as people write them, how a study is run, and the JSON schema of both for editors."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from tombola.foundations.comma_lists import list_of, whole_numbers
from tombola.foundations.errors import TombolaError, check_choice
from tombola.foundations.parsing import read_yaml
from tombola.foundations.settings import SettingField, schema_of
from tombola.study.config import ALL, PRESETS, SHARED, TRUST, StudyConfig, all_settings, preset_seeds
from tombola.study.folder_layout import SAVED
from tombola.tasks.registry import regimes

Workers = int | Literal["auto"]

RUN: Mapping[str, str] = {
    "preset": f"settings that go together, for those that are not named: {', '.join(PRESETS)}; null for none",
    "seeds": "one full model and its tickets for each: 0, or 0-4, or [0, 1]",
    "out": "folder of studies",
    "save": f"retrained models to write: {', '.join(SAVED)}",
    "workers": "processes that run independent steps side by side: auto, or a number from 1",
}
"""Keys that are no settings: name → what it is."""


@dataclass(frozen=True)
class StudyFile:
    """Study as a YAML file says it.

    Attributes:
        config: its settings.
        seeds: as it names them, else those of its preset.
        out: folder of studies; None where it names none, as below.
        save: retrained models to write.
        workers: processes.
    """

    config: StudyConfig
    seeds: tuple[int, ...]
    out: Path | None = None
    save: str | None = None
    workers: Workers | None = None

    @classmethod
    def read(cls, path: Path, preset: str | None = None, **flat: Any) -> Self:
        """Read a file of settings and of the keys of `RUN`; a preset, and settings, that are given go before its own.

        A list is one of YAML, or the comma text of a flag: `weights,wanda`, `0-4`, `none`, `all`.

        Raises:
            TombolaError: the file is missing, is no YAML mapping, or has a setting that is unknown or wrong.
        """
        values = read_yaml(path, "write settings, one `name: value` a line")
        if not isinstance(values, dict):
            raise TombolaError(f"{path} must hold settings, one `name: value` a line")
        return cls.of(values, str(path), preset, **flat)

    @classmethod
    def of(cls, values: Mapping[Any, Any], where: str, preset: str | None = None, **flat: Any) -> Self:
        """The study of a mapping as a file holds it, whose errors begin with `where`; otherwise as `read`."""
        if TRUST in values:
            raise TombolaError(f"{where}: {TRUST} is no setting of a file; give --{TRUST.replace('_', '-')} each time")
        given, own, known = {name: values.get(name) for name in RUN}, values.get("preset", "quick"), all_settings()
        try:
            named = {str(name): value for name, value in values.items() if name not in RUN}
            settings = {name: _value(known.get(name), value) for name, value in named.items()}
            found = StudyConfig.of(preset or own, **{**settings, **flat})
            return cls(
                found,
                _seeds(given["seeds"]) or preset_seeds(preset or own, found.task),
                _out(given["out"]),
                _save(given["save"]),
                _workers(given["workers"]),
            )
        except TombolaError as error:
            raise TombolaError(f"{where}: {error}") from None


def _value(setting: SettingField | None, value: object) -> object:
    """Value of a setting, of which a comma text is a list, and `none` is nothing."""
    if setting is None:
        return value
    if not setting.listed:
        nothing = value == "none" and setting.optional and setting.value_type is not str
        return None if nothing else value
    if isinstance(value, str):
        try:
            return list_of(setting.value_type)(value)
        except ValueError:
            raise TombolaError(
                f"setting {setting.name} must be a list, or text such as 0.2,0.5, not {value!r}"
            ) from None
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _seeds(given: object) -> tuple[int, ...]:
    """Seeds; none where they are not given."""
    if given is None:
        return ()
    try:
        seeds = (
            whole_numbers(given) if isinstance(given, str) else tuple(given) if isinstance(given, list) else (given,)
        )
    except ValueError:
        seeds = ()
    found = tuple(seed for seed in seeds if type(seed) is int and seed >= 0)
    if len(found) < len(seeds) or not 0 < len(found) == len({*found}):
        raise TombolaError(f"seeds must be different whole numbers from 0, as [0, 1] or 0-4, not {given!r}")
    return found


def _out(given: object) -> Path | None:
    if not isinstance(given, str | None):
        raise TombolaError(f"out must be the path of a folder, not {given!r}")
    return None if given is None else Path(given).expanduser()


def _save(given: object) -> str | None:
    if given is not None:
        check_choice("save", given, SAVED)
    return None if given is None else str(given)


def _workers(given: object) -> Workers | None:
    if given in (None, "auto"):
        return "auto" if given else None
    if type(given) is not int or given < 1:
        raise TombolaError(f"workers must be auto, or a number from 1, not {given!r}")
    return given


def json_schema() -> dict[str, Any]:
    """JSON schema of `study.yaml`, for editors: every setting of every regime, and the keys of `RUN`.

    It names no defaults, which depend on the task and the preset.
    """
    seed = {"type": "integer", "minimum": 0}
    seeds = {"type": "array", "items": seed, "minItems": 1, "uniqueItems": True}
    span = r"[0-9]+(\s*-\s*[0-9]+)?"
    ranges = {"type": "string", "pattern": rf"^\s*{span}(\s*,\s*{span})*\s*$"}
    properties: dict[str, Any] = {
        "preset": {"enum": [*PRESETS, None], "default": "quick"},
        "seeds": {"anyOf": [seed, seeds, ranges, {"type": "null"}]},
        "out": {"type": ["string", "null"]},
        "save": {"enum": [*SAVED, None]},
        "workers": {"anyOf": [{"type": "integer", "minimum": 1}, {"enum": ["auto", None]}]},
    }
    for name, description in RUN.items():
        properties[name]["description"] = description
    for kind in (*SHARED, *(regime.settings for regime in regimes())):
        properties = schema_of(kind) | properties
    for name, one in all_settings().items():
        properties[name] = _schema(one, properties[name])
    del properties[TRUST]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tombola study.yaml",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _schema(setting: SettingField, schema: dict[str, Any]) -> dict[str, Any]:
    """Schema of a setting as `StudyFile.read` takes it: a list as comma text too, and `none` for nothing."""
    about = {"description": setting.description, **{k: v for k, v in schema.items() if k == "examples"}}
    plain = {name: value for name, value in schema.items() if name not in about}
    if setting.listed:
        text = {"type": "string", "pattern": f"^\\s*({_texts(setting, plain)})\\s*$"}
        single = [] if setting.value_type is str else [plain["items"]]
        return {**about, "anyOf": [plain, text, *single]}
    if setting.optional and setting.value_type is not str:
        return {**about, **plain, "anyOf": [*plain["anyOf"], {"const": "none"}]}
    return {**about, **plain}


def _texts(setting: SettingField, schema: Mapping[str, Any]) -> str:
    """Pattern of comma texts for a list."""
    names = choices(schema)
    if names:
        # Names hold letters, digits, dashes, colons and plus signs.
        patterns = (one["pattern"].strip("^$") for one in _items(schema) if "pattern" in one)
        part = f"({'|'.join((*(name.replace('+', '[+]') for name in names), *patterns))})"
    else:
        part = r"[^,\s][^,]*" if setting.value_type is str else r"[0-9]*\.?[0-9]+"
    whole = [] if schema.get("minItems") else ["none"]
    whole += [ALL] if {"const": [ALL]} in schema.get("anyOf", ()) else []
    return "|".join((f"{part}(\\s*,\\s*{part})*", *whole))


def choices(schema: Mapping[str, Any]) -> list[str]:
    """Names that a list may hold, by its schema; none where any will do."""
    for one in _items(schema):
        if isinstance(names := one.get("enum"), list):
            return [str(name) for name in names]
    return []


def _items(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Schemas of the items of a list, each that will do."""
    for one in (schema, *schema.get("anyOf", ())):
        items = one.get("items", {})
        yield from (items, *items.get("anyOf", ()))
