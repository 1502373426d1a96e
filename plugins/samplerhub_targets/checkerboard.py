"""A checkerboard."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from samplerhub_targets.box_mixture import BoxMixture


class Checkerboard(BoxMixture):
    r"""A checkerboard in the plane, uniform on its dark squares, score and density in closed form.

    The board is [-half, half]^2 and has `squares` squares along each side; square (i, j) is dark where i + j is even.
    The law is a mixture of uniform laws (see `uniform`).

    References:
        FFJORD: Free-form Continuous Dynamics for Scalable Reversible Generative Models (Grathwohl et al., 2019),
            arXiv:1810.01367
    """

    squares: int = Field(4, ge=1)
    """Number of squares along each side."""
    half: float = Field(2.0, gt=0)
    """Half the length of a side."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(2,)."""
        return (2,)

    def boxes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights (K,), lower and upper corners (K, 2), float64."""
        i = torch.arange(self.squares)
        dark = torch.cartesian_prod(i, i)
        dark = dark[dark.sum(1) % 2 == 0].double()
        side = 2 * self.half / self.squares
        return torch.ones(len(dark), dtype=torch.float64), side * dark - self.half, side * (dark + 1) - self.half
