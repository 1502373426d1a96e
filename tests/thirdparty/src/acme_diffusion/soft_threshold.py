"""Soft thresholding."""

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from samplerhub import Component


class SoftThreshold(Component):
    r"""The most probable data under a Laplace prior: soft thresholding.

        D(y, rho) = argmax over x of p(x | y) = sign(y) max(|y| - rho^2/b, 0),    p(x) ~ exp(-|x|/b)

    It is what compressed sensing and plug-and-play methods put where the posterior mean belongs; the two agree as rho
    goes to 0. Samples that it makes show what that costs.

    References:
        De-noising by Soft-Thresholding (Donoho, 1995), doi:10.1109/18.382009
    """

    scale: float = Field(1.0, gt=0)
    """Mean b of |x| under the prior."""

    predicts: ClassVar[Literal["x0"]] = "x0"

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return D(y, rho), shape (n, *d), for y (n, *d) and rho (n, 1, ...) or (1, 1, ...)."""
        return y.sign() * (y.abs() - rho**2 / self.scale).clamp(min=0)
