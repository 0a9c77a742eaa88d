"""A checkpoint of more than three billion parameters, pruned without ever holding it: peak memory and time.

Builds a Llama of random weights in bf16 (the geometry of OpenLLaMA-3B), shard by shard, in a temporary folder, and
prunes it by magnitude over the whole model and by Wanda, each in a fresh process. Needs about 15 GB of disk. The goal:
a peak under 2 GB.

    python benchmarks/streaming.py [--layers 26] [--criteria magnitude wanda] [--sequences 8] [--length 256] [--dir DIR]
                                   [--json FILE]
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlamaConfig

from results_file import ResultsFile
from tombola.foundations.atomic_files import write_json
from tombola.profiling.peak_memory import peak
from tombola.pruning.streamed_pruning import prune_checkpoint
from tombola.pruning.weight_criteria import WeightCut
from tombola.tickets.ticket_files import BESIDE, MASKS

GOAL = 2e9
SPARSITY = 0.5
WIDTH, INNER, HEADS, VOCABULARY = 3200, 8640, 32, 32_000


def parameters(layers: int) -> int:
    """Number of parameters of a model of so many layers."""
    return layers * (4 * WIDTH * WIDTH + 3 * WIDTH * INNER + 2 * WIDTH) + 2 * VOCABULARY * WIDTH + WIDTH


def build(folder: Path, layers: int) -> None:
    """Write the checkpoint: a shard for each layer, and one for what surrounds them."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        dtype=torch.bfloat16,
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(folder)
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.bfloat16).normal_(0, 0.02, generator=generator)

    ones = torch.ones(WIDTH, dtype=torch.bfloat16)
    where: dict[str, str] = {}

    def write(number: int, tensors: dict[str, Tensor]) -> None:
        name = f"model-{number:05d}-of-{layers + 1:05d}.safetensors"
        save_file({key: tensor.clone() for key, tensor in tensors.items()}, folder / name, {"format": "pt"})
        where.update(dict.fromkeys(tensors, name))

    for layer in range(layers):
        place = f"model.layers.{layer}"
        attention = {f"{place}.self_attn.{kind}_proj.weight": drawn(WIDTH, WIDTH) for kind in "qkvo"}
        gated = {f"{place}.mlp.{kind}_proj.weight": drawn(INNER, WIDTH) for kind in ("gate", "up")}
        norms = {f"{place}.{kind}_layernorm.weight": ones for kind in ("input", "post_attention")}
        write(layer + 1, {**attention, **gated, **norms, f"{place}.mlp.down_proj.weight": drawn(WIDTH, INNER)})
    tables = {name: drawn(VOCABULARY, WIDTH) for name in ("model.embed_tokens.weight", "lm_head.weight")}
    write(layers + 1, {**tables, "model.norm.weight": ones})
    write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": 2 * parameters(layers)}, "weight_map": where},
    )


def prune(source: Path, out: Path, criterion: str, sequences: int, length: int) -> dict[str, float]:
    """Work of one fresh process: what it does and tells."""
    imports = peak()
    generator = torch.Generator().manual_seed(1)
    text = [torch.randint(VOCABULARY, (1, length), generator=generator) for _ in range(sequences)]
    found = prune_checkpoint(source, out, WeightCut(criterion, SPARSITY), calibration=text)
    return {
        "seconds": found.seconds,
        "peak": float(peak() or 0),
        "imports": float(imports or 0),
        "survivors": found.survivors,
        "weights": found.weights,
    }


def measured(source: Path, out: Path, criterion: str, options: argparse.Namespace) -> dict[str, float]:
    """The figures of a process of its own."""
    calibration = [str(options.sequences), str(options.length)]
    command = [sys.executable, __file__, "--prune", str(source), str(out), criterion, *calibration]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Build, prune, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=26)
    parser.add_argument("--criteria", nargs="+", default=["magnitude", "wanda"])
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--dir", type=Path, help="where to put the checkpoints (a temporary folder)")
    parser.add_argument("--json", type=Path, help="keep every line in this file, and go on where it ends")
    parser.add_argument("--prune", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prune is not None:
        source, out, criterion, sequences, length = options.prune
        print(json.dumps(prune(Path(source), Path(out), criterion, int(sequences), int(length))))
        return
    size = 2 * parameters(options.layers)
    settings = {name: getattr(options, name) for name in ("layers", "sequences", "length")}
    settings |= {"parameters": parameters(options.layers), "bytes": size, "sparsity": SPARSITY}
    results = ResultsFile(options.json, settings, ("criterion",))
    wanted = [criterion for criterion in options.criteria if not results.has(criterion)]
    if not wanted:
        return
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="tombola-streaming-") as temporary:
        home = Path(temporary)
        needed, free = int(2.2 * size), shutil.disk_usage(home).free
        if free < needed:
            sys.exit(
                f"{needed / 1e9:.1f} GB of disk are needed at {home}, and {free / 1e9:.1f} GB are free: give --dir"
            )
        started = time.perf_counter()
        (home / "dense").mkdir()
        build(home / "dense", options.layers)
        print(
            f"a Llama of {parameters(options.layers):,} parameters in bf16, {size / 1e9:.2f} GB, a block "
            f"{2 * (4 * WIDTH * WIDTH + 3 * WIDTH * INNER) / 1e6:.0f} MB, written in "
            f"{time.perf_counter() - started:.0f} s; {torch.get_num_threads()} threads",
            flush=True,
        )
        for criterion in wanted:
            row = measured(home / "dense", home / criterion, criterion, options)
            ticket = (home / criterion / BESIDE / MASKS).stat().st_size
            results.add(criterion=criterion, masks=ticket, **{**row, "seconds": [row["seconds"]]})
            print(
                f"{criterion}: peak {row['peak'] / 1e9:.2f} GB ({row['imports'] / 1e9:.2f} GB of it imports), "
                f"{row['seconds']:.0f} s, {row['seconds'] / options.layers:.1f} s a block; "
                f"{int(row['survivors']):,} of {int(row['weights']):,} weights survive, masks of "
                f"{ticket / 1e6:.0f} MB; the goal of {GOAL / 1e9:.0f} GB is "
                f"{'met' if row['peak'] < GOAL else 'missed'}",
                flush=True,
            )
            shutil.rmtree(home / criterion)


if __name__ == "__main__":
    main()
