"""A model that takes the data for Gaussian, and may be wrong about them by as much as is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, HasMoments, Target, broadcast
from samplerhub.errors import Mismatch


@dataclass(frozen=True, slots=True, eq=False)
class LinearScore:
    """The score of N(mean, factor (C + rho^2 I))."""

    mean: Tensor
    variances: Tensor
    """Eigenvalues of C, (D,)."""
    axes: Tensor
    """Its eigenvectors as columns, (D, D)."""
    factor: float
    shape: tuple[int, ...]
    """Shape of one sample."""
    predicts: Literal["score"] = "score"

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return the score, shape (n, *d)."""
        mean, variances, axes = (part.to(y) for part in (self.mean, self.variances, self.axes))
        rho = broadcast(rho, y).flatten(1)
        z = (y.flatten(1) - mean) @ axes
        score: Tensor = -(z / (self.factor * (variances + rho * rho))) @ axes.T
        return score.reshape(y.shape)


class GaussianScore(Component):
    r"""The score of a Gaussian with the moments of the target, or off them by as much as is asked for.

        s(y, rho) = -(factor (C + rho^2 I))^-1 (y - m - shift)

    m and C are mean and covariance of the target. On a Gaussian target the score error is known in closed form, linear
    in y, and so is the law of what is generated (see the metric `gaussian-closed-form`); on any other, without shift
    and factor, it is the best affine score.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378, sec. 5
        The Hidden Linear Structure in Score-Based Models and its Application (Wang and Vastola, 2023), arXiv:2311.10892
    """

    shift: float | tuple[float, ...] = 0.0
    """What is added to the mean, in units of the data: a number for all coordinates, or one for each."""
    factor: float = Field(1.0, gt=0)
    """Factor on the covariance of the noised data."""

    def of(self, target: Target) -> LinearScore:
        """Return the model of a target.

        Raises:
            Mismatch: The target's mean and covariance are not known, or `shift` has another length.
        """
        if not isinstance(target, HasMoments):
            raise Mismatch(
                f"the model 'gaussian' needs a target whose mean and covariance are known, and "
                f"{type(target).__name__} has no method 'moments'; choose another target or another model"
            )
        mean, C = target.moments()
        shift = torch.as_tensor(self.shift, dtype=torch.float64)
        if shift.ndim and shift.shape != mean.shape:
            raise Mismatch(f"shift has {len(shift)} numbers; give one for all, or one for each of the {len(mean)}")
        variances, axes = torch.linalg.eigh(C)
        return LinearScore(mean + shift, variances.clamp(min=0), axes, self.factor, target.shape)
