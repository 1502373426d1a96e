"""The Laplace law."""

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, broadcast


class Laplace(Component):
    r"""A Laplace law on the line, score in closed form.

    x_0 has the density exp(-|x|/b)/(2b). For y = x_0 + rho eps, Phi the normal distribution function,

        p(y) = exp(rho^2/(2 b^2))/(2b) (e^{l_+} + e^{l_-}),    l_± = ∓y/b + log Phi(±y/rho - rho/b)
        E[x_0 | y] = y - rho^2/b tanh((l_+ - l_-)/2),

    which for small rho is soft thresholding: y is moved towards 0 by rho^2/b.

    References:
        Exact and Approximate Posterior Moments for a Normal Location Parameter (Pericchi and Smith, 1992), Journal of
            the Royal Statistical Society B 54, 793-804
    """

    scale: float = Field(1.0, gt=0)
    """Mean b of |x_0|."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, (1,)."""
        return (1,)

    @property
    def suggests(self) -> Mapping[str, str | int]:
        """What is chosen where the user does not."""
        return {"model": "exact", "metric": "kl", "samples": 10_000}

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Return n samples, shape (n, 1), float64."""
        u, v = (1 - torch.rand(2, n, 1, generator=rng, device=rng.device, dtype=torch.float64)).unbind()
        return self.scale * (u.log() - v.log())

    def denoise(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return E[x_0 | x_0 + rho eps = y], shape (n, 1)."""
        rho = broadcast(rho, y)
        l_plus, l_minus = self.sides(y, rho)
        return y - (rho**2 / self.scale * ((l_plus - l_minus) / 2).tanh()).to(y)

    def log_prob(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return the log-density of x_0 + rho eps at y, shape (n,)."""
        rho = broadcast(rho, y)
        log_p = torch.logaddexp(*self.sides(y, rho)) + rho**2 / (2 * self.scale**2) - math.log(2 * self.scale)
        return log_p.to(y).squeeze(1)

    def sides(self, y: Tensor, rho: Tensor) -> tuple[Tensor, Tensor]:
        """Return l_+ and l_-, the logarithms of what positive and negative data have in p(y), in float64."""
        y, rho, b = y.double(), rho.double(), self.scale
        l_plus = -y / b + torch.special.log_ndtr(y / rho - rho / b)
        l_minus = y / b + torch.special.log_ndtr(-y / rho - rho / b)
        return l_plus, l_minus

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean (1,) and covariance (1, 1), float64."""
        return torch.zeros(1, dtype=torch.float64), 2 * self.scale**2 * torch.eye(1, dtype=torch.float64)
