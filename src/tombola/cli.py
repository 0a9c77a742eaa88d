"""The command line: thin over the library. Results go to stdout, progress to stderr; exit code 0, 1 or 2."""

import argparse
import dataclasses
import json
import os
import shlex
import sys
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tombola.errors import TombolaError

if TYPE_CHECKING:
    from torch import nn

    from tombola.pipeline import Pipeline

DONE, FAILED, BAD_USAGE = 0, 1, 2

SETTINGS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "what to study": (
        ("model", "task", "data", "dev", "text", "text_pair", "label", "regression", "metric"),
        "A model is an asset (minilm, smollm2), a local folder or a hub id. A task is a GLUE name (cola, sst2, mrpc, "
        "stsb, qqp, mnli, qnli, rte, wnli), rotten-tomatoes, or a folder or file of your own (TSV, CSV, JSON lines).",
    ),
    "how much data": (("train_rows", "dev_rows", "max_length", "search_split", "search_rows"), ""),
    "the search": (
        (
            "threshold",
            "heads_step",
            "mlps_step",
            "neurons_step",
            "neuron_block",
            "refine",
            "refine_heads_step",
            "refine_neurons_step",
            "weights_step",
        ),
        "Defaults are the paper's, which prunes no neurons.",
    ),
    "training": (
        ("epochs", "learning_rate", "batch_size", "weight_decay", "warmup", "clip", "rewind", "imp"),
        "",
    ),
    "running": (("eval_batch_size", "precision", "device", "resamples", "trust_remote_code"), ""),
}

GROUPS: Mapping[str, tuple[str, ...]] = {
    "study": tuple(SETTINGS),
    "prune": ("what to study", "how much data", "the search", "running"),
    "retrain": ("what to study", "how much data", "training", "running"),
    "score": ("what to study", "how much data", "running"),
}
"""The settings that each command heeds; it takes no others."""

_HELP: Mapping[str, str] = {
    "model": "asset, local folder or hub id",
    "task": "GLUE name, rotten-tomatoes, or path of your own data",
    "data": "folder of GLUE's original TSV files, instead of the hub",
    "dev": "file of dev rows, where --task is a file of training rows",
    "text": "column of the text",
    "text_pair": "column of the second text",
    "label": "column of the label",
    "regression": "the labels are values, not classes",
    "metric": "score of your own data",
    "train_rows": "train on a sample of so many rows",
    "dev_rows": "judge on a sample of so many rows",
    "max_length": "tokens a text is cut to",
    "search_split": "dev as in the paper, or train for held-out training rows",
    "search_rows": "training rows held out for the search",
    "threshold": "share of the full score that must hold",
    "heads_step": "share of all heads removed in an iteration",
    "mlps_step": "MLPs removed in an iteration",
    "neurons_step": "share of all blocks of neurons removed in an iteration",
    "neuron_block": "neurons of a block",
    "refine": "go on with heads alone, then MLPs or neurons alone",
    "refine_heads_step": "share of all heads removed in a refining iteration",
    "refine_neurons_step": "share of all blocks of neurons removed in a refining iteration",
    "weights_step": "share of the remaining weights removed in an iteration",
    "epochs": "passes over the training rows",
    "learning_rate": "peak of the schedule",
    "batch_size": "training examples in a step",
    "weight_decay": "of AdamW",
    "warmup": "share of the steps that warm up",
    "clip": "largest norm of the gradient",
    "rewind": "retrain from: pretrained, init or step-K",
    "imp": "iterative magnitude pruning: train between the cuts of the weights",
    "eval_batch_size": "examples at a time when scoring",
    "precision": "auto, fp32 or bf16",
    "device": "auto, or PyTorch's name of a device",
    "resamples": "of each bootstrap",
    "trust_remote_code": "run code that comes with a model",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 bad usage or bad input."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser(given[0] if given else None)
    options = parser.parse_args(given)
    options.given = given
    if options.command is None:
        parser.print_help()
        return BAD_USAGE
    # Tokenizers warn of forks that never happen here.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that spin while they wait make a shared machine up to thirty times slower. Read when PyTorch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _note
            result: dict[str, Any] = options.run(options)
    except TombolaError as error:
        print(f"tombola: error: {error}", file=sys.stderr)  # noqa: T201
        return BAD_USAGE
    except RuntimeError as error:
        # torch.OutOfMemoryError, by its name: PyTorch may not even be imported.
        if type(error).__name__ != "OutOfMemoryError":
            raise
        reason = str(error).splitlines()[0]
        print(f"tombola: failed: {reason} Lower --batch-size or --eval-batch-size.", file=sys.stderr)  # noqa: T201
        return FAILED
    except KeyboardInterrupt:
        what = "the same command goes on where it was" if options.command == "study" else "nothing was written"
        print(f"tombola: stopped; {what}", file=sys.stderr)  # noqa: T201
        return 130
    if options.json:
        print(json.dumps(result, indent=2))  # noqa: T201
    return DONE


def _note(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as a line for people, without the place in the source."""
    print(f"tombola: note: {message}", file=sys.stderr)  # noqa: T201


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser; only the chosen command gets its settings, whose defaults take PyTorch and seconds to import."""
    parser = argparse.ArgumentParser(
        prog="tombola",
        description="Draw winning lottery tickets from neural networks: small subnetworks that do what the whole does.",
    )
    parser.add_argument("--version", action="version", version=f"tombola {version('tombola')}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, run: Any, what: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        sub.add_argument("--json", action="store_true", help="print the result as JSON")
        sub.set_defaults(run=run, command=name)
        return sub

    study = command("study", _study, "the whole study: fine-tune, search, controls, retraining, report; resumes")
    study.add_argument("config", nargs="?", type=Path, metavar="study.yaml", help="settings; flags go before them")
    study.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="folder of studies (runs)")
    study.add_argument("--seeds", type=_seeds, metavar="0,1,2", help="one full model and its tickets for each (0)")
    study.add_argument("--save", choices=("none", "good", "all"), default="good", help="retrained models to write")
    if chosen == "study":
        from tombola.ticket import PRUNINGS

        known = f"searches to run, of {', '.join(PRUNINGS)} (heads+mlps,weights)"
        study.add_argument("--prunings", type=_names, metavar="heads+mlps,weights", help=known)
        _add_settings(study, "quick", chosen)

    prune = command("prune", _prune, "from a fine-tuned model and a task to a good ticket")
    at_once = prune.add_mutually_exclusive_group()
    at_once.add_argument(
        "--keep", type=float, metavar="SHARE", help="no search: one cut that keeps this share of each kind, 0 to 1"
    )
    at_once.add_argument(
        "--pattern",
        choices=("2:4",),
        help="no search: of every four weights in a row the two largest, for GPUs; needs --pruning weights",
    )
    prune.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="new folder: search.jsonl and good/, or ticket/ without a search",
    )
    if chosen == "prune":
        from tombola.ticket import PRUNINGS

        prune.add_argument("--pruning", choices=PRUNINGS, default="heads+mlps", help="what to remove (heads+mlps)")
        _add_settings(prune, "paper", chosen)

    retrain = command("retrain", _retrain, "from a ticket to a retrained model")
    retrain.add_argument("--ticket", type=Path, required=True, metavar="DIR", help="folder of the ticket")
    retrain.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder of the model")
    retrain.add_argument("--seed", type=int, default=0, help="of output layer, order and dropout (0)")
    if chosen == "retrain":
        _add_settings(retrain, "paper", chosen)

    score = command("score", _score, "score of a fine-tuned model, under a ticket or whole")
    score.add_argument("--ticket", type=Path, metavar="DIR", help="folder of the ticket; whole model without")
    if chosen == "score":
        _add_settings(score, "paper", chosen)

    shrink = command("shrink", _shrink, "a physically smaller model, proved equal to the masked one")
    _add_written(shrink, "new folder; tombola.load reads it")
    shrink.add_argument(
        "--measure",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="time the model dense, masked and shrunk side by side, and its peak memory, when it is written (yes)",
    )
    shrink.add_argument("--length", type=int, default=128, metavar="TOKENS", help="of a measured example (128)")

    export = command(
        "export", _export, "a model for tools that know nothing of tickets, proved equal to the masked one"
    )
    _add_written(export, "new folder")
    export.add_argument(
        "--format",
        choices=("zeros", "onnx"),
        required=True,
        help="zeros: the original's shapes, for from_pretrained; onnx: a graph for ONNX Runtime",
    )

    report = command("report", _report, "the HTML report of a study's folder, written again")
    report.add_argument("folder", type=Path, metavar="DIR", help="the study's folder")
    return parser


def _add_written(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument("model", metavar="MODEL", help="fine-tuned model: local folder, hub id or asset")
    parser.add_argument("ticket", type=Path, metavar="TICKET", help="folder of a ticket")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=out)


def _add_settings(parser: argparse.ArgumentParser, preset: str, command: str) -> None:
    from tombola.config import PRESETS, StudyConfig

    parser.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help=f"quick: a sample of the rows, one epoch; paper: all rows, three epochs ({preset})",
    )
    hints = typing.get_type_hints(StudyConfig)
    defaults = {field.name: field.default for field in dataclasses.fields(StudyConfig)} | dict(PRESETS[preset])
    for title in GROUPS[command]:
        names, text = SETTINGS[title]
        group = parser.add_argument_group(title, text)
        for name in names:
            default = defaults[name]
            shown = "" if default is None or isinstance(default, bool) else f" ({default})"
            options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": f"{_HELP[name]}{shown}"}
            kinds = typing.get_args(hints[name]) or (hints[name],)
            if bool in kinds:
                options["action"] = argparse.BooleanOptionalAction
            else:
                options["type"] = next(kind for kind in (int, float, str) if kind in kinds)
                options["metavar"] = name.rsplit("_", maxsplit=1)[-1].upper()
            group.add_argument(f"--{name.replace('_', '-')}", **options)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers such as 0,1,2") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.config import StudyConfig

    names = {field.name for field in dataclasses.fields(StudyConfig)}
    return {name: value for name, value in vars(options).items() if name in names and value is not None}


def _study(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.config import StudyConfig
    from tombola.report.table import table
    from tombola.store import read_json
    from tombola.study import Study

    settings, seeds = _settings(options), options.seeds
    if options.config is not None:
        config, listed = StudyConfig.read(options.config, options.preset, **settings)
        seeds = seeds or listed
    else:
        config = StudyConfig.of(options.preset or "quick", **settings)
    study = Study(
        config,
        out=options.out,
        seeds=seeds or (0,),
        save=options.save,
        command=shlex.join(["tombola", *options.given]),
    )
    path = study.run()
    verdicts = read_json(study.folder / "verdicts.json")["verdicts"]
    if not options.json:
        console = Console()
        console.print(table(study.folder))
        console.print(_sampled(study.task.facts()), highlight=False)
        for verdict in verdicts:
            if verdict["ticket"] == "good":
                console.print(verdict["sentence"], highlight=False)
        console.print(f"report: {path}", highlight=False, soft_wrap=True)
    return {"folder": str(study.folder), "report": str(path), "verdicts": verdicts, "rows": list(study.rows())}


def _sampled(facts: Mapping[str, Any]) -> str:
    """How many of the rows were used, and how to use them all."""
    rows, available = facts["rows"], facts["available"]
    used = ", ".join(
        f"{what} {rows[split]:,} of {available[split]:,} rows"
        for split, what in (("train", "trained on"), ("dev", "judged on"))
    )
    all_rows = rows["train"] + rows.get("search", 0) == available["train"] and rows["dev"] == available["dev"]
    return used if all_rows else f"{used}; --preset paper takes all"


def _prune(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.cell import search_weight
    from tombola.pipeline import Pipeline
    from tombola.search import search_ticket
    from tombola.store import publish

    if options.pattern is not None and options.pruning != "weights":
        raise TombolaError(f"{options.pattern} is a pattern of weights; add --pruning weights")
    pipe = Pipeline.open(_settings(options), options.preset)
    model = pipe.trained()
    if options.pattern is not None or options.keep is not None:
        return _prune_at_once(options, pipe, model)
    with (
        publish(options.out) as draft,
        pipe.bars(
            f"search {options.pruning}", pipe.search_cost(options.pruning), search_weight(options.pruning)
        ) as bars,
    ):
        found = search_ticket(
            model,
            pipe.task,
            options.pruning,
            options=pipe.config.search_options,
            split=pipe.config.searched,
            batch_size=pipe.config.eval_batch_size,
            precision=pipe.precision,
            progress=bars,
        )
        found.save(draft)
    last = found.last
    result = {
        "ticket": str(options.out / "good"),
        "score": last.score,
        "full_score": found.full_score,
        **{name: getattr(last, name) for name in ("heads", "mlps", "neurons", "weights", "sparsity")},
    }
    if not options.json:
        kept = _kept(found.good.sites, dataclasses.asdict(last), last.sparsity)
        print(f"{kept} score {last.score:.4f}, the full model {found.full_score:.4f}: {result['ticket']}")  # noqa: T201
    return result


def _prune_at_once(options: argparse.Namespace, pipe: "Pipeline", model: "nn.Module") -> dict[str, Any]:
    """A ticket without a search: of a given share, or by a pattern."""
    from tombola.anatomy import dissect
    from tombola.cell import IMPORTANCE_COST
    from tombola.evaluation import score
    from tombola.one_shot import one_shot
    from tombola.semi_structured import prune_semi_structured
    from tombola.store import publish

    how: dict[str, Any] = {"batch_size": pipe.config.eval_batch_size, "precision": pipe.precision}
    measured = options.keep is not None and options.pruning != "weights"
    cost = 2 * pipe.task.size("dev") + (IMPORTANCE_COST * pipe.task.size("train") if measured else 0)
    weight = cost / (2 * pipe.task.size("dev") + (pipe.task.size("train") if measured else 0))
    with publish(options.out) as draft, pipe.bars(f"prune {options.pruning}", cost, weight) as bars:
        if options.keep is None:
            ticket = prune_semi_structured(model)
        else:
            keep = dict.fromkeys(options.pruning.split("+"), options.keep)
            ticket = one_shot(model, pipe.task, keep, block=pipe.config.neuron_block, progress=bars, **how)
        full, found = (score(model, pipe.task, which, progress=bars, **how).score for which in (None, ticket))
        facts = {"task": pipe.task.name, "metric": pipe.task.metric.name, "split": "dev", "stage": "pruned"}
        ticket.with_provenance(**facts, full_score=full, score=found).save(draft / "ticket")
    anatomy = dissect(model)
    survivors, sparsity = ticket.survivors(anatomy), ticket.sparsity(anatomy)
    path = str(options.out / "ticket")
    if not options.json:
        kept = _kept(ticket.sites, survivors, sparsity)
        print(f"{kept} score {found:.4f}, the full model {full:.4f}: {path}")  # noqa: T201
    return {"ticket": path, "score": found, "full_score": full, **survivors, "sparsity": sparsity}


def _kept(sites: Sequence[str], survivors: Mapping[str, int], sparsity: float) -> str:
    """What a ticket keeps, in words."""
    counted = [f"{survivors[kind]:,} {'MLPs' if kind == 'mlps' else kind}" for kind in sites]
    return " and ".join(counted) or f"{1 - sparsity:.1%} of the weights"


def _retrain(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.anatomy import dissect
    from tombola.cell import TRAINING_COST
    from tombola.evaluation import evaluate
    from tombola.pipeline import Pipeline
    from tombola.store import publish
    from tombola.subnetwork import expanded
    from tombola.ticket import Ticket
    from tombola.training import retrain

    ticket = Ticket.load(options.ticket)
    pipe = Pipeline.open(_settings(options), options.preset)
    rewinding = pipe.config.rewinding
    if rewinding.to == "step":
        raise TombolaError(
            "step-K needs the full model's training, which only tombola study has; use it, or another --rewind"
        )
    model = pipe.task.load(pipe.config.model, seed=options.seed, state=rewinding.start).to(pipe.device)
    # Before the output folder is begun, so that a wrong ticket leaves no trace.
    ticket.check(dissect(model))
    with publish(options.out) as draft, pipe.bars("retrain", pipe.training_cost(), TRAINING_COST) as bars:
        part = retrain(
            model, ticket, pipe.task, pipe.config.recipe, seed=options.seed, precision=pipe.precision, progress=bars
        )
        found = evaluate(
            part, pipe.task, batch_size=pipe.config.eval_batch_size, precision=pipe.precision, progress=bars
        )
        pipe.task.save(expanded(part), draft)
    result = {"model": str(options.out), **pipe.judged(found)}
    if not options.json:
        print(f"{_scored(result)}: {options.out}")  # noqa: T201
    return result


def _score(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.anatomy import dissect
    from tombola.evaluation import score
    from tombola.pipeline import Pipeline
    from tombola.ticket import Ticket

    ticket = None if options.ticket is None else Ticket.load(options.ticket)
    pipe = Pipeline.open(_settings(options), options.preset)
    model = pipe.trained()
    if ticket is not None:
        ticket.check(dissect(model))
    with pipe.bars("score", pipe.task.size("dev")) as bars:
        found = score(
            model,
            pipe.task,
            ticket,
            batch_size=pipe.config.eval_batch_size,
            precision=pipe.precision,
            progress=bars,
        )
    result = pipe.judged(found)
    if not options.json:
        print(_scored(result))  # noqa: T201
    return result


def _scored(result: Mapping[str, Any]) -> str:
    interval = f"95 % interval {result['score_low']:.4f} to {result['score_high']:.4f}"
    return f"{result['metric']} {result['score']:.4f} ({interval}, n = {result['n']}; chance {result['chance']:.4f})"


def _shrink(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.checkpoint import save_shrunk

    result = _written(options, save_shrunk)
    if options.measure:
        result["cost"] = _measured(options)
    return result


def _measured(options: argparse.Namespace) -> dict[str, object] | None:
    """What the model costs dense, masked and shrunk, printed; None where it could not be measured."""
    from tombola.cost import compare, sentence, table
    from tombola.sources import load_model
    from tombola.ticket import Ticket

    try:
        with Console(stderr=True).status("measuring time and memory"):
            costs = compare(
                load_model(options.model),
                Ticket.load(options.ticket),
                folder=options.out,
                length=options.length,
                memory=True,
            )
    except (TombolaError, MemoryError, RuntimeError) as error:
        # The model is there and proved; a machine too small to measure it takes nothing from that.
        warnings.warn(f"the cost was not measured: {error}", stacklevel=1)
        return None
    if not options.json:
        console = Console()
        console.print(table(costs))
        if costs.variants["shrunk"].multiply_adds < costs.variants["dense"].multiply_adds:
            console.print(sentence(costs), highlight=False)
    return costs.entry()


def _export(options: argparse.Namespace) -> dict[str, Any]:
    if options.format == "onnx":
        from tombola.onnx_graph import save_onnx

        return _written(options, save_onnx)
    from tombola.zeros import save_zeros

    return _written(options, save_zeros)


def _written(options: argparse.Namespace, save: Callable[..., float]) -> dict[str, Any]:
    """Write a model under a ticket by one of the `save_…` functions, and say what became smaller."""
    from tombola.anatomy import count_parameters, dissect
    from tombola.card import bytes_on_disk, dense_bytes, surviving_parameters
    from tombola.sources import load_model
    from tombola.subnetwork import shrunk
    from tombola.ticket import Ticket

    ticket = Ticket.load(options.ticket)
    model = load_model(options.model)
    difference = save(model, ticket, options.out, tokenizer=options.model)
    result: dict[str, Any] = {
        "model": str(options.out),
        "sparsity": ticket.sparsity(dissect(model)),
        "parameters": surviving_parameters(shrunk(model, ticket)),
        "parameters_before": count_parameters(model),
        "bytes": bytes_on_disk(options.out),
        "bytes_before": dense_bytes(model),
        "difference": difference,
    }
    if not options.json:
        print(  # noqa: T201
            f"{options.out}: {result['parameters'] / 1e6:.2f} M of {result['parameters_before'] / 1e6:.2f} M "
            f"parameters, {result['bytes'] / 1e6:.1f} of {result['bytes_before'] / 1e6:.1f} MB on disk; "
            f"largest difference from the masked model {difference:.1e} of the largest output"
        )
    return result


def _report(options: argparse.Namespace) -> dict[str, Any]:
    from tombola import report

    path = report.build(options.folder)
    if not options.json:
        print(path)  # noqa: T201
    return {"report": str(path)}
