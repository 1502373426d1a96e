"""Heun's method as EDM uses it (Karras et al., 2022)."""

from __future__ import annotations

from typing import ClassVar

from samplerhub import ForwardProcess
from samplerhub_samplers.clocks import Clock, Rho
from samplerhub_samplers.runge_kutta import RungeKutta
from samplerhub_samplers.tableaux import TABLEAUX, Tableau


class Heun(RungeKutta):
    r"""Heun's second-order method in the noise level: an Euler step, then the mean of the slopes at both ends.

        d = eps(y_t, rho_t),    y' = y_t + (rho_s - rho_t) d,    d' = eps(y', rho_s)
        y_s = y_t + (rho_s - rho_t) (d + d')/2

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
    """

    method: ClassVar[Tableau] = TABLEAUX["heun"]
    order: ClassVar[int] = 2

    def clock(self, process: ForwardProcess) -> Clock:
        """Return the noise level."""
        return Rho()
