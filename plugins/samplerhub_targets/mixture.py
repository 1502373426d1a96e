"""Mixtures of Gaussians: the test bed with many modes and an exact score."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor

from samplerhub_targets.covariance import Covariance, check_covariance, matrix
from samplerhub_targets.gaussian_mixture import GaussianMixture
from samplerhub_targets.log_sobolev import Kind


def as_points(means: object) -> object:
    """Let numbers stand for points of dimension 1."""
    if isinstance(means, (list, tuple)):
        return tuple((m,) if isinstance(m, (int, float)) else m for m in means)
    return means


Points = Annotated[tuple[tuple[float, ...], ...], BeforeValidator(as_points)]
Weights = tuple[Annotated[float, Field(gt=0)], ...]


class Mixture(GaussianMixture):
    r"""A mixture of Gaussians of any dimension, score and density in closed form.

    With p_0 = sum_i w_i N(mu_i, S_i), S_i = U_i diag(v_i) U_i^T, the noised y = x_0 + rho eps is a mixture as well, and

        p(y) = sum_i w_i N(y; mu_i, S_i + rho^2 I),    r_i = w_i N(y; mu_i, S_i + rho^2 I)/p(y)
        E[x_0 | y] = sum_i r_i [mu_i + U_i diag(v_i/(v_i + rho^2)) U_i^T (y - mu_i)].

    Without arguments it is the one-dimensional mixture 0.1 N(-1, 0.2^2) + 0.9 N(0.1, 0.1^2) of the paper below.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
        Poincaré and Log-Sobolev Inequalities for Mixtures (Schlichting, 2019), arXiv:1812.06464
    """

    weights: Weights = Field((0.1, 0.9), min_length=1)
    """Weights of the components, positive; they are divided by their sum."""
    means: Points = ((-1.0,), (0.1,))
    """Means of the components, a point each; in one dimension numbers will do."""
    covariances: tuple[Covariance, ...] = (0.04, 0.01)
    """Covariances of the components: a variance (times the identity), or a symmetric positive definite matrix."""
    lsi: Kind = "paper"
    """Log-Sobolev constant of two components: as the paper has it, or, as rigorous and smaller, half or split."""

    @model_validator(mode="after")
    def _components_fit(self) -> Mixture:
        K = len(self.weights)
        if len(self.means) != K or len(self.covariances) != K:
            raise ValueError(
                f"there are {K} weights, {len(self.means)} means and {len(self.covariances)} covariances; "
                f"each component needs one of each"
            )
        d = len(self.means[0])
        if d == 0 or any(len(mu) != d for mu in self.means):
            raise ValueError(
                f"means have lengths {[len(mu) for mu in self.means]}; all need the same length, 1 or more"
            )
        for i, S in enumerate(self.covariances):
            check_covariance(S, d, f"covariance {i}")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """(d,)."""
        return (len(self.means[0]),)

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights (K,), means (K, d), and variances (K,) or covariances (K, d, d), float64."""
        w, mu = (torch.tensor(field, dtype=torch.float64) for field in (self.weights, self.means))
        S = torch.stack([matrix(S_i, mu.shape[1]) for S_i in self.covariances])
        isotropic = mu.shape[1] == 1 or all(isinstance(S_i, float) for S_i in self.covariances)
        return w, mu, S[:, 0, 0] if isotropic else S

    @property
    def _kind(self) -> Kind:
        return self.lsi
