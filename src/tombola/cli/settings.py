"""The settings of a study as flags: in groups, with help, and read back."""

import argparse
from collections.abc import Sequence
from typing import Any

from tombola.cli.argument_types import listed
from tombola.foundations.settings import SettingField


def add_settings(parser: argparse.ArgumentParser, groups: Sequence[str], preset: str) -> None:
    """Add `--preset` and a flag for each setting of the groups; imports PyTorch for the defaults.

    Args:
        parser: of a command.
        groups: headings of the groups of shared settings that it heeds; those of the regimes come after them.
        preset: whose values are the defaults that help texts show, those of studies of labelled texts.
    """
    from tombola.study.config import PRESETS, StudyConfig, setting_groups
    from tombola.tasks.registry import named_tasks, regimes

    parser.add_argument(
        "--preset", choices=PRESETS, help=f"quick: a sample of the rows, one epoch; paper: all rows, three ({preset})"
    )
    defaults, found = StudyConfig.of(preset).settings(), setting_groups()
    for title in (*groups, *(regime.group for regime in regimes())):
        text, fields = found[title]
        if title == "what to study":
            text = (
                "A model is an asset (minilm, smollm2), a local folder or a hub id. A task is one of "
                f"{', '.join(named_tasks())}, or a folder or file of your own (TSV, CSV, JSON lines)."
            )
        group = parser.add_argument_group(title, text)
        for one in fields:
            group.add_argument(f"--{one.name.replace('_', '-')}", **_options(one, defaults.get(one.name, one.default)))


def _options(one: SettingField, default: Any) -> dict[str, Any]:
    """Keyword arguments of `add_argument`."""
    shown = ",".join(map(str, default)) if isinstance(default, list | tuple) else default
    text = one.description if shown in (None, "") or isinstance(shown, bool) else f"{one.description} ({shown})"
    options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": text.replace("%", "%%")}
    if one.kind is bool:
        return options | {"action": argparse.BooleanOptionalAction}
    # The configuration refuses what is no choice, in one line instead of argparse's usage.
    metavar = (
        "{" + ",".join(one.choices) + "}"
        if one.choices
        else one.example or one.name.rsplit("_", maxsplit=1)[-1].upper()
    )
    return options | {"type": listed(one.kind) if one.listed else one.kind, "metavar": metavar}


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given as flags, by their names in a `StudyConfig`."""
    from tombola.study.config import setting_groups

    names = {one.name for _, fields in setting_groups().values() for one in fields}
    return {name: value for name, value in vars(options).items() if name in names and value is not None}
