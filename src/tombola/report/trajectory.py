"""Trajectory of a search: what every pass removed, and the score that was left."""

from dataclasses import dataclass

from tombola.architectures.anatomy import Places
from tombola.architectures.site_names import SITE_NAMES
from tombola.foundations.plurals import plural
from tombola.pruning.search.records import SearchPass
from tombola.tickets.pruning_methods import METHODS, in_words

_NAMED = 8
"""Heads or MLPs that are named one by one before the rest is only counted."""


@dataclass(frozen=True)
class Trajectory:
    """The search of one seed, over or not; the first step is the full model."""

    method: str
    seed: int
    passes: tuple[SearchPass, ...]

    @property
    def full(self) -> SearchPass:
        """The full model, before any cut."""
        return self.passes[0]

    @property
    def good(self) -> SearchPass:
        """The last state at or above the threshold: the good ticket, once the search is over."""
        return self.before(len(self.passes))

    def before(self, index: int) -> SearchPass:
        """The state that the step at `index` cut: the last one before it that held."""
        return [search_pass for search_pass in self.passes[:index] if search_pass.holds][-1]


def removed(search_pass: SearchPass, places: Places) -> str:
    """Sites that a pass removed, in words; blocks of neurons have no names worth reading and are counted."""
    parts = []
    if weights := search_pass.removed.get("weights"):
        parts.append(plural(weights, "weight"))
    if heads := [f"{places.attention(row)}.{head}" for row, head in search_pass.removed.get("heads", [])]:
        parts.append(_named("head", heads))
    if mlps := [places.layer(layer) for layer in search_pass.removed.get("mlps", [])]:
        parts.append(_named("MLP", mlps))
    counts = ((len(search_pass.removed.get(kind, [])), kind) for kind in ("neurons", "channels"))
    parts += [plural(count, *SITE_NAMES[kind]) for count, kind in counts if count]
    return "; ".join(parts) or "nothing"


def left(method: str, search_pass: SearchPass) -> str:
    """Survivors after a pass, in words; neurons where they are pruned."""
    parts = [plural(search_pass.heads, "head")]
    if search_pass.channels or "channels" in METHODS[method].sites:
        parts.append(plural(search_pass.channels, *SITE_NAMES["channels"]))
    if search_pass.mlps or not search_pass.channels:
        parts.append(plural(search_pass.mlps, "MLP"))
    if "neurons" in METHODS[method].sites:
        parts.append(plural(search_pass.neurons, "neuron"))
    return ", ".join([*parts, plural(search_pass.weights, "weight")])


def phase(method: str, search_pass: SearchPass) -> str:
    """Phase of a pass, what was being pruned, in words."""
    if search_pass.phase == "full":
        return "the full model"
    if METHODS[method].kind == "weights":
        return "smallest weights of the whole model" if METHODS[method].iterative else in_words(method)
    together = "+" in method
    if search_pass.phase == "joint":
        return f"{in_words(method)} together" if together else in_words(method)
    one = in_words(search_pass.phase)
    return f"{one} alone" if together else f"{one}, refining"


def _named(one: str, names: list[str]) -> str:
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{one}{'' if len(names) == 1 else 's'} {', '.join(names[:_NAMED])}{rest}"
