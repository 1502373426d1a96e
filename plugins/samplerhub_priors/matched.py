"""The prior with the moments of the noised target."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, HasMoments, Problem, alpha, rho
from samplerhub.errors import Mismatch


class MatchedPrior(Component):
    r"""The normal law with mean and covariance of the noised target, or off them by as much as is asked for.

        x = alpha (m + shift + L z),    L L^T = factor (C + rho^2 I),    z standard normal

    m and C are mean and covariance of the target, alpha and rho belong to t_max. Without shift and factor it is of all
    normal laws the nearest to the noised target, in the KL divergence of the target from it, and exact for Gaussian
    targets.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378, sec. 5
    """

    shift: float | tuple[float, ...] = 0.0
    """What is added to the mean, in units of the data: a number for all coordinates, or one for each."""
    factor: float = Field(1.0, gt=0)
    """Factor on the covariance."""

    def normal(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Return mean (D,) and covariance (D, D) of the flattened starting state, float64.

        Raises:
            Mismatch: There is no target, its moments are not known, or `shift` has another length.
        """
        if not isinstance(problem.target, HasMoments):
            given = "there is none" if problem.target is None else f"{type(problem.target).__name__} has no 'moments'"
            raise Mismatch(
                f"the prior 'matched' needs a target whose mean and covariance are known, but {given}; "
                f"choose another target, or --prior gaussian"
            )
        mean, C = problem.target.moments()
        shift = torch.as_tensor(self.shift, dtype=torch.float64)
        if shift.ndim and shift.shape != mean.shape:
            raise Mismatch(f"shift has {len(shift)} numbers; give one for all, or one for each of the {len(mean)}")
        t = problem.span[1]
        alpha_t, rho_t = alpha(problem.process, t).item(), rho(problem.process, t).item()
        S = self.factor * (C + rho_t**2 * torch.eye(len(mean), dtype=torch.float64))
        return alpha_t * (mean + shift), alpha_t**2 * S

    def sample(self, problem: Problem, n: int, rng: torch.Generator) -> Tensor:
        """Return n states at time problem.span[1], shape (n, *problem.shape), float64."""
        mean, L = self._law(problem)
        z = torch.randn(n, len(mean), generator=rng, device=rng.device, dtype=torch.float64)
        return (mean.to(z) + z @ L.to(z).T).reshape(n, *problem.shape)

    def log_prob(self, problem: Problem, x: Tensor) -> Tensor:
        """Return the log-density of the starting state at x (n, *d), shape (n,)."""
        mean, L = (part.to(x) for part in self._law(problem))
        z = torch.linalg.solve_triangular(L, (x.flatten(1) - mean).T, upper=False)
        log_p: Tensor = -(z.square().sum(0) + len(mean) * math.log(2 * math.pi)) / 2 - L.diagonal().log().sum()
        return log_p

    def _law(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Return the mean and the root L of the covariance, computed once for a run."""

        def law() -> tuple[Tensor, Tensor]:
            mean, S = self.normal(problem)
            return mean, torch.linalg.cholesky(S)

        return problem.once((type(self), self.model_dump_json(), *problem.span), law)
