"""A study that goes on in the folder of another configuration, held against one that began from nothing."""

import json
from typing import Any

import pytest
from safetensors.numpy import load_file

from builders.small_study import timeless
from tombola.foundations.atomic_files import read_json
from tombola.study.study import Study


def _found(study: Study) -> dict[str, Any]:
    """Everything that a study's folder holds and a report reads, without times."""
    files: dict[str, Any] = {}
    for file in sorted(study.folder.rglob("*")):
        name = file.relative_to(study.folder)
        if file.is_dir() or any(part.startswith(".") for part in name.parts) or file.name == "report.html":
            continue
        if file.name == "cost.json":
            files[str(name)] = sorted(read_json(file))
        elif file.name in ("search.jsonl", "results.jsonl"):
            files[str(name)] = timeless([json.loads(line) for line in file.read_text().splitlines()])
        elif file.name in ("score.json", "study.json"):
            files[str(name)] = timeless([read_json(file)])
        elif file.suffix == ".safetensors":
            # Of an evaluation the second number are its seconds; sites that are gone have no importance, not a number.
            arrays = load_file(file)
            files[str(name)] = {
                one: (value[:1] if one == "score_seconds" else value).tobytes() for one, value in arrays.items()
            }
        else:
            files[str(name)] = file.read_bytes()
    return files


def assert_alike(one: Study, other: Study) -> None:
    here, there = _found(one), _found(other)
    assert sorted(here) == sorted(there)
    assert [name for name in here if here[name] != there[name]] == []


def assert_renewed(renewed: Study, alone: Study, back: Study, base: Study) -> None:
    """A study run in the folder of `base` is as it is alone; and `back` in that folder, nothing is computed."""
    assert renewed.folder == back.folder
    renewed.run()
    alone.run()
    assert_alike(renewed, alone)
    assert_back(back, base)


def assert_back(back: Study, base: Study) -> None:
    """A study run in the folder of `base`, which another used meanwhile, computes nothing and is as it was."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("seed_run.train", "seed_context.retrain", "seed_context.evaluate", "seed_run.search_ticket"):
            patch.setattr(f"tombola.study.{name}", lambda *_, **__: pytest.fail("computed again"))
        back.run()
    assert_alike(back, base)
