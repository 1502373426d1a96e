"""The prior without error: noised data."""

from __future__ import annotations

import torch
from torch import Tensor

from samplerhub import Component, Problem, alpha, normal, sigma
from samplerhub.errors import Mismatch


class ExactPrior(Component):
    r"""The target itself, noised to the level at which sampling starts.

        x = alpha(t_max) x_0 + sigma(t_max) z,    x_0 from the target, z standard normal

    With it, whatever error remains is the model's and the sampler's.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
    """

    def sample(self, problem: Problem, n: int, rng: torch.Generator) -> Tensor:
        """Return n states at time problem.span[1], shape (n, *problem.shape), float64.

        Raises:
            Mismatch: The problem has no target.
        """
        if problem.target is None:
            raise Mismatch(
                "the prior 'exact' draws from the target, and there is none; choose a target, or --prior gaussian"
            )
        t_max = problem.span[1]
        alpha_t, sigma_t = alpha(problem.process, t_max).item(), sigma(problem.process, t_max).item()
        x_0 = problem.target.sample(n, rng).to(torch.float64)
        return alpha_t * x_0 + sigma_t * normal(x_0, rng)
