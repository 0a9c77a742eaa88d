"""Where a model comes from: an asset, a local folder, or the hub."""

from pathlib import Path

from tombola import assets

MODELS = ("minilm",)
"""The assets that are models."""


def locate(source: str) -> str:
    """What `from_pretrained` understands: a local path, or a hub id as it is.

    A local folder of the same name goes before an asset.

    Raises:
        TombolaError: the asset cannot be fetched.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return str(path)
    return str(assets.fetch(source)) if source in MODELS else source
