"""Tools take turns, and ratios are those of a turn."""

from turns import in_turns, ratio


def test_tools_take_turns_and_the_first_round_warms_up() -> None:
    order: list[str] = []
    found = in_turns({"one": lambda: order.append("one"), "other": lambda: order.append("other")}, 2)
    assert order == ["one", "other"] * 3
    assert [*map(len, found.values())] == [2, 2]


def test_ratios_are_of_a_turn() -> None:
    # A machine that is half as fast in the second turn changes no ratio.
    assert ratio([2.0, 4.0, 3.0], [1.0, 2.0, 1.0]) == [2.0, 2.0, 3.0]
