"""The prior that is a mixture of Gaussians, fitted to the data and noised."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from samplerhub import Component, Problem, stream
from samplerhub_priors.start import clean_data, scales


class MixtureFit(Component):
    r"""A mixture of Gaussians, fitted to clean data by expectation-maximisation and convolved with the noise.

        x = alpha y,    y ~ sum_k w_k N(m_k, S_k + rho^2 I)

    w_k, m_k and S_k maximise the likelihood of samples of the target; alpha and rho belong to the time at which
    sampling starts. One fit serves every noise level, and its error shrinks as the noise covers it, so that sampling
    may start late. The fit does not depend on the seed of the run. Where it has not converged after `iterations`, it is
    used as it is: the density is that of the law that is sampled in any case.

    References:
        Maximum Likelihood from Incomplete Data via the EM Algorithm (Dempster et al., 1977),
            doi:10.1111/j.2517-6161.1977.tb01600.x
        Initialization-Aware Score-Based Diffusion Sampling (Fassina et al., 2026), arXiv:2603.00772
    """

    components: int = Field(8, ge=1)
    """Number of Gaussians."""
    covariance: Literal["full", "diagonal", "spherical", "tied"] = "full"
    """Covariance of each Gaussian: any, along the coordinate axes, a multiple of the identity, or one for all."""
    samples: int = Field(4000, ge=2)
    """Samples of the target to which it is fitted."""
    iterations: int = Field(200, ge=1)
    """At most so many steps of expectation-maximisation."""
    seed: int = Field(0, ge=0)
    """Seed of these samples and of the first guess."""

    @model_validator(mode="after")
    def _enough_samples(self) -> MixtureFit:
        if self.samples < self.components:
            raise ValueError(f"{self.components} components cannot be fitted to {self.samples} samples; give more")
        return self

    def sample(self, problem: Problem, n: int, rng: torch.Generator) -> Tensor:
        """Return n states at time problem.span[1], shape (n, *problem.shape), float64.

        Raises:
            Mismatch: The problem has no target.
        """
        alpha_t, rho_t = scales(problem)
        y = self._fitted(problem).sample(n, rho_t, rng)
        return alpha_t * y.reshape(n, *problem.shape)

    def log_prob(self, problem: Problem, x: Tensor) -> Tensor:
        """Return the log-density of the starting state at x (n, *d), shape (n,).

        Raises:
            Mismatch: The problem has no target.
        """
        alpha_t, rho_t = scales(problem)
        y = x.flatten(1) / alpha_t
        return self._fitted(problem).log_prob(y, rho_t) - y.shape[1] * math.log(alpha_t)

    def _fitted(self, problem: Problem) -> Bells:
        """Return the mixture, fitted once for a run."""
        return problem.once((type(self), self.model_dump_json()), lambda: self._fit(problem))

    def _fit(self, problem: Problem) -> Bells:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        x_0 = clean_data(problem, "mixture-fit", self.samples, self.seed)
        kind = {"diagonal": "diag"}.get(self.covariance, self.covariance)
        guess = int(torch.randint(2**31, (), generator=stream(self.seed, "mixture-fit guess")))
        em = GaussianMixture(
            self.components,
            covariance_type=kind,
            reg_covar=1e-6 * max(x_0.var(0).mean().item(), 1e-12),
            max_iter=self.iterations,
            init_params="k-means++",  # k-means itself adds up in the order in which threads finish
            random_state=guess,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            em.fit(x_0.numpy())
        w, m, S = (torch.as_tensor(a, dtype=torch.float64) for a in (em.weights_, em.means_, em.covariances_))
        K, D = m.shape
        if self.covariance == "spherical":
            S = S[:, None, None] * torch.eye(D, dtype=torch.float64)
        elif self.covariance == "diagonal":
            S = torch.diag_embed(S)
        elif self.covariance == "tied":
            S = S.expand(K, D, D)
        return Bells(w, m, *torch.linalg.eigh(S))


@dataclass(frozen=True, slots=True, eq=False)
class Bells:
    """A mixture of Gaussians: weights (K,), means (K, D), variances (K, D) along axes (K, D, D), which are columns."""

    w: Tensor
    m: Tensor
    v: Tensor
    U: Tensor

    def sample(self, n: int, rho: float, rng: torch.Generator) -> Tensor:
        """Return n samples of the mixture noised to rho, shape (n, D)."""
        w, m, v, U = (part.to(rng.device) for part in (self.w, self.m, self.v, self.U))
        k = torch.multinomial(w, n, replacement=True, generator=rng)
        z = torch.randn(n, m.shape[1], generator=rng, device=rng.device, dtype=torch.float64)
        y = m[k]
        for i in range(len(w)):
            y[k == i] += (z[k == i] * (v[i] + rho**2).sqrt()) @ U[i].T
        return y

    def log_prob(self, y: Tensor, rho: float) -> Tensor:
        """Return the log-density of the mixture noised to rho at y (n, D), shape (n,)."""
        w, m, v, U = (part.to(y) for part in (self.w, self.m, self.v, self.U))
        v = v + rho**2
        squares = torch.stack([((y - m[i]) @ U[i]).square() @ (1 / v[i]) for i in range(len(w))], 1)
        log_w = w.log() - (v.log().sum(1) + m.shape[1] * math.log(2 * math.pi)) / 2
        return (log_w - squares / 2).logsumexp(1)
