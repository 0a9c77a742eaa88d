"""Exported figures and tables held against the page: CSV, LaTeX and SVG say what it says."""

import csv
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

from builders.report_pages import names, read
from tombola.cli import main


class Page(HTMLParser):
    """The tables of a page as a browser lays them out: (label, heads, bodies of lines of cells).

    A cell is its text, one after another where lines are broken, and whether it holds figures.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[tuple[str, list[str], list[list[tuple[list[str], bool]]]]] = []
        self._label = ""
        self._lines: list[dict[int, tuple[list[str], bool]]] = []
        self._text: list[str] | None = None
        self._cell: dict[str, str] = {}
        self._row = -1
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "div" and given.get("class") == "scroll":
            self._label = given["aria-label"]
        elif tag == "table":
            self._lines, self._row = [], -1
        elif tag == "tr":
            self._row += 1
            self._grow(self._row)
        elif tag in ("th", "td"):
            self._text, self._cell = [""], given
        elif tag == "br" and self._text is not None:
            self._text.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td") and self._text is not None:
            wide, high = int(self._cell.get("colspan", 1)), int(self._cell.get("rowspan", 1))
            figured = bool({"number", "interval"} & set(self._cell.get("class", "").split()))
            self._grow(self._row + high - 1)
            at = next(column for column in range(99) if column not in self._lines[self._row])
            for line in self._lines[self._row : self._row + high]:
                line |= {at + more: (self._text, figured) for more in range(wide)}
            self._text = None
        elif tag == "table":
            head, *lines = [[line[at] for at in sorted(line)] for line in self._lines]
            self.tables.append((self._label, ["".join(text) for text, _ in head], lines))

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text[-1] += data

    def _grow(self, row: int) -> None:
        self._lines += [{} for _ in range(row + 1 - len(self._lines))]


def plain(text: str, figured: bool) -> str:
    """A cell of the page as a program wants it."""
    if not figured:
        # A spreadsheet must not take it for a formula.
        return f"'{text}" if text.strip()[:1] in [*"=+-@＝＋－＠"] else text
    if text == "–":
        return ""
    text = "-".join(text.split("−")).replace("\u00a0", " ")
    text = re.sub(r"\d[\d,]*", lambda found: found[0].replace(",", ""), text)
    return text[2:] if text.startswith("± ") else text[:-2] if text.endswith(" %") else text


def whole(lines: list[list[tuple[list[str], bool]]]) -> Iterator[list[tuple[str, bool]]]:
    """The lines of a table of the page, each complete: texts, and whether they are figures."""
    groups = [line for line in lines if len(line) > 1 and all(text is line[0][0] for text, _ in line)]
    group = [""] if groups else []
    for line in lines:
        if line in groups:
            group = line[0][0]
        else:
            yield [(name, False) for name in group] + [(part, figured) for text, figured in line for part in text]


def check(folder: Path, out: Path) -> list[str]:
    """Export, hold every file against the page, and return the tables' names."""
    assert main(["report", str(folder), "--export", str(out)]) == 0
    page = Page(folder / "report.html")
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    found = read(folder / "report.html")
    assert {f"figures/{name}.svg" for name in names(found)} == {file for file in written if file.endswith(".svg")}
    begin = {".png": b"\x89PNG\r\n", ".pdf": b"%PDF-"}
    for path in (out / "figures").iterdir():
        assert all(path.with_suffix(ending).read_bytes().startswith(first) for ending, first in begin.items())
    for path in (out / "figures").glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    index = (out / "index.md").read_text()
    listed = re.findall(r"^- `(?:tables|figures)/([^`]+)\.(svg|csv)`", index, re.MULTILINE)
    assert [name for name, kind in listed if kind == "svg"] == [
        attributes["data-name"] for _, attributes in found.elements if attributes.get("class") == "plot"
    ]
    tables = [name for name, kind in listed if kind == "csv"]
    assert len(tables) == len(page.tables) == len(set(tables))
    ends = (".csv", ".tex")
    assert {f"tables/{name}{end}" for name in tables for end in ends} == {f for f in written if f.endswith(ends)}
    for name, (label, heads, lines) in zip(tables, page.tables, strict=True):
        path = out / "tables" / f"{name}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            head, *rows = list(csv.reader(file))
        shown = list(whole(lines))
        assert rows == [[plain(text, figured) for text, figured in line] for line in shown], name
        assert all(head)
        assert {one for one in heads if one} <= {one.removesuffix(" (%)") for one in head}
        assert f"- `tables/{name}.csv`, `.tex`: {label}" in index
        assert len(pd.read_csv(path)) == len(rows)
        first, *cells = grid((out / "tables" / f"{name}.tex").read_text(encoding="utf-8"))
        assert first == [one.removesuffix(" (%)") for one in map(typeset, head)]
        for line, texts in zip(cells, shown, strict=True):
            # LaTeX has a name only where it changes.
            assert all(cell in ("", typeset(text)) for cell, (text, _) in zip(line, texts, strict=True))
    return tables


TYPED = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"$\pm$": "±",
    r"$\times$": "×",
    r"$\geq$": "≥",
    r"$\leq$": "≤",
    "$-$": "-",
    **{f"\\{sign}": sign for sign in "&%$#_{}"},
    **{f"${sign}$": sign for sign in "<>|"},
    **{f"{{{sign}}}": sign for sign in "[]*"},
}


TOKEN = re.compile(
    "|".join(re.escape(one) for one in sorted(TYPED, key=len, reverse=True)) + r'|[^\\{}$&#%_^~\[\]*<>|"]'
)


def typed(source: str) -> str:
    """What LaTeX sets: known commands and harmless characters; anything else is an error."""
    text = ""
    while source:
        token = TOKEN.match(source)
        assert token, source
        text += TYPED.get(token[0], token[0])
        source = source[token.end() :]
    return text


def typeset(text: str) -> str:
    """Text as LaTeX has it: signs that it has no other way to write, and no more than one space."""
    for sign, written in (("−", "-"), ("–", "--"), ("’", "'"), ('"', "''")):
        text = text.replace(sign, written)
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def grid(source: str) -> list[list[str]]:
    """The cells of a LaTeX table, head first."""
    assert re.findall(r"\\(begin|end)\{(\w+)\}", source) == [
        ("begin", "table"),
        ("begin", "tabular"),
        ("end", "tabular"),
        ("end", "table"),
    ]
    (columns,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", source)
    body = source.split("\\toprule\n")[1].split("\\bottomrule\n")[0].replace("\\midrule\n", "")
    lines = body.splitlines()
    assert all(line.endswith(r" \\") for line in lines)
    cells = [re.split(r"(?<!\\)&", line.removesuffix(r" \\")) for line in lines]
    assert {len(line) for line in cells} == {len(columns)}
    return [[typed(cell.strip(" ")) for cell in line] for line in cells]
