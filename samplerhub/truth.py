"""The truth of a target: the model and the prior without error, for all who compare with them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from samplerhub import process as derived
from samplerhub.capabilities import Denoises, Density, IsGaussian
from samplerhub.errors import Mismatch
from samplerhub.noise import normal
from samplerhub.problem import Problem


@dataclass(frozen=True, slots=True)
class PosteriorMean:
    """The exact model of a target, D(y, rho) = E[x_0 | x_0 + rho eps = y]."""

    target: Denoises
    """The target whose posterior mean it is."""
    shape: tuple[int, ...]
    """Shape of one sample."""
    predicts: Literal["x0"] = "x0"

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return it, shape (n, *d)."""
        return self.target.denoise(y, rho)


class NoisedTarget:
    """The exact prior of a problem's target, x = alpha(t) x_0 + sigma(t) z at the time t at which sampling starts."""

    def sample(self, problem: Problem, n: int, rng: torch.Generator) -> Tensor:
        """Return n states at time problem.span[1], shape (n, *problem.shape), float64.

        Raises:
            Mismatch: The problem has no target.
        """
        if problem.target is None:
            raise Mismatch("the exact prior draws from the target, and there is none; choose a target or another prior")
        alpha_t, sigma_t = _scales(problem)
        x_0 = problem.target.sample(n, rng).to(torch.float64)
        return alpha_t * x_0 + sigma_t * normal(x_0, rng)

    def log_prob(self, problem: Problem, x: Tensor) -> Tensor:
        """Return the log-density of the starting state at x (n, *d), shape (n,).

        Raises:
            Mismatch: The density of the target is not known.
        """
        if not isinstance(problem.target, Density):
            name = "the target" if problem.target is None else type(problem.target).__name__
            raise Mismatch(
                f"the density of the exact prior is that of the noised target, which {name} does not know; "
                "choose another target or another prior"
            )
        alpha_t, sigma_t = _scales(problem)
        rho = torch.full((1,) * x.ndim, sigma_t / alpha_t, dtype=x.dtype, device=x.device)
        return problem.target.log_prob(x / alpha_t, rho) - x[0].numel() * math.log(alpha_t)

    def normal(self, problem: Problem) -> tuple[Tensor, Tensor] | None:
        """Return mean (D,) and covariance (D, D) of the flattened starting state of a Gaussian target; None for others.

        Both are float64.
        """
        if not isinstance(problem.target, IsGaussian):
            return None
        alpha_t, sigma_t = _scales(problem)
        mean, C = problem.target.moments()
        return alpha_t * mean, alpha_t**2 * C + sigma_t**2 * torch.eye(len(mean), dtype=C.dtype)


def _scales(problem: Problem) -> tuple[float, float]:
    """Return alpha and sigma at the start."""
    t = problem.span[1]
    return derived.alpha(problem.process, t).item(), derived.sigma(problem.process, t).item()
