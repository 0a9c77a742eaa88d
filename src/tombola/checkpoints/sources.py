"""Names of models: an asset, a local folder or a hub id; and what to say of a name that is none of them."""

from pathlib import Path

from tombola.foundations.errors import TombolaError, did_you_mean

MODELS = ("minilm", "smollm2")
"""The assets that are models."""


def check_source(source: str) -> None:
    """Raise a TombolaError for a name that can only be that of a local folder, or of an asset, and there is none.

    A hub id is `name` or `owner/name`: whatever begins as paths do, or has more parts, is a path. A name without an
    owner that is spelt nearly like an asset is meant for one.
    """
    if source in MODELS or Path(source).expanduser().exists():
        return
    if source.startswith(("/", "./", "../", "~")) or source.count("/") > 1 or source.endswith("/"):
        raise TombolaError(f"there is no folder {source}; {instead(source)}")
    if "/" not in source and did_you_mean(source, MODELS):
        raise TombolaError(f"there is no folder {source}, and no asset of this name; {instead(source)}")


def instead(source: str) -> str:
    """Advice for a name that cannot be loaded: folders and assets that are spelt alike, and what names there are."""
    if (Path(source).expanduser() / "config.json").is_file():
        return "mend the files of this folder, or save the model again"
    alike = did_you_mean(source, [*MODELS, *(str(one) for one in beside(source) if one.is_dir())])
    return (
        f"{alike}give a local folder, a hub id that can be reached, or one of the assets that need no hub: "
        f"{', '.join(MODELS)}"
    )


def beside(path: str) -> list[Path]:
    """Files and folders of the folder that a path names something in; none where there is no such folder."""
    near = Path(path).expanduser().parent
    return [near / one.name for one in near.iterdir()] if near.is_dir() else []
