"""Section that answers whether a pipeline fits on a card of a given size."""

from collections.abc import Sequence

from tombola.app.memory_answer import Fit, fit_table, fits
from tombola.app.numbers import number, whole
from tombola.app.parts import box, button, error_line, field, fill, html, in_thread, show
from tombola.profiling.known_pipelines import KNOWN_PIPELINES


class MemorySection:
    """Section of a page; `model` is what it begins with."""

    def __init__(self, model: str) -> None:
        self._model, self._card, self._images = model, "8", "1"
        with box("section", aria_label="Will it fit on my card?"):
            html("Will it fit on my card?", "h2")
            known = ", ".join(KNOWN_PIPELINES)
            html(f"Nothing is downloaded. Known by name: {known}; or the folder of any pipeline.", "p", class_="lead")
            self._wrong = error_line()
            with box(class_="row"):
                self._fields = [
                    field("Pipeline", lambda text: self._keep(model=text)),
                    field("Card's memory in GB", lambda text: self._keep(card=text), inputmode="decimal"),
                    field("Images at once", lambda text: self._keep(images=text), inputmode="numeric"),
                ]
                button("Reckon", self._reckon)
            self._table = html(
                "", class_="scroll", tabindex="0", role="region", aria_label="Memory, and whether it fits"
            )

    def begin(self) -> None:
        """Fill the fields, once the browser has them."""
        for one, text in zip(self._fields, (self._model, self._card, self._images), strict=True):
            fill(one, text)

    def _keep(self, **typed: str) -> None:
        for name, text in typed.items():
            setattr(self, f"_{name}", text)

    async def _reckon(self) -> None:
        show(self._table, "Reckoning …")
        found = await in_thread(self._wrong, self._asked)
        show(self._table, "" if found is None else fit_table(found))

    def _asked(self) -> Sequence[Fit]:
        card, images = number("the card's memory", self._card), whole("Images at once", self._images)
        return fits(self._model.strip(), card, images)
