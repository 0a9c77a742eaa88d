"""What rows of heads and layers are called."""

import pytest

from builders.families import ZOO
from tombola.architectures.anatomy import Places
from tombola.architectures.dissect import dissect


@pytest.mark.parametrize("name", [name for name in ZOO if name not in ("t5", "t5 of version 1.1")])
def test_layers_of_one_stack_are_numbers(name: str) -> None:
    anatomy = dissect(ZOO[name].make())
    places = Places.of(anatomy)
    assert list(places.layers) == [str(layer) for layer in range(anatomy.mlps)]
    assert list(places.attentions) == [str(row) for row in range(anatomy.heads[0])]


def test_layers_of_two_stacks_say_which() -> None:
    places = Places.of(dissect(ZOO["t5"].make()))
    assert places.layers == ("encoder 0", "encoder 1", "decoder 0", "decoder 1")
    assert places.attentions == (
        *("encoder 0", "encoder 1", "decoder 0", "decoder 0 cross", "decoder 1", "decoder 1 cross"),
    )
    assert (places.layer(2), places.attention(3)) == ("decoder 0", "decoder 0 cross")


def test_what_has_no_name_is_a_number() -> None:
    assert (Places().layer(3), Places().attention(0)) == ("3", "0")
