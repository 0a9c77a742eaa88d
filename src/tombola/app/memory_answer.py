"""Answer to "will it fit on my card?", from what `tombola memory` reckons."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tombola.foundations.errors import TombolaError, unknown
from tombola.foundations.figures import figures, short_count
from tombola.profiling.known_pipelines import KNOWN_PIPELINES
from tombola.profiling.pipeline_memory import all_on_gpu, one_at_a_time, reckon
from tombola.report.html.elements import Html, element

FITS, PARTLY, NOT = "fits", "fits one part at a time (enable_model_cpu_offload)", "does not fit"


@dataclass(frozen=True)
class Fit:
    """Need of a pipeline whose denoiser keeps a share of its sites.

    Attributes:
        density: that share.
        parameters: of the denoiser.
        together, apart: bytes at the peak with every part on the GPU, and with one part at a time.
        answer: whether that fits.
    """

    density: float
    parameters: int
    together: int
    apart: int
    answer: str


def fits(model: str, card: float, images: int = 1) -> Sequence[Fit]:
    """Answers whether a pipeline, and smaller tickets of its denoiser, fit on a card in fp16; no weights are read.

    Args:
        model: one that is known by name, or a folder of a pipeline or denoiser.
        card: memory of the card in GB of 2**30 bytes.
        images: drawn at once.

    Raises:
        TombolaError: there is no such pipeline, a number cannot be, or the model is not known.
    """
    if not 0 < card < 1e5 or not 1 <= images <= 64:
        raise TombolaError("the card's memory is above 0 GB, and 1 to 64 images are drawn at once")
    if model not in KNOWN_PIPELINES and not Path(model).expanduser().is_dir():
        raise TombolaError(f"{unknown('pipeline', model, KNOWN_PIPELINES)}, or the folder of one")
    found, around, _ = reckon(model, images=(images,))
    answers = []
    for need in found:
        together, apart = (reckoned([need, *around])[images] for reckoned in (all_on_gpu, one_at_a_time))
        room = card * 2**30
        answer = FITS if together <= room else PARTLY if apart <= room else NOT
        answers.append(Fit(need.density, need.parameters, together, apart, answer))
    return answers


def fit_table(found: Sequence[Fit]) -> Html:
    """Table of answers, a density a row."""
    heads = ("denoiser", "parameters", "all on the GPU", "one part at a time", "answer")
    rows = (
        element(
            "tr",
            element("th", f"{100 * one.density:g} % of it", scope="row"),
            element("td", short_count(one.parameters)),
            element("td", mib(one.together)),
            element("td", mib(one.apart)),
            element("td", one.answer),
        )
        for one in found
    )
    head = element("thead", element("tr", *(element("th", one, scope="col") for one in heads)))
    caption = element("caption", "Memory at its peak, and whether it fits", class_="unseen")
    return element("table", caption, head, element("tbody", *rows), class_="fits")


def mib(size: int) -> str:
    """Bytes as MiB."""
    return f"{figures(size / 2**20)} MiB"
