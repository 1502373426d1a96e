"""The discrete noise levels of iDDPM as EDM gives them (Nichol and Dhariwal, 2021; Karras et al., 2022)."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from samplerhub_processes.table import TabledProcess


class IDDPM(TabledProcess):
    r"""The noise levels of iDDPM with EDM's floor under the steps of alpha-bar, variance preserving.

        u_M = 0,    u_(j-1) = sqrt((u_j^2 + 1)/max(abar_(j-1)/abar_j, floor) - 1),    j = M, ..., 1
        abar_j = sin^2(pi/2 j/(M (1 + offset))),    rho_t = u_(M - t),    t = 1, ..., M

    The rows are EDM's, counted from the data; between them log rho is interpolated monotonically over log t. But for
    the last row, u_0 = 2.0e4, they are those of `vp-cosine` at t/M. Sampling starts at u_8 = 80.2 (t = 992), as in EDM.

    References:
        Improved Denoising Diffusion Probabilistic Models (Nichol and Dhariwal, 2021), arXiv:2102.09672
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364,
            Table 1
    """

    rows: int = Field(1000, ge=10)
    """M, the number of rows."""
    offset: float = Field(0.008, ge=0)
    """C_2: what keeps the noise from growing too slowly near time 0."""
    floor: float = Field(0.001, gt=0, lt=1)
    """C_1: the least ratio of two alpha-bars that follow each other."""
    t_max: float | None = Field(992, gt=0)
    """Time at which sampling starts; none: the last row."""

    def levels(self) -> tuple[int, Tensor]:
        """Return u_(M-1), ..., u_0, from time 1 on."""
        M, abar = (
            self.rows,
            [math.sin(math.pi / 2 * j / (self.rows * (1 + self.offset))) ** 2 for j in range(self.rows + 1)],
        )
        u = [0.0]
        for j in range(M, 0, -1):
            u.append(math.sqrt((u[-1] ** 2 + 1) / max(abar[j - 1] / abar[j], self.floor) - 1))
        return 1, torch.tensor(u[1:], dtype=torch.float64)
