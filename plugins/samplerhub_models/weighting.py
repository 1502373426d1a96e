"""The weight of each noise level in the loss of denoising."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

WeightingName = Literal["edm", "inverse-variance", "uniform", "equalising"]


class FixedWeighting(nn.Module):
    r"""A weight of |D - x_0|^2 that depends on the noise level alone.

        edm                 (rho^2 + s^2)/(rho s)^2     the network's own error: F is fitted to unit targets
        inverse-variance    1/rho^2                     the error of the noise, |eps_theta - eps|^2
        uniform             1                           the error of the posterior mean

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
        Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), arXiv:2006.11239, eq. 14
    """

    def __init__(self, name: Literal["edm", "inverse-variance", "uniform"], sigma_data: float) -> None:
        super().__init__()
        self.name = name
        self.sigma_data = sigma_data

    def weight(self, rho: Tensor) -> Tensor:
        """Return the weight of each noise level, shape of rho."""
        s = self.sigma_data
        if self.name == "edm":
            return (rho**2 + s**2) / (rho * s) ** 2
        return rho**-2 if self.name == "inverse-variance" else torch.ones_like(rho)

    def forward(self, rho: Tensor, error: Tensor) -> Tensor:
        """Return the weighted mean of error = (D - x_0)^2, shape (n, *shape), for rho of shape (n, 1, ...)."""
        return (self.weight(rho) * error).mean()


class EqualisingWeighting(nn.Module):
    r"""The weight beta_j/rho^2 of |D - x_0|^2 under which every noise level has the same share in the loss.

        beta_j = min(10, max(0.1, l_j^-1 / mean_k l_k^-1)),    l_j = E |D - x_0|^2/(rho^2 d)  over the levels of bin j

    The bins are equally likely under log rho ~ N(p_mean, p_std^2). l_j is a moving average over the samples that the
    bin met in the steps before, so that no gradient passes through beta; a bin that met none yet has beta_j = 1. For
    the best denoiser there is, l falls as rho grows and beta would grow without bound: hence the clipping.

    References:
        Evaluating the design space of diffusion-based generative models (Wang et al., 2024), arXiv:2406.12839, sec. 3
    """

    BINS = 16
    WINDOW = 1000
    """Samples of a bin over which its loss is averaged."""
    CLIP = (0.1, 10.0)

    loss: Tensor
    """l_j, shape (BINS,), float64."""
    count: Tensor
    """Samples that bin j has met, shape (BINS,), float64."""

    def __init__(self, p_mean: float, p_std: float) -> None:
        super().__init__()
        self.p_mean, self.p_std = p_mean, p_std
        self.register_buffer("loss", torch.zeros(self.BINS, dtype=torch.float64))
        self.register_buffer("count", torch.zeros(self.BINS, dtype=torch.float64))

    def bin(self, rho: Tensor) -> Tensor:
        """Return the bin of each noise level, shape of rho, int64."""
        share: Tensor = torch.special.ndtr((rho.double().log() - self.p_mean) / self.p_std)
        return (share * self.BINS).long().clamp(0, self.BINS - 1)

    def beta(self) -> Tensor:
        """Return the weight of each bin, shape (BINS,), float64."""
        met = (self.count > 0) & (self.loss > 0)
        if not met.any():
            return torch.ones_like(self.loss)
        inverse = torch.where(met, 1 / self.loss.where(met, 1.0), 0.0)
        return torch.where(met, inverse / (inverse.sum() / met.sum()), 1.0).clamp(*self.CLIP)

    def forward(self, rho: Tensor, error: Tensor) -> Tensor:
        """Return the weighted mean of error = (D - x_0)^2, shape (n, *shape), and learn from it for the next step."""
        bins = self.bin(rho)
        of_noise = error / rho**2
        loss = torch.mean(self.beta()[bins].to(error) * of_noise)
        self._learn(bins.flatten(), of_noise.detach().double().flatten(1).mean(1))
        return loss

    @torch.no_grad()
    def _learn(self, bins: Tensor, loss: Tensor) -> None:
        new = torch.zeros_like(self.count).index_add_(0, bins, torch.ones_like(loss))
        total = torch.zeros_like(self.loss).index_add_(0, bins, loss)
        self.count += new
        share = new / torch.maximum(self.count.clamp(max=self.WINDOW), new.clamp(min=1))
        self.loss += share * (total / new.clamp(min=1) - self.loss)


Weighting = FixedWeighting | EqualisingWeighting


def weighting_of(name: WeightingName, sigma_data: float, p_mean: float, p_std: float) -> Weighting:
    """Return the weighting of that name."""
    return EqualisingWeighting(p_mean, p_std) if name == "equalising" else FixedWeighting(name, sigma_data)
