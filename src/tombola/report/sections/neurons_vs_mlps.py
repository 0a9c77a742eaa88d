"""Section on neurons against whole MLPs at the same threshold, seed by seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tombola.foundations.plurals import plural
from tombola.metrics.statistics import mean_std
from tombola.report import number_format
from tombola.report.charts.curves import Threshold, finer_curves
from tombola.report.html.elements import Html, figure, join, section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import method_title
from tombola.report.study_data import StudyData
from tombola.report.summary import Summary, scored
from tombola.report.table import Column, Table, numbers
from tombola.tickets.pruning_methods import in_words

Written = Callable[[float], str]

_PAIRS: tuple[tuple[str, str], ...] = (("heads+mlps", "heads+neurons"), ("mlps", "neurons"))
_SIZES: tuple[tuple[str, str, Written], ...] = (
    ("prunable weights", "weights", number_format.short_count),
    ("parameters of the model", "parameters", number_format.short_count),
    ("heads", "heads", number_format.count),
    ("MLPs", "mlps", number_format.count),
    ("neurons", "neurons", lambda number: number_format.count(round(number))),
    ("sparsity (%)", "sparsity", lambda share: f"{100 * share:.1f}"),
)
"""Lines of the table: title, field of a row, and how it is written."""


@dataclass(frozen=True)
class MethodPair:
    """The good tickets of two methods that differ in how finely they take MLPs apart, over the seeds that have both.

    Attributes:
        coarse, fine: the methods.
        pruned: their good tickets cut out, the coarse one's first.
        retrained: the same, retrained; None while no seed has both.
        search_seconds: seconds of the two searches, seed by seed; None where one of them is not there.
    """

    coarse: str
    fine: str
    pruned: tuple[Summary, Summary]
    retrained: tuple[Summary, Summary] | None
    search_seconds: tuple[Sequence[float], Sequence[float]] | None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that have both."""
        return tuple(row.seed for row in self.pruned[0].rows)

    @property
    def saved(self) -> list[float]:
        """Prunable weights that the finer ticket has fewer, seed by seed; negative where it has more.

        They are shares of the coarse tickets' mean: the share of each seed's own would let a very small one rule.
        """
        coarse, fine = self.pruned
        mean = coarse.mean("weights") or 1.0
        return [(theirs.weights - ours.weights) / mean for theirs, ours in zip(coarse.rows, fine.rows, strict=True)]


def neurons_vs_mlps(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section; None where no two methods differ in how finely they take MLPs apart."""
    figures = [_figure(study, one, registry) for one in method_pairs(study)]
    if not figures:
        return None
    block = study.facts.config.get("neuron_block")
    blocks = f"blocks of {plural(block, 'neuron')}" if isinstance(block, int) else "blocks of neurons"
    kept = f"{100 * study.facts.threshold:g} % of the full score"
    lead = f"One search takes whole MLPs, the other {blocks}; both stop at {kept}."
    return section("What pruning neurons buys", *figures, lead=lead)


def _figure(study: StudyData, one: MethodPair, registry: FigureRegistry) -> Html:
    metric, plots = study.metric_title, []
    coarse, fine = ([s for s in study.searches(p) if s.seed in one.seeds] for p in (one.coarse, one.fine))
    if coarse and fine:
        bounds = [study.bound(search.full.score) for search in coarse]
        chart = finer_curves(coarse, fine, Threshold(study.facts.threshold, bounds), metric)
        label = f"{metric} against sparsity for {in_words(one.coarse)} and for {in_words(one.fine)}"
        plots.append(registry.plot(chart, f"finer-{one.fine}", label))
    table = registry.table(pair_table(one, metric), f"finer-{one.fine}")
    return join(figure("", about_pair(one, study.task.higher_is_better), *plots), table)


def method_pairs(study: StudyData) -> list[MethodPair]:
    """Every pair of methods that the study has."""
    found = []
    for coarse, fine in _PAIRS:
        pruned = _shared(study, coarse, fine, "pruned")
        if pruned is not None:
            retrained = _shared(study, coarse, fine, "retrained")
            seeds = [row.seed for row in pruned[0].rows]
            seconds = (_seconds(study, coarse, seeds), _seconds(study, fine, seeds))
            found.append(MethodPair(coarse, fine, pruned, retrained, seconds if all(seconds) else None))
    return found


def _shared(study: StudyData, coarse: str, fine: str, stage: str) -> tuple[Summary, Summary] | None:
    """The good tickets of both, in the seeds that have both: other seeds would compare luck."""
    one, other = (study.summary(method, "good", stage) for method in (coarse, fine))
    if one is None or other is None:
        return None
    seeds = {row.seed for row in one.rows} & {row.seed for row in other.rows}
    if not seeds:
        return None
    first, second = (replace(each, rows=tuple(row for row in each.rows if row.seed in seeds)) for each in (one, other))
    return first, second


def _seconds(study: StudyData, method: str, seeds: Sequence[int]) -> list[float]:
    """Seconds of each search, with its pass over the full model, though searches may share that."""
    return [
        sum(search_pass.seconds for search_pass in search.passes)
        for search in study.searches(method)
        if search.seed in seeds
    ]


def about_pair(one: MethodPair, higher_is_better: bool) -> str:
    """Sentences on what neurons gain in size, and whether the score pays for it; no bolder than the seeds allow."""
    size, smaller = _about_size(one)
    if one.retrained is None:
        return f"{size} The two are not retrained yet."
    coarse, fine = one.retrained
    several = len(fine.rows) > 1
    ranges = "ranges of one standard deviation" if several else "95 % intervals"
    scores = f"Retrained, the ticket of neurons scores {scored(fine)} against {scored(coarse)}"
    better = fine.score > coarse.score if higher_is_better else fine.score < coarse.score
    if coarse.overlaps(fine):
        text = f"{scores}: the {ranges} overlap, so that this study does not tell the scores apart."
        text += " So it buys size at no loss that this study could see." if smaller else ""
    else:
        text = f"{scores}: the {ranges} do not overlap, and the finer ticket is {'better' if better else 'worse'}."
        text += " Smaller but worse is no plain gain." if smaller and not better else ""
    doubt = "" if several else " With one seed, chance in search and training is not measured."
    return f"{size} {text}{doubt}"


def _about_size(one: MethodPair) -> tuple[str, bool]:
    """The sentence on size, and whether it says that the finer ticket is smaller."""
    saved = one.saved
    mean, std = mean_std(saved)
    coarse, fine = (number_format.short_count(summary.mean("weights")) for summary in one.pruned)
    what = "At the same threshold, pruning neurons instead of whole MLPs leaves"
    if round(mean, 3) == 0:
        difference = "as many prunable weights"
    else:
        difference = f"{number_format.share(abs(mean))} {'fewer' if mean > 0 else 'more'} prunable weights"
    number = len(saved)
    fewer = sum(share > 0 for share in saved)
    if number == 1:
        none = "" if mean > 0 else "; here the finer site buys no smaller ticket"
        return f"{what} {difference} ({fine}, not {coarse}){none}.", mean > 0
    spread = f"{fine}, not {coarse}; ± {number_format.share(std)} over {number} seeds"
    # A difference is called clear when every seed has it and it is larger than their deviation.
    if fewer == number and mean > std:
        return f"{what} {difference} on average ({spread}), and fewer in every seed.", True
    if all(share < 0 for share in saved) and -mean > std:
        none = "and more in every seed: the finer site buys no smaller ticket"
        return f"{what} {difference} on average ({spread}), {none}.", False
    doubt = "by less than the deviation" if fewer in (0, number) else f"fewer in {fewer} of {number} seeds"
    return f"{what} {difference} on average ({spread}), {doubt}: no difference in size is clear.", False


def pair_table(one: MethodPair, metric: str) -> Table:
    """The two good tickets side by side, and their difference seed by seed."""
    lines = [_line(title, _values(one.pruned, name), written) for title, name, written in _SIZES]
    for stage, pair in (("pruned", one.pruned), ("retrained", one.retrained)):
        if pair is not None:
            shown = [scored(summary) for summary in pair]
            lines.append(_line(f"{metric}, {stage}", _values(pair, "score"), number_format.score, shown))
    if one.search_seconds is not None:
        lines.append(_line("seconds of the search", one.search_seconds, number_format.seconds))
    coarse, fine = method_title(one.coarse), method_title(one.fine)
    difference = "difference, ± std over seeds" if len(one.seeds) > 1 else "difference"
    columns = (Column("good ticket", "head"), *numbers(coarse, fine, difference))
    return Table.of(f"{coarse} against {fine.lower()}", columns, lines)


def _values(pair: tuple[Summary, Summary], name: str) -> tuple[Sequence[float], Sequence[float]]:
    coarse, fine = ([float(getattr(row, name)) for row in summary.rows] for summary in pair)
    return coarse, fine


def _line(
    title: str, pair: tuple[Sequence[float], Sequence[float]], written: Written, shown: Sequence[str] = ()
) -> tuple[str, ...]:
    """A line of both tickets and their difference; `shown` are the two where they are not mean ± deviation."""
    cells = [*(shown or (_spread(values, written) for values in pair)), number_format.MISSING]
    if len(pair[0]) == len(pair[1]):
        cells[-1] = _spread([fine - coarse for coarse, fine in zip(*pair, strict=True)], written, signed=True)
    # On a phone a cell may break before its deviation, but not inside a number.
    return title, *(text.replace("± ", "±\u00a0").replace(" M", "\u00a0M") for text in cells)


def _spread(values: Sequence[float], written: Written, *, signed: bool = False) -> str:
    """Mean ± deviation; a difference has its sign, unless it is written as 0."""
    mean, std = mean_std(values)
    text, sign = written(mean), ""
    if signed and (text := written(abs(mean))) != written(0):
        sign = "+" if mean > 0 else "−"
    return f"{sign}{text} ± {written(std)}" if len(values) > 1 else f"{sign}{text}"
