"""Where abilities are from: generated pairs, files good and bad, facts."""

import json
from collections import Counter
from pathlib import Path

import pytest

from builders import blimp
from tombola.foundations.errors import TombolaError
from tombola.tasks.data import rotten_tomatoes
from tombola.tasks.data.corpus import Corpus
from tombola.tasks.language.abilities import catalog, grammar, knowledge, lm_eval_task
from tombola.tasks.language.abilities.ability import Ability, Example, balanced
from tombola.tasks.language.abilities.catalog import DEFAULT, SOURCES, open_abilities
from tombola.tasks.language.abilities.example_files import cloze, reasoning
from tombola.tasks.language.abilities.grammar import PARADIGMS, PHENOMENA, pairs
from tombola.tasks.language.abilities.language_modelling import paragraphs, training_text
from tombola.tasks.language.abilities.prompted_labels import inference, sentiment


@pytest.mark.parametrize("name", PARADIGMS)
def test_generated_pairs_are_well_formed_seeded_and_different(name: str) -> None:
    made = pairs(name, 120)
    assert made == pairs(name, 120)
    assert made[:30] == pairs(name, 30)
    assert made[:30] != pairs(name, 30, seed=1)
    assert len(set(made)) == 120
    good, bad = ({pair[side] for pair in made} for side in (0, 1))
    # No sentence is ever on the other side, and none is half of two pairs of opposite verdict.
    assert not good & bad
    for pair in made:
        assert pair[0] != pair[1]
        for sentence in pair:
            assert sentence[0].isupper()
            assert sentence[-1] in ".?"
            assert "  " not in sentence
            assert " ." not in sentence
        # What differs is one thing: most words are the same.
        words = [Counter(sentence.rstrip(".?").lower().split()) for sentence in pair]
        changed = sum(((words[0] - words[1]) + (words[1] - words[0])).values())
        assert changed <= 2


def test_the_grammar_covers_phenomena_in_equal_parts() -> None:
    made = grammar.load(None)
    assert len(PARADIGMS) >= 10
    assert {"agreement", "anaphora", "negative polarity", "islands", "argument structure"} <= set(PHENOMENA)
    assert set(Counter(example.group for example in made.examples).values()) == {50}
    assert len({example.choices for example in made.examples}) == len(made.examples)
    assert made.chance == 0.5
    assert {example.gold for example in made.examples} == {0}


@pytest.mark.parametrize(
    ("name", "one_side"),
    [
        (
            "subject_verb_agreement",
            {"sleeps", "laughs", "arrives", "smiles", "disappears", "exists", "coughs", "falls"},
        ),
        ("anaphor_gender", {"herself"}),
        ("anaphor_number", {"himself"}),
        ("determiner_adjective_noun_agreement", {"this", "that"}),
        ("agreement_across_phrase", {"is"}),
    ],
)
def test_no_constant_preference_scores_above_a_half(name: str, one_side: set[str]) -> None:
    """Each side of a rule is right as often as the other."""
    assert sum(bool(one_side & set(good.rstrip(".").split())) for good, _ in pairs(name, 200)) == 100


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_pairs_are_read_from_a_file_or_a_folder(tmp_path: Path) -> None:
    one = write(tmp_path / "a.jsonl", {"sentence_good": "It is.", "sentence_bad": "It are.", "UID": "x"})
    write(tmp_path / "b.jsonl", {"sentence_good": "We are.", "sentence_bad": "We is."})
    assert grammar.load(one).examples[0].choices == ("It is.", "It are.")
    assert [e.group for e in grammar.load(tmp_path).examples] == ["a", "b"]


def test_all_of_blimp_as_published_is_read_but_for_its_equal_pairs(tmp_path: Path) -> None:
    folder = blimp.write(tmp_path / "blimp")
    with pytest.warns(UserWarning, match="without 7 pairs of equal sentences") as warned:
        made = grammar.load(folder)
    (said,) = [str(one.message) for one in warned]
    for name, places in blimp.EQUAL.items():
        assert all(f"{name}.jsonl, line {place + 1}" in said for place in places)
    groups = Counter(example.group for example in made.examples)
    assert len(groups) == len(blimp.PARADIGMS) == 67
    assert groups == {name: 10 - len(blimp.EQUAL.get(name, ())) for name in blimp.PARADIGMS}
    assert len(made.examples) == 67 * 10 - 7
    assert made.source.endswith("without 7 pairs of equal sentences")
    # A sample of them takes all paradigms alike.
    assert set(Counter(example.group for example in made.sample(67 * 2).examples).values()) == {2}
    # The whole task opens it by its name.
    with pytest.warns(UserWarning, match="without 7 pairs"):
        (opened,) = open_abilities([f"grammar={folder}"])
    assert len(opened.examples) == len(made.examples)


def test_pairs_of_equal_sentences_are_left_out_and_named(tmp_path: Path) -> None:
    """BLiMP as published has seven."""
    write(tmp_path / "a.jsonl", {"sentence_good": "It is.", "sentence_bad": "It are."})
    twice = {"sentence_good": "Both.", "sentence_bad": "Both."}
    write(tmp_path / "b.jsonl", twice, {"sentence_good": "We are.", "sentence_bad": "We is."}, twice)
    with pytest.warns(UserWarning, match=r"without 2 pairs of equal sentences: .*b\.jsonl, line 1; .*b\.jsonl, line 3"):
        made = grammar.load(tmp_path)
    assert [example.choices[0] for example in made.examples] == ["It is.", "We are."]
    assert "without 2 pairs" in made.source


@pytest.mark.parametrize(
    ("kind", "lines", "said"),
    [
        ("grammar", ['{"sentence_good": "a"'], r"x\.jsonl, line 1 is damaged"),
        ("grammar", [{"sentence_good": "a", "sentence_bad": "b"}, [1]], r"x\.jsonl, line 2 is no JSON object"),
        ("grammar", [{"sentence_good": "a"}], r"x\.jsonl, line 1 has no 'sentence_bad'; it has sentence_good"),
        (
            "grammar",
            [{"sentence_good": "a", "sentence_bad": "a"}],
            r"without 1 pair of equal sentences has no examples",
        ),
        ("grammar", [{"sentence_good": "a", "sentence_bad": 3}], r"x\.jsonl, line 1: sentence_bad holds 3"),
        ("grammar", [], r"x\.jsonl is empty"),
        ("reasoning", [{"query": "q", "choices": ["a"], "gold": 0}], "line 1: choices must be two texts or more"),
        ("reasoning", [{"query": "q", "choices": ["a", "b"], "gold": 2}], "gold must be a number from 0 to 1, not 2"),
        ("reasoning", [{"query": "q", "choices": ["a", "b"], "gold": "0"}], "gold must be a number"),
        ("reasoning", [{"query": " ", "choices": ["a", "b"], "gold": 0}], "query holds ' '"),
        ("cloze", [{"context": "c"}], "line 1 has no 'continuation'"),
        ("inference", [{}], r"name the file or its folder after its task, one of wnli, rte, cola"),
        ("language-modelling", ["", " "], "holds no text"),
        ("sentiment", ["x"], "sentiment takes no file"),
    ],
)
def test_a_bad_file_is_one_clear_line(kind: str, lines: list[object], said: str, tmp_path: Path) -> None:
    file = write(tmp_path / "x.jsonl", *lines)
    with pytest.raises(TombolaError, match=said) as caught:
        open_abilities([f"{kind}={file}"])
    assert "\n" not in str(caught.value)


def test_names_of_abilities_are_checked(tmp_path: Path) -> None:
    with pytest.raises(
        TombolaError,
        match=r"unknown ability 'gramar'; did you mean grammar\? known: grammar, language-modelling, .*cloze",
    ):
        open_abilities(["gramar"])
    with pytest.raises(TombolaError, match=r"reasoning needs a file .*; give reasoning=FILE"):
        open_abilities(["reasoning"])
    with pytest.raises(TombolaError, match="does not exist"):
        open_abilities([f"cloze={tmp_path / 'gone.jsonl'}"])
    with pytest.raises(TombolaError, match="at least one ability"):
        open_abilities([])


def test_a_folder_of_tasks_runs_no_code_unless_it_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "find_spec", lambda _: "installed")
    monkeypatch.setattr(lm_eval_task, "knows", lambda *_: pytest.fail("its files were read"))
    with pytest.raises(TombolaError, match="allow it with --trust-remote-code"):
        open_abilities([f"mine={tmp_path}"])
    assert set(DEFAULT) <= {name for name, kind in SOURCES.items() if kind.bundled}


def test_several_files_of_one_kind_are_abilities_of_their_own(tmp_path: Path) -> None:
    rows = [{"query": f"Question: {i}", "choices": ["one", "three", "six"], "gold": i % 3} for i in range(5)]
    one, two = write(tmp_path / "piqa.jsonl", *rows), write(tmp_path / "arc.jsonl", *rows[:2])
    found = open_abilities([f"reasoning={one}", f"reasoning={two}"], rows=3)
    assert [(a.name, len(a.examples)) for a in found] == [("reasoning-piqa", 3), ("reasoning-arc", 2)]
    with pytest.raises(TombolaError, match="'reasoning-piqa' is there twice"):
        open_abilities([f"reasoning={one}", f"reasoning={one}"])


def test_questions_endings_and_entailment_are_asked_as_documented(tmp_path: Path) -> None:
    (question,) = reasoning(
        write(tmp_path / "r.jsonl", {"query": "Question: why?\n", "choices": ["so ", "not so"], "gold": 1})
    ).examples
    assert (question.context, question.choices) == ("Question: why?\nAnswer:", (" so", " not so"))
    (ending,) = cloze(write(tmp_path / "c.jsonl", {"context": "He said ", "continuation": "yes"})).examples
    assert (ending.context, ending.choices) == ("He said", (" yes",))
    rte = inference(write(tmp_path / "rte.jsonl", {"sentence1": "A", "sentence2": "B", "label": "not_entailment"}))
    assert rte.examples[0].context == "A\nQuestion: B True or False?\nAnswer:"
    assert rte.examples[0].choices[rte.examples[0].gold] == " False"
    assert rte.examples[0].free[0] == "N/A\nQuestion: N/A True or False?\nAnswer:"
    hub = inference(write(tmp_path / "rte2.jsonl", {"sentence1": "A", "sentence2": "B", "label": 0}))
    assert hub.examples[0].choices[hub.examples[0].gold] == " True"
    cola = tmp_path / "CoLA"
    cola.mkdir()
    (cola / "dev.tsv").write_text("x\t1\t\tIt works.\nx\t0\t*\tIt work.\n", encoding="utf-8")
    assert [e.choices[e.gold] for e in inference(cola / "dev.tsv").examples] == [" yes", " no"]


def test_sentiment_is_calibrated_on_content_free_inputs() -> None:
    rows = [{"text": t, "label": label} for t, label in (("awful", "rotten"), ("lovely", "zfresh"))]
    made = sentiment(Corpus.from_rows(rows, rows, ("text", None, "label")))
    assert [e.choices[e.gold] for e in made.examples] == [" negative", " positive"]
    assert made.examples[0].context == "Review: awful\nSentiment:"
    assert made.examples[0].free == ("Review: N/A\nSentiment:", "Review: [MASK]\nSentiment:", "Review: \nSentiment:")


FACTS = """: capital-world
Rome Italy Paris France
Rome Italy Bern Switzerland
: currency
Spain euro Italy euro
Spain euro Japan yen
: city-in-state
Reno Nevada Miami Florida
: gram6-nationality-adjective
Italy Italian France French
"""


def test_facts_are_ranked_among_others_of_their_kind(tmp_path: Path) -> None:
    file = tmp_path / "questions-words.txt"
    file.write_text(FACTS, encoding="utf-8")
    made = knowledge.load(file)
    by_group = Counter(e.group for e in made.examples)
    assert by_group == {"capital": 3, "country": 3, "currency": 3, "state": 2, "nationality": 2}
    for example in made.examples:
        assert len(set(example.choices)) == len(example.choices)
    right = {e.context: e.choices[e.gold] for e in made.examples}
    assert right["The capital of France is"] == " Paris"
    assert right["Paris is the capital of"] == " France"
    assert right["The currency of Spain is the"] == " euro"
    assert right["Reno is a city in the state of"] == " Nevada"
    # Two countries share the euro: it is one candidate, not two.
    (spain,) = (e for e in made.examples if e.where == "currency of Spain")
    assert sorted(spain.choices) == [" euro", " yen"]
    assert made == knowledge.load(file)
    (tmp_path / "bad.txt").write_text(": currency\nSpain euro Italy\n", encoding="utf-8")
    with pytest.raises(TombolaError, match=r"bad\.txt, line 2 has 3 words instead of 4"):
        knowledge.load(tmp_path / "bad.txt")


def test_chance_is_that_of_one_who_never_looks() -> None:
    def ability(*examples: Example) -> Ability:
        return Ability("x", "X", "choice", examples, "nowhere")

    assert ability(Example(("a", "b")), Example(("c", "d", "e", "f"))).chance == (1 / 2 + 1 / 4) / 2
    # Where the answers are always the same, one can always give the most common one.
    labels = [Example((" no", " yes"), gold, f"text {n}") for n, gold in enumerate((1, 1, 0, 1))]
    assert ability(*labels).chance == 3 / 4
    assert Ability("x", "X", "exact", (Example(("a",)),), "nowhere").chance == 0
    assert Ability("x", "X", "text", (Example(("a",)),), "nowhere").chance == 8


def test_samples_take_from_every_group_in_turn() -> None:
    groups = ["a"] * 80 + ["b"] * 15 + ["c"] * 5
    assert Counter(groups[i] for i in balanced(groups, 15, 0)) == {"a": 5, "b": 5, "c": 5}
    assert Counter(groups[i] for i in balanced(groups, 50, 0)) == {"a": 30, "b": 15, "c": 5}
    assert balanced(groups, 15, 0) == balanced(groups, 15, 0) != balanced(groups, 15, 1)
    ability = Ability("x", "X", "choice", tuple(Example((str(i), "b")) for i in range(9)), "nowhere")
    assert ability.sample(None) is ability.sample(20) is ability
    assert len(ability.sample(4).examples) == 4
    with pytest.raises(TombolaError, match="nowhere has no examples of x"):
        Ability("x", "X", "choice", (), "nowhere")


def test_a_text_file_is_parted_and_its_last_tenth_held_out(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("\ufeff" + "\r\n\r\n".join(f"Text {i}." for i in range(20)), encoding="utf-8")
    assert paragraphs(file)[:2] == ["Text 0.", "Text 1."]
    made = training_text(file)
    assert (len(made.train), made.dev) == (18, ("Text 18.", "Text 19."))
    file.write_text(" ".join(f"word{i}" for i in range(40)), encoding="utf-8")
    made = training_text(file)
    assert made.dev == ("word36 word37 word38 word39",)
    for content, said in (("\n\n", "holds no text"), ("alone", "a single word")):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(TombolaError, match=said):
            training_text(file)
    file.write_bytes(b"caf\xe9")
    with pytest.raises(TombolaError, match="byte 4 is not UTF-8"):
        training_text(file)


def test_what_is_held_out_does_not_depend_on_the_order() -> None:
    names = [f"text {i}" for i in range(50)]
    dev, train = rotten_tomatoes.hold_out(names, 10)
    assert len(dev) == 10
    assert not set(dev) & set(train)
    assert {*dev, *train} == set(names)
    assert set(rotten_tomatoes.hold_out(names[::-1], 10)[0]) == set(dev)
