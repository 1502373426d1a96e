"""Principal components of the target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component
from samplerhub.errors import Mismatch


@dataclass(frozen=True, slots=True)
class Projection:
    """phi(x) = (vec(x) - mean) A."""

    mean: Tensor
    """Shape (D,)."""
    axes: Tensor
    """A, shape (D, k)."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the coordinates of samples x (n, *d), shape (n, k), float64."""
        return (x.flatten(1).to(self.axes) - self.mean.to(x.device)) @ self.axes.to(x.device)

    def push(self, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and covariance of the coordinates."""
        m, A = self.mean, self.axes
        return (mean.to(A) - m) @ A, A.T @ covariance.to(A).reshape(len(m), len(m)) @ A


class PCA(Component):
    r"""The first principal components of the target.

        phi(x) = (vec(x) - m) A,    the columns of A the leading eigenvectors of the covariance C

    m and C are those of the reference samples. The sign of an axis is the one that makes its largest entry positive.
    Differences between the laws in the other directions are not seen.

    References:
        On lines and planes of closest fit to systems of points in space (Pearson, 1901), doi:10.1080/14786440109462720
    """

    components: int = Field(16, ge=1)
    """Largest number of components; directions in which the target does not vary are left out."""
    whiten: bool = False
    """Divide each component by its standard deviation, so that all count the same."""

    def fit(self, x: Tensor) -> Projection:
        """Return the projection onto the components of samples x (m, *d).

        Raises:
            Mismatch: The samples are fewer than 2, not finite, or all the same.
        """
        x = x.flatten(1).to("cpu", torch.float64)
        if len(x) < 2:
            raise Mismatch(f"principal components need 2 reference samples or more; there are {len(x)}")
        if not bool(x.isfinite().all()):
            bad = int((~x.isfinite()).any(1).sum())
            raise Mismatch(f"{bad} of {len(x)} reference samples are not finite, and have no principal components")
        variances, axes = torch.linalg.eigh(torch.cov(x.T).reshape(x.shape[1], x.shape[1]))
        variances, axes = variances.flip(0)[: self.components], axes.flip(1)[:, : self.components]
        varying = variances > len(axes) * torch.finfo(torch.float64).eps * variances[0]
        if not bool(varying.any()):
            raise Mismatch("all reference samples are the same: they have no principal components")
        variances, axes = variances[varying], axes[:, varying]
        largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
        axes = axes * largest.sign()
        return Projection(x.mean(0), axes / variances.sqrt() if self.whiten else axes)
