"""A folder of images as a task: what is read from which files, what is held out, and what is refused."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from PIL import Image
from transformers import Dinov2Config, Dinov2Model
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

from builders.denoisers import KINDS
from builders.pipelines import vae
from builders.unets import unet
from tombola.checkpoints.model_libraries import load_any
from tombola.cli import main
from tombola.foundations.errors import TombolaError
from tombola.metrics.image_metrics import fid
from tombola.pruning.evaluation import score
from tombola.tasks.images.features import Classifier, RandomConvolutions
from tombola.tasks.images.image_folder import features, image_folder, read
from tombola.tasks.images.task import Images
from tombola.tickets.find_tickets import ticket_folder
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow


def picture(number: int, size: tuple[int, int] = (8, 8), bands: int = 1) -> Image.Image:
    rng = np.random.default_rng(number)
    values = rng.integers(0, 256, (size[1], size[0], bands), dtype=np.uint8)
    return Image.fromarray(values[..., 0] if bands == 1 else values)


def fill(folder: Path, count: int = 60, ending: str = "png", bands: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture(number + 1000 * len(folder.name), bands=bands).save(folder / f"{number}.{ending}")
    return folder


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    folder = tmp_path / "pipeline"
    DDPMPipeline(unet(torch.float32), DDPMScheduler(num_train_timesteps=50)).save_pretrained(folder)
    return folder


def test_pixels_are_those_of_the_files(tmp_path: Path) -> None:
    fill(tmp_path / "all")
    train, dev = read(tmp_path / "all", channels=1)
    assert (len(train), len(dev)) == (48, 12)
    expected = {np.asarray(picture(number + 3000)).tobytes() for number in range(60)}
    found = [((one + 1) * 127.5).round().to(torch.uint8).numpy().tobytes() for one in [*train.pixels, *dev.pixels]]
    assert set(found) == expected
    assert train.labels is dev.labels is None


def test_names_and_order_of_files_do_not_matter(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    fill(tmp_path / "two")
    for path in sorted((tmp_path / "two").iterdir()):
        path.rename(path.with_name(f"{99 - int(path.stem)}-x.PNG"))
    for a, b in zip(read(tmp_path / "one", channels=1), read(tmp_path / "two", channels=1), strict=True):
        assert torch.equal(a.pixels, b.pixels)


def test_copies_of_an_image_are_on_one_side(tmp_path: Path) -> None:
    fill(tmp_path / "all", 30)
    for path in list((tmp_path / "all").iterdir()):
        Image.open(path).save(path.with_suffix(".bmp"))
    train, dev = read(tmp_path / "all", channels=1)
    assert (len(train), len(dev)) == (48, 12)
    assert not {one.numpy().tobytes() for one in train.pixels} & {one.numpy().tobytes() for one in dev.pixels}


def test_subfolders_are_classes(tmp_path: Path) -> None:
    for name in ("cats", "dogs!", "x"):
        fill(tmp_path / "all" / name, 20)
    train, dev = read(tmp_path / "all", channels=1)
    assert train.labels is not None
    assert dev.labels is not None
    assert torch.cat([train.labels, dev.labels]).bincount().tolist() == [20, 20, 20]
    assert isinstance(features(train, dev), Classifier)
    assert "held-out" in features(train, dev).name
    # A single folder says nothing.
    assert read(tmp_path / "all" / ".." / "all" / "x", channels=1)[0].labels is None


def test_subfolders_may_be_the_splits(tmp_path: Path) -> None:
    for split, count in (("train", 30), ("val", 9)):
        for name in ("a", "bb"):
            fill(tmp_path / "all" / split / name, count)
    train, dev = read(tmp_path / "all", channels=1)
    assert (len(train), len(dev)) == (60, 18)
    assert dev.labels is not None
    assert dev.labels.bincount().tolist() == [9, 9]


def test_every_kind_of_picture_is_read(tmp_path: Path) -> None:
    grey = picture(1)
    for ending in ("png", "bmp", "gif", "tiff", "webp", "ppm"):
        options = {"lossless": True} if ending == "webp" else {}
        grey.save(tmp_path / f"grey.{ending}", **cast(Any, options))
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    wide.save(tmp_path / "wide.png")
    picture(2).save(tmp_path / "another.png")
    train, dev = read(tmp_path, channels=1)
    # All seven are copies, whatever their format: they stand on one side.
    assert sorted(len(one) for one in (train, dev)) == [1, 7]
    pixels = max((train, dev), key=len).pixels
    expected = torch.from_numpy(np.asarray(grey).copy()).float() / 127.5 - 1
    assert float((pixels - expected).abs().max()) < 1e-6
    colours, _ = read(fill(tmp_path / "rgb", 10, "jpg", bands=3), channels=3)
    assert colours.pixels.shape[1:] == (3, 8, 8)
    assert read(tmp_path / "rgb", channels=1)[0].pixels.shape[1] == 1
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    (tmp_path / "clear").mkdir()
    for number in range(2):
        clear.putpixel((0, 0), (number, 0, 0, 255))
        clear.save(tmp_path / "clear" / f"{number}.png")
    assert float(read(tmp_path / "clear", channels=3)[0].pixels[0, :, 1:].min()) == 1


def test_a_size_scales_and_crops(tmp_path: Path) -> None:
    for number in range(10):
        image = Image.new("RGB", (24, 8), (255, 0, number))
        image.paste((0, 255, number), (8, 0, 16, 8))
        image.save(tmp_path / f"{number}.png")
    picture(77, (5, 9), 3).save(tmp_path / "other.png")
    with pytest.raises(TombolaError, match=r"differ in size: 24 x 8 \(0\.png\) and 5 x 9 \(other\.png\)"):
        read(tmp_path, channels=3)
    train, dev = read(tmp_path, channels=3, size=4)
    middle = [one for one in [*train.pixels, *dev.pixels] if float(one[0].max()) < -0.7]
    assert train.pixels.shape[1:] == (3, 4, 4)
    # The middle third is green.
    assert len(middle) == 10


def test_bad_folders_are_one_line(tmp_path: Path, pipeline: Path) -> None:
    def refused(folder: Path, words: str, **options: Any) -> None:
        with pytest.raises(TombolaError, match=words) as caught:
            image_folder(folder, str(options.pop("model", pipeline)), **options)
        assert "\n" not in str(caught.value)

    refused(tmp_path / "none", "is no folder")
    refused(pipeline, "holds no images")
    folder = fill(tmp_path / "few", 6)
    refused(folder, r"has \d images to (train|dev) on; give at least 8")
    refused(fill(tmp_path / "one", 1), "too few to train")
    folder = fill(tmp_path / "bad")
    (folder / "17.png").write_bytes((folder / "17.png").read_bytes()[:60])
    (folder / "18.png").write_bytes(b"")
    (folder / "19.png").write_text("no picture")
    refused(folder, r"cannot read [^\n]*17\.png[^\n]*18\.png[^\n]*19\.png[^\n]*; remove or replace")
    for number in (17, 18, 19):
        (folder / f"{number}.png").unlink()
    (folder / "notes.txt").write_text("no picture either, and left alone")
    assert image_folder(folder, str(pipeline), steps=2).size("train") == 46
    picture(5, (16, 16)).save(folder / "large.png")
    refused(folder, "differ in size")
    sized = fill(tmp_path / "sized", 40)
    cast(Any, unet(torch.float32, sample_size=16)).save_pretrained(tmp_path / "larger")
    refused(
        sized,
        "8 x 8 pixels, the model draws 16 x 16; scale and crop them with --image-size 16",
        model=tmp_path / "larger",
    )
    assert image_folder(sized, str(tmp_path / "larger"), size=16).facts()["size"] == [1, 16, 16]
    (sized / "below").mkdir()
    picture(9).save(sized / "below" / "9.png")
    refused(sized, "both beside its subfolders and inside")
    for kind in ("flux", "unet of texts"):
        cast(Any, KINDS[kind].make(torch.float32)).save_pretrained(tmp_path / kind)
        refused(folder, "without its pipeline, whose VAE and condition", model=tmp_path / kind)
    cast(Any, vae()).save_pretrained(tmp_path / "vae")
    refused(folder, "a AutoencoderKL is not pruned on images; UNet2DModel, ", model=tmp_path / "vae")


def test_images_that_do_not_fit_into_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tombola.foundations.resources.memory", lambda: 1000)
    with pytest.raises(TombolaError, match="more than half of this machine's memory"):
        read(fill(tmp_path / "all"), channels=1)


def test_the_noise_is_that_of_the_pipeline(tmp_path: Path, pipeline: Path) -> None:
    one = image_folder(fill(tmp_path / "all"), str(pipeline), steps=2)
    assert cast(Any, one.sampler.schedule).config.num_train_timesteps == 50
    assert "random convolutions" in str(one.facts()["features"])
    assert one.title == "all"
    cast(Any, unet(torch.float32)).save_pretrained(tmp_path / "alone")
    other = image_folder(tmp_path / "all", str(tmp_path / "alone"))
    assert cast(Any, other.sampler.schedule).config.num_train_timesteps == 1000


def test_no_more_steps_are_drawn_than_were_trained(tmp_path: Path) -> None:
    model = unet(torch.float32)
    DDPMPipeline(model, DDPMScheduler(num_train_timesteps=10)).save_pretrained(tmp_path / "pipeline")
    own = image_folder(fill(tmp_path / "all"), str(tmp_path / "pipeline"))
    assert own.facts()["steps"] == own.sampler.steps == 10
    assert np.isfinite(score(model, own).score)


def test_images_are_compared_as_a_pretrained_network_sees_them(
    tmp_path: Path, pipeline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "image_size": 16, "patch_size": 8}
    sizes |= {"num_hidden_layers": 1, "num_attention_heads": 2}
    Dinov2Model(Dinov2Config(**sizes)).save_pretrained(tmp_path / "sees")
    square = {"height": 16, "width": 16}
    BitImageProcessorPil(size=square, crop_size=square).save_pretrained(tmp_path / "sees")
    # With classes too: the network that is asked for goes before their classifier.
    for name in ("a", "bb"):
        fill(tmp_path / "mine" / name, 30)
    one = image_folder(tmp_path / "mine", str(pipeline), feature_model=str(tmp_path / "sees"), steps=2)
    assert str(one.facts()["features"]).startswith("the pooled output of sees (Dinov2Model, 16 features, unit ")
    assert "class_imbalance" not in one.more
    assert one.references("dev").shape == (12, 16)
    command = ["score", "--model", str(pipeline), "--task", "images", "--data", str(tmp_path / "mine"), "--json"]
    scores = []
    for flags in (["--feature-model", str(tmp_path / "sees")], []):
        assert main([*command, *flags, "--bootstrap-resamples", "20"]) == 0
        scores.append(json.loads(capsys.readouterr().out))
    full = image_folder(tmp_path / "mine", str(pipeline), feature_model=str(tmp_path / "sees"))
    assert scores[0]["score"] == pytest.approx(score(load_any(str(pipeline)), full).score, rel=1e-4)
    assert scores[0]["score"] != pytest.approx(scores[1]["score"], rel=0.01)
    assert main([*command, "--feature-model", str(pipeline / "unet")]) == 2
    assert "cannot take features from" in capsys.readouterr().err


def test_random_convolutions_tell_sets_of_images_apart() -> None:
    def stripes(n: int, seed: int, noise: float) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        rows = torch.arange(16).remainder(2).float().expand(n, 1, 16, 16).clone()
        return rows * 2 - 1 + noise * torch.randn(n, 1, 16, 16, generator=generator)

    train = stripes(200, 0, 0.1)
    space = RandomConvolutions(train)
    torch.manual_seed(5)
    assert torch.equal(RandomConvolutions(train)(train), space(train))
    assert float(space(train).var(0).mean()) == pytest.approx(1, rel=1e-4)
    real = space(stripes(100, 1, 0.1)).numpy()

    def distance(noise: float) -> float:
        return float(fid(space(stripes(100, 2, noise)).numpy(), real))

    assert distance(0.1) < distance(0.2) < distance(0.5)
    turned = space(stripes(100, 2, 0.1).transpose(2, 3)).numpy()
    assert float(fid(turned, real)) > 5 * distance(0.1)


def test_the_classifier_of_large_images_sees_them_small() -> None:
    labels = torch.arange(40) % 2
    images = torch.zeros(40, 3, 48, 40) + (labels.float() - 0.5)[:, None, None, None]
    space = Classifier.train(images, labels)
    assert sum(parameter.numel() for parameter in space.network.parameters()) < 700_000
    assert (space.classify(space(images).numpy()) == labels.numpy()).all()
    assert Images(images, labels).labels is labels


@pytest.mark.exhaustive
def test_the_command_prunes_once(tmp_path: Path, pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "mine", 60)
    command = ["prune", "--model", str(pipeline), "--task", "images", "--data", str(tmp_path / "mine"), "--json"]
    assert main([*command, "--density", "heads=0.5,channels=0.75", "--out", str(tmp_path / "shares")]) == 0
    result = json.loads(capsys.readouterr().out)
    ticket = Ticket.load(ticket_folder(tmp_path / "shares"))
    assert (ticket.kind, ticket.counts()) == ("heads+channels", {"heads": 8, "channels": 24})
    model = load_any(str(pipeline))
    one = image_folder(tmp_path / "mine", str(pipeline))
    assert result["score"] == pytest.approx(score(model, one, ticket).score, rel=1e-4)
    assert result["full_score"] == pytest.approx(score(model, one).score, rel=1e-4)
    assert ticket.provenance["metric"] == "frechet_distance"
    assert main([*command, "--density", "0.5", "--out", str(tmp_path / "half")]) == 0
    assert Ticket.load(ticket_folder(tmp_path / "half")).counts() == {"heads": 8, "channels": 16}
    assert main([*command, "--density", "0.3", "--method", "weights", "--out", str(tmp_path / "weights")]) == 0
    assert (
        main(
            [
                "shrink",
                str(pipeline),
                str(tmp_path / "half"),
                "--out",
                str(tmp_path / "small"),
                "--no-measure",
            ]
        )
        == 0
    )
    capsys.readouterr()
    for flags, words in (
        (["--density", "mlps=0.5"], "has no MLPs to prune"),
        (["--density", "heads=2"], "must be a number from 0 to 1"),
        (["--density", "heads=0.5", "--method", "heads"], "leave --method out"),
        (["--density", "0.5", "--image-size", "7"], "multiples of 2"),
    ):
        assert main([*command, *flags, "--out", str(tmp_path / "no")]) == 2
        assert words in capsys.readouterr().err
    assert main([*command[:-3], "--density", "0.5", "--out", str(tmp_path / "no")]) == 2
    assert "needs the folder of your images" in capsys.readouterr().err


def test_the_command_searches(tmp_path: Path, pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "mine", 60)
    command = ["prune", "--model", str(pipeline), "--task", "images", "--data", str(tmp_path / "mine"), "--json"]
    options = ["--threshold", "1", "--heads-step", "0.25", "--neurons-step", "0.25", "--no-refine", "--continue"]
    assert main([*command, *options, "--out", str(tmp_path / "found")]) == 0
    result = json.loads(capsys.readouterr().out)
    ticket = Ticket.load(ticket_folder(tmp_path / "found"))
    assert ticket.kind == "heads+channels"
    assert result["heads"] == ticket.counts()["heads"]
