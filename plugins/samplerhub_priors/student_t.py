"""The prior with heavy tails: a Student-t law, fitted to noised data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Problem, normal, stream
from samplerhub.errors import Mismatch
from samplerhub_priors.start import clean_data, scales

FREEDOM = (1e-2, 1e6)
"""Degrees of freedom among which the likelihood is maximised; at the upper end the law is normal."""
LITTLE = 1e-10
"""Fitting ends where a step raises the log-likelihood of a sample by less."""


class StudentT(Component):
    r"""A multivariate Student-t law, fitted to noised data by maximum likelihood.

        x = alpha y,    y = m + L z sqrt(df/g),    L L^T = S,    z standard normal,    g ~ chi^2(df)

    It maximises the mean of log p(x_0 + rho z) over samples of the target, each noised once to the level at which
    sampling starts. For data whose tails are heavier than normal, which a normal prior misses: KL(p_T | normal) is
    infinite where the data have no second moment. Expectation-maximisation: with w = (df + D)/(df + r^2),
    r^2 = (y - m)^T S^-1 (y - m),

        m <- sum w y/sum w,    S <- sum w (y - m)(y - m)^T/sum w,    df <- argmax of the likelihood

    The law is fitted to finitely many samples, so that its divergence is not below about (number of parameters)/(2
    samples), even where the true law is in the family. The fit does not depend on the seed of the run.

    References:
        ML Estimation of the t Distribution Using EM and Its Extensions, ECM and ECME (Liu and Rubin, 1995),
            Statistica Sinica 5, 19-39
        A Curious Likelihood Identity for the Multivariate t-Distribution (Kent et al., 1994),
            doi:10.1080/03610919408813180
        Initialization-Aware Score-Based Diffusion Sampling (Fassina et al., 2026), arXiv:2603.00772
    """

    df: float | None = Field(None, gt=0)
    """Degrees of freedom; none: fitted as well."""
    samples: int = Field(20_000, ge=2)
    """Samples of the target to which it is fitted; more than a sample has numbers."""
    iterations: int = Field(500, ge=1)
    """At most so many steps of expectation-maximisation."""
    seed: int = Field(0, ge=0)
    """Seed of these samples and of their noise."""

    def sample(self, problem: Problem, n: int, rng: torch.Generator) -> Tensor:
        """Return n states at time problem.span[1], shape (n, *problem.shape), float64.

        Raises:
            Mismatch: The problem has no target, or a sample more numbers than there are samples.
        """
        y = self._fitted(problem).sample(n, rng)
        return scales(problem)[0] * y.reshape(n, *problem.shape)

    def log_prob(self, problem: Problem, x: Tensor) -> Tensor:
        """Return the log-density of the starting state at x (n, *d), shape (n,).

        Raises:
            Mismatch: The problem has no target, or a sample more numbers than there are samples.
        """
        alpha_t, _ = scales(problem)
        y = x.flatten(1) / alpha_t
        log_p: Tensor = self._fitted(problem).log_prob(y) - y.shape[1] * math.log(alpha_t)
        return log_p

    def _fitted(self, problem: Problem) -> T:
        """Return the law of y, fitted once for a run."""

        def fit() -> T:
            x_0 = clean_data(problem, "student-t", self.samples, self.seed)
            if self.samples <= x_0.shape[1]:
                raise Mismatch(
                    f"the prior 'student-t' cannot be fitted to {self.samples} samples of {x_0.shape[1]} numbers each: "
                    "give it more samples than numbers, with --prior.samples"
                )
            y = x_0 + scales(problem)[1] * normal(x_0, stream(self.seed, "student-t noise"))
            return most_likely(y, self.df, self.iterations)

        return problem.once((type(self), self.model_dump_json(), *problem.span), fit)


@dataclass(frozen=True, slots=True, eq=False)
class T:
    """A multivariate Student-t law: location m (D,), root L (D, D) of the scale matrix, degrees of freedom."""

    m: Tensor
    L: Tensor
    df: float

    def squares(self, y: Tensor) -> Tensor:
        """Return (y - m)^T S^-1 (y - m) at y (n, D), shape (n,)."""
        m, L = self.m.to(y), self.L.to(y)
        squares: Tensor = torch.linalg.solve_triangular(L, (y - m).T, upper=False).square().sum(0)
        return squares

    def log_prob(self, y: Tensor) -> Tensor:
        """Return the log-density at y (n, D), shape (n,)."""
        return log_density(self.squares(y), self.df, len(self.m)) - self.L.diagonal().log().sum().to(y)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Return n samples, shape (n, D): normal ones, each over the root of a chi-squared number by its quantile."""
        from scipy.special import gammainccinv

        m, L = self.m.to(rng.device), self.L.to(rng.device)
        z = torch.randn(n, len(m), generator=rng, device=rng.device, dtype=torch.float64)
        u = torch.rand(n, 1, generator=rng, device=rng.device, dtype=torch.float64)
        g = torch.as_tensor(2 * gammainccinv(self.df / 2, u.cpu().numpy())).to(z)
        return m + (z @ L.T) * (self.df / g).sqrt()


def log_density(squares: Tensor, df: float, D: int) -> Tensor:
    """Return the log-density of the standard t law at squared radii."""
    constant = math.lgamma((df + D) / 2) - math.lgamma(df / 2) - D / 2 * math.log(math.pi * df)
    log_p: Tensor = constant - (df + D) / 2 * (squares / df).log1p()
    return log_p


def most_likely(y: Tensor, df: float | None, iterations: int) -> T:
    """Return the t law that maximises the likelihood of y (n, D), float64."""
    m, S = y.median(0).values, torch.cov(y.T).reshape(y.shape[1], y.shape[1])
    law = T(m, _root(S), df or 10.0)
    reached = -math.inf
    for _ in range(iterations):
        squares = law.squares(y)
        if df is None:
            law = T(law.m, law.L, _freedom(squares, y.shape[1]))
        likelihood = law.log_prob(y).mean().item()
        if likelihood - reached < LITTLE:
            break
        reached = likelihood
        w = (law.df + y.shape[1]) / (law.df + squares)
        m = (w @ y) / w.sum()
        S = ((y - m).T * w) @ (y - m) / w.sum()
        law = T(m, _root(S), law.df)
    return law


def _root(S: Tensor) -> Tensor:
    """Return the Cholesky root of a covariance; directions without spread get a little."""
    ridge = 1e-12 * S.diagonal().mean().clamp(min=1e-300)
    L: Tensor = torch.linalg.cholesky(S + ridge * torch.eye(len(S), dtype=S.dtype))
    return L


def _freedom(squares: Tensor, D: int) -> float:
    """Return the degrees of freedom that maximise the likelihood for given squared radii."""
    from scipy.optimize import minimize_scalar

    low, high = (math.log(end) for end in FREEDOM)
    found = minimize_scalar(
        lambda u: -log_density(squares, math.exp(u), D).mean().item(), bounds=(low, high), method="bounded"
    )
    return math.exp(found.x)
