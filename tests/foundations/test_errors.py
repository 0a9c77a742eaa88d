"""Reasons in one line."""

from tombola.foundations.errors import reason


def test_a_long_reason_ends_with_a_sentence_or_a_word() -> None:
    said = "It is nowhere to be found. " + "See https://example.org/models/" + "x" * 200
    assert reason(OSError(said)) == "It is nowhere to be found."
    assert reason(OSError("word " * 100)).endswith("word ...")
    assert reason(OSError("short\n one")) == "short one"
    assert reason(OSError()) == "OSError"
