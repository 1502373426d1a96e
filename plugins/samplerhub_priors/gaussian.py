"""The usual prior: nothing but noise."""

from __future__ import annotations

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
        return sigma(problem.process, problem.span[1]).item() * z
