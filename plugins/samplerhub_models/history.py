"""What a training leaves behind beside the weights: its loss along the steps, and at each noise level in the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from samplerhub import HeldOut, Target, normal, stream
from samplerhub.errors import Mismatch
from samplerhub_models.denoiser import Denoiser
from samplerhub_models.weighting import FixedWeighting

BATCH = 256


class LossCurve(nn.Module):
    """The loss along the steps, averaged over each of up to 200 stretches of equal length."""

    STRETCHES = 200

    loss: Tensor
    """Mean loss of each stretch, float64."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        n = min(steps, self.STRETCHES)
        self.ends = [steps * (i + 1) // n for i in range(n)]
        self.register_buffer("loss", torch.zeros(n, dtype=torch.float64))

    def add(self, k: int, loss: float) -> None:
        """Take in the loss of step k, the first being 0."""
        i = next(i for i, end in enumerate(self.ends) if k < end)
        self.loss[i] += loss / (self.ends[i] - (self.ends[i - 1] if i else 0))

    def as_json(self) -> dict[str, Any]:
        """Return the steps at which the stretches end, and their losses."""
        return {"steps": list(self.ends), "loss": self.loss.tolist()}


def unseen(target: Target) -> tuple[Target, str]:
    """Return the data on which the loss is measured in the end, and what they are: held-out, training or fresh.

    Raises:
        UnusableFile: The data that are held out cannot be read.
    """
    if isinstance(target, HeldOut):
        try:
            return target.held_out(), "held-out"
        except Mismatch:
            return target, "training"
    return target, "fresh"


def loss_by_level(denoiser: Denoiser, target: Target, levels: Sequence[float], n: int, seed: int) -> dict[str, Any]:
    r"""Return EDM's loss per number of the data at each noise level, on data that are held out where there are such.

        loss(rho) = (rho^2 + s^2)/(rho s)^2 E |D(x_0 + rho eps, rho) - x_0|^2 / d

    It is 1 for a network that has learnt nothing (F = 0) where the data have mean 0 and variance s^2 = sigma_data^2 in
    every direction, whatever weighting it was trained with. The standard error is that of n samples of (x_0, eps).

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """
    data, where = unseen(target)
    device = next(denoiser.parameters()).device
    x0 = data.sample(n, stream(seed, "loss-by-level")).to(device, torch.float32)
    weighting = FixedWeighting("edm", denoiser.design.sigma_data)
    mean, stderr = [], []
    for i, level in enumerate(levels):
        rng = stream(seed, "loss-by-level noise", i)
        loss = torch.cat([_losses(denoiser, weighting, part, level, rng) for part in torch.split(x0, BATCH)])
        mean.append(loss.mean().item())
        stderr.append(loss.std().item() / math.sqrt(n))
    return {"data": where, "rho": list(levels), "loss": mean, "stderr": stderr}


@torch.no_grad()
def _losses(denoiser: Denoiser, weighting: FixedWeighting, x0: Tensor, level: float, rng: torch.Generator) -> Tensor:
    """Return the loss of each sample, shape (n,), float64."""
    rho = torch.full((1,) * x0.ndim, level).to(x0)
    error = (denoiser(x0 + rho * normal(x0, rng), rho) - x0) ** 2
    loss: Tensor = (weighting.weight(rho) * error).flatten(1).double().mean(1)
    return loss
