"""Diffusion and flow matching on images: noise added step by step of a schedule, and images drawn out of noise.

Drawing is deterministic, image by image from a seed of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor

from tombola.checkpoints.denoisers import Schedule


def add_noise(schedule: Schedule, images: Tensor, noise: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Add noise to images, fp32 [batch, channels, height, width]: the denoiser's input, its target, and its times.

    In flow matching (Lipman et al. 2023) the way from image to noise is straight, and what is predicted is its
    direction, noise minus image (Esser et al. 2024, section 2). `steps`, int64 [batch], go from 0, the least noise, to
    below the schedule's `num_train_timesteps`.
    """
    if isinstance(schedule, FlowMatchEulerDiscreteScheduler):
        # From the most noise to the least. It is no property of the images' size, where a pipeline moves it by that.
        sigmas = schedule.sigmas[: schedule.config.num_train_timesteps].flip(0).to(images.device, torch.float32)
        sigma = sigmas[steps]
        part = sigma.view(-1, 1, 1, 1)
        return (1 - part) * images + part * noise, noise - images, sigma * schedule.config.num_train_timesteps
    noisy = schedule.add_noise(images, noise, steps)
    if schedule.config.prediction_type == "v_prediction":
        return noisy, schedule.get_velocity(images, noise, steps), steps
    return noisy, noise, steps


def seeded_noise(shape: Sequence[int], seeds: Sequence[int]) -> Tensor:
    """Standard normal fp32 [seeds, *shape], on the CPU: each row from its own seed, whatever stands beside it."""
    return torch.stack([torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


@dataclass(frozen=True)
class Sampler:
    """DDIM (Song, Meng, Ermon 2021) without added noise, or Euler's steps of a flow: the noise decides the image.

    Attributes:
        schedule: the noise that the denoiser was trained on.
        steps: passes of the denoiser an image.
        bounded: whether what is drawn lies from -1 to 1, as pixels do and latents do not.
    """

    schedule: Schedule
    steps: int = 25
    bounded: bool = True

    def scheduler(self) -> DDIMScheduler | FlowMatchEulerDiscreteScheduler:
        """The sampler's own scheduler, as a pipeline holds it."""
        if isinstance(self.schedule, FlowMatchEulerDiscreteScheduler):
            return FlowMatchEulerDiscreteScheduler.from_config(self.schedule.config)
        # The last timestep is among them: from the second last, an image begins as pure noise that it was never
        # trained to see there (Lin et al. 2024, section 3.3).
        free = {} if self.bounded else {"clip_sample": False, "thresholding": False}
        return DDIMScheduler.from_config(self.schedule.config, timestep_spacing="trailing", **free)

    def draw(self, denoise: Callable[[Tensor, Tensor], Tensor], initial_noise: Tensor) -> Tensor:
        """Images or latents [batch, channels, height, width], floats, each from its own noise; no gradients.

        `denoise` predicts from noisy images and their timesteps [batch].
        """
        scheduler, images = self.scheduler(), initial_noise
        if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
            _set_flow(scheduler, self.steps, initial_noise)
        else:
            scheduler.set_timesteps(self.steps)
        dtype = scheduler.timesteps.dtype
        with torch.no_grad():
            for timestep in scheduler.timesteps.tolist():
                times = torch.full((len(images),), timestep, dtype=dtype, device=images.device)
                # The schedule's arithmetic in fp32, whatever the model computes in.
                images = scheduler.step(denoise(images, times).float(), timestep, images).prev_sample
        return images.clamp(-1, 1) if self.bounded else images


def _set_flow(scheduler: FlowMatchEulerDiscreteScheduler, steps: int, initial_noise: Tensor) -> None:
    """Choose the steps of a flow as the pipelines of Stable Diffusion 3 and Flux do for latents of such a size."""
    config = scheduler.config
    shift = {}
    if config.use_dynamic_shifting:
        # Of patches of 2 x 2 there are so many.
        length = (initial_noise.shape[2] // 2) * (initial_noise.shape[3] // 2)
        keys = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
        shift["mu"] = calculate_shift(length, *(config[key] for key in keys))
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps).tolist(), **shift)
    scheduler.set_begin_index(0)
