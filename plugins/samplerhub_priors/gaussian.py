"""The usual prior: nothing but noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from samplerhub import Component, Problem, sigma


class GaussianPrior(Component):
    r"""Pure noise, x = sigma(t_max) z with z standard normal.

    It differs from the law of x_t at t_max by the data, which have not quite vanished there: this is the "approximate
    prior" of the literature, and its error stays to the end where sampling is deterministic.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
    """

    def sample(self, problem: Problem, n: int, rng: torch.Generator) -> Tensor:
        """Return n states at time problem.span[1], shape (n, *problem.shape), float64."""
        z = torch.randn(n, *problem.shape, generator=rng, device=rng.device, dtype=torch.float64)
        return self._sigma(problem) * z

    def log_prob(self, problem: Problem, x: Tensor) -> Tensor:
        """Return the log-density of the starting state at x (n, *d), shape (n,)."""
        sigma_t, z = self._sigma(problem), x.flatten(1)
        return -(z / sigma_t).square().sum(1) / 2 - z.shape[1] * math.log(math.sqrt(2 * math.pi) * sigma_t)

    def normal(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Return mean 0, shape (D,), and covariance sigma^2 I, shape (D, D), of the flattened starting state."""
        D = math.prod(problem.shape)
        mean = torch.zeros(D, dtype=torch.float64)
        return mean, self._sigma(problem) ** 2 * torch.eye(D, dtype=torch.float64)

    @staticmethod
    def _sigma(problem: Problem) -> float:
        return sigma(problem.process, problem.span[1]).item()
