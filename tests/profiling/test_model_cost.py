"""What a model costs: against closed forms, parameter counts by hand and files; never against a clock."""

import json
import subprocess
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from builders.encoders import sites, some_weights
from builders.families import ZOO
from tombola import Ticket, TombolaError, dissect, masked, save_shrunk, shrunk
from tombola.checkpoints.shrunk_folder import TENSORS
from tombola.profiling import model_cost, peak_memory
from tombola.profiling.model_cost import Cost, CostOptions, Costs, compare, latencies, sentence, table
from tombola.profiling.tensor_memory import multiply_adds

H, F, V, L = 32, 48, 64, 10  # width, hidden units of an MLP, vocabulary, tokens


def tokens(length: int = L) -> dict[str, Tensor]:
    return {"input_ids": torch.full((1, length), 20), "attention_mask": torch.ones(1, length, dtype=torch.long)}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_multiply_adds_of_bert_by_hand(attention: str) -> None:
    model = ZOO["bert"].make(attention, dtype=torch.float32)
    head = 4 * L * H * 8 + 2 * L * L * 8  # query, key, value, output; scores and their sum
    mlp = 2 * L * H * F
    rest = H * H + H * 2  # pooler and classifier, of one token
    assert multiply_adds(model, tokens()) == 2 * (4 * head + mlp) + rest
    ticket = sites(model, [[1, 0, 0, 1], [1, 1, 1, 0]], [0, 1])
    assert multiply_adds(shrunk(model, ticket), tokens()) == 5 * head + mlp + rest
    assert multiply_adds(masked(model, ticket), tokens()) == multiply_adds(model, tokens())
    assert model.config._attn_implementation == attention


def test_multiply_adds_of_grouped_queries_by_hand() -> None:
    model = ZOO["llama"].make("sdpa", dtype=torch.float32)
    # 6 heads of 8 units, 3 to a key/value head; the output layer covers every token.
    width, head, shared, mlp, out = 48, 2 * L * 48 * 8 + 2 * L * L * 8, 2 * L * 48 * 8, 3 * L * 48 * F, L * 48 * V
    assert width == model.config.hidden_size
    assert multiply_adds(model, tokens()) == 2 * (6 * head + 2 * shared + mlp) + out
    # Uneven groups project each key/value head once.
    ticket = sites(model, [[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]], [1, 1])
    assert multiply_adds(shrunk(model, ticket), tokens()) == 6 * head + 3 * shared + 2 * mlp + out


def test_multiply_adds_count_convolutions() -> None:
    model = ZOO["vit"].make(dtype=torch.float32)
    n = 4 + 1  # patches of 8 x 8 in 16 x 16, and the class
    given = {"pixel_values": torch.zeros(1, 3, 16, 16)}
    layers = 2 * (4 * n * H * H + 2 * n * n * H + 2 * n * H * F)
    assert multiply_adds(model, given) == 4 * 3 * 8 * 8 * H + layers + H * 2


def test_variants_side_by_side(tmp_path: Path) -> None:
    model = ZOO["bert"].make("sdpa", dtype=torch.float32).train()
    ticket = sites(model, [[1, 0, 0, 1], [1, 1, 1, 0]], [0, 1])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_shrunk(model, ticket, tmp_path / "small")
    costs = compare(model, ticket, CostOptions(L, (1, 3), repeats=1), folder=tmp_path / "small")
    assert list(costs.variants) == ["dense", "masked", "shrunk"]
    dense, under_mask, small = costs.variants.values()
    head, mlp = 4 * H * 8 + 3 * 8, 2 * H * F + F + H  # with biases
    assert small.parameters == dense.parameters - 3 * head - mlp
    assert under_mask.parameters == dense.parameters == sum(parameter.numel() for parameter in model.parameters())
    model.save_pretrained(tmp_path / "dense")
    assert under_mask.disk == dense.disk == (tmp_path / "dense" / "model.safetensors").stat().st_size
    files = [tmp_path / "small" / name for name in (TENSORS, "masks.safetensors")]
    assert small.disk == sum(file.stat().st_size for file in files)
    assert sum(tensor.numel() for tensor in load_file(files[0]).values()) == small.parameters
    assert (dense.multiply_adds, small.multiply_adds) == (
        multiply_adds(model, tokens()),
        multiply_adds(shrunk(model, ticket), tokens()),
    )
    assert all(list(cost.seconds) == [1, 3] and min(cost.seconds.values()) > 0 for cost in costs.variants.values())
    assert (costs.length, costs.dtype, costs.device) == (L, "float32", "cpu")
    # The caller's model is as it was.
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert {path.name for path in tmp_path.iterdir()} == {"small", "dense"}


@pytest.mark.parametrize(("enough", "rounds"), [(0.0, 2), (1e9, 50)])
def test_quick_passes_are_repeated_for_a_while(enough: float, rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_cost, "ENOUGH", enough)
    model, passes = ZOO["bert"].make(dtype=torch.float32), list[int]()
    model.register_forward_hook(lambda *_: passes.append(1))
    latencies({"dense": model}, {1: tokens()}, repeats=2)
    # The first one warms up.
    assert len(passes) == 1 + rounds


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "t5", "vit", "deberta"])
def test_any_family_can_be_measured(name: str) -> None:
    model = ZOO[name].make(dtype=torch.float32)
    rows, heads = dissect(model).heads
    ticket = sites(model, torch.arange(heads).expand(rows, -1) < heads - 1, [1] * dissect(model).mlps)
    costs = compare(model, ticket, CostOptions(8, (2,), repeats=1))
    assert costs.theoretical_speedup() > 1 == costs.theoretical_speedup("masked")
    assert costs.length == (None if name == "vit" else 8)


def test_a_ticket_of_weights_has_no_smaller_network() -> None:
    model = ZOO["bert"].make(dtype=torch.float32)
    costs = compare(model, some_weights(model, seed=0), CostOptions(L, (2,), repeats=1))
    assert list(costs.variants) == ["dense", "masked"]
    assert costs.variants["masked"].multiply_adds == costs.variants["dense"].multiply_adds
    assert "shrunk" not in shown(costs)


def shown(costs: Costs) -> str:
    console = Console(file=StringIO(), width=110)
    console.print(table(costs))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def made(multiply_adds: int, seconds: float, memory: int | None = None) -> Cost:
    return Cost(2_000_000, 8_000_000, multiply_adds, {1: 0.01, 32: seconds}, {1: 0.02, 32: 1.5 * seconds + 1}, memory)


def test_the_share_of_the_theoretical_speedup() -> None:
    costs = Costs(
        {"dense": made(600, 3.2), "masked": made(600, 4.0), "shrunk": made(200, 1.28)}, 128, "float32", "cpu", 2
    )
    assert costs.theoretical_speedup() == 3
    assert costs.measured_speedup() == pytest.approx(2.5)
    assert costs.share() == pytest.approx(2.5 / 3)
    assert costs.variants["shrunk"].throughput == pytest.approx(25)
    assert costs.measured_speedup("masked") == pytest.approx(0.8)
    assert costs.measured_speedup(processor=True) == pytest.approx(5.8 / 2.92)
    entry = json.loads(json.dumps(costs.entry(), allow_nan=False))["variants"]
    assert entry["shrunk"]["seconds"] == {"1": 0.01, "32": 1.28}
    assert entry["shrunk"]["share"] == pytest.approx(2.5 / 3)
    assert entry["dense"]["share"] == 1
    assert "by its multiply-adds, is 3.00" in sentence(costs)
    assert "83 %" in sentence(costs)
    (latency,) = (line for line in shown(costs).splitlines() if line.startswith("latency, batch 32, ms"))
    assert latency.split()[-5:] == ["3,200.0", "4,000.0", "1.25", "1,280.0", "0.40"]
    assert "peak of the process" not in shown(costs)
    some = {name: replace(cost, memory=10**9) for name, cost in costs.variants.items() if name != "masked"}
    assert "peak of the process, batch 32, MB" in shown(replace(costs, variants={**costs.variants, **some}))


@pytest.mark.exhaustive
def test_peak_memory_is_that_of_a_fresh_process(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=V, hidden_size=256, intermediate_size=16384, num_hidden_layers=2, num_attention_heads=4
    )
    model = BertForSequenceClassification(config).eval()
    mlps = 2 * 2 * 256 * 16384 * 4  # bytes: 67 MB
    ballast = torch.ones(100_000_000)  # of this process, not of the model's
    costs = compare(model, sites(model, torch.ones(2, 4), [0, 0]), CostOptions(8, (1, 2), repeats=1, memory=True))
    found = {name: cost.memory for name, cost in costs.variants.items()}
    del ballast
    if None in found.values():
        pytest.skip("this system does not say")
    dense, under_mask, small = (int(memory or 0) for memory in found.values())
    assert mlps < dense < mlps + 100_000_000
    assert mlps < under_mask < mlps + 100_000_000
    assert small < dense - 0.8 * mlps


@pytest.mark.slow
def test_a_process_says_what_a_small_model_takes(tmp_path: Path) -> None:
    model = ZOO["bert"].make(dtype=torch.float32)
    save_shrunk(model, sites(model, [[1, 0, 0, 1], [1, 1, 1, 0]], [0, 1]), tmp_path / "small")
    found = peak_memory.measure(tmp_path / "small", ticket=None, batch=2, length=8, device="cpu", threads=1)
    assert found is None or 0 < found < 200_000_000


def test_bad_input_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, other = ZOO["bert"].make(dtype=torch.float32), ZOO["gpt2"].make(dtype=torch.float32)
    ticket = Ticket.full(dissect(other), "heads+mlps")
    with pytest.raises(TombolaError, match="another model"):
        compare(model, ticket)
    with pytest.raises(TombolaError, match="no model of transformers or diffusers"):
        compare(nn.Linear(2, 2), ticket)
    failed = subprocess.CompletedProcess([], 1, stdout=b"", stderr=b"Traceback\nMemoryError: no room\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(TombolaError, match=r"^the peak memory of [^\n]*: MemoryError: no room$"):
        peak_memory.measure(tmp_path, ticket=None, batch=1, length=8, device="cpu", threads=1)
