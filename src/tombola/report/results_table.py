"""The page's table of results: the same lines as in the terminal, and each seed's own below."""

from tombola.report import figures
from tombola.report.layout import scrolling, section
from tombola.report.markup import Html, element, join
from tombola.report.names import PRUNING_TITLES, TICKET_TITLES, metric_title
from tombola.report.record import Record
from tombola.report.rows import Summary
from tombola.results import Row
from tombola.ticket import in_words

_SIZES = ("heads", "MLPs", "neurons", "weights", "sparsity", "size (MB)", "seconds")


def results(record: Record) -> Html:
    """The section with the results."""
    several = record.seeds > 1
    sizes = [name for name in _SIZES if name != "neurons" or record.has_neurons]
    head = element(
        "tr",
        element("th", "", scope="col"),
        element("th", "", scope="col"),
        element("th", metric_title(record.metric), scope="col", class_="number"),
        element("th", "± std" if several else "95 % interval", scope="col", class_="interval"),
        *(element("th", name, scope="col", class_="number") for name in sizes),
    )
    bodies = []
    for group in ("none", *PRUNING_TITLES):
        summaries = [one for one in record.summaries if one.pruning == group]
        if summaries:
            bodies.append(_group(group, summaries, sizes))
    table = element(
        "table", element("thead", head), *bodies, class_="results many" if "neurons" in sizes else "results"
    )
    how = (
        f"mean and sample standard deviation over {record.seeds} seeds"
        if several
        else "one seed, 95 % bootstrap interval over examples"
    )
    rows = record.rows
    lead = f"{metric_title(rows[0].metric).capitalize()} on {figures.count(rows[0].n)} examples; {how}."
    return section("Results", scrolling(table, "Results"), _memory(record), _by_seed(record), lead=lead)


def _memory(record: Record) -> Html:
    if "weights" not in record.prunings:
        return Html("")
    text = (
        "Zeroed weights save no memory by themselves: a ticket of weights is smaller in a sparse file, and as large as "
        "the full model when it runs."
    )
    structured = [in_words(pruning) for pruning in record.prunings if pruning != "weights"]
    if structured:
        text += f" Only tickets of {' or of '.join(structured)} are physically smaller."
    return element("p", text, class_="note")


def _group(pruning: str, summaries: list[Summary], sizes: list[str]) -> Html:
    lines = []
    if pruning in PRUNING_TITLES:
        title = element("th", PRUNING_TITLES[pruning], colspan=str(4 + len(sizes)), scope="colgroup")
        lines.append(element("tr", title, class_="group"))
    for index, summary in enumerate(summaries):
        first = index == 0 or summaries[index - 1].ticket != summary.ticket
        stages = sum(one.ticket == summary.ticket for one in summaries) if first else 0
        lines.append(_line(summary, stages, sizes))
    return element("tbody", *lines)


def _line(summary: Summary, stages: int, sizes: list[str]) -> Html:
    """One line; the first of a ticket (`stages` > 0) names it for all its stages."""
    found = summary.pruning != "none"
    cells = []
    if stages:
        swatch = element("i", class_=f"swatch {summary.ticket}") if found else Html("")
        name = join(swatch, TICKET_TITLES[summary.ticket])
        cells.append(
            element("th", name, scope="rowgroup", rowspan=str(stages), class_="found" if found else "reference")
        )
    cells += [
        element("td", "" if summary.stage == "none" else summary.stage),
        element("td", figures.score(summary.score), class_="number strong"),
        element("td", summary.spread, class_="interval"),
    ]
    texts = {
        "heads": figures.count(summary.mean("heads")),
        "MLPs": figures.count(summary.mean("mlps")),
        "neurons": figures.count(summary.mean("neurons")),
        "weights": figures.count(summary.mean("weights")),
        "sparsity": figures.share(summary.mean("sparsity")),
        "size (MB)": figures.megabytes(summary.mean("bytes")),
        "seconds": figures.seconds(summary.mean("seconds")),
    }
    cells += [element("td", texts[name], class_="number") for name in sizes]
    return element("tr", *cells, class_=f"{'first ' if stages else ''}{summary.ticket}")


def _by_seed(record: Record) -> Html:
    names = list(dict.fromkeys(name for row in record.rows for name in row.more))
    if record.seeds == 1 and not names:
        return Html("")
    head = element(
        "tr",
        *(element("th", name, scope="col") for name in ("pruning", "ticket", "stage")),
        *(
            element("th", name, scope="col", class_="number")
            for name in (
                "seed",
                metric_title(record.metric),
                "95 % interval",
                *(metric_title(name) for name in names),
            )
        ),
    )
    rows = [row for summary in record.summaries for row in summary.rows]
    body = element("tbody", *(_seed_line(row, names) for row in rows))
    table = scrolling(element("table", element("thead", head), body, class_="seeds"), "Results seed by seed")
    title = "Seed by seed" + (", with the other metrics" if names else "")
    return element("details", element("summary", title), table)


def _seed_line(row: Row, names: list[str]) -> Html:
    texts = (
        PRUNING_TITLES.get(row.pruning, ""),
        TICKET_TITLES[row.ticket],
        "" if row.stage == "none" else row.stage,
    )
    numbers = (
        str(row.seed),
        figures.score(row.score),
        f"{figures.score(row.score_low)} to {figures.score(row.score_high)}",
        *(figures.score(row.more.get(name)) for name in names),
    )
    return element(
        "tr",
        *(element("td", text) for text in texts),
        *(element("td", number, class_="number") for number in numbers),
    )
