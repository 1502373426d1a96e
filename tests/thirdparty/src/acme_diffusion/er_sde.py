"""ER-SDE-Solver-1."""

import math
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from samplerhub import ForwardProcess, GridSampler, Leg, Run


def phi(rho: float) -> float:
    """Return the noise scale that the paper recommends, its ER-SDE 5."""
    return rho * (math.exp(rho**0.3) + 10)


class ERSDE(GridSampler):
    r"""First-order solver of the extended reverse-time SDE, with the paper's noise scale.

    In the coordinates y = x/alpha, rho = sigma/alpha, with D = D(y_t, rho_t) and z standard normal,

        y_s = r y_t + (1 - r) D + (rho_s^2 - r^2 rho_t^2)^(1/2) z,    r = phi(rho_s)/phi(rho_t)

    Any increasing phi gives the same marginal laws in the limit of small steps; how fast phi grows says how much noise
    is used. phi = rho is the probability-flow ODE, phi = rho^2 the SDE of DDPM, and phi = rho (exp(rho^0.3) + 10) lies
    between: much noise at high noise levels, little at low ones.

    References:
        Elucidating the Solution Space of Extended Reverse-Time SDE for Diffusion Models (Cui et al., 2023),
            arXiv:2309.06169
    """

    order: ClassVar[int] = 1
    own_noise: ClassVar[bool] = True

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return r and the standard deviation of the noise."""
        ratios = [phi(leg.rho_s) / phi(leg.rho_t) for leg in legs]
        return [(r, math.sqrt(leg.rho_s**2 - r**2 * leg.rho_t**2)) for leg, r in zip(legs, ratios, strict=True)]

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """Return y at noise level leg.rho_s from y at leg.rho_t, shape (n, *d): one evaluation, one draw of noise."""
        r, n = leg.weights
        return r * y + (1 - r) * run.problem.x0(y, leg.rho_t) + n * run.noise(y)
