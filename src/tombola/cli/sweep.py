"""`tombola sweep`: studies of a grid as one job, with one report over all of them."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tombola.cli.command import Command, given_settings, say, settings_file
from tombola.cli.study import COMMAND as STUDY
from tombola.cli.study import add_run
from tombola.foundations.errors import TombolaError
from tombola.foundations.figures import figures
from tombola.foundations.plurals import plural

if TYPE_CHECKING:
    from tombola.study.estimates import Plan
    from tombola.study.sweep import Sweep
    from tombola.study.sweep_file import SweepFile

_UNITS: Mapping[str, float] = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    file = "settings as in study.yaml, and grid: values of any of them; flags go before it"
    parser.add_argument("config", type=settings_file, metavar="sweep.yaml", help=file)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the sweep (runs/ and the file's name)")
    add_run(parser)
    plan = "only say how many trainings, hours and gigabytes each study would take; nothing is written"
    parser.add_argument("--plan", "--dry-run", dest="plan", action="store_true", help=plan)
    budget = "begin no step that would not end within this time, and do first what says most: 8h, 90m, 1h30m"
    parser.add_argument("--budget", type=_seconds, metavar="TIME", help=budget)


def _seconds(text: str) -> float:
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not parts or "".join(map("".join, parts)) != text:
        raise argparse.ArgumentTypeError(f"a time such as 8h, 90m or 1h30m, not {text!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.study.sweep_file import SweepFile, named

    given = {name: getattr(options, name) for name in ("seeds", "save") if getattr(options, name) is not None}
    asked = SweepFile.read(options.config, options.preset, given, **given_settings(options))
    out = options.out or asked.out
    studies = [replace(one, file=replace(one.file, **given)) for one in asked.studies]
    for one in studies:
        config, seeds = one.file.config, one.file.seeds
        with named(one.label):
            config.check_names(seeds)
            config.check_models(seeds)
    sweep = _sweep(replace(asked, studies=tuple(studies)), out, options)
    if options.plan:
        return _planned(sweep, options)
    from tombola import report
    from tombola.study.estimates import in_words

    try:
        left = sweep.run(options.budget)
    except TombolaError:
        if sweep.has_results:
            say(f"report of what there is: {report.build(out)}", stderr=True)
        raise
    if left:
        spent = f"the time of {in_words(options.budget)} is over"
        say(f"{spent}: {plural(left, 'step')} left for the next start", stderr=True)
    page = str(report.build(out)) if sweep.has_results else None
    if not options.json:
        from tombola.report.sweep_data import SweepData
        from tombola.report.terminal import sweep_table

        if page is not None:
            Console(markup=False, emoji=False).print(sweep_table(SweepData.read(out)))
            say(f"report: {page}")
    return {"folder": str(out), "report": page, "steps_left": left, "studies": _folders(sweep)}


def _folders(sweep: "Sweep") -> dict[str, str]:
    return {label: str(study.folder) for label, study in sweep.studies.items()}


def _sweep(asked: "SweepFile", out: Path, options: argparse.Namespace) -> "Sweep":
    # They take PyTorch, seconds to import, which an error in a setting should not wait for.
    from tombola.foundations.resources import keep_freed_memory
    from tombola.study.sweep import Sweep

    keep_freed_memory()
    workers = options.workers or asked.studies[0].file.workers or "auto"
    return Sweep(
        asked.studies, out, workers=workers, cluster=options.cluster, track=options.track, command=options.typed
    )


def _planned(sweep: "Sweep", options: argparse.Namespace) -> dict[str, Any]:
    """Plan of the sweep, printed for people."""
    from tombola.foundations.plain_table import PlainTable
    from tombola.study.estimates import in_words

    plans = sweep.plan()
    seconds, size = sum(one.seconds for one in plans.values()), sum(one.bytes for one in plans.values())
    if not options.json:
        console, table = Console(markup=False, emoji=False), PlainTable()
        table.heads("study", numbers=("steps", "done", "trainings", "hours", "GB"))
        for label, one in plans.items():
            table.line(label, *_figures(one))
        console.print(table)
        say(f"expected time: {in_words(seconds)} at most; what studies share is counted with each, and made once")
        say(f"models on disk: {figures(size / 1e9, 2)} GB more at most")
        say(f"folder: {sweep.out}")
    entries = {
        label: {
            "folder": str(sweep.studies[label].folder),
            "steps": len(one.left),
            "done": one.done,
            "trainings": one.trainings,
            "seconds": round(one.seconds, 1),
            "bytes": one.bytes,
        }
        for label, one in plans.items()
    }
    return {"folder": str(sweep.out), "studies": entries, "seconds": round(seconds, 1), "bytes": size}


def _figures(one: "Plan") -> tuple[str, ...]:
    hours, size = figures(one.seconds / 3600, 2), figures(one.bytes / 1e9, 2)
    return str(len(one.left)), str(one.done), str(one.trainings), hours, size


COMMAND = Command(
    "sweep",
    "many studies as one: a grid over tasks, models, methods, any setting; what they share is made once; resumes",
    _add_arguments,
    _run,
    groups=STUDY.groups,
    preset="quick",
    resumes=True,
)
