"""Rows cut one by one against a stable sort."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tombola.foundations.errors import TombolaError
from tombola.pruning.magnitude import keep_in_rows
from tombola.tasks.base import windows


@given(st.integers(1, 6), st.integers(1, 9), st.data())
def test_the_highest_of_each_row_survive_and_among_equals_the_later(
    rows: int, columns: int, data: st.DataObject
) -> None:
    values = data.draw(
        st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.5]), min_size=rows * columns, max_size=rows * columns)
    )
    removed = data.draw(st.integers(0, columns))
    scores = torch.tensor(values).reshape(rows, columns)
    mask = keep_in_rows(scores, removed)
    for row, kept in zip(scores.tolist(), mask.tolist(), strict=True):
        order = sorted(range(columns), key=lambda place: (row[place], place))
        assert [place for place in range(columns) if kept[place]] == sorted(order[removed:])


def test_windows_are_stretches_of_the_text() -> None:
    tokens = torch.arange(100)
    drawn = windows(tokens, 7, 10, seed=1)
    assert len(drawn) == 7
    assert all(one.shape == (1, 10) and torch.equal(one[0] - one[0, 0], torch.arange(10)) for one in drawn)
    assert all(torch.equal(one, other) for one, other in zip(drawn, windows(tokens, 7, 10, seed=1), strict=True))
    assert len({int(one[0, 0]) for one in windows(tokens, 50, 10)}) > 20
    assert torch.equal(windows(tokens, 1, 100)[0][0], tokens)
    with pytest.raises(TombolaError, match="cannot be drawn from a calibration text of 100"):
        windows(tokens, 1, 101)
