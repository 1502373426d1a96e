"""iPNDM: improved pseudo-numerical methods (Zhang and Chen, 2023; Liu et al., 2022)."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor

from samplerhub import ForwardProcess, Leg, MultistepSampler
from samplerhub_samplers.quadrature import lagrange_weights

ADAMS_BASHFORTH = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Weights of the newest evaluations, newest first, for steps of equal length."""


class IPNDM(MultistepSampler):
    r"""Adams-Bashforth weights of equal steps, applied to whatever steps the grid has.

        y_s = y_t + (rho_s - rho_t) sum_j w_j eps_j,    w = 1 | 3, -1 (/2) | 23, -16, 5 (/12) | 55, -59, 37, -9 (/24)

    The first steps combine the evaluations that there are. On a grid of unequal steps the weights are wrong by a
    relative h, so that the order of convergence is 2 however many evaluations are combined; at few steps the constants
    are small. `ipndm-v` has the weights that belong to the steps.

    References:
        Pseudo Numerical Methods for Diffusion Models on Manifolds (Liu et al., 2022), arXiv:2202.09778
        Fast Sampling of Diffusion Models with Exponential Integrator (Zhang and Chen, 2023), arXiv:2204.13902
    """

    memory: int = Field(4, ge=1, le=4)
    """Number of evaluations that a step combines."""

    @property
    def order(self) -> int:
        """Order of convergence on grids of unequal steps."""
        return min(self.memory, 2)

    @property
    def depth(self) -> int:
        """As many evaluations as are combined."""
        return self.memory

    def clock(self, process: ForwardProcess, rho: Tensor) -> Tensor:
        """The noise level itself."""
        return rho

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (1, w_0 h, w_1 h, ...) for each leg, h = rho_s - rho_t."""
        return [
            (1.0, *(w * (leg.rho_s - leg.rho_t) for w in ADAMS_BASHFORTH[len(past) - 1]))
            for leg, past in zip(legs, self.nodes(process, legs))
        ]


class IPNDMV(MultistepSampler):
    r"""The Adams-Bashforth method in the noise level, with the weights of unequal steps.

        y_s = y_t + sum_j w_j eps_j,    w_j = int_{rho_t}^{rho_s} l_j(rho) drho

    l_j are the Lagrange polynomials through the newest noise levels. This is `deis` with the variable rho, under names
    that it has elsewhere, `lms` being another. Code in circulation (`ipndm_v`) has wrong weights from order 3 on: on
    equal steps those of order 4 are 57, -65, 43, -11 (/24) instead of 55, -59, 37, -9.

    References:
        Fast Sampling of Diffusion Models with Exponential Integrator (Zhang and Chen, 2023), arXiv:2204.13902
    """

    order: int = Field(4, ge=1, le=4)
    """Number of evaluations that the polynomial passes through."""

    @property
    def depth(self) -> int:
        """As many evaluations as the order."""
        return self.order

    def clock(self, process: ForwardProcess, rho: Tensor) -> Tensor:
        """The noise level itself."""
        return rho

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (1, w_0, w_1, ...) for each leg: drho = rho dlog(rho)."""
        nodes, totals = self.nodes(process, legs), [leg.rho_s - leg.rho_t for leg in legs]
        w = lagrange_weights(legs, nodes, clock=lambda rho: rho, kernel=lambda rho, _: rho, totals=totals)
        return [(1.0, *w_leg) for w_leg in w]
