r"""The variables in which the probability-flow ODE can be solved, all linear in the state and the predicted noise.

In y = x/alpha and rho = sigma/alpha the ODE is dy/drho = eps(y, rho). A clock c with a scale Phi turns it into

    z = y/Phi(c),    dz/dc = A(c) z + B(c) eps(y, rho(c)).

A method that is linear in z and its slopes (Runge-Kutta, Adams) is then linear in y and the eps of its stages, with
weights that are numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from samplerhub import (
    ForwardProcess,
    HasMoments,
    HasSigmaData,
    Problem,
    alpha,
    diffusion2,
    drift,
    rho,
    sigma,
    time_at,
)

ClockName = Literal["rho", "log-rho", "t", "angle"]


class Clock(Protocol):
    """A variable of integration; all functions are elementwise, float64."""

    def at(self, level: Tensor) -> Tensor:
        """Return c at noise levels."""
        ...

    def level(self, c: Tensor) -> Tensor:
        """Return the noise level at c."""
        ...

    def frame(self, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return Phi, A and B at c."""
        ...


class Rho:
    """The noise level itself: z = y, dz/drho = eps."""

    def at(self, level: Tensor) -> Tensor:
        """Return the level."""
        return level

    def level(self, c: Tensor) -> Tensor:
        """Return c."""
        return c

    def frame(self, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Phi = 1, A = 0, B = 1."""
        return torch.ones_like(c), torch.zeros_like(c), torch.ones_like(c)


class LogRho:
    """The logarithm of the noise level: z = y, dz/dc = rho eps."""

    def at(self, level: Tensor) -> Tensor:
        """Return log rho."""
        return level.log()

    def level(self, c: Tensor) -> Tensor:
        """Return exp(c)."""
        return c.exp()

    def frame(self, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Phi = 1, A = 0, B = rho."""
        return torch.ones_like(c), torch.zeros_like(c), c.exp()


@dataclass(frozen=True, slots=True)
class Time:
    """The process's own time: z = x = alpha y, dx/dt = f x + g^2/(2 sigma) eps."""

    process: ForwardProcess

    def at(self, level: Tensor) -> Tensor:
        """Return t."""
        return time_at(self.process, level)

    def level(self, c: Tensor) -> Tensor:
        """Return rho(t)."""
        return rho(self.process, c)

    def frame(self, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Phi = 1/alpha, A = f, B = g^2/(2 sigma)."""
        process = self.process
        return 1 / alpha(process, c), drift(process, c), diffusion2(process, c) / (2 * sigma(process, c))


@dataclass(frozen=True, slots=True)
class Angle:
    r"""The angle phi = atan(rho/s), s = sigma_data, in which the flow of Gaussian data stands still.

    z = y/sqrt(rho^2 + s^2), dz/dphi = -F(y, rho) with F = (rho z - Phi eps)/s, which is what a network under EDM's
    preconditioning puts out; phi stays in [0, pi/2).
    """

    sigma_data: float

    def at(self, level: Tensor) -> Tensor:
        """Return atan(rho/s)."""
        return torch.atan(level / self.sigma_data)

    def level(self, c: Tensor) -> Tensor:
        """Return s tan(phi)."""
        return self.sigma_data * c.tan()

    def frame(self, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Phi = s/cos(phi), A = -tan(phi), B = 1/cos(phi)."""
        return self.sigma_data / c.cos(), -c.tan(), 1 / c.cos()


def clock_of(name: ClockName, process: ForwardProcess, sigma_data: float | None) -> Clock:
    """Return the clock of that name; a sampler knows sigma_data once it knows the problem, see `data_scale`."""
    if name == "angle":
        return Angle(1.0 if sigma_data is None else sigma_data)
    others: dict[str, Clock] = {"rho": Rho(), "log-rho": LogRho(), "t": Time(process)}
    return others[name]


def data_scale(problem: Problem) -> float:
    """Return the standard deviation of the data per dimension, as the model or the target says, else 1.

    A wrong scale costs accuracy per step, never correctness.
    """
    if isinstance(problem.model, HasSigmaData) and problem.model.sigma_data is not None:
        return problem.model.sigma_data
    if isinstance(problem.target, HasMoments):
        return math.sqrt(problem.target.moments()[1].diagonal().mean().item())
    return 1.0
