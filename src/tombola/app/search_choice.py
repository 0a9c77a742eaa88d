"""Choice of a method's tickets, and of a state of its search by a slider over their sparsities."""

from collections.abc import Awaitable, Callable, Sequence

from tombola.app.network_bench import Choice, NetworkBench
from tombola.app.parts import box, choice, field, fill, html, set_attributes, show
from tombola.pruning.search.records import SearchPass
from tombola.report import number_format
from tombola.tickets.pruning_methods import in_words


class SearchChoice:
    """Choice of a method and a state of its search.

    Args:
        bench: whose networks are chosen.
        changed: called after every choice.
    """

    def __init__(self, bench: NetworkBench, changed: Callable[[], Awaitable[None] | None]) -> None:
        self._bench, self._changed = bench, changed
        self.method = bench.methods[0] if bench.methods else ""
        self._states: list[tuple[str, SearchPass]] = []
        self._place = 0
        with box(class_="row"):
            if len(bench.methods) > 1:
                choice("Tickets of", {one: in_words(one) for one in bench.methods}, self._chose, self.method)
            self._slider = field("State of the search", self._slid, type="range", min="0", max="0", step="1")
            self._said = html("", "span", class_="where", role="status")

    def begin(self) -> None:
        """Set the slider, once the browser has it."""
        self._states = [*self._bench.states(self.method).items()]
        good = [number for number, (_, one) in enumerate(self._states) if one.holds]
        self._place = good[len(good) // 2] if good else 0
        set_attributes(self._slider, max=str(max(0, len(self._states) - 1)))
        fill(self._slider, str(self._place))
        self._say()

    @property
    def state(self) -> str:
        """Name of the state that is chosen; empty where the search has none."""
        return self._states[self._place][0] if self._states else ""

    def choices(self) -> Sequence[Choice]:
        """Networks to put side by side: the full model, the tickets, and the state that is chosen."""
        found = [*self._bench.choices(self.method)]
        if self._states:
            found.append(Choice(self.state, f"state of the search, {_gone(self._states[self._place][1])}"))
        return found

    async def _chose(self, method: str) -> None:
        self.method = method
        self.begin()
        await self._tell()

    async def _slid(self, text: str) -> None:
        self._place = min(int(text) if text.isdecimal() else 0, max(0, len(self._states) - 1))
        self._say()
        await self._tell()

    async def _tell(self) -> None:
        told = self._changed()
        if told is not None:
            await told

    def _say(self) -> None:
        if not self._states:
            show(self._said, "of a search of weights only the tickets are kept")
            return
        one = self._states[self._place][1]
        holds = "it holds" if one.holds else "it does not hold the threshold"
        show(self._said, f"{_gone(one)}, score {number_format.score(one.score)}, {holds}")


def _gone(one: SearchPass) -> str:
    return f"{100 * one.sparsity:.0f} % gone"
