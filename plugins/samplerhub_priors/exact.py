"""The prior without error: noised data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from samplerhub import Component, Density, IsGaussian, Problem, Target, alpha, normal, sigma
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
        alpha_t, sigma_t = self._scales(problem)
        x_0 = self._target(problem).sample(n, rng).to(torch.float64)
        return alpha_t * x_0 + sigma_t * normal(x_0, rng)

    def log_prob(self, problem: Problem, x: Tensor) -> Tensor:
        """Return the log-density of the starting state at x (n, *d), shape (n,).

        Raises:
            Mismatch: The problem has no target, or one whose density is not known.
        """
        target = self._target(problem)
        if not isinstance(target, Density):
            raise Mismatch(
                f"the density of the prior 'exact' is that of the noised target, which {type(target).__name__} does "
                "not know; choose another target, or --prior gaussian"
            )
        alpha_t, sigma_t = self._scales(problem)
        rho = torch.full((1,) * x.ndim, sigma_t / alpha_t, dtype=torch.float64, device=x.device)
        return target.log_prob(x / alpha_t, rho) - x[0].numel() * math.log(alpha_t)

    def normal(self, problem: Problem) -> tuple[Tensor, Tensor] | None:
        """Return mean (D,) and covariance (D, D) of the flattened starting state; None where the target is not normal.

        Raises:
            Mismatch: The problem has no target.
        """
        target = self._target(problem)
        if not isinstance(target, IsGaussian):
            return None
        alpha_t, sigma_t = self._scales(problem)
        mean, C = target.moments()
        return alpha_t * mean, alpha_t**2 * C + sigma_t**2 * torch.eye(len(mean), dtype=torch.float64)

    @staticmethod
    def _target(problem: Problem) -> Target:
        if problem.target is None:
            raise Mismatch(
                "the prior 'exact' draws from the target, and there is none; choose a target, or --prior gaussian"
            )
        return problem.target

    @staticmethod
    def _scales(problem: Problem) -> tuple[float, float]:
        t_max = problem.span[1]
        return alpha(problem.process, t_max).item(), sigma(problem.process, t_max).item()
