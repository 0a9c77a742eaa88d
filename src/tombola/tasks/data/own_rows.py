"""Rows of the user's own data as they are, for tasks that are no labelled texts: lists, images, CoNLL's files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tombola.tasks.data import labelled_images, own_data, tagged_words
from tombola.tasks.data.splits import DEV


def columns_of(source: str, dataset_config: str | None = None) -> Sequence[str]:
    """Names of the columns of the training rows; those of a folder of images, or a CoNLL file, are what is read of it.

    Raises:
        TombolaError: there are no such data.
    """
    path = Path(source).expanduser()
    if labelled_images.is_image_folder(path):
        return "image", "label"
    if _conll(path, None, tagged_words.SUFFIXES):
        return tagged_words.WORDS[0], tagged_words.TAGS[0]
    # With a dev file or without, the training rows are the same.
    train = own_data.Source.open(path) if path.is_file() else own_data.splits(source, None, dataset_config)[0]
    return [*map(str, train.columns)]


def read(
    source: str,
    *,
    validation_file: Path | None = None,
    validation_split: float | None = None,
    dataset_config: str | None = None,
) -> dict[str, Any]:
    """Rows of `train` and, where there are any that judge, `dev`, each a `datasets.Dataset` or a list of dictionaries.

    Args:
        source: as of labelled texts (see [`own_data.read`][tombola.tasks.data.own_data.read]); or a folder of images in
            folders of classes, or a file or folder of files in a CoNLL format.
        validation_file: rows that judge, likewise.
        validation_split: share of the training rows that will be drawn to judge; None where others do.
        dataset_config: as of labelled texts.

    Raises:
        TombolaError: something is missing or malformed, or there is a share and there are rows that judge.
    """
    path = Path(source).expanduser()
    if labelled_images.is_image_folder(path):
        found: dict[str, Any] = dict(labelled_images.folder_rows(path))
        if validation_file is not None:
            found["dev"] = labelled_images.folder_rows(validation_file)["train"]
    elif files := _conll(path, validation_file, (*tagged_words.SUFFIXES, tagged_words.TEXT)):
        found = {split: [*tagged_words.conll_rows(file)] for split, file in files.items()}
    else:
        train, dev = own_data.splits(source, validation_file, dataset_config)
        found = {"train": train.all_rows()} | ({} if dev is None else {"dev": dev.all_rows()})
    if "dev" in found:
        own_data.check_alone(source, validation_split)
    return found


def _conll(path: Path, validation_file: Path | None, suffixes: Sequence[str]) -> dict[str, Path]:
    """Files of splits in a CoNLL format, by their names; none where these say nothing of the kind."""
    if path.is_file():
        if path.suffix.lower() not in suffixes:
            return {}
        return {"train": path} | ({} if validation_file is None else {"dev": validation_file})
    found = {file.stem: file for file in sorted(path.glob("*")) if file.suffix.lower() in suffixes}
    if "train" not in found:
        return {}
    dev = validation_file or next((found[name] for name in DEV if name in found), None)
    return {"train": found["train"]} | ({} if dev is None else {"dev": dev})
