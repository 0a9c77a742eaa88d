"""Bytes on disk of a model in each form that a ticket can be written in; they depend on no machine.

Half of the heads and of the MLPs, drawn at random (sizes depend on shapes alone): shrunk, as ONNX (fp32 only), as
zeros; half and nine tenths of the weights by magnitude, sparse.

    python benchmarks/file_sizes.py [--models minilm smollm2] [--dtypes float32 bfloat16] [--json FILE]
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from results_file import ResultsFile
from shrinking import half
from tombola import Ticket, WeightCut, dissect, prune_weights, save_onnx, save_shrunk, save_zeros
from tombola.checkpoints.loading import load_model
from tombola.checkpoints.model_card import bytes_on_disk


def forms(model: nn.Module, dtype: str) -> dict[str, Callable[[Path], object]]:
    """Form → what writes it into a folder."""
    assert isinstance(model, PreTrainedModel)

    def sparse(share: float, folder: Path) -> None:
        found = prune_weights(model, WeightCut("magnitude", share))
        save_shrunk(found.model, found.ticket, folder)

    ticket: Ticket = half(model, "heads+mlps", 0)
    return {
        "whole": model.save_pretrained,
        "half shrunk": partial(save_shrunk, model, ticket),
        **({"half onnx": partial(save_onnx, model, ticket)} if dtype == "float32" else {}),
        "half zeros": partial(save_zeros, model, ticket),
        "sparse 0.5": partial(sparse, 0.5),
        "sparse 0.9": partial(sparse, 0.9),
    }


def main() -> None:
    """Write each form, and print its size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["minilm", "smollm2"])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=("float32", "bfloat16"))
    parser.add_argument("--json", type=Path, help="keep every line in this file, and go on where it ends")
    options = parser.parse_args()
    results = ResultsFile(options.json, {}, ("model", "dtype", "form"), ("transformers", "onnx"))
    for source in options.models:
        for dtype in options.dtypes:
            model = load_model(source, getattr(torch, dtype)).eval()
            prunable = dissect(model).weights / sum(one.numel() for one in model.parameters())
            for form, write in forms(model, dtype).items():
                if results.has(source, dtype, form):
                    continue
                with tempfile.TemporaryDirectory(prefix="tombola-sizes-") as home:
                    write(Path(home) / "model")
                    size = bytes_on_disk(Path(home) / "model")
                results.add(model=source, dtype=dtype, form=form, bytes=size, prunable=prunable)
                print(f"{source}, {dtype}, {form}: {size / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
