"""Checkpoints pruned from shard to shard against the same model pruned in memory, bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from builders.families import ZOO, sampled
from builders.small_study import environment, listing
from tombola.architectures.dissect import dissect
from tombola.checkpoints.sharded_checkpoint import TensorFiles
from tombola.foundations.errors import TombolaError
from tombola.foundations.tensor_bits import same_bits
from tombola.pruning import streamed_pruning
from tombola.pruning.streamed_pruning import StreamedModel, prune_checkpoint
from tombola.pruning.weight_criteria import WeightCut
from tombola.pruning.weight_pruning import prune_weights
from tombola.tickets.ticket import Ticket

STREAMED = [name for name in ZOO if name not in ("vit",)]
"""transformers saves ViT under the names of version 4."""
MAIN = ("llama", "gpt2", "t5", "albert of two groups")
IDS = torch.arange(6, 46).reshape(4, 10)


def save(name: str, folder: Path, dtype: torch.dtype = torch.float32, shard: str = "20KB") -> PreTrainedModel:
    """A model in several shards, as it is when loaded again."""
    kind = ZOO[name]
    kind.make(dtype=dtype).save_pretrained(folder, max_shard_size=shard)
    model = type(kind.make()).from_pretrained(folder, dtype="auto")
    assert isinstance(model, PreTrainedModel)
    return model


def text(name: str) -> list[dict[str, Tensor]]:
    given = ZOO[name].given(True)
    return [given, {name: tensor[:2] for name, tensor in given.items()}]


def same(folder: Path, ticket: Ticket, model: PreTrainedModel) -> None:
    """What was written loads with plain `from_pretrained` and is what pruning in memory gave."""
    assert Ticket.load(folder / "ticket") == ticket
    assert dict(Ticket.load(folder / "ticket").provenance) == dict(ticket.provenance)
    again = type(model).from_pretrained(folder, dtype="auto")
    expected, found = model.state_dict(), again.state_dict()
    assert expected.keys() == found.keys()
    assert all(same_bits(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("name", sampled(STREAMED))
def test_the_same_as_in_memory_in_every_family(name: str, tmp_path: Path) -> None:
    model = save(name, tmp_path / "dense")
    for criterion in ("magnitude", "wanda") if name not in MAIN else ("magnitude", "wanda", "sparsegpt"):
        found = prune_weights(model, WeightCut(criterion, 0.5), calibration=text(name))
        done = prune_checkpoint(
            tmp_path / "dense", tmp_path / criterion, WeightCut(criterion, 0.5), calibration=text(name)
        )
        same(tmp_path / criterion, found.ticket, found.model)  # type: ignore[arg-type]
        assert (done.survivors, done.weights) == (len(found.ticket), found.ticket.total)
        assert done.architecture == found.ticket.architecture


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        {"criterion": "magnitude", "sparsity": 0.3, "scope": "matrix"},
        {"criterion": "magnitude", "sparsity": 0.7, "scope": "global"},
        {"criterion": "magnitude", "pattern": "2:4"},
        {"criterion": "random", "sparsity": 0.3, "seed": 5},
        {"criterion": "wanda", "pattern": "4:8"},
        {"criterion": "wanda", "sparsity": 0.6, "sequential": False},
        {"criterion": "sparsegpt", "sparsity": 0.6, "sequential": False},
        {"criterion": "sparsegpt", "pattern": "2:4", "damping": 0.05},
    ],
)
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_same_in_bf16_whatever_is_asked(name: str, how: dict[str, Any], tmp_path: Path) -> None:
    model = save(name, tmp_path / "dense", torch.bfloat16)
    found = prune_weights(model, WeightCut(**how), calibration=[IDS])
    prune_checkpoint(tmp_path / "dense", tmp_path / "pruned", WeightCut(**how), calibration=[IDS])
    same(tmp_path / "pruned", found.ticket, found.model)  # type: ignore[arg-type]


def test_shards_index_and_companions_are_those_of_the_source(tmp_path: Path) -> None:
    dense, out = tmp_path / "dense", tmp_path / "pruned"
    save("llama", dense)
    (dense / "tokenizer.json").write_text("{}")
    (dense / "README.md").write_text("a dense model")
    (dense / "pytorch_model.bin").write_bytes(b"old")
    prune_checkpoint(dense, out, WeightCut("magnitude", 0.5))
    shards = sorted(file.name for file in dense.glob("*.safetensors"))
    assert len(shards) > 3
    assert {file.name for file in out.iterdir()} == {
        *shards,
        *("config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.json"),
        *("ticket", "README.md"),
    }
    for shard in shards:
        one, other = load_file(dense / shard), load_file(out / shard)
        assert one.keys() == other.keys()
        with safe_open(out / shard, "pt") as file:
            assert file.metadata() == {"format": "pt"}
    assert "prunable weights survive" in (out / "README.md").read_text()
    assert Ticket.load(out / "ticket").masks.keys() == {matrix.name for matrix in dissect(ZOO["llama"].make()).matrices}
    # A folder that was pruned can be pruned again.
    prune_checkpoint(out, tmp_path / "again", WeightCut("magnitude", 0.6))
    assert Ticket.load(tmp_path / "again" / "ticket") <= Ticket.load(out / "ticket")


def test_a_base_model_saved_without_its_prefix(tmp_path: Path) -> None:
    """As GPT-2 stands on the hub: `h.0...`, for a class that says `transformer.h.0...`."""
    model = save("gpt2", tmp_path / "dense", shard="1GB")
    file = tmp_path / "dense" / "model.safetensors"
    save_file({name.removeprefix("transformer."): t for name, t in load_file(file).items()}, file, {"format": "pt"})
    found = prune_weights(model, WeightCut("wanda", 0.5), calibration=[IDS])
    prune_checkpoint(tmp_path / "dense", tmp_path / "pruned", WeightCut("wanda", 0.5), calibration=[IDS])
    same(tmp_path / "pruned", found.ticket, found.model)  # type: ignore[arg-type]


def test_a_run_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save("llama", tmp_path / "dense")
    before = listing(tmp_path)

    def fail(self: Any, matrix: Any, mask: Tensor, values: Tensor) -> None:
        if matrix.layer == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(StreamedModel, "done", fail)
    with pytest.raises(KeyboardInterrupt):
        prune_checkpoint(tmp_path / "dense", tmp_path / "deep" / "pruned", WeightCut("wanda", 0.5), calibration=[IDS])
    assert listing(tmp_path) == before


KILLED = """
import sys, time
from tombola.pruning.streamed_pruning import StreamedModel, prune_checkpoint
from tombola.pruning.weight_criteria import WeightCut
whole = StreamedModel.done
def slow(self, matrix, mask, values):
    whole(self, matrix, mask, values)
    print("one", flush=True)
    time.sleep(60)
StreamedModel.done = slow
prune_checkpoint(sys.argv[1], sys.argv[2], WeightCut("magnitude", 0.5))
"""


@pytest.mark.exhaustive
def test_a_killed_run_leaves_no_folder_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    dense, out = tmp_path / "dense", tmp_path / "pruned"
    model = save("llama", dense)
    paths = os.pathsep.join(
        filter(None, [str(Path(streamed_pruning.__file__).parents[1]), os.environ.get("PYTHONPATH")])
    )
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(dense), str(out)], stdout=subprocess.PIPE, env=environment(PYTHONPATH=paths)
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"one\n"
    with pytest.raises(TombolaError, match="another process is writing"):
        prune_checkpoint(dense, out, WeightCut("magnitude", 0.5))
    neighbour = tmp_path / ".draft-pruned-wanda-0a1b2c3d"
    neighbour.mkdir()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not out.exists()
    assert list(tmp_path.glob(".draft-pruned-*"))
    prune_checkpoint(dense, out, WeightCut("magnitude", 0.5))
    found = prune_weights(model, WeightCut("magnitude", 0.5))
    same(out, found.ticket, found.model)  # type: ignore[arg-type]
    # A job that writes `pruned-wanda` is at work beside.
    assert {path.name for path in tmp_path.iterdir()} == {"dense", "pruned", neighbour.name}


def a_function(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "architectures": ["pipeline"]}))


def test_a_tied_name_of_the_index_needs_no_tensor(tmp_path: Path) -> None:
    folder = tmp_path / "tied"
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder, max_shard_size="4KB")
    index = folder / "model.safetensors.index.json"
    facts = json.loads(index.read_text())
    facts["weight_map"]["lm_head.weight"] = facts["weight_map"]["model.embed_tokens.weight"]
    index.write_text(json.dumps(facts))
    prune_checkpoint(folder, tmp_path / "out", WeightCut("magnitude", 0.5))
    facts["weight_map"]["model.norm.gone"] = facts["weight_map"]["model.embed_tokens.weight"]
    index.write_text(json.dumps(facts))
    with pytest.raises(TombolaError, match=r"no shard of .* holds model\.norm\.gone"):
        prune_checkpoint(folder, tmp_path / "again", WeightCut("magnitude", 0.5))


def no_shard(folder: Path) -> None:
    next(folder.glob("model-00002*")).unlink()


def cut_short(folder: Path) -> None:
    shard = next(folder.glob("model-00002*"))
    shard.write_bytes(shard.read_bytes()[:-10])


def nonsense(folder: Path) -> None:
    next(folder.glob("model-00002*")).write_bytes(b"\x40\0\0\0\0\0\0\0{nonsense")


def foreign_path(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))


def no_weights(folder: Path) -> None:
    for shard in folder.glob("model*"):
        shard.unlink()


def changed(folder: Path, change: Any) -> None:
    for shard in folder.glob("*.safetensors"):
        save_file({name: change(name, tensor) for name, tensor in load_file(shard).items()}, shard, {"format": "pt"})


def quantised(folder: Path) -> None:
    changed(folder, lambda name, tensor: tensor.to(torch.int8) if "q_proj" in name else tensor)


def eighth(folder: Path) -> None:
    changed(folder, lambda name, tensor: tensor.to(torch.float8_e4m3fn) if "proj" in name else tensor)


def mixed(folder: Path) -> None:
    changed(folder, lambda name, tensor: tensor.half() if "q_proj" in name else tensor)


def not_a_number(folder: Path) -> None:
    changed(folder, lambda name, tensor: tensor * torch.nan if "layers.1.mlp.down" in name else tensor)


def infinite(folder: Path) -> None:
    changed(folder, lambda name, tensor: tensor * torch.inf if "embed_tokens" in name else tensor)


def wider(folder: Path) -> None:
    config = AutoConfig.from_pretrained(folder)
    config.intermediate_size = 96
    config.save_pretrained(folder)


def renamed(folder: Path) -> None:
    for shard in folder.glob("*.safetensors"):
        tensors = {name.replace("mlp", "ffn"): tensor for name, tensor in load_file(shard).items()}
        save_file(tensors, shard, {"format": "pt"})
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("mlp", "ffn"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (a_function, "is of class pipeline, which is no model"),
        (no_shard, "model-00002.* is missing"),
        (cut_short, "is damaged .it ends too early"),
        (nonsense, "is damaged"),
        (foreign_path, "names no shards"),
        (no_weights, "holds no checkpoint in safetensors"),
        (quantised, "this model is quantised"),
        (eighth, "this model is quantised"),
        (mixed, "different number formats"),
        (not_a_number, "the matrix 1.mlp_out holds NaN or infinity"),
        (infinite, "multiplies on the calibration text is not finite"),
        (
            wider,
            r"holds model\.layers\.0\.mlp\.gate_proj\.weight as \[48, 48\], and its configuration asks for \[96, 48\]",
        ),
        (renamed, "the checkpoint holds no tensor model.layers.0.mlp.gate_proj.weight"),
    ],
)
def test_refusals_are_one_clear_line_and_leave_nothing(spoil: Any, says: str, tmp_path: Path) -> None:
    save("llama", tmp_path / "dense")
    spoil(tmp_path / "dense")
    before = listing(tmp_path)
    with pytest.raises(TombolaError, match=says) as raised:
        prune_checkpoint(tmp_path / "dense", tmp_path / "pruned", WeightCut("wanda", 0.5), calibration=[IDS])
    assert "\n" not in str(raised.value)
    assert listing(tmp_path) == before


def test_refusals_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save("llama", tmp_path / "dense")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    with pytest.raises(TombolaError, match="exists already"):
        prune_checkpoint(tmp_path / "dense", tmp_path / "there", WeightCut("magnitude", 0.5))
    with pytest.raises(TombolaError, match="is no local folder"):
        prune_checkpoint("some/model", tmp_path / "pruned", WeightCut("magnitude", 0.5))
    with pytest.raises(TombolaError, match="unknown criterion"):
        prune_checkpoint(tmp_path / "dense", tmp_path / "pruned", WeightCut("best", 0.5))
    with pytest.raises(TombolaError, match="calibration text is empty"):
        prune_checkpoint(tmp_path / "dense", tmp_path / "pruned", WeightCut("wanda", 0.5), calibration=[])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(TombolaError, match="GB are free"):
        prune_checkpoint(tmp_path / "dense", tmp_path / "pruned", WeightCut("magnitude", 0.5))
    assert not (tmp_path / "pruned").exists()


def test_a_tensor_file_reads_and_writes_as_the_library_does(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(3, 5).bfloat16(),
        "b": torch.arange(7),
        "c": torch.tensor([[True, False]]),
        "d": torch.tensor(2.5),
        "e": torch.zeros(0, 4),
    }
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    save_file(tensors, tmp_path / "one" / "model.safetensors", {"format": "pt"})
    file = TensorFiles.open(tmp_path / "one")
    for name, tensor in tensors.items():
        assert same_bits(file.read(name), tensor)
        assert same_bits(file.mapped(name), tensor)
    copy = file.copy_into(tmp_path / "two", ["b", "c"])
    copy.write("b", torch.arange(7) * 2)
    copy.write("c", torch.tensor([[True, True]]))
    copy.close()
    file.close()
    found = load_file(tmp_path / "two" / "model.safetensors")
    expected = tensors | {"b": torch.arange(7) * 2, "c": torch.tensor([[True, True]])}
    assert all(same_bits(found[name], tensor) for name, tensor in expected.items())
    made = TensorFiles.create(tmp_path / "three", {"x": (3,), "y": (2, 2)})
    made.write("y", torch.full((2, 2), 7, dtype=torch.uint8))
    made.close()
    found = load_file(tmp_path / "three")
    assert found["x"].tolist() == [0, 0, 0]
    assert found["y"].tolist() == [[7, 7], [7, 7]]


def test_only_two_blocks_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = replace(ZOO["llama"], options={**ZOO["llama"].options, "num_hidden_layers": 5})
    deep.make(dtype=torch.float32).save_pretrained(tmp_path / "dense", max_shard_size="20KB")
    seen = []
    whole = StreamedModel.residence

    def watched(self: Any, layers: set[int]) -> None:
        whole(self, layers)
        real = {name.split(".")[2] for name, p in self.model.named_parameters() if "layers" in name and not p.is_meta}
        assert real == {str(layer) for layer in layers}
        assert all(p.is_meta for name, p in self.model.named_parameters() if "lm_head" in name)
        seen.append(len(real))

    monkeypatch.setattr(StreamedModel, "residence", watched)
    started = time.perf_counter()
    done = prune_checkpoint(tmp_path / "dense", tmp_path / "pruned", WeightCut("wanda", 0.5), calibration=[IDS])
    assert max(seen) == 2
    assert 0 < done.seconds <= time.perf_counter() - started
    assert abs(done.sparsity - 0.5) < 1e-3


def test_a_norm_that_a_layer_lacks_is_named_though_no_method_asks_for_it(tmp_path: Path) -> None:
    ZOO["llama"].make(dtype=torch.float32).save_pretrained(tmp_path / "model")
    file, lost = tmp_path / "model" / "model.safetensors", "model.layers.1.input_layernorm.weight"
    save_file({name: tensor for name, tensor in load_file(file).items() if name != lost}, file, {"format": "pt"})
    with pytest.raises(TombolaError, match=f"holds no tensor {lost}"):
        prune_checkpoint(tmp_path / "model", tmp_path / "out", WeightCut("magnitude", 0.5))
    assert not (tmp_path / "out").exists()
