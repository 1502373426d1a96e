"""What models made of models have in common: the shape and the scale of the data, and rows that go different ways."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor

from samplerhub import Component, FromTarget, HasShape, HasSigmaData, ScoreModel
from samplerhub.errors import Mismatch

Model = ScoreModel | FromTarget
"""What may stand for a model before the target is known; the run makes it before it calls."""
Denoiser = Callable[[Tensor, Tensor], Tensor]


class CompositeModel(Component, ABC):
    """A model made of models, all of data of one shape."""

    predicts: ClassVar[Literal["x0"]] = "x0"

    @property
    @abstractmethod
    def models(self) -> tuple[Model, ...]:
        """The models that it is made of, the one that matters most first."""

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of the samples that its models are made for; None where any will do.

        Raises:
            Mismatch: They are made for different shapes.
        """
        shapes = [tuple(m.shape) for m in self.models if isinstance(m, HasShape) and m.shape is not None]
        if len(set(shapes)) > 1:
            raise Mismatch(
                f"model {type(self).__name__} is made of models for samples of shapes {shapes}; choose alike"
            )
        return shapes[0] if shapes else None

    @property
    def sigma_data(self) -> float | None:
        """Standard deviation of the data that its models were made for, as the first says that knows."""
        return next(
            (m.sigma_data for m in self.models if isinstance(m, HasSigmaData) and m.sigma_data is not None), None
        )


def by_row(which: Tensor, y: Tensor, rho: Tensor, one: Denoiser, other: Denoiser) -> Tensor:
    """Return one(y, rho) for the rows of which it is true and other(y, rho) for the rest, neither asked in vain.

    Args:
        which: A truth value for each noise level, of the shape of rho.
        y: States, shape (n, *d).
        rho: Noise levels, shape (n, 1, ...) or (1, 1, ...).
        one: A function of states and noise levels.
        other: Another.
    """
    if bool(which.all()):
        return one(y, rho)
    if not bool(which.any()):
        return other(y, rho)
    which = which.flatten()
    order = torch.cat([which.nonzero(), (~which).nonzero()]).flatten()
    rows = torch.cat([one(y[which], rho[which]), other(y[~which], rho[~which])])
    return rows[order.argsort()]


def inside(window: tuple[float, float] | None, rho: Tensor) -> Tensor:
    """Say of each noise level whether it lies in a window, ends included; without one all do."""
    return torch.ones_like(rho, dtype=torch.bool) if window is None else (rho >= window[0]) & (rho <= window[1])


def ordered(window: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return a window of noise levels if its ends are in order."""
    if window is not None and not 0 <= window[0] <= window[1]:
        raise ValueError("it must be (rho_low, rho_high) with 0 <= rho_low <= rho_high")
    return window
