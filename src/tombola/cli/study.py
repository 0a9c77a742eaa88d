"""`tombola study`: everything, for several seeds, with a report."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from tombola.cli.command import Command, add_continue, given_settings, say, seeds, settings_file
from tombola.cli.dry_run import add_dry_run, planned
from tombola.foundations.atomic_files import read_json, read_lines
from tombola.foundations.errors import TombolaError

if TYPE_CHECKING:
    from tombola.study.study import Study
    from tombola.study.study_file import StudyFile


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config",
        nargs="?",
        type=settings_file,
        metavar="study.yaml",
        help="settings, - for those on standard input; flags go before them",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of studies (runs)")
    add_run(parser)
    parser.add_argument(
        "--schema", action="store_true", help="print the JSON schema of study.yaml, for editors, and stop"
    )
    sample = "print a study.yaml with all that can be set for --task and --preset, each with what it is, and stop"
    parser.add_argument("--sample-config", action="store_true", help=sample)
    add_dry_run(parser)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add how studies are run: seeds, what is saved, workers."""
    parser.add_argument(
        "--seeds", type=seeds, metavar="0,1,2", help="one full model and its tickets for each: 0,2 or 0-4 (0)"
    )
    parser.add_argument("--save", choices=("none", "good", "all"), help="retrained models to write (good)")
    workers = "processes that run independent steps side by side (auto: what cores and memory allow; one for each GPU)"
    parser.add_argument("--workers", type=_workers, metavar="N", help=workers)
    cluster = "Dask scheduler, tls://HOST:8786 or its scheduler file, whose workers run the steps (see the how-to)"
    parser.add_argument("--cluster", metavar="ADDRESS", help=cluster)
    track = "show curves of trainings, searches and the study as they grow: tensorboard, wandb, mlflow, trackio, …"
    parser.add_argument("--track", metavar="TRACKER", help=track)
    add_continue(parser)


def _workers(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"auto, or a number from 1, not {text!r}")
    return int(text)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.study.study_file import json_schema

    if options.schema:
        schema = json_schema()
        if not options.json:
            print(json.dumps(schema, indent=2))
        return schema
    asked = _asked(options)
    config = asked.config
    if options.sample_config:
        from tombola.study.sample_config import sample_config

        sample = sample_config(asked, options.preset or "quick")
        if not options.json:
            print(sample, end="")
        return {"sample": sample}
    config.check_names(asked.seeds)
    if options.dry_run:
        config.check_models(asked.seeds)
        return _planned(_study(asked, options), options)
    from tombola.foundations.plain_table import PlainTable
    from tombola.study.finished_run import NAME, FinishedRun

    found = FinishedRun.find(config, asked.out or Path("runs"), asked.seeds, asked.save or "good")
    if found is not None:
        folder, run = found
        print(f"all {run.steps} steps are done", file=sys.stderr)
    else:
        # A finished study needs no model any more.
        config.check_models(asked.seeds)
        folder = _make(asked, options)
        run = FinishedRun.read(folder / NAME)
    report = folder / "report.html"
    if not options.json:
        for table in run.tables:
            Console(markup=False, emoji=False).print(PlainTable.of_entry(table))
        for line in (*run.lines, f"report: {report}"):
            say(line)
    return {
        "folder": str(folder),
        "report": str(report),
        "verdicts": read_json(folder / "verdicts.json").get("verdicts", []),
        "rows": read_lines(folder / "results.jsonl"),
    }


def _make(asked: "StudyFile", options: argparse.Namespace) -> Path:
    """Run what is missing of a study, build its report, and record what there is to print."""
    from tombola import report
    from tombola.report.study_data import read_study
    from tombola.report.terminal import abilities_table, generation_table, recovery_table, results_table
    from tombola.study.finished_run import FinishedRun
    from tombola.study.omitted_analyses import in_sentences
    from tombola.study.study_record import has_rows

    study = _study(asked, options)
    try:
        study.run()
    except TombolaError:
        # Of what did not need what failed there is a page, which names what is missing.
        if study.failed and has_rows(study.folder):
            say(f"report of what there is: {report.build(study.folder)}", stderr=True)
        raise
    report.build(study.folder)
    data, facts = read_study(study.folder), study.task.facts()
    tables = [results_table(data.rows, higher_is_better=data.task.higher_is_better)]
    tables += [table for of in (abilities_table, recovery_table, generation_table) if (table := of(data)) is not None]
    lines = [_sampled(facts)] if "rows" in facts else []
    lines += [one.sentence for one in data.verdicts if one.ticket == "good"]
    lines += [f"left out: {line}" for line in in_sentences(data.omitted_analyses)]
    printed = ([table.entry() for table in tables], lines)
    of = (study.folder, study.hash, study.config.analyses, asked.seeds, study.save)
    FinishedRun.record(*of, len(study.steps()), *printed)
    return study.folder


def _study(asked: "StudyFile", options: argparse.Namespace) -> "Study":
    # They take PyTorch, seconds to import, which neither an error in a setting nor a finished study should wait for.
    from tombola.foundations.resources import keep_freed_memory
    from tombola.study.study import Study

    keep_freed_memory()
    return Study(
        asked.config,
        out=asked.out or "runs",
        seeds=asked.seeds,
        save=asked.save or "good",
        workers=asked.workers or "auto",
        cluster=options.cluster,
        track=options.track,
        command=options.typed,
    )


def _planned(study: "Study", options: argparse.Namespace) -> dict[str, Any]:
    """Plan of the study, printed for people."""
    found = planned(options, study.plan())
    if not options.json:
        say(f"folder: {study.folder}")
    return {"folder": str(study.folder), **found}


def _asked(options: argparse.Namespace) -> "StudyFile":
    """The study that was asked for: what is given as flags goes before the file, and both before the preset."""
    from tombola.study.config import StudyConfig, preset_seeds
    from tombola.study.study_file import StudyFile

    settings = given_settings(options)
    if options.config is not None:
        found = StudyFile.read(options.config, options.preset, **settings)
    else:
        preset = options.preset or "quick"
        config = StudyConfig.of(preset, **settings)
        found = StudyFile(config, preset_seeds(preset, config.task))
    given = {name: getattr(options, name) for name in ("seeds", "out", "save", "workers")}
    return replace(found, **{name: value for name, value in given.items() if value is not None})


def _sampled(facts: Mapping[str, Any]) -> str:
    rows, available = facts["rows"], facts["available"]
    used = ", ".join(
        f"{what} {rows[split]:,} of {available[split]:,} rows"
        for split, what in (("train", "trained on"), ("dev", "judged on"))
    )
    all_rows = rows["train"] + rows.get("search", 0) == available["train"] and rows["dev"] == available["dev"]
    return used if all_rows else f"{used}; --train-rows and --dev-rows say how many"


COMMAND = Command(
    "study",
    "the whole study: fine-tune, search, controls, retraining, report; resumes",
    _add_arguments,
    _run,
    groups=("what to study", "how much data", "the study", "the search", "training", "running"),
    preset="quick",
    resumes=True,
)
