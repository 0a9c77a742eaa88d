"""The task of images: what it draws from which seed, what it scores, and the lottery tickets that run on it."""

import copy
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDPMScheduler
from torch import Tensor, nn

from builders.unets import UNET
from tombola import controls
from tombola.architectures.denoiser_preset import DenoiserPreset
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import Evaluation, EvaluationOptions, evaluate, score
from tombola.pruning.search.loop import search_ticket
from tombola.pruning.search.options import SearchOptions
from tombola.subnetworks.subnetwork import Subnetwork, masked, shrunk, whole
from tombola.tasks.base import Batch
from tombola.tasks.images.digit_networks import PRESETS
from tombola.tasks.images.digits import TRAIN, digits, splits
from tombola.tasks.images.task import Images, ImageTask, ImageTaskOptions
from tombola.tickets.ticket import Ticket
from tombola.training.loop import retrain, train
from tombola.training.recipe import Recipe, Rewinding


class Pooled:
    """Features without a network: means of quarters of the image."""

    name = "quarters"

    def __call__(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, 4).flatten(1)


def blobs(n: int, seed: int) -> Images:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(n, 1, 8, 8, generator=generator) * 0.5 - 1
    pixels[torch.arange(n), 0, torch.arange(n) % 8] += 1.2
    return Images(pixels, torch.arange(n) % 2)


def task(**options: Any) -> ImageTask:
    given: dict[str, Any] = {"steps": 4, "levels": 2, "presets": {"tiny": DenoiserPreset("UNet2DModel", UNET)}}
    return ImageTask(blobs(24, 0), blobs(16, 1), Pooled(), ImageTaskOptions(**given | options))


def test_the_loss_of_a_held_out_image_is_that_of_its_fixed_noise_and_timesteps() -> None:
    one = task()
    model = one.load("tiny", seed=0).eval()
    found = evaluate(whole(model), one, EvaluationOptions(batch_size=5))
    assert found.predictions.shape == (16, 4)
    (batch,) = one.batches("dev", 16)
    alphas = cast(Any, DDPMScheduler(beta_schedule="squaredcos_cap_v2")).alphas_cumprod
    for index in (0, 11):
        losses = []
        for level in range(2):
            t = int(batch.inputs["timesteps"][index, level])
            assert level * 500 <= t < (level + 1) * 500
            noise = batch.inputs["noise"][index, level]
            x = alphas[t].sqrt() * batch.inputs["images"][index] + (1 - alphas[t]).sqrt() * noise
            with torch.no_grad():
                losses.append(float((model(x[None], torch.tensor([t])).sample[0] - noise).square().mean()))
        assert float(found.losses[index]) == pytest.approx(np.mean(losses), rel=1e-4)


def test_samples_are_those_of_the_pipeline_that_is_saved(tmp_path: Path) -> None:
    one = task()
    model = one.load("tiny", seed=0)
    one.save(model, tmp_path)
    pipeline = DDIMPipeline.from_pretrained(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(index) for index in range(3)]
    images = pipeline(3, generator=generators, num_inference_steps=4, output_type="np").images
    # The pipeline's images go from 0 to 1.
    expected = torch.from_numpy(images).movedim(-1, 1) * 2 - 1
    torch.testing.assert_close(one.draw(model, count=3), expected, rtol=0, atol=1e-5)
    loaded = one.load(str(tmp_path), seed=0, state="trained")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    torch.testing.assert_close(one.draw(loaded, count=3), expected, rtol=0, atol=1e-5)


def test_the_score_is_that_of_the_features_of_the_samples() -> None:
    one = task()
    model = one.load("tiny", seed=0)
    found = score(model, one, options=EvaluationOptions(batch_size=7))
    features = Pooled()(one.draw(model, count=16)).double().numpy()
    np.testing.assert_allclose(found.predictions, features, atol=1e-5)
    references = Pooled()(blobs(16, 1).pixels).double().numpy()
    np.testing.assert_allclose(one.references("dev"), references, atol=1e-6)
    assert found.score == one.metric.score(found.predictions, references)


def test_nothing_depends_on_batches_or_on_what_ran_before() -> None:
    one = task()
    model = one.load("tiny", seed=0)
    first = evaluate(whole(model), one, EvaluationOptions(batch_size=16))
    torch.manual_seed(99)
    second = evaluate(whole(model), one, EvaluationOptions(batch_size=3))
    np.testing.assert_allclose(first.predictions, second.predictions, atol=1e-5)
    np.testing.assert_allclose(first.losses, second.losses, rtol=1e-4)


def test_training_noise_comes_from_the_seed_and_differs_between_epochs() -> None:
    one = task()

    def inputs(shuffle: int) -> list[Batch]:
        return list(one.batches("train", 10, shuffle=shuffle))

    first, again, other = inputs(1), inputs(1), inputs(2)
    assert [len(batch.indices) for batch in first] == [10, 10, 4]
    for a, b in zip(first, again, strict=True):
        assert (a.indices == b.indices).all()
        assert all(torch.equal(a.inputs[name], b.inputs[name]) for name in a.inputs)
    assert sorted(np.concatenate([batch.indices for batch in other])) == list(range(24))
    assert not torch.equal(first[0].inputs["noise"], other[0].inputs["noise"])
    assert "initial_noise" not in first[0].inputs


def test_splits_have_noise_of_their_own() -> None:
    one = task(search_rows=8)
    assert [one.size(split) for split in ("train", "search", "dev")] == [16, 8, 16]
    (dev,), (search,) = one.batches("dev", 16), one.batches("search", 16)
    noises = [
        batch.inputs[name][:8].flatten(1)[:, :64] for batch in (dev, search) for name in ("initial_noise", "noise")
    ]
    assert len({tuple(row.tolist()) for noise in noises for row in noise}) == 32


def test_the_floor_is_that_of_real_images() -> None:
    one = task()
    floor = one.floor
    assert set(floor) == {"frechet_distance", "kernel_distance", "precision", "recall"}
    mean, std = floor["frechet_distance"]
    noise = one.metric.score(one.guess("dev"), one.references("dev"))
    assert 0 < mean < noise
    assert std > 0
    assert one.metric.chance(cast(Any, one.references("dev"))) == pytest.approx(noise)


def test_velocity_is_learnt_where_the_schedule_says_so() -> None:
    one = task(schedule=DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"))
    (batch,) = one.batches("dev", 16)
    images, noise, timesteps = (batch.inputs[name] for name in ("images", "noise", "timesteps"))
    alphas = cast(Any, one.sampler.schedule).alphas_cumprod[timesteps].reshape(16, 2, 1, 1, 1)

    class Oracle(nn.Module):
        level = 0

        def forward(self, noisy: Tensor, timestep: Tensor, return_dict: bool) -> tuple[Tensor]:
            level, self.level = self.level, self.level + 1
            if level < 2:
                return (alphas[:, level].sqrt() * noise[:, level] - (1 - alphas[:, level]).sqrt() * images,)
            return (torch.zeros_like(noisy),)

    assert float(one.output(Oracle(), batch).losses.max()) < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("rewinding", ["init", "step-2"])
def test_iterative_magnitude_pruning_with_rewinding(rewinding: str, tmp_path: Path) -> None:
    one, recipe = task(), Recipe(epochs=2, learning_rate=1e-3, batch_size=8)
    rewind = Rewinding.parse(rewinding)
    model = one.load("tiny", seed=0, state=rewind.initial_state)
    initial = copy.deepcopy(model.state_dict())
    at_step = (rewind.step, lambda m: rewind.save_step(m, tmp_path)) if rewind.to == "step" else None
    train(model, one, recipe, seed=0, at_step=at_step)
    rewound = rewind.load(one, "tiny", seed=0, full=tmp_path).state_dict()
    assert (rewinding == "init") == all(torch.equal(tensor, initial[name]) for name, tensor in rewound.items())
    trained: list[Ticket] = []

    def again(ticket: Ticket) -> Subnetwork:
        trained.append(ticket)
        whole_model = rewind.load(one, "tiny", seed=0, full=tmp_path)
        return retrain(whole_model, ticket, one, recipe, seed=0, first_step=rewind.step)

    # A threshold that holds for three cuts at least: the tiny model draws noise as it is.
    options = SearchOptions(threshold=0.05, weights_step=0.5)
    found = search_ticket(
        model, one, "weights", evaluation=EvaluationOptions(batch_size=16), options=options, retrain=again
    )
    anatomy = dissect(model)
    assert len(trained) >= 3
    kept = [len(ticket) / anatomy.weights for ticket in trained[:3]]
    assert kept == pytest.approx([0.5, 0.25, 0.125], abs=1e-3)
    assert trained[2] <= trained[1] <= trained[0]
    # Cut by the magnitudes of the trained network, of all matrices together, convolutions among them.
    values = torch.cat([parameter.detach().abs().flatten() for _, parameter in anatomy.prunable(model)])
    mask = torch.cat([trained[0].masks[matrix.name].flatten() for matrix in anatomy.matrices])
    assert float(values[mask].min()) >= float(values[~mask].max())
    assert {matrix.shape for matrix in anatomy.matrices if len(matrix.shape) == 4}
    part = retrain(
        rewind.load(one, "tiny", seed=0, full=tmp_path), trained[1], one, recipe, seed=0, first_step=rewind.step
    )
    for matrix, parameter in anatomy.prunable(part.model):
        gone = ~trained[1].masks[matrix.name]
        assert (parameter[gone] == 0).all()
        if not gone.all():
            assert not torch.equal(parameter[~gone], rewound[matrix.parameter][~gone])
    for name in ("random", "layer_matched"):
        control = getattr(controls, name)(found.good, 0)
        assert len(control) == len(found.good)
        assert np.isfinite(evaluate(masked(model, control), one, EvaluationOptions(batch_size=16)).score)
    assert len(controls.bad(found, model)) == len(found.good)


def test_a_search_of_heads_and_channels(tmp_path: Path) -> None:
    one = task()
    model = one.load("tiny", seed=0)
    options = SearchOptions(threshold=0.3, heads_step=0.25, neurons_step=0.25, refine=False)
    found = search_ticket(model, one, "heads+channels", evaluation=EvaluationOptions(batch_size=16), options=options)
    assert (found.passes[0].heads, found.passes[0].channels, found.passes[0].mlps) == (16, 32, 0)
    assert len(found.passes) > 1
    assert (found.passes[1].heads, found.passes[1].channels) == (12, 24)
    small, gated = (
        evaluate(part, one, EvaluationOptions(batch_size=16))
        for part in (shrunk(model, found.good), masked(model, found.good))
    )
    np.testing.assert_allclose(small.predictions, gated.predictions, atol=1e-4)
    found.save(tmp_path)
    assert type(found).load(tmp_path).good == found.good
    control = controls.bad(found, model)
    assert control.counts() == found.good.counts()
    small.write(tmp_path / "evaluation")
    assert (Evaluation.read(tmp_path / "evaluation").predictions == small.predictions).all()


@pytest.mark.slow
def test_digits_are_scikit_learns() -> None:
    train_images, dev = splits()
    assert (len(train_images), len(dev)) == (TRAIN, 597)
    assert (float(train_images.pixels.min()), float(train_images.pixels.max())) == (-1.0, 1.0)
    one = digits(steps=2, dev_rows=200)
    space = cast(Any, one.feature_space)
    right = space.classify(one.features_of(dev.pixels)) == cast(Tensor, dev.labels).numpy()
    assert right.mean() > 0.96
    # The unit of the features.
    assert one.features_of(train_images.pixels).var(0).mean() == pytest.approx(1, abs=0.01)
    assert (one.features_of(dev.pixels) == digits(steps=2).features_of(dev.pixels)).all()
    low, high = one.floor["frechet_distance"][0], one.metric.chance(cast(Any, one.references("dev")))
    assert low < high / 5
    model = one.load("unet-16-32", seed=0)
    assert sum(parameter.numel() for parameter in model.parameters()) == 176_849
    assert np.isfinite(
        evaluate(whole(model), digits(steps=1, levels=1, dev_rows=8), EvaluationOptions(batch_size=8)).score
    )
    assert set(PRESETS) == {"unet-16-32", "unet-32-64"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train_rows": 4}, "has 4 images to train on; give at least 8"),
        ({"search_rows": 24}, "cannot hold 24 of 24 training rows out"),
    ],
)
def test_too_few_images_are_refused(change: dict[str, int], said: str) -> None:
    with pytest.raises(TombolaError, match=said):
        task(**change)


def test_images_of_two_sizes_are_refused() -> None:
    with pytest.raises(TombolaError, match="training images are 8 x 8 of 1 channels, held-out ones 4 x 8"):
        ImageTask(blobs(24, 0), Images(torch.zeros(8, 1, 4, 8)), Pooled())


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds neither a pipeline"),
        (
            {"model_index.json": {"_class_name": "StableAudioPipeline", "vae": ["diffusers", "AutoencoderKL"]}},
            "without",
        ),
        ({"config.json": {"_class_name": "AutoencoderNothing"}}, "holds a AutoencoderNothing, which is no model"),
        ({"config.json": {"_class_name": "UNet2DModel", **UNET}}, "cannot load a denoiser"),
    ],
)
def test_what_is_no_denoiser_is_refused(files: dict[str, Any], said: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(TombolaError, match=said) as caught:
        task().load(str(tmp_path), seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"in_channels": 3}, "the images have 1 channels, the UNet2DModel takes 3"),
        ({"num_class_embeds": 4}, "draws from a class"),
        (
            {
                "block_out_channels": (8,) * 5,
                "down_block_types": ("DownBlock2D",) * 5,
                "up_block_types": ("UpBlock2D",) * 5,
            },
            "multiples of 16",
        ),
    ],
)
def test_denoisers_of_other_images_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(TombolaError, match=said):
        task(presets={"tiny": DenoiserPreset("UNet2DModel", {**UNET, **options})}).load("tiny", seed=0)


def test_a_split_that_is_not_there_is_refused() -> None:
    with pytest.raises(TombolaError, match="has no split 'search'; it has train, dev"):
        task().size("search")
