"""Context length: how many tokens a model can read at once."""


def positions_of(config: object) -> int | None:
    """Tokens that a model can read at once, by its configuration; None where it does not say."""
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        found = getattr(config, name, None)
        if isinstance(found, int) and found > 0:
            return found
    return None
