"""No features: the samples themselves."""

from __future__ import annotations

from torch import Tensor

from samplerhub import Component


class Identity(Component):
    r"""The samples as they are, as vectors.

    phi(x) = vec(x)
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Return the samples x (n, *d) as rows, shape (n, D)."""
        return x.flatten(1)

    def push(self, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the moments as they are."""
        return mean, covariance
