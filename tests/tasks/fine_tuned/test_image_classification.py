"""Image classification: scores and importance against a ViT's own forward pass, folders and rows of images."""

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from builders.task_types import image_processor, image_rows, vit
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import EvaluationOptions, evaluate, score
from tombola.pruning.weight_criteria import WeightCut
from tombola.pruning.weight_pruning import prune_weights
from tombola.subnetworks.subnetwork import shrunk, whole
from tombola.tasks.data.labelled_images import folder_rows, is_image_folder
from tombola.tasks.fine_tuned.image_classification import ImageClassificationTask
from tombola.tickets.ticket import Ticket
from tombola.training.loop import train
from tombola.training.recipe import Recipe

DEV = image_rows(30, 2)


def build(rows: Any = None, dev: Any = None, **options: Any) -> ImageClassificationTask:
    return ImageClassificationTask.from_rows(rows or image_rows(40, 1), dev or DEV, image_processor(), **options)


def plain(model: nn.Module, row: dict[str, Any]) -> torch.Tensor:
    pixels = image_processor()(row["image"], return_tensors="pt")["pixel_values"]
    found: torch.Tensor = model(pixel_values=pixels).logits
    return found


@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_score_is_that_of_the_models_own_forward_pass(batch_size: int) -> None:
    task, model = build(), vit()
    found = score(model, task, options=EvaluationOptions(batch_size=batch_size))
    with torch.no_grad():
        logits = torch.cat([plain(model, row) for row in DEV])
    labels = torch.tensor([("green", "red").index(row["label"]) for row in DEV])
    assert found.predictions.tolist() == logits.argmax(1).tolist()
    np.testing.assert_allclose(found.losses, nn.functional.cross_entropy(logits, labels, reduction="none"), atol=1e-5)
    assert found.score == pytest.approx(float((logits.argmax(1) == labels).double().mean()))


def test_importance_tells_what_deleting_a_head_for_real_does() -> None:
    """To first order: a head of which little comes out changes the loss as its gradient says."""
    task, model = build(), vit(scale=0.1)
    with torch.no_grad():
        model.vit.layers[1].attention.o_proj.weight[:, 8:16] *= 1e-2
    evaluation = evaluate(whole(model), task, importance=True)
    assert evaluation.importance is not None
    anatomy = dissect(model)
    heads = torch.ones(anatomy.heads, dtype=torch.bool)
    heads[1, 1] = False
    masks = {"heads": heads, "mlps": torch.ones(anatomy.mlps, dtype=torch.bool)}
    without = evaluate(shrunk(model, Ticket("heads+mlps", anatomy.signature, masks)), task).losses
    changes = np.abs(without.astype(np.float64) - evaluation.losses)
    assert changes.max() > 1e-5
    assert float(evaluation.importance["heads"][1, 1]) == pytest.approx(changes.mean(), rel=0.05)


def test_wanda_and_training_take_images() -> None:
    task, model = build(image_rows(120, 1)), vit(scale=0.05)
    ticket = prune_weights(model, WeightCut("wanda", 0.5), calibration=task.calibration_text(32, 16, 0)).ticket
    assert ticket.sparsity(dissect(model)) == pytest.approx(0.5)
    train(model, task, Recipe(epochs=4, batch_size=16, learning_rate=5e-3), seed=0)
    assert score(model, task).score > 0.9


def test_folders_of_classes_and_data_sets_are_the_same_images(tmp_path: Path) -> None:
    for split, rows in (("train", image_rows(8, 1)), ("validation", DEV)):
        for number, row in enumerate(rows):
            home = tmp_path / split / row["label"]
            home.mkdir(parents=True, exist_ok=True)
            row["image"].save(home / f"{number:03}.png")
    assert is_image_folder(tmp_path)
    assert not is_image_folder(tmp_path / "train" / "red")
    found = folder_rows(tmp_path)
    task, model = build(found["train"], found["dev"]), vit()
    expected = score(model, build())
    labels = [row["label"] for row in DEV]
    order = sorted(range(len(DEV)), key=lambda index: (labels[index], index))
    assert score(model, task).predictions.tolist() == expected.predictions[order].tolist()
    assert [task.classes[label] for label in task.references("dev")] == [labels[index] for index in order]
    # As bytes, as a hub data set holds them, and with names of its own for the ids.
    saved = []
    for row in DEV:
        file = io.BytesIO()
        row["image"].save(file, "png")
        saved.append({"image": {"bytes": file.getvalue(), "path": None}, "label": ("red", "green").index(row["label"])})
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["red", "green"]))
    stored = datasets.Dataset.from_list(saved, features=features)
    again = score(model, build(stored, stored))
    assert again.score == expected.score
    assert again.predictions.tolist() == (1 - expected.predictions).tolist()


def test_images_that_do_not_fit_are_one_clear_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    task = build(dev=[*DEV, {"image": str(broken), "label": "red"}])
    with pytest.raises(TombolaError, match=r"cannot read .*broken\.png \(.*\); remove or replace it"):
        score(vit(), task)
    with pytest.raises(TombolaError, match=r"dev row 30 .* has '3' where an image should be"):
        build(dev=[*DEV, {"image": 3, "label": "red"}])
    with pytest.raises(TombolaError, match="label 'blue' is unknown in training; known: green, red"):
        build(dev=[*DEV, {"image": DEV[0]["image"], "label": "blue"}])
    large = ImageClassificationTask.from_rows(DEV, DEV, type(image_processor())(size={"height": 32, "width": 32}))
    with pytest.raises(TombolaError, match="reads images of 3 channels and 16 x 16 pixels, and its image processor"):
        large.checked(vit())


def test_a_camera_says_what_is_up() -> None:
    picture = Image.fromarray(np.arange(20 * 14 * 3).astype(np.uint8).reshape(20, 14, 3))
    exif = picture.getexif()
    exif[0x0112] = 6
    file = io.BytesIO()
    picture.save(file, "png", exif=exif)
    task = build(dev=[{"image": file.getvalue(), "label": "red"}, DEV[0]])
    assert task.splits["dev"].image(0).size == (20, 14)


def test_a_ranking_class_weights_and_outputs_in_another_order() -> None:
    task, model = build(image_rows(120, 1), score="roc_auc"), vit()
    found = score(model, task)
    with torch.no_grad():
        pixels = torch.cat([image_processor()(row["image"], return_tensors="pt")["pixel_values"] for row in DEV])
        alone = model(pixels).logits.softmax(-1)[:, 1].numpy()
    labels = [row["label"] == "red" for row in DEV]
    assert found.score == pytest.approx(roc_auc_score(labels, alone))
    right = task.references("dev")
    assert "run against those of your-data (roc_auc" in str(task.misread(1 - right.astype(float), "dev"))
    with pytest.raises(TombolaError, match="roc_auc and accuracy cannot score one model"):
        build(score="roc_auc", search="accuracy")
    rare = [row for row in image_rows(60, 1) if row["label"] == "red"] + image_rows(9, 3)
    plain, balanced = build(rare), build(rare, class_weights="balanced")
    weights = compute_class_weight("balanced", classes=np.array([0, 1]), y=plain.references("train"))
    for ours, theirs in zip(balanced.batches("train", 8), plain.batches("train", 8), strict=True):
        wanted = plain.output(model, theirs).losses.detach() * torch.from_numpy(weights[ours.targets.numpy()])
        np.testing.assert_allclose(balanced.output(model, ours).losses.detach(), wanted, rtol=1e-5)
    assert plain.misread(right, "dev") is None
    assert "name them in id2label of its config.json (0: red, 1: green)" in str(plain.misread(1 - right, "dev"))
