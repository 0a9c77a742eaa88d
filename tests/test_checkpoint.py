"""A shrunk model on disk: smaller, the same after loading, and refused where it would be wrong."""

from pathlib import Path

import pytest
import torch

from tombola.anatomy import count_parameters
from tombola.checkpoint import TENSORS, load, save_shrunk
from tombola.errors import TombolaError
from tombola.subnetwork import masked
from tombola.ticket import Ticket
from zoo import ZOO, computed, tickets


def given_to(name: str, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(ZOO[name].inputs(padding=True))


@pytest.mark.parametrize("name", ZOO)
def test_what_is_loaded_computes_what_the_masked_model_does(name: str, tmp_path: Path) -> None:
    model = ZOO[name].make(dtype=torch.float32).eval()
    for index, (_, ticket) in enumerate(tickets(model).items()):
        if index % 3:
            continue
        folder = tmp_path / str(index)
        gain = save_shrunk(model, ticket, folder)
        again = load(folder)
        given = given_to(name, model)
        torch.testing.assert_close(computed(again, given), computed(masked(model, ticket), given), atol=1e-5, rtol=1e-5)
        assert count_parameters(again) == gain.parameters < gain.parameters_before == count_parameters(model)
        assert not again.training
        assert all(not parameter.is_meta for parameter in again.parameters())
