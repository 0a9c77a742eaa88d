"""`tombola study`: everything, for several seeds, with a report."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from tombola.cli.command import Command, given_settings, seeds
from tombola.foundations.atomic_files import read_json, read_lines
from tombola.foundations.errors import printable

if TYPE_CHECKING:
    from tombola.study.config import StudyConfig


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", type=Path, metavar="study.yaml", help="settings; flags go before them")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="folder of studies (runs)")
    parser.add_argument(
        "--seeds", type=seeds, metavar="0,1,2", help="one full model and its tickets for each (0, or the preset's)"
    )
    parser.add_argument(
        "--save", choices=("none", "good", "all"), default="good", help="retrained models to write (good)"
    )
    workers = "processes that run independent steps side by side (auto: what cores and memory allow; 1 on a GPU)"
    parser.add_argument("--workers", type=_workers, default="auto", metavar="N", help=workers)
    parser.add_argument(
        "--schema", action="store_true", help="print the JSON schema of study.yaml, for editors, and stop"
    )


def _workers(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"auto, or a number from 1, not {text!r}")
    return int(text)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.study.config import StudyConfig, json_schema, preset_seeds

    if options.schema:
        schema = json_schema()
        if not options.json:
            print(json.dumps(schema, indent=2))
        return schema
    settings, chosen = given_settings(options), options.seeds
    if options.config is not None:
        config, named = StudyConfig.read(options.config, options.preset, **settings)
    else:
        preset = options.preset or "quick"
        config = StudyConfig.of(preset, **settings)
        named = preset_seeds(preset, config.task)
    config.check_names()
    seeds = chosen or named
    from tombola.foundations.plain_table import PlainTable
    from tombola.study.finished_run import NAME, FinishedRun

    if (found := FinishedRun.find(config, options.out, seeds, options.save)) is not None:
        folder, run = found
        print(f"all {run.steps} steps are done", file=sys.stderr)
    else:
        folder = _make(config, seeds, options)
        run = FinishedRun.read(folder / NAME)
    report = folder / "report.html"
    if not options.json:
        console = Console(markup=False)
        for table in run.tables:
            console.print(PlainTable.of_entry(table))
        for line in run.lines:
            console.print(printable(line), highlight=False)
        console.print(printable(f"report: {report}"), highlight=False, soft_wrap=True)
    return {
        "folder": str(folder),
        "report": str(report),
        "verdicts": read_json(folder / "verdicts.json")["verdicts"],
        "rows": read_lines(folder / "results.jsonl"),
    }


def _make(config: "StudyConfig", seeds: Sequence[int], options: argparse.Namespace) -> Path:
    """Run what is missing of a study, build its report, and record what there is to print."""
    # They take PyTorch, seconds to import, which neither an error in a setting nor a finished study should wait for.
    from tombola import report
    from tombola.foundations.resources import keep_freed_memory
    from tombola.report.study_data import read_study
    from tombola.report.terminal import abilities_table, generation_table, recovery_table, results_table
    from tombola.study.finished_run import FinishedRun
    from tombola.study.study import Study

    keep_freed_memory()
    study = Study(
        config, out=options.out, seeds=seeds, save=options.save, workers=options.workers, command=options.typed
    )
    report.build(study.run())
    data, facts = read_study(study.folder), study.task.facts()
    tables = [results_table(data.rows)]
    tables += [table for of in (abilities_table, recovery_table, generation_table) if (table := of(data)) is not None]
    lines = [_sampled(facts)] if "rows" in facts else []
    lines += [one.sentence for one in data.verdicts if one.ticket == "good"]
    printed = ([table.entry() for table in tables], lines)
    FinishedRun.record(study.folder, study.config, seeds, study.save, len(study.steps()), *printed)
    return study.folder


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
