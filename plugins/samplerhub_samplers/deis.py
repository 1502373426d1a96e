"""DEIS: exponential integrators with polynomial extrapolation (Zhang and Chen, 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import ForwardProcess, Leg, MultistepSampler, time_at
from samplerhub_samplers.quadrature import lagrange_weights


class DEIS(MultistepSampler):
    r"""Exponential integrator with polynomial extrapolation.

    In the coordinates y = x/alpha, rho = sigma/alpha the probability-flow ODE is dy/drho = eps(y, rho). The newest
    `order` values of eps are interpolated by a polynomial in a variable c (rho, log rho or t) and integrated exactly:

        y_s = y_t + sum_j w_j eps_j,    w_j = int_{rho_t}^{rho_s} l_j(c(rho)) drho,

    l_j the Lagrange polynomials through the nodes. The first steps use the evaluations that there are. In the paper's
    names: variable t is tAB-DEIS, rho is rhoAB-DEIS; order 1 is DDIM.

    References:
        Fast Sampling of Diffusion Models with Exponential Integrator (Zhang and Chen, 2023), arXiv:2204.13902
    """

    order: int = Field(3, ge=1, le=4)
    """Number of evaluations that the polynomial passes through."""
    variable: Literal["rho", "log-rho", "t"] = "t"
    """Variable of the polynomial: the noise level, its logarithm, or the process's own time."""

    @property
    def depth(self) -> int:
        """As many evaluations as the order."""
        return self.order

    def clock(self, process: ForwardProcess, rho: Tensor) -> Tensor:
        """Return the variable of the polynomial at noise levels rho."""
        if self.variable == "rho":
            return rho
        return rho.log() if self.variable == "log-rho" else time_at(process, rho)

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (1, w_0, w_1, ...) for each leg: drho = rho dlog(rho)."""
        weights = lagrange_weights(
            legs,
            self.nodes(process, legs),
            clock=lambda rho: self.clock(process, torch.from_numpy(rho)).numpy(),
            kernel=lambda rho, _: rho,
            totals=[leg.rho_s - leg.rho_t for leg in legs],
        )
        return [(1.0, *w) for w in weights]
