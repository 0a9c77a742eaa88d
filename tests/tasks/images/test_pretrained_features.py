"""The space of a pre-trained network against transformers' own models and image processors, on photographs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    SiglipConfig,
    SiglipModel,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from tombola.foundations.errors import TombolaError
from tombola.metrics.image_metrics import fid, kid
from tombola.tasks.images.features import PretrainedNetwork

pytestmark = pytest.mark.slow

SIDE = 32
TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 8,
}
READER: dict[str, Any] = {**TOWER, "vocab_size": 30, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SQUARE: dict[str, Any] = {"height": SIDE, "width": SIDE}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small random networks, each in a folder as the hub has it."""
    home = tmp_path_factory.mktemp("networks")
    reader = {name: value for name, value in READER.items() if name not in ("image_size", "patch_size")}
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        models: dict[str, tuple[Any, Any]] = {
            "clip": (
                # The width that counts is the whole model's: the tower's own configuration says 512.
                CLIPModel(CLIPConfig(text_config=reader, vision_config=TOWER, projection_dim=20)),
                CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=SQUARE),
            ),
            "siglip": (
                SiglipModel(SiglipConfig(text_config=reader, vision_config=TOWER)),
                SiglipImageProcessorPil(size=SQUARE),
            ),
            "dinov2": (
                Dinov2Model(Dinov2Config(**{k: v for k, v in TOWER.items() if k != "intermediate_size"})),
                BitImageProcessorPil(size={"shortest_edge": 40}, crop_size=SQUARE),
            ),
            # A classifier's checkpoint has no pooler, which would be random.
            "vit": (ViTForImageClassification(ViTConfig(**TOWER)), ViTImageProcessorPil(size=SQUARE)),
        }
    for name, (model, processor) in models.items():
        model.save_pretrained(home / name)
        processor.save_pretrained(home / name)
    return home


def photographs(count: int, height: int = 75, width: int = 90, step: int = 41) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Parts of two photographs, uint8 [count, height, width, 3]."""
    found = []
    for number in range(count):
        whole = np.asarray(load_sample_images().images[number % 2])
        top, left = number * step % (whole.shape[0] - height), number * 67 % (whole.shape[1] - width)
        found.append(whole[top : top + height, left : left + width])
    return np.stack(found)


def as_drawn(pictures: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    return torch.from_numpy(pictures).movedim(-1, 1).float() / 127.5 - 1


PROCESSORS: dict[str, Any] = {
    "clip": CLIPImageProcessorPil,
    "siglip": SiglipImageProcessorPil,
    "dinov2": BitImageProcessorPil,
    "vit": ViTImageProcessorPil,
}


def expected(folder: Path, pictures: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    """Features by transformers' own whole models, of pictures that its own processors read."""
    kind = folder.name
    pixels = PROCESSORS[kind].from_pretrained(folder)(
        images=[Image.fromarray(one) for one in pictures], return_tensors="pt"
    )["pixel_values"]
    models: dict[str, Any] = {
        "clip": CLIPModel,
        "siglip": SiglipModel,
        "dinov2": Dinov2Model,
        "vit": ViTForImageClassification,
    }
    model = models[kind].from_pretrained(folder).eval()
    with torch.no_grad():
        if kind == "clip":
            found = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        elif kind == "siglip":
            found = model.vision_model(pixel_values=pixels).pooler_output
        elif kind == "dinov2":
            found = model(pixel_values=pixels).pooler_output
        else:
            found = model.vit(pixel_values=pixels).last_hidden_state[:, 0]
    assert isinstance(found, Tensor)
    return found


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("clip", "the projected image embedding of clip (CLIPVisionModelWithProjection, 20 features, unit "),
        ("siglip", "the pooled output of siglip (SiglipVisionModel, 32 features, unit "),
        ("dinov2", "the pooled output of dinov2 (Dinov2Model, 32 features, unit "),
        ("vit", "the class token of vit (ViTModel, 32 features, unit "),
    ],
)
def test_features_are_those_of_the_whole_model_and_its_processor(home: Path, kind: str, what: str) -> None:
    pictures = photographs(6)
    space = PretrainedNetwork(str(home / kind), as_drawn(pictures))
    assert space.name.startswith(what)
    found = space(as_drawn(pictures))
    assert found.dtype == torch.float32
    right = expected(home / kind, pictures)
    torch.testing.assert_close(found * space.unit + space.origin, right, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(space.origin, right.mean(0), rtol=1e-4, atol=1e-5)
    assert float(found.var(0).mean()) == pytest.approx(1, rel=1e-4)
    # A Fréchet distance is the network's own but for the unit.
    one, other = found[:3].numpy(), found[3:].numpy()
    distance = float(fid(right[:3].numpy(), right[3:].numpy()))
    assert float(fid(one, other)) * space.unit**2 == pytest.approx(distance, rel=1e-3)
    # What reads is not even made.
    names = [name for name, _ in space.network.named_parameters()]
    assert not [name for name in names if "text" in name or "token_embedding" in name]
    assert not any(parameter.requires_grad for parameter in space.network.parameters())


def test_images_are_prepared_as_by_the_processor_to_the_bit_and_as_by_pytorch_within_rounding(home: Path) -> None:
    pictures = photographs(4)
    space = PretrainedNetwork(str(home / "clip"), as_drawn(pictures))
    found = space.pixels(as_drawn(pictures))
    processor = CLIPImageProcessorPil.from_pretrained(home / "clip")
    of_files = processor(images=[Image.fromarray(one) for one in pictures], return_tensors="pt")["pixel_values"]
    assert torch.equal(found, of_files)
    # Another implementation of bicubic scaling that averages, in floats: Pillow rounds to 8 bits after each direction.
    ours = found * torch.tensor(processor.image_std).view(3, 1, 1) + torch.tensor(processor.image_mean).view(3, 1, 1)
    small = torch.nn.functional.interpolate(
        as_drawn(pictures) / 2 + 0.5, (SIDE, SIDE * 90 // 75), mode="bicubic", antialias=True
    ).clamp(0, 1)
    left = (small.shape[3] - SIDE) // 2
    apart = (ours - small[..., left : left + SIDE]).abs() * 255
    assert float(apart.max()) < 2.5
    assert float(apart.mean()) < 0.5


def test_neither_batch_nor_precision_nor_gradients_matter(home: Path) -> None:
    images = as_drawn(photographs(40))
    space = PretrainedNetwork(str(home / "clip"), images)
    found = space(images)
    torch.testing.assert_close(torch.cat([space(one[None]) for one in images]), found, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(space(images.requires_grad_()), found)
    grey = images.detach()[:, :1]
    torch.testing.assert_close(space(grey), space(grey.expand(-1, 3, -1, -1)))
    broken = grey.clone()
    broken[3, 0, 5, 5] = torch.nan
    assert space(broken).isnan().all(1).nonzero().tolist() == [[3]]


def test_the_kernel_distance_sees_more_than_the_mean_of_such_features(home: Path) -> None:
    """Origin and unit are what lets it: of features as networks give them, means are all that it compares."""
    images = as_drawn(photographs(300, 40, 40, step=13))[
        torch.randperm(300, generator=torch.Generator().manual_seed(0))
    ]
    space = PretrainedNetwork(str(home / "clip"), images)
    found = space(images).double()

    def deviations(features: Tensor) -> float:
        """How far images of the same mean, but a third of the spread, lie from real ones, in units of chance."""
        real, others = features[:150], features[150:]
        tame = real.mean(0) + (others - others.mean(0)) / 3
        chance = []
        for seed in range(40):
            order = torch.randperm(300, generator=torch.Generator().manual_seed(seed))
            chance.append(float(kid(features[order[:150]].numpy(), features[order[150:]].numpy())))
        return float(kid(tame.numpy(), real.numpy())) / float(np.std(chance))

    own = found * space.unit + space.origin
    assert deviations(found) > 10
    assert deviations(found) > 3 * deviations(own)
    assert deviations(found) > 3 * deviations(own / own.norm(dim=1, keepdim=True))


def test_bad_networks_are_one_line(home: Path, tmp_path: Path) -> None:
    def refused(folder: Path | str, words: str) -> None:
        with pytest.raises(TombolaError, match=words) as caught:
            PretrainedNetwork(str(folder), torch.zeros(4, 3, 16, 16))
        assert "\n" not in str(caught.value)

    def copy(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for path in (home / "dinov2").iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        return folder

    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=9)
    BertModel(config).save_pretrained(tmp_path / "bert")
    refused(tmp_path / "bert", "is a bert, which is no vision model; give the folder or hub id of a vision model")
    refused(tmp_path / "nowhere", "cannot take features from")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "cannot take features from")
    (copy("unprepared") / "preprocessor_config.json").unlink()
    refused(tmp_path / "unprepared", r"has no preprocessor_config\.json")
    weights = copy("pickled") / "model.safetensors"
    torch.save(Dinov2Model.from_pretrained(home / "dinov2").state_dict(), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    refused(tmp_path / "pickled", r"as a pickle \(pytorch_model.bin\), which Tombola does not open")
    weights = copy("cut") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    refused(tmp_path / "cut", "cannot take features from")
    (copy("other") / "model.safetensors").write_bytes((home / "vit" / "model.safetensors").read_bytes())
    refused(tmp_path / "other", r"lacks \d+ tensors of a Dinov2Model")
    # Prepared for another network: found out before anything is drawn.
    BitImageProcessorPil(size={"shortest_edge": 4}, crop_size={"height": 4, "width": 4}).save_pretrained(copy("small"))
    refused(tmp_path / "small", "cannot take features from|gives neither")
