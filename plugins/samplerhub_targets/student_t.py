"""Mixtures of Student's t-distributions: heavy tails."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated

import torch
from pydantic import Field, model_validator
from scipy.special import gammainccinv
from torch import Tensor

from samplerhub_targets.gaussian_mixture import GaussianMixture
from samplerhub_targets.mixture import Points, Weights

FAR = 1e5
"""Up to so many scales from a component the density is exact; the nodes of the quadrature end there."""
DIGITS = 32.0
"""What is left out is e^-32 of the whole, 1e-14."""


class StudentT(GaussianMixture):
    r"""A mixture of Student's t-distributions, with heavy tails, score and density exact.

    Component i is multivariate, with location mu_i, scale s_i and nu degrees of freedom, far from its centre p falls
    like |x|^-(nu + d). It is a mixture of Gaussians over their variance,

        t(x; mu, s, nu) = int N(x; mu, s^2/g I) Gamma(g; nu/2, rate nu/2) dg,

    so that noise adds rho^2 to each variance. The integral over log g is done by the trapezoidal rule, which converges
    exponentially: density and posterior mean are exact to 1e-10 up to 1e5 scales from the components. No
    log-Sobolev inequality holds, for tails as heavy as these, at any noise level.

    References:
        Heavy-Tailed Diffusion Models (Pandey et al., 2024), arXiv:2410.14171
        The Exponentially Convergent Trapezoidal Rule (Trefethen and Weideman, 2014), doi:10.1137/130932132
    """

    weights: Weights = Field((0.5, 0.5), min_length=1)
    """Weights of the components, positive; they are divided by their sum."""
    means: Points = ((-1.0,), (1.0,))
    """Locations of the components, a point each; in one dimension numbers will do."""
    scales: tuple[Annotated[float, Field(gt=0)], ...] = (0.2, 0.2)
    """Scales of the components; the standard deviation of a coordinate is that times (nu/(nu - 2))^1/2."""
    degrees: float = Field(5.0, gt=2, le=50)
    """Degrees of freedom nu; moments of that order and above are infinite."""

    @model_validator(mode="after")
    def _components_fit(self) -> StudentT:
        K, d = len(self.weights), len(self.means[0]) if self.means else 0
        if len(self.means) != K or len(self.scales) != K:
            raise ValueError(
                f"there are {K} weights, {len(self.means)} means and {len(self.scales)} scales; "
                f"each component needs one of each"
            )
        if d == 0 or any(len(mu) != d for mu in self.means):
            raise ValueError(
                f"means have lengths {[len(mu) for mu in self.means]}; all need the same length, 1 or more"
            )
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """(d,)."""
        return (len(self.means[0]),)

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights (K,), means (K, d) and variances (K,) of the Gaussians, one for each node, float64."""
        w, mu, s = self._students
        p, g = mixing(self.degrees, mu.shape[1])
        return torch.outer(w, p).flatten(), mu.repeat_interleave(len(p), 0), (s[:, None] ** 2 / g).flatten()

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Return n samples, shape (n, d), float64."""
        w, mu, s = (part.to(rng.device) for part in self._students)
        i = torch.multinomial(w, n, replacement=True, generator=rng)
        u = torch.rand(n, generator=rng, device=rng.device, dtype=torch.float64)
        z = torch.randn(n, mu.shape[1], generator=rng, device=rng.device, dtype=torch.float64)
        g = torch.from_numpy(gammainccinv(self.degrees / 2, u.cpu().numpy())).to(z) / (self.degrees / 2)
        return mu[i] + (s[i] / g.sqrt())[:, None] * z

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean (d,) and covariance (d, d), float64."""
        w, mu, s = self._students
        mean, eye = w @ mu, torch.eye(mu.shape[1], dtype=torch.float64)
        within = w @ s**2 * self.degrees / (self.degrees - 2) * eye
        return mean, within + (w * (mu - mean).T) @ (mu - mean)

    def log_sobolev(self, rho: float) -> float:
        """Return infinity: no log-Sobolev inequality holds."""
        return math.inf

    @cached_property
    def _students(self) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised weights (K,), locations (K, d) and scales (K,), float64."""
        w, mu, s = (torch.tensor(field, dtype=torch.float64) for field in (self.weights, self.means, self.scales))
        return w / w.sum(), mu, s


def mixing(nu: float, d: int) -> tuple[Tensor, Tensor]:
    """Return weights and nodes g of the trapezoidal rule in log g for the gamma law of the inverse variance.

    Seen from a point at distance q scales the integrand is that of a gamma law of shape (nu + d)/2 and rate
    (nu + q^2)/2: wider than (2/(nu + d))^1/2 in log g, and e^-32 of its maximum outside the limits below.
    """
    shape, c = (nu + d) / 2, 2 * DIGITS / (nu + d)
    h = min(0.25, math.sqrt(0.5 / shape))
    low = math.log(2 * shape / (nu + FAR**2)) - c - 1
    high = math.log(2 * shape / nu) + math.log1p(c + math.sqrt(2 * c))
    log_g = torch.arange(low, high + h, h, dtype=torch.float64)
    log_p = nu / 2 * (math.log(nu / 2) + log_g) - nu / 2 * log_g.exp() - math.lgamma(nu / 2)
    return h * log_p.exp(), log_g.exp()
