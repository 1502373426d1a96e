"""Equal ratios of the noise level: equal steps of log-SNR."""

from __future__ import annotations

from torch import Tensor

from samplerhub_grids.spaced import SpacedGrid


class Exponential(SpacedGrid):
    r"""Uniform in the log of the noise level, and so in log-SNR.

        log rho_i = log rho_max + i/N (log rho_min - log rho_max),    t_i = t(rho_i),    i = 0, ..., N

    Equal steps of log-SNR = -2 log rho, the variable of the DPM-Solver family, are the same nodes: `log-snr` is another
    name of this grid. On `ve` and `edm` it is the VE column of EDM's Table 1.

    References:
        DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps (Lu et al., 2022),
            arXiv:2206.00927
    """

    def variable(self, rho: Tensor) -> Tensor:
        """Return log rho."""
        return rho.log()

    def level(self, v: Tensor) -> Tensor:
        """Return exp(v)."""
        return v.exp()
