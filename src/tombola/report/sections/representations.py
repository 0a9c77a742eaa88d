"""The section on representations: what tickets keep of the full model's geometry, and where the label can be read."""

from collections.abc import Sequence

from tombola.analysis.locality.representations import FULL, Layer, Representations
from tombola.foundations.plurals import plural
from tombola.metrics.scores import METRICS, metric_title
from tombola.metrics.statistics import mean_std
from tombola.report import number_format
from tombola.report.charts.representations import Point, layer_lines
from tombola.report.html.elements import Html, beside, figure, section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import TICKET_TITLES, and_words, method_title
from tombola.report.study_data import StudyData


def representations(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section; None where no seed asked for it."""
    found = {
        method: seeds
        for method in study.methods
        if (seeds := list(study.analyses(Representations, "representations", method).values()))
    }
    if not found:
        return None
    parts = [beside(*_figures(method, seeds, registry)) for method, seeds in found.items()]
    seeds = next(iter(found.values()))
    spread = "one standard deviation over seeds" if len(seeds) > 1 else "95 % intervals over examples"
    dev = plural(seeds[0].examples, "dev example")
    train = plural(seeds[0].training, "training example")
    lead = (
        f"Mean hidden states of {dev}: debiased linear CKA (Kornblith et al. 2019) with the full model's, and ridge "
        f"probes fitted to {train}. Lines at the points: {spread}."
    )
    return section("What happens to representations", *parts, lead=lead)


def _figures(method: str, seeds: Sequence[Representations], registry: FigureRegistry) -> tuple[Html, Html]:
    """Figures of what each seed found; a model is called by its ticket and stage: `good pruned`."""
    metric, title = metric_title(seeds[0].metric), method_title(method)
    names = [name for name in seeds[0].models if all(name in seed.models for seed in seeds)]
    alike = [point for name in names if name != FULL for point in _points(name, seeds, "cka")]
    probes = [point for name in names for point in _points(name, seeds, "probe")]
    chance = sum(seed.chance for seed in seeds) / len(seeds)
    lines = layer_lines(alike, "linear CKA with the full model")
    cka = registry.plot(lines, f"cka-{method}", "Linear CKA of each layer with the full model's")
    lines = layer_lines(probes, f"{metric} of a linear probe", chance)
    probe = registry.plot(lines, f"probes-{method}", f"{metric} of linear probes on each layer")
    return (
        figure(f"{title}: likeness to the full model", _about_likeness(alike), cka),
        figure(f"{title}: what a linear probe reads", _about_probes(probes, seeds, metric), probe),
    )


def _points(name: str, seeds: Sequence[Representations], what: str) -> list[Point]:
    ticket, _, stage = name.partition(" ")
    points = []
    for number in range(len(seeds[0].models[name])):
        layers: list[Layer] = [seed.models[name][number] for seed in seeds]
        mean, std = mean_std([getattr(layer, what) for layer in layers])
        low, high = mean - std, mean + std
        if len(layers) == 1:
            low, high = getattr(layers[0], f"{what}_low"), getattr(layers[0], f"{what}_high")
        points.append(Point(number, ticket, stage or "none", mean, low, high))
    return points


def _called(point: Point) -> str:
    return f"{TICKET_TITLES[point.ticket]} ({point.stage})" if point.stage != "none" else "the full model"


def _about_likeness(points: Sequence[Point]) -> str:
    last = max(point.layer for point in points)
    ends = sorted((point for point in points if point.layer == last), key=lambda point: -point.value)
    listed = and_words([f"{_called(point)} {number_format.score(point.value)}" for point in ends])
    text = f"After the last layer the likeness to the full model is {listed}."
    if len(ends) > 1 and ends[0].low <= ends[1].high:
        text += " The first two are not told apart."
    good = [point for point in points if (point.ticket, point.stage) == ("good", "pruned")]
    if good:
        worst, *others = sorted(good, key=lambda point: point.value)
        text += f" The good ticket, pruned, is farthest after layer {worst.layer} ({number_format.score(worst.value)})"
        close = [str(point.layer) for point in others if point.low <= worst.high]
        text += f", not told apart from layer {and_words(sorted(close, key=int))}." if close else "."
    return text


def _about_probes(points: Sequence[Point], seeds: Sequence[Representations], metric: str) -> str:
    full = [point for point in points if point.ticket == FULL]
    last = full[-1]
    known = METRICS.get(seeds[0].metric)
    sign = 1 if known is None or known.higher_is_better else -1
    # Nearly all: no more than one spread of the last layer below it.
    enough = sign * last.value - (last.high - last.low) / 2
    first = max((point.layer + 1 for point in full if sign * point.value < enough), default=full[0].layer)
    others = [point for point in points if point.layer == last.layer and point.ticket != FULL]
    listed = and_words([f"{_called(point)} {number_format.score(point.value)}" for point in others])
    controls = [layer.control for seed in seeds for layers in seed.models.values() for layer in layers]
    shuffled = sum(controls) / len(controls)
    own = shuffled < last.low if sign > 0 else shuffled > last.high
    doubt = "what they read is not their own doing" if own else "the last layer's is not clearly beyond that"
    return (
        "In the full model a linear probe reads the label about as well as at the end "
        f"({number_format.score(last.value)}) "
        f"from layer {first} on. At the end it reads from {listed}. Fitted to shuffled labels probes reach {metric} "
        f"{number_format.score(shuffled)} on average: {doubt}."
    )
