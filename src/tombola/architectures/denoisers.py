"""Denoisers of diffusers as data: what each class is given, what it predicts, and which images it takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn

from tombola.foundations.errors import TombolaError

_TOKENS = 77
"""Length of a text that a denoiser is given: CLIP's."""


@dataclass(frozen=True)
class DenoiserClass:
    """A class of denoisers.

    Attributes:
        inputs: dummy inputs of its forward pass.
        part: what pipelines call it; also the subfolder.
        conditional: whether it needs more than an image and a timestep: a text or a class.
        flow: whether it predicts the direction of a flow, rather than the noise.
        square: whether its images are as high as they are wide.
        packed: whether its tokens are squares of 2 x 2 values, and it is told where they are (Flux).
        side: of the latents that its pipeline draws by default, where its configuration never says it.
    """

    inputs: Callable[["_Dummies"], dict[str, Any]]
    part: str = "transformer"
    conditional: bool = True
    flow: bool = False
    square: bool = False
    packed: bool = False
    side: int | None = None


def class_of_denoiser(model: nn.Module) -> DenoiserClass:
    """The entry of a denoiser in the table of classes.

    Raises:
        TombolaError: there is none.
    """
    name = type(model).__name__
    if name not in DENOISER_CLASSES:
        raise TombolaError(
            f"it is not known what a {name} takes; Tombola knows the denoisers {', '.join(DENOISER_CLASSES)}"
        )
    return DENOISER_CLASSES[name]


def image_side(model: nn.Module) -> int:
    """The side of a denoiser's images (the latent ones) in pixels, as its configuration says; else 32."""
    size = cast(Mapping[str, Any], model.config).get("sample_size") or 32
    return size if isinstance(size, int) else int(min(size))


def denoiser_inputs(model: nn.Module, batch: int, size: int | None = None) -> dict[str, Any]:
    """Dummy inputs of a denoiser: the same noise, timesteps and conditions each time, of its dtype and device.

    The images (the latent ones) have sides of `size` pixels; by default as the configuration says.

    Raises:
        TombolaError: what its class takes is not known.
    """
    return class_of_denoiser(model).inputs(_Dummies(model, batch, size or image_side(model)))


def predict(model: nn.Module, noisy: Tensor, timesteps: Tensor, **condition: Any) -> Tensor:
    """Prediction of a denoiser for noisy images [batch, channels, height, width] at timesteps, int64 [batch].

    `condition` holds its further arguments, of a text or a class.
    """
    known = DENOISER_CLASSES.get(type(model).__name__)
    if known is not None and known.packed:
        return _predict_packed(model, noisy, timesteps, condition)
    found: Tensor = model(noisy, timestep=timesteps, **condition, return_dict=False)[0]
    # Where it also says how sure it is, that comes second.
    return found[:, : noisy.shape[1]]


def _predict_packed(model: nn.Module, noisy: Tensor, timesteps: Tensor, condition: Mapping[str, Any]) -> Tensor:
    """Prediction of Flux: its tokens are squares of 2 x 2, it is told where they are, and times from 0 to 1."""
    _, channels, height, width = noisy.shape
    high, wide = height // 2, width // 2
    places = _positions(model, high, wide, noisy)
    tokens = noisy.view(-1, channels, high, 2, wide, 2).permute(0, 2, 4, 1, 3, 5).reshape(len(noisy), -1, channels * 4)
    text = condition["encoder_hidden_states"]
    found: Tensor = model(
        tokens,
        timestep=timesteps / 1000,
        img_ids=places,
        txt_ids=places.new_zeros(text.shape[1], places.shape[1]),
        **condition,
        return_dict=False,
    )[0]
    return found.view(-1, high, wide, channels, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(noisy.shape)


def _positions(model: nn.Module, high: int, wide: int, like: Tensor) -> Tensor:
    """Positions of the tokens of an image, [high x wide, axes], of the dtype and device of `like`."""
    axes = len(cast(Mapping[str, Any], model.config)["axes_dims_rope"])
    places = torch.zeros(high, wide, axes, device=like.device, dtype=like.dtype)
    places[..., 1] = torch.arange(high, device=like.device)[:, None]
    places[..., 2] = torch.arange(wide, device=like.device)
    return places.view(-1, axes)


class _Dummies:
    def __init__(self, model: nn.Module, batch: int, side: int) -> None:
        self.model, self.batch, self.side = model, batch, side
        self.config = cast(Mapping[str, Any], model.config)
        self.like = next(model.parameters())
        self._generator = torch.Generator().manual_seed(0)

    def noise(self, *shape: int) -> Tensor:
        drawn = torch.randn(self.batch, *shape, generator=self._generator)
        return drawn.to(self.like.device, self.like.dtype)

    def image(self) -> Tensor:
        return self.noise(self.config["in_channels"], self.side, self.side)

    def timesteps(self) -> Tensor:
        return torch.linspace(1, 999, self.batch).long().to(self.like.device)

    def text(self, setting: str) -> Tensor:
        """Hidden states of a text [batch, tokens, width], whose width is a setting."""
        width: int | Sequence[int] = self.config[setting]
        return self.noise(_TOKENS, width if isinstance(width, int) else width[0])


def _unet(dummies: _Dummies) -> dict[str, Any]:
    return {"sample": dummies.image(), "timestep": dummies.timesteps()}


def _transformer(dummies: _Dummies) -> dict[str, Any]:
    return {"hidden_states": dummies.image(), "timestep": dummies.timesteps()}


def _text_unet(dummies: _Dummies) -> dict[str, Any]:
    found, config = _unet(dummies), dummies.config
    found["encoder_hidden_states"] = dummies.text("cross_attention_dim")
    if config.get("addition_embed_type") == "text_time":
        # Six numbers of sizes and crops, and the pooled text fills up the rest.
        rest = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
        found["added_cond_kwargs"] = {"text_embeds": dummies.noise(rest), "time_ids": dummies.noise(6)}
    return found


def _dit(dummies: _Dummies) -> dict[str, Any]:
    labels = torch.arange(dummies.batch).remainder(dummies.config["num_embeds_ada_norm"])
    return _transformer(dummies) | {"class_labels": labels.to(dummies.like.device)}


def _pixart(dummies: _Dummies) -> dict[str, Any]:
    found = _transformer(dummies) | {"encoder_hidden_states": dummies.text("caption_channels")}
    sizes = {"resolution": dummies.noise(2), "aspect_ratio": dummies.noise(1)}
    return found | {"added_cond_kwargs": sizes if dummies.model.use_additional_conditions else dict.fromkeys(sizes)}


def _texts(dummies: _Dummies) -> dict[str, Any]:
    pooled = dummies.config["pooled_projection_dim"]
    return {"encoder_hidden_states": dummies.text("joint_attention_dim"), "pooled_projections": dummies.noise(pooled)}


def _flux(dummies: _Dummies) -> dict[str, Any]:
    side, config = dummies.side // 2, dummies.config
    places = _positions(dummies.model, side, side, dummies.like)
    found = {
        "hidden_states": dummies.noise(side * side, config["in_channels"]),
        "timestep": dummies.timesteps().to(dummies.like.dtype) / 1000,
        **_texts(dummies),
        "img_ids": places,
        "txt_ids": places.new_zeros(_TOKENS, places.shape[1]),
    }
    return found | ({"guidance": dummies.noise().abs()} if config["guidance_embeds"] else {})


DENOISER_CLASSES: Mapping[str, DenoiserClass] = MappingProxyType(
    {
        "UNet2DModel": DenoiserClass(_unet, part="unet", conditional=False),
        "UNet2DConditionModel": DenoiserClass(_text_unet, part="unet"),
        "DiTTransformer2DModel": DenoiserClass(_dit, square=True),
        "PixArtTransformer2DModel": DenoiserClass(_pixart),
        "SD3Transformer2DModel": DenoiserClass(lambda dummies: _transformer(dummies) | _texts(dummies), flow=True),
        # `FluxPipeline.default_sample_size`.
        "FluxTransformer2DModel": DenoiserClass(_flux, flow=True, packed=True, side=128),
    }
)
"""Name of a class of diffusers → what is particular to it."""
PARTS = tuple(dict.fromkeys(one.part for one in DENOISER_CLASSES.values()))
"""Names of the denoiser in pipelines."""
