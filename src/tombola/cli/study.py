"""`tombola study`: everything, for several seeds, with a report."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from tombola.cli.command import Command, add_continue, given_settings, seeds
from tombola.foundations.errors import printable


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
    add_continue(parser)
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
    # They take PyTorch, seconds to import, which no error in a setting should wait for.
    from tombola import report
    from tombola.foundations.atomic_files import read_json
    from tombola.foundations.resources import keep_freed_memory
    from tombola.report.study_data import read_study
    from tombola.report.terminal import abilities_table, generation_table, recovery_table, results_table
    from tombola.study.study import Study

    keep_freed_memory()
    study = Study(
        config,
        out=options.out,
        seeds=chosen or named,
        save=options.save,
        workers=options.workers,
        command=options.typed,
    )
    path = report.build(study.run())
    verdicts = read_json(study.folder / "verdicts.json")["verdicts"]
    if not options.json:
        console = Console(markup=False)
        data = read_study(study.folder)
        console.print(results_table(data.rows))
        for table_of in (abilities_table, recovery_table, generation_table):
            if (more := table_of(data)) is not None:
                console.print(more)
        if "rows" in study.task.facts():
            console.print(printable(_sampled(study.task.facts())), highlight=False)
        for verdict in verdicts:
            if verdict["ticket"] == "good":
                console.print(printable(verdict["sentence"]), highlight=False)
        console.print(printable(f"report: {path}"), highlight=False, soft_wrap=True)
    return {"folder": str(study.folder), "report": str(path), "verdicts": verdicts, "rows": list(study.rows())}


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
