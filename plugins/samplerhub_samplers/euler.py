"""Euler's method for the probability-flow ODE in the process's own time (Song et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from samplerhub import ForwardProcess, GridSampler, Leg, Run, diffusion2, drift


class Euler(GridSampler):
    r"""Euler's method for the probability-flow ODE in the process's own time t.

        x_s = x_t + (s - t) [f(t) x_t - g(t)^2/2 score(x_t, t)]

    Unlike DDIM, which is Euler's method in the noise level, it sees how the process is parametrised.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv:2011.13456
    """

    order: ClassVar[int] = 1

    def weights(self, process: ForwardProcess, legs: Sequence[Leg]) -> list[tuple[float, ...]]:
        """Return (a, b) of y_s = a y_t + b eps, with score_x = -eps/(alpha rho)."""
        t = [leg.t for leg in legs]
        f, g2 = drift(process, t).tolist(), diffusion2(process, t).tolist()
        return [
            (
                leg.alpha_t / leg.alpha_s * (1 + (leg.s - leg.t) * f_t),
                (leg.s - leg.t) * g2_t / (2 * leg.alpha_t * leg.rho_t * leg.alpha_s),
            )
            for leg, f_t, g2_t in zip(legs, f, g2)
        ]

    def step(self, run: Run, y: Tensor, leg: Leg) -> Tensor:
        """One evaluation."""
        a, b = leg.weights
        return torch.add(y * a, run.problem.eps(y, leg.rho_t), alpha=b)
