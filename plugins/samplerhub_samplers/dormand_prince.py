"""The Dormand-Prince method with error control for each sample (Dormand and Prince, 1980)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Problem, Step, alpha, broadcast, rho, time_at
from samplerhub.errors import InvalidSetting

# Stage i starts from y + h sum_j A[i][j] k_j at rho + C[i] h; the last row of A is the fifth-order solution.
C = (0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1)
A = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# The difference between the fifth-order and the fourth-order solution, in units of h.
E = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


class DormandPrince(Component):
    r"""Adaptive Runge-Kutta method of order 5 for the probability-flow ODE, each sample with steps of its own.

    Integrates dy/drho = eps(y, rho), y = x/alpha, from the first to the last of the times, with steps of its own in
    between. A step h of a sample is accepted if the error of its embedded fourth-order solution is small enough,

        err = rms_i( e_i / (atol + rtol max(|y_i|, |y_s,i|)) ) <= 1,

    and the next step is h times 0.9 err^(-1/5), kept between 0.2 and 5. No sample waits for another: one that has
    arrived costs nothing more, and what becomes of a sample does not depend on the batch.

    References:
        A family of embedded Runge-Kutta formulae (Dormand and Prince, 1980), doi:10.1016/0771-050X(80)90013-3
        Solving Ordinary Differential Equations I (Hairer, Norsett and Wanner, 1993), sections II.4 and II.5
    """

    rtol: float = Field(1e-5, gt=0)
    """Tolerance relative to the size of each coordinate."""
    atol: float = Field(1e-5, gt=0)
    """Absolute tolerance of each coordinate, in units of the data."""
    first_step: float = Field(0.5, gt=0, le=1)
    """Length of the first attempt, as a share of the way."""
    max_step: float = Field(0.5, gt=0, le=1)
    """Longest step, as a share of the noise level from which it starts: a bound on stepping over structure unseen."""
    max_steps: int = Field(10_000, ge=1)
    """Attempts after which a run is given up."""

    order: ClassVar[int] = 5

    def __call__(self, problem: Problem, x: Tensor, times: Tensor, rng: torch.Generator) -> Iterator[Step]:
        """Yield the states whenever at least one sample has moved; t and rho have shape (n,)."""
        process = problem.process
        start, end = rho(process, times[[0, -1]]).tolist()
        y = x / alpha(process, times[0]).item()
        level = torch.full((len(x),), start, dtype=torch.float64, device=x.device)

        # The samples that are still on their way: which they are, and where each of them is.
        on = torch.arange(len(x), device=x.device)
        y_t, rho_t, k = y, level, problem.eps(y, start)
        h = -self.first_step * (rho_t - end)
        for _ in range(self.max_steps):
            h = torch.maximum(h, -self.max_step * rho_t)
            arrives = rho_t + 1.01 * h <= end
            rho_s = torch.where(arrives, end, rho_t + h)
            y_s, k_s, err = self._attempt(problem, y_t, rho_t, rho_s, k)

            accepted = err <= 1
            factor = (0.9 * err ** (-1 / 5)).clamp(0.2, 5.0).nan_to_num(0.2)
            h = factor * (rho_s - rho_t)
            moved = accepted.view(-1, *(1,) * (y.ndim - 1))
            y_t, k = torch.where(moved, y_s, y_t), torch.where(moved, k_s, k)
            rho_t = torch.where(accepted, rho_s, rho_t)
            if bool(accepted.any()):
                y, level = y.index_copy(0, on, y_t), level.index_copy(0, on, rho_t)
                t = time_at(process, level)
                yield Step(t, y * broadcast(alpha(process, t), y), level)

            left = rho_t > end
            if not bool(left.any()):
                return
            if not bool(left.all()):
                on, y_t, rho_t, k, h = on[left], y_t[left], rho_t[left], k[left], h[left]
        raise InvalidSetting(
            f"max_steps = {self.max_steps} attempts were not enough for {len(on)} of {len(x)} samples, the furthest "
            f"behind at noise level {rho_t.max().item():g}; loosen rtol = {self.rtol:g} and atol = {self.atol:g}, "
            "or use dtype float64"
        )

    def _attempt(
        self, problem: Problem, y: Tensor, rho_t: Tensor, rho_s: Tensor, k: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return y and eps at rho_s and the error, shape (n,), of one step for every sample."""
        h = broadcast(rho_s - rho_t, y)
        slopes = [k]
        y_s = y
        for a, c in zip(A[1:], C[1:]):
            y_s = y + h * sum(a_j * k_j for a_j, k_j in zip(a, slopes) if a_j)
            slopes.append(problem.eps(y_s, torch.lerp(rho_t, rho_s, c)))
        e = h * sum(e_j * k_j for e_j, k_j in zip(E, slopes) if e_j)
        scale = self.atol + self.rtol * torch.maximum(y.abs(), y_s.abs())
        return y_s, slopes[-1], (e / scale).flatten(1).double().square().mean(1).sqrt()
