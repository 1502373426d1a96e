"""Random projections."""

import math

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, stream


class RandomSigns(Component):
    r"""Projections on random signs, which nearly keep distances.

        phi(x) = x R/D^(1/2),    R_ij = +1 or -1, each with probability 1/2

    Over R, E |phi(x) - phi(x')|^2 = |x - x'|^2, and the variance is at most 2/D of its square. The map is linear, so
    that mean and covariance of the features follow from those of the target, without samples of it.

    References:
        Database-friendly random projections: Johnson-Lindenstrauss with binary coins (Achlioptas, 2003),
            doi:10.1016/S0022-0000(03)00025-4
    """

    number: int = Field(32, ge=1)
    """Number D of the features."""
    seed: int = 0
    """Which R."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the features of samples x (n, *d), shape (n, D): row by row, without randomness."""
        x = x.flatten(1)
        return x @ self.matrix(x.shape[1]).to(x)

    def push(self, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean (D,) and covariance (D, D) of the features, from those of the flattened samples, float64."""
        R = self.matrix(len(mean))
        return mean @ R, R.T @ covariance @ R

    def matrix(self, dimension: int) -> Tensor:
        """Return R/D^(1/2), shape (dimension, D), float64."""
        coins = torch.randint(2, (dimension, self.number), generator=stream(self.seed, "random signs"))
        return (2 * coins.double() - 1) / math.sqrt(self.number)
