"""Other people's masks: read as they are, or refused in one line that names the file."""

import io
import operator
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from builders.encoders import classifier
from builders.ticket_trees import save, tree
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.subnetwork import shrunk
from tombola.tickets.find_tickets import find_tickets
from tombola.tickets.import_masks import import_masks, imported_signature, read_masks
from tombola.tickets.ticket import Ticket


def test_a_tree_becomes_tickets_with_the_same_masks(tmp_path: Path) -> None:
    masks = tree(tmp_path / "in", {"CoLA": ["0", "1"], "SST-2": ["seed_3", "seed-10", "best"]})
    made = import_masks(tmp_path / "in", tmp_path / "out")
    assert len(made) == 5
    places = {
        ("CoLA", "0"): "CoLA/seed-0",
        ("CoLA", "1"): "CoLA/seed-1",
        ("SST-2", "seed_3"): "SST-2/seed-3",
        ("SST-2", "seed-10"): "SST-2/seed-10",
        ("SST-2", "best"): "SST-2/seed-best",
    }
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").glob("*/*")) == sorted(
        places.values()
    )
    for (task, seed), place in places.items():
        ticket = Ticket.load(tmp_path / "out" / place / "good")
        heads, mlps = masks[task, seed]
        assert ticket.kind == "heads+mlps"
        assert ticket.heads.double().numpy().tolist() == heads.tolist()
        assert ticket.mlps.double().numpy().tolist() == mlps.tolist()
        assert ticket.architecture == imported_signature((3, 4), 3)
        assert ticket.provenance["task"] == task
        assert ticket.provenance["imported_from"] == str(tmp_path / "in" / task / seed)
    found = find_tickets([tmp_path / "out"])["heads+mlps"]
    assert {task: [one.seed for one in several] for task, several in found.items()} == {
        "CoLA": ["0", "1"],
        "SST-2": ["3", "10", "best"],
    }


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float16, np.float32, ">f8"])
def test_any_real_type_and_order_will_do(dtype: str | type, tmp_path: Path) -> None:
    heads = np.asfortranarray(np.array([[1, 0, 0], [0, 1, 1]]).astype(dtype))
    save(tmp_path / "in" / "t" / "0", heads, np.array([1, 0]).astype(dtype))
    (one,) = read_masks(tmp_path / "in")
    assert one.ticket.heads.tolist() == [[True, False, False], [False, True, True]]
    assert one.ticket.mlps.tolist() == [True, False]


def test_imported_tickets_combine_with_each_other_and_fit_no_model(tmp_path: Path) -> None:
    tree(tmp_path / "small", {"a": ["0", "1"]})
    tree(tmp_path / "large", {"a": ["0"]}, layers=4)
    one, other = (found.ticket for found in read_masks(tmp_path / "small"))
    (large,) = (found.ticket for found in read_masks(tmp_path / "large"))
    assert len(one & other) + len(one | other) == len(one) + len(other)
    with pytest.raises(TombolaError, match="cannot be combined"):
        operator.and_(one, large)
    model = classifier()
    assert dissect(model).heads == (3, 4)
    with pytest.raises(TombolaError, match=r"fits imported-3x4-.*import-masks --model"):
        shrunk(model, one)


def test_masks_bound_to_a_model_are_its_tickets(tmp_path: Path) -> None:
    tree(tmp_path / "in", {"a": ["0"]})
    anatomy = dissect(classifier())
    import_masks(tmp_path / "in", tmp_path / "out", anatomy, "my-bert")
    ticket = Ticket.load(tmp_path / "out" / "a" / "seed-0" / "good")
    ticket.check(anatomy)
    assert ticket.provenance["model"] == "my-bert"
    tree(tmp_path / "other", {"a": ["0"]}, heads=5)
    with pytest.raises(TombolaError, match=r"are for 3 layers of 5 heads, my-bert has 3 x 4 heads and 3 MLPs"):
        import_masks(tmp_path / "other", tmp_path / "nothing", anatomy, "my-bert")
    assert not (tmp_path / "nothing").exists()


def test_what_is_hidden_or_lies_beside_is_passed_over(tmp_path: Path) -> None:
    tree(tmp_path / "in", {"a": ["0"], ".git": ["0"]})
    (tmp_path / "in" / "README.md").write_text("masks")
    (tmp_path / "in" / "a" / "notes.txt").write_text("")
    (tmp_path / "in" / "a" / "0" / "scores.npy").write_text("")
    (tmp_path / "in" / "a" / ".ipynb_checkpoints").mkdir()
    assert [(one.task, one.seed) for one in read_masks(tmp_path / "in")] == [("a", "0")]


def saved(array: object) -> Callable[[Path], object]:
    return lambda path: np.save(path, array, allow_pickle=True)  # type: ignore[arg-type]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def archive(path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.npy", path.read_bytes())
    path.write_bytes(buffer.getvalue())


def promise_much(path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000000000), }"
    header += b" " * (117 - len(header)) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


ONES = np.ones((3, 4))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut, "no NumPy array of numbers"),
        (lambda path: path.write_bytes(b""), "no NumPy array of numbers"),
        (lambda path: path.write_text("1 0 1"), "no NumPy array of numbers"),
        (archive, "no NumPy array of numbers"),
        (promise_much, "no NumPy array of numbers"),
        (saved(np.full((3, 4), None)), "no NumPy array of numbers"),
        (saved(np.full((3, 4), "1")), "is of type <U1"),
        (saved(ONES * 1j), "is of type complex128"),
        (saved(np.zeros((3, 4), dtype=[("a", "f4")])), "is of type"),
        (saved(ONES * 0.5), r"holds 0\.5 at \[0, 0\].*12 of 12"),
        (saved(-ONES), r"holds -1\.0"),
        (saved(np.where(np.arange(12).reshape(3, 4) == 6, np.nan, ONES)), r"holds nan at \[1, 2\].*1 of 12"),
        (saved(ONES * np.inf), "holds inf"),
        (saved(np.ones(3)), r"has the shape \[3\], a mask here is \[layers, heads\]"),
        (saved(np.ones((3, 0))), r"has the shape \[3, 0\]"),
        (saved(np.ones((2, 4))), "has 2 layers, mlp_mask.npy beside it 3"),
        (saved(np.ones((3, 5))), "for 3 layers of 5 heads, those of .* for 3 layers of 4 heads"),
        (Path.unlink, r"has no head_mask\.npy; add"),
        (a_folder, r"has no head_mask\.npy; add"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_bad_mask_is_refused_in_one_line_and_nothing_is_written(
    spoil: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    tree(tmp_path / "in", {"a": ["0", "1"], "b": ["0"]})
    path = tmp_path / "in" / "b" / "0" / "head_mask.npy"
    spoil(path)
    with pytest.raises(TombolaError, match=said) as caught:
        import_masks(tmp_path / "in", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert str(path.parent) in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "does not exist"),
        (lambda folder: folder.write_text(""), "is a file"),
        (lambda folder: folder.mkdir(), "there are no masks in"),
        (lambda folder: (folder / "a").mkdir(parents=True), "there are no masks in"),
        (lambda folder: (folder / "a" / "0").mkdir(parents=True), r"has no head_mask\.npy; add"),
        (lambda folder: save(folder / "0", ONES, ONES[:, 0]), "lies at the wrong depth"),
        (lambda folder: save(folder / "a" / "b" / "0", ONES, ONES[:, 0]), "lies at the wrong depth"),
        (lambda folder: tree(folder, {"a": ["1", "seed-1"]}), "are of seed 1"),
    ],
)
def test_a_bad_tree_is_refused_in_one_line(make: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    make(tmp_path / "in")
    with pytest.raises(TombolaError, match=said) as caught:
        import_masks(tmp_path / "in", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "sprung",)  # type: ignore[return-value]

    tree(tmp_path / "in", {"a": ["0"]})
    np.save(tmp_path / "in" / "a" / "0" / "mlp_mask.npy", np.array([Trap()] * 3), allow_pickle=True)
    with pytest.raises(TombolaError):
        read_masks(tmp_path / "in")
    assert not (tmp_path / "sprung").exists()


def test_a_taken_folder_is_left_alone(tmp_path: Path) -> None:
    tree(tmp_path / "in", {"a": ["0"]})
    import_masks(tmp_path / "in", tmp_path / "out")
    with pytest.raises(TombolaError, match="exists"):
        import_masks(tmp_path / "in", tmp_path / "out")
    assert torch.equal(
        Ticket.load(tmp_path / "out" / "a" / "seed-0" / "good").heads, read_masks(tmp_path / "in")[0].ticket.heads
    )


def test_masks_of_heads_alone_are_tickets_of_heads(tmp_path: Path) -> None:
    model = classifier()
    masks = tree(tmp_path / "in", {"CoLA": ["0", "1"]})
    for path in (tmp_path / "in").rglob("mlp_mask.npy"):
        path.unlink()
    for anatomy in (None, dissect(model)):
        made = import_masks(tmp_path / "in", tmp_path / f"out-{anatomy is None}", anatomy)
        for one in made:
            assert one.ticket.kind == "heads"
            assert [*one.ticket.masks] == ["heads"]
            assert one.ticket.heads.double().numpy().tolist() == masks[one.task, one.seed][0].tolist()
            assert [*cast(dict[str, str], one.ticket.provenance["sha256"])] == ["head_mask.npy"]
    again = Ticket.load(tmp_path / "out-False" / "CoLA" / "seed-0" / "good")
    assert shrunk(model, again).ticket == again
    # One that lacks among others that have it is a mistake.
    np.save(tmp_path / "in" / "CoLA" / "1" / "mlp_mask.npy", np.ones(3))
    with pytest.raises(TombolaError, match=r"CoLA/0 has no mlp_mask\.npy; add the masks"):
        read_masks(tmp_path / "in")
