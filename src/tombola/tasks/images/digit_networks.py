"""Denoisers of digits that are trained from nothing; without PyTorch."""

from tombola.architectures.denoiser_preset import DenoiserPreset


def _unet(*channels: int) -> DenoiserPreset:
    return DenoiserPreset(
        "UNet2DModel",
        {
            "sample_size": 8,
            "in_channels": 1,
            "out_channels": 1,
            "layers_per_block": 1,
            "block_out_channels": channels,
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
            "attention_head_dim": 8,
            "norm_num_groups": 8,
        },
    )


PRESETS = {"unet-16-32": _unet(16, 32), "unet-32-64": _unet(32, 64)}
"""Denoisers for them: 177 thousand and 701 thousand parameters."""
