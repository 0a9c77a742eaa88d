"""Command that scores a ticket as the app did."""

import shlex
from pathlib import Path

from tombola.app.text_bench import TextBench
from tombola.study.config import preset_settings, setting_groups

_GROUPS = ("what to study", "how much data", "running")
"""Groups of settings that `tombola score` heeds."""


def score_command(bench: TextBench, folder: Path) -> str:
    """Call of `tombola score` for a saved ticket on the bench's full model, with the study's settings."""
    settings = {**bench.config.settings(), "model": str(bench.seed_folder.full)}
    usual, groups = preset_settings("full", bench.config.task), setting_groups()
    names = [one.name for group in _GROUPS for one in groups[group][1] if one.name in settings]
    flags = {"ticket": folder, **{name: settings[name] for name in names if settings[name] not in (None, usual[name])}}
    written = [part for name, value in flags.items() for part in _flag(name, value)]
    return shlex.join(["tombola", "score", *written])


def _flag(name: str, value: object) -> list[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]
