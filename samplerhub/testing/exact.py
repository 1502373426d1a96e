"""An exact problem to test against: a small mixture whose score and flow are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

import samplerhub.process as derived
from samplerhub.problem import Problem
from samplerhub.protocols import ForwardProcess

RANGE = (0.05, 10.0)
"""Noise levels between which orders of convergence are measured, as far as a process reaches them."""


class Bells:
    """Three round Gaussian bells in the plane, as target and as model; float64, all in closed form."""

    shape = (2,)
    predicts: ClassVar[Literal["x0"]] = "x0"
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    means = torch.tensor([[1.0, 0.5], [-1.0, 0.0], [0.2, -1.2]], dtype=torch.float64)
    variances = torch.tensor([0.3, 0.2, 0.25], dtype=torch.float64)

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return E[x_0 | y]."""
        variance = self.variances.to(y)
        v = variance + rho.reshape(-1, 1) ** 2
        gap = y[:, None] - self.means.to(y)
        log_p = self.weights.to(y).log() - v.log() - gap.square().sum(-1) / (2 * v)
        pull = (variance / v)[..., None] * gap
        return (log_p.softmax(-1)[..., None] * (self.means.to(y) + pull)).sum(1)


@dataclass(frozen=True, slots=True)
class Bell:
    """A centred normal in one dimension, as model: every fixed-step sampler is linear on it."""

    variance: float = 1.0

    predicts: ClassVar[Literal["x0"]] = "x0"

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return E[x_0 | y] = c/(c + rho^2) y, c the variance."""
        return y * (self.variance / (self.variance + rho * rho))


def levels(process: ForwardProcess, low: float = RANGE[0], high: float = RANGE[1]) -> tuple[float, float]:
    """Return the part (rho_low, rho_high) of a range of noise levels that a process reaches."""
    rho_min, rho_max = derived.rho(process, list(process.span)).tolist()
    return max(low, rho_min), min(high, rho_max)


def warm_times(process: ForwardProcess, steps: int, order: int) -> Tensor:
    """Return times uniform in log rho whose first steps are shorter, so that starting at low order costs nothing.

    A method of order k that starts with steps of order 1, 2, ... keeps global order k if step j is of length
    h^(k/(j + 2)): a warm start by the grid alone.
    """
    rho_low, rho_high = levels(process)
    h = 1 / steps
    lengths = torch.tensor([max(h ** (order / (j + 2)) / h, 0) if j + 2 < order else 1.0 for j in range(steps)])
    share = torch.cat([torch.zeros(1), lengths.cumsum(0)]).double() / lengths.sum()
    rho = torch.exp(math.log(rho_high) + share * math.log(rho_low / rho_high))
    return derived.time_at(process, rho.clamp(rho_low, rho_high))


@lru_cache(maxsize=64)
def flow(rho_high: float, rho_low: float, n: int = 64) -> tuple[Tensor, Tensor]:
    """Return states y of `Bells` at rho_high and the ends of their probability-flow paths at rho_low, to 1e-12.

    By scipy's DOP853 in log rho: dy/dlog(rho) = y - D(y, rho).
    """
    model = Bells()
    start = rho_high * torch.randn(n, 2, generator=torch.Generator().manual_seed(20), dtype=torch.float64)

    def slope(c: float, y: NDArray[np.float64]) -> NDArray[np.float64]:
        state = torch.from_numpy(y).view(n, 2)
        return (state - model(state, torch.tensor(math.exp(c), dtype=torch.float64))).flatten().numpy()

    ends = (math.log(rho_high), math.log(rho_low))
    path = solve_ivp(slope, ends, start.flatten().numpy(), method="DOP853", rtol=1e-13, atol=1e-14)
    return start, torch.from_numpy(path.y[:, -1]).view(n, 2)


def problem(process: ForwardProcess) -> Problem:
    """Return a fresh problem of `Bells`."""
    return Problem(process, Bells(), shape=(2,))
