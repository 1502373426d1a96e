"""Euler's method for the probability-flow ODE in the process's own time (Song et al., 2021)."""

from __future__ import annotations

from typing import ClassVar

from samplerhub import ForwardProcess
from samplerhub_samplers.clocks import Clock, Time
from samplerhub_samplers.runge_kutta import RungeKutta
from samplerhub_samplers.tableaux import TABLEAUX, Tableau


class Euler(RungeKutta):
    r"""Euler's method for the probability-flow ODE in the process's own time t.

        x_s = x_t + (s - t) [f(t) x_t - g(t)^2/2 score(x_t, t)]

    Unlike DDIM, which is Euler's method in the noise level, it sees how the process is parametrised.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv:2011.13456
    """

    method: ClassVar[Tableau] = TABLEAUX["euler"]
    order: ClassVar[int] = 1

    def clock(self, process: ForwardProcess) -> Clock:
        """Return the process's own time."""
        return Time(process)
