"""Files of a finished study, each of which is lost or cut short in turn."""

import shutil
from pathlib import Path

from tombola.foundations.errors import TombolaError
from tombola.study.study import Study

WRITTEN_ANEW = ("study.json", "results.jsonl", "verdicts.json", "report.html", "steps.json")


def unnoticed(study: Study, home: Path) -> list[str]:
    """Files, but for those that are written anew by every run, whose loss or damage a start would not notice."""
    shutil.copytree(study.folder, home / study.folder.name)
    copy = Study(study.config, out=home, seeds=study.seeds, save=study.save)
    steps, found = copy.steps(), []
    assert [step.what for step in steps if not step.done()] == []
    for file in sorted(copy.folder.rglob("*")):
        if not file.is_file() or file.name in WRITTEN_ANEW or file.name.startswith("."):
            continue
        content = file.read_bytes()
        for damaged in (None, content[: len(content) // 2]):
            file.unlink() if damaged is None else file.write_bytes(damaged)
            try:
                if all(step.done() for step in steps):
                    found.append(str(file.relative_to(copy.folder)))
            except TombolaError as error:
                if file.name not in str(error):
                    found.append(str(error))
            file.write_bytes(content)
    return found
