import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from tombola.foundations.errors import TombolaError
from tombola.foundations.json_dataclasses import JsonRecord, read
from tombola.metrics.statistics import Verdict
from tombola.study.results import TicketVerdict


@dataclass(frozen=True)
class Place:
    town: str
    open: bool


@dataclass(frozen=True)
class Draw:
    number: int
    prize: float
    kind: Literal["win", "blank"]
    holder: str | None
    odds: Mapping[str, float]
    balls: list[int]
    note: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Fair:
    place: Place
    draws: tuple[Draw, ...]
    corner: tuple[float, int]
    stalls: Mapping[str, list[Place]]
    rain: Place | None = None


WRITTEN: dict[str, object] = {
    "number": 7, "prize": 2, "kind": "win", "holder": None, "odds": {"win": 1}, "balls": [3, 1],
}  # fmt: skip


def test_a_record_is_built_by_its_hints() -> None:
    draw = read(Draw, WRITTEN, "here")
    assert draw == Draw(7, 2.0, "win", None, {"win": 1.0}, [3, 1])
    assert [type(value) for value in (draw.number, draw.prize, draw.odds["win"])] == [int, float, float]


def test_a_default_may_be_missing_and_what_is_unknown_is_ignored() -> None:
    assert read(Draw, {**WRITTEN, "new": 1}, "here") == read(Draw, WRITTEN, "here")
    assert read(Draw, {**WRITTEN, "note": {"a": [None, "b"]}}, "here").note == {"a": [None, "b"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"number": 7.0}, "here: 'number' should be a whole number, but found 7.0"),
        ({"number": True}, "here: 'number' should be a whole number, but found True"),
        ({"number": None}, "here: 'number' should be a whole number, but found None"),
        ({"prize": "2"}, "here: 'prize' should be a number, but found '2'"),
        ({"prize": False}, "here: 'prize' should be a number, but found False"),
        ({"kind": "draw"}, "here: 'kind' should be 'win' or 'blank', but found 'draw'"),
        ({"kind": []}, "here: 'kind' should be 'win' or 'blank', but found []"),
        ({"holder": 3}, "here: 'holder' should be a text, but found 3"),
        ({"odds": [1]}, "here: 'odds' should be an object, but found [1]"),
        ({"odds": {"win": None}}, "here, odds: 'win' should be a number, but found None"),
        ({"balls": {}}, "here: 'balls' should be a list, but found {}"),
        ({"balls": [1, "2"]}, "here: 'balls[1]' should be a whole number, but found '2'"),
        ({"note": 0}, "here: 'note' should be an object, but found 0"),
        ({"prize": "a\nb"}, "here: 'prize' should be a number, but found 'a\\nb'"),
    ],
)
def test_a_wrong_field_is_named_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(TombolaError) as caught:
        read(Draw, {**WRITTEN, **changes}, "here")
    assert str(caught.value) == f"{message}; run the study again"


@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "holder"])
def test_a_missing_field_is_named(name: str) -> None:
    values = {key: value for key, value in WRITTEN.items() if key != name}
    with pytest.raises(TombolaError, match=rf"^here: '{name}' is missing; delete it$"):
        read(Draw, values, "here", "delete it")


BARI: dict[str, object] = {"town": "Bari", "open": True}
NESTED: dict[str, object] = {"place": BARI, "draws": [WRITTEN], "corner": [1, 2], "stalls": {"a": [BARI, BARI]}}


def test_records_are_built_inside_of_others() -> None:
    place = Place("Bari", True)
    expected = Fair(place, (read(Draw, WRITTEN, "here"),), (1.0, 2), {"a": [place, place]})
    assert read(Fair, NESTED, "here") == expected
    assert read(Fair, {**NESTED, "rain": BARI}, "here").rain == place


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"place": "Bari"}, "here: 'place' should be an object, but found 'Bari'"),
        ({"place": {"town": 1, "open": True}}, "here, place: 'town' should be a text, but found 1"),
        ({"place": {"town": "Bari"}}, "here, place: 'open' is missing"),
        ({"draws": [WRITTEN, 3]}, "here: 'draws[1]' should be an object, but found 3"),
        ({"draws": [{**WRITTEN, "prize": "2"}]}, "here, draws[0]: 'prize' should be a number, but found '2'"),
        ({"draws": {}}, "here: 'draws' should be a list, but found {}"),
        ({"corner": [1]}, "here: 'corner[1]' is missing"),
        ({"corner": [1, 2.5]}, "here: 'corner[1]' should be a whole number, but found 2.5"),
        ({"stalls": {"a": [{}]}}, "here, stalls, a[0]: 'town' is missing"),
        ({"rain": 1}, "here: 'rain' should be an object, but found 1"),
    ],
)
def test_a_wrong_field_of_an_inner_record_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(TombolaError) as caught:
        read(Fair, {**NESTED, **changes}, "here")
    assert str(caught.value) == f"{message}; run the study again"


@dataclass(frozen=True)
class Lottery(JsonRecord):
    name: str
    places: tuple[Place, ...]
    mend: ClassVar[str] = "draw again"


def test_a_record_with_a_file_of_its_own_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "lottery.json"
    one = Lottery("Bari", (Place("Lecce", True), Place("Otranto", False)))
    one.write(path)
    places = [{"town": "Lecce", "open": True}, {"town": "Otranto", "open": False}]
    assert json.loads(path.read_text()) == {"name": "Bari", "places": places}
    assert Lottery.read(path) == one
    path.write_text(path.read_text().replace('"Bari"', "7", 1))
    with pytest.raises(TombolaError, match=r"lottery\.json: 'name' should be a text, but found 7; draw again$"):
        Lottery.read(path)
    with pytest.raises(TombolaError, match=r"nowhere\.json does not exist"):
        Lottery.read(tmp_path / "nowhere.json")


def test_a_verdict_is_read_as_it_was_written() -> None:
    verdict = Verdict(True, "accuracy", 0.8, 0.0, 0.8, 0.0, 0.0, -0.1, 0.1, 1, 100, 0.5, True, "bootstrap")
    whole = TicketVerdict("weights", "good", "retrained", verdict.sentence("the good ticket"), verdict)
    assert list(whole.entry()) == ["method", "ticket", "stage", *asdict(verdict), "sentence", "against"]
    assert TicketVerdict.of_entry(json.loads(json.dumps(whole.entry())), "here") == whole
