"""DPM-Solver with error control for each sample (Lu et al., 2022)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from samplerhub import Problem, broadcast
from samplerhub_samplers.adaptive import AdaptiveSampler, Attempt
from samplerhub_samplers.clocks import Clock, LogRho


class DPMSolverAdaptive(AdaptiveSampler):
    r"""DPM-Solver with two orders in each step, whose difference chooses the steps of each sample.

    With lambda = -log rho, h the step in lambda and e(x) = exp(x) - 1, pair 12 (one node at r_1 = 1/2):

        u_1 = y - rho_1 e(r_1 h) eps,    lower = y - rho_s e(h) eps
        higher = lower - rho_s/(2 r_1) e(h) (eps_1 - eps)

    and pair 23 (nodes at r_1 = 1/3, r_2 = 2/3), whose lower method is the higher one of the line above at r_1:

        u_2 = y - rho_2 e(r_2 h) eps - rho_2 r_2/r_1 (e(r_2 h)/(r_2 h) - 1) (eps_1 - eps)
        higher = y - rho_s e(h) eps - rho_s/r_2 (e(h)/h - 1) (eps_2 - eps).

    References:
        DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps (Lu et al., 2022),
            arXiv:2206.00927
    """

    pair: Literal["12", "23"] = "23"
    """Orders of the two methods."""

    @property
    def order(self) -> int:
        """The order of the higher method."""
        return int(self.pair[1])

    @property
    def exponent(self) -> float:
        """1/q, q the order of the higher method."""
        return 1 / self.order

    @property
    def stages(self) -> tuple[int, int]:
        """As many as the higher order."""
        return self.order, 0

    def clock(self, problem: Problem) -> Clock:
        """Return log rho."""
        return LogRho()

    def attempt(self, problem: Problem, y: Tensor, start: Tensor, end: Tensor, slope: Tensor | None) -> Attempt:
        """Take a step of both methods."""
        log_ratio = (start / end).log()
        r_1, r_2 = (0.5, 1.0) if self.pair == "12" else (1 / 3, 2 / 3)
        rho_1 = start * (-r_1 * log_ratio).exp()
        h, rho_s, level_1 = (broadcast(number, y) for number in (log_ratio, end, rho_1))

        eps = problem.eps(y, start)
        eps_1 = problem.eps(y - level_1 * (r_1 * h).expm1() * eps, rho_1)
        first = y - rho_s * h.expm1() * eps
        second = first - rho_s / (2 * r_1) * h.expm1() * (eps_1 - eps)
        if self.pair == "12":
            return Attempt(second, second - first)

        rho_2 = start * (-r_2 * log_ratio).exp()
        level_2, k = broadcast(rho_2, y), (r_2 * h).expm1()
        u_2 = y - level_2 * k * eps - level_2 * r_2 / r_1 * (k / (r_2 * h) - 1) * (eps_1 - eps)
        eps_2 = problem.eps(u_2, rho_2)
        third = first - rho_s / r_2 * (h.expm1() / h - 1) * (eps_2 - eps)
        return Attempt(third, third - second)
