"""Where abilities fall, in words."""

import pytest

from tombola.analysis.retention_profile import Fall
from tombola.tasks.language.retention_threshold import retained_share


@pytest.mark.parametrize(
    ("fall", "words", "narrow"),
    [
        (Fall(0.31, 0.249, 0.38), "31 % (25 to 38)", "31 (25–38)"),
        (Fall(0.31, 0.25, None), "31 % (25 to end)", "31 (25–end)"),
        (Fall(0.096, None, None), "10 % (0 to end)", "10 (0–end)"),
        (Fall(None, 0.2, None), "never", "never"),
    ],
)
def test_a_fall_has_the_same_ends_in_every_form(fall: Fall, words: str, narrow: str) -> None:
    assert fall.in_words() == words
    assert fall.in_words("{} ({}–{})") == narrow


def test_what_must_be_kept_goes_before_the_threshold() -> None:
    assert retained_share(0.8, None) == 0.8
    assert retained_share(0.8, "0.95") == 0.95
    assert retained_share(0.8, "grammar >= 0.7") == 0.7
