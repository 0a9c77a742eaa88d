"""Names of the files that say what a folder holds."""

from pathlib import Path

from tombola.foundations.errors import TombolaError

MARK = "tombola.json"
"""The file that only a folder of `tombola shrink` has."""
CONFIG = "config.json"
"""Configuration file of a model by itself."""
PIPELINE = "model_index.json"
"""Index file of a pipeline of diffusers."""


def refuse_shrunk(source: str, folder: Path) -> None:
    """Raise a TombolaError where a folder, that of `source`, holds a shrunk model."""
    if (folder / MARK).is_file():
        raise TombolaError(
            f"{source} was shrunk already; give the model that it was made from (tombola.load opens the shrunk one)"
        )
