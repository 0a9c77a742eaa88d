"""A row of results, as `score.json` and `results.jsonl` have it."""


def line(**changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "model": "m", "task": "t", "seed": 0, "method": "heads+mlps", "ticket": "good", "stage": "pruned",
        "metric": "accuracy", "score": 0.8, "score_low": 0.7, "score_high": 0.9, "n": 100, "heads": 3, "mlps": 1,
        "neurons": 8, "channels": 0, "weights": 10, "sparsity": 0.5, "parameters": 20, "bytes": 80, "loss": 0.5,
        "seconds": 1.5,
        "more": {"f1": 0.75},
    }  # fmt: skip
    return {**row, **changes}
