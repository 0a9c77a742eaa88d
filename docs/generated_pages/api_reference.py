"""API reference: a page for the public names of `tombola`, and a page for each package with all its modules."""

from collections.abc import Iterator, Mapping

import griffe

import tombola
from generated_pages.sources import SOURCE, Package, packages

HIDDEN_ROOMS = frozenset({"cli"})
"""Rooms that nobody imports: the page of the command line describes what they do."""


def pages() -> Mapping[str, str]:
    """Path and Markdown of every page of the reference."""
    found = {"reference/tombola.md": _public_names()}
    return found | {page_of(package): _package(package) for package in documented()}


def documented() -> Iterator[Package]:
    """The packages that have a page."""
    return (package for package in packages() if package.room not in HIDDEN_ROOMS)


def page_of(package: Package) -> str:
    """Path of a package's page."""
    return f"reference/{package.path.replace('/', '-')}.md"


def _public_names() -> str:
    """The table of `tombola.__all__`, in the order of the rooms."""
    loaded = griffe.load("tombola", search_paths=[SOURCE], submodules=True)
    targets = {name: str(loaded[name].target_path) for name in tombola.__all__}
    order = {package.name: number for number, package in enumerate(packages())}
    lines = [
        "# The public face: `tombola`",
        "",
        "What `import tombola` gives. Each is imported on first use, so that `import tombola` itself takes no time.",
        "",
        "| name | what it is |",
        "| --- | --- |",
    ]

    def place(name: str) -> tuple[int, str]:
        parts = targets[name].split(".")
        while parts and ".".join(parts) not in order:
            parts.pop()
        return order.get(".".join(parts), -1), name

    for name in sorted(targets, key=place):
        found = loaded[targets[name].removeprefix("tombola.")]
        summary = found.docstring.value.split("\n\n")[0].replace("\n", " ") if found.docstring else ""
        lines.append(f"| [`tombola.{name}`][{targets[name]}] | {summary.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def _package(package: Package) -> str:
    """Modules of a package, with everything public in them."""
    lines = [f"# `{package.name}`", "", package.summary, ""]
    lines += [f'<a id="{package.name}"></a>', ""]
    for module in package.modules:
        lines += [f"::: {module.name}", ""]
    return "\n".join(lines)
