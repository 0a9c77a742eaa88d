"""Noise added to images, step by step of a schedule: as in diffusion, or straight as in flow matching."""

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from tombola.checkpoints.pipelines import Schedule


def add_noise(schedule: Schedule, images: Tensor, noise: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Add noise to images: the denoiser's input, its target, and the times that it is told.

    In flow matching (Lipman et al. 2023) the way from image to noise is straight, and what is predicted is its
    direction, noise minus image (Esser et al. 2024, section 2).

    Args:
        schedule: the noise.
        images, noise: fp32 [batch, channels, height, width].
        steps: int64 [batch] from 0, the least noise, to below the schedule's `num_train_timesteps`.
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
