"""The exact model of finitely many data: memorisation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from samplerhub import Component, FiniteData, Target, broadcast
from samplerhub.errors import Mismatch

NUMBERS = 2**17
"""Numbers of one array of a block, samples times data."""
FAINT = -80.0
"""Weights count as e^-80 of the largest or more: it makes no difference, and denormal numbers are slow."""
TILE = 16
"""Matrix kernels give a row the same bits in every call whose rows are a multiple of this."""


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """The posterior mean and the density of finitely many data, from sums over all of them, a block of rows at a time.

    |y - x_i|^2 = |y|^2 - 2 (y.x_i - |x_i|^2/2), of which the first is the same for all i: a matrix product is all that
    it takes. It cancels near a datum and is divided by a variance that may be tiny: hence it is done in float64.
    """

    data: Tensor
    """The data less their centre, (N, D), float64."""
    half_norms: Tensor
    """|x_i|^2/2, (N,)."""
    centre: Tensor
    """Mean of the data, (D,)."""
    shape: tuple[int, ...]
    """Shape of one sample."""
    predicts: Literal["x0"] = "x0"

    @classmethod
    def of(cls, data: Tensor) -> Memory:
        """Take data (N, *d)."""
        x = data.flatten(1).double()
        centre = x.mean(0)
        x = x - centre
        return cls(x, x.square().sum(1) / 2, centre, tuple(data.shape[1:]))

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return E[x_0 | x_0 + rho eps = y], shape (n, *d)."""
        x, means = self.data.to(y), []
        for L in self._log_weights(y, rho):
            E = (L - L.amax(1, keepdim=True)).clamp(min=FAINT).to(y.dtype).exp()
            means.append(E @ x / E.sum(1, keepdim=True))
        return (self.centre.to(y) + torch.cat(means)).reshape(y.shape)

    def log_prob(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return the log-density of x_0 + rho eps at y, shape (n,)."""
        N, D = self.data.shape
        v = broadcast(rho, y).flatten().double() ** 2
        tails = (y.flatten(1).double() - self.centre.to(y.device)).square().sum(1) / (2 * v)
        sums = torch.cat([L.logsumexp(1) for L in self._log_weights(y, rho)])
        return (sums - tails - D / 2 * (2 * math.pi * v).log() - math.log(N)).to(y.dtype)

    def _log_weights(self, y: Tensor, rho: Tensor) -> Iterator[Tensor]:
        """Yield -|y - x_i|^2/(2 rho^2), but for what does not depend on i, (rows, N), a block of rows at a time."""
        x, b, c = (part.to(y.device) for part in (self.data, self.half_norms, self.centre))
        rows = max(NUMBERS // len(x) // TILE, 1) * TILE
        v = (broadcast(rho, y).flatten(1).double() ** 2).expand(len(y), 1)
        for y_i, v_i in zip(torch.split(y.flatten(1), rows), torch.split(v, rows)):
            yield torch.addmm(-b, y_i.double() - c, x.T) / v_i


class Empirical(Component):
    r"""The exact model of the target's data: it knows them by heart, and its samples are copies of them.

        E[x_0 | y] = sum_i r_i x_i,    r = softmax_i(-|y - x_i|^2/(2 rho^2))

    x_i are the data of a target of finitely many (digits, images, an array). This is what a network would learn if it
    minimised its training loss to the end: the score is exact for the law of the training data, and for no other.
    Whatever noise it starts from, a run ends at a training datum, as the metric `nearest` shows: its "copies" are near
    1. So it says how good a sampler is, or where a network departs from memorisation; nothing about new data.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364,
            app. B.3
        On Memorization in Diffusion Models (Gu et al., 2023), arXiv:2310.02664
    """

    def of(self, target: Target) -> Memory:
        """Return the model of a target.

        Raises:
            Mismatch: The target's law is not that of finitely many data.
        """
        if not isinstance(target, FiniteData):
            raise Mismatch(
                f"the model 'empirical' needs a target of finitely many data, and {type(target).__name__} has no "
                "method 'data'; choose --target digits, or a file of data of your own, or --model exact"
            )
        return Memory.of(target.data())
