"""`tombola import-masks`: other people's NumPy masks as tickets."""

import argparse
from pathlib import Path
from typing import Any

from tombola.checkpoints.sources import configuration
from tombola.cli.command import Command, add_out, check_exists, say
from tombola.foundations.plurals import plural


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    tree = "tree of <task>/<seed>/head_mask.npy [layers, heads] and, if any, mlp_mask.npy [layers], of zeros and ones"
    parser.add_argument("folder", type=Path, metavar="DIR", help=tree)
    add_out(parser, "new folder: <task>/seed-<s>/good/ for each ticket")
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="asset, local folder or hub id of the model that the masks are of: the tickets then fit it; only its "
        "configuration is read",
    )


def _run(options: argparse.Namespace) -> dict[str, Any]:
    check_exists(options.folder, "give the folder of the NumPy masks")
    if options.model is not None:
        configuration(options.model)
    from tombola.tickets.import_masks import import_masks, read_masks

    anatomy = None
    if options.model is not None:
        from tombola.checkpoints.loading import outline

        # The masks come first: a tree that is wrong needs no model.
        read_masks(options.folder)
        anatomy = outline(options.model)
    imported = import_masks(options.folder, options.out, anatomy, options.model)
    tasks = list(dict.fromkeys(one.task for one in imported))
    first = imported[0].ticket
    result = {
        "out": str(options.out),
        "tickets": len(imported),
        "architecture": first.architecture,
        "shapes": {kind: list(mask.shape) for kind, mask in first.masks.items()},
        "tasks": {task: [one.seed for one in imported if one.task == task] for task in tasks},
    }
    if not options.json:
        say(
            f"{plural(len(imported), 'ticket')} of {plural(len(tasks), 'task')} for {first.architecture}: {options.out}"
        )
    return result


COMMAND = Command("import-masks", "tickets from other people's NumPy masks of heads, and MLPs", _add_arguments, _run)
