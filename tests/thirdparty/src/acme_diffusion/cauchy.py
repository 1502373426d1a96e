"""The Cauchy schedule."""

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Problem, log_snr, time_at


class Cauchy(Component):
    r"""Quantiles of a Cauchy law of the log-SNR, for any process.

        l_i = mu + gamma tan(u_i),    rho_i = exp(-l_i/2),    i = 0, ..., N

    with u_i in N equal steps between the angles u = atan((l - mu)/gamma) of both ends. Half of the nodes of a long span
    are within gamma of mu, and its tails are long enough to reach the ends in few steps.

    References:
        Improved Noise Schedule for Diffusion Training (Hang and Gu, 2024), arXiv:2407.03297
    """

    mu: float = 2.0
    """Log-SNR around which the nodes gather."""
    gamma: float = Field(4.0, gt=0)
    """Distance from mu, in log-SNR, within which half of them are."""

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing from problem.span[1] to problem.span[0], float64."""
        t_min, t_max = problem.span
        u_max, u_min = ((log_snr(problem.process, [t_min, t_max]) - self.mu) / self.gamma).atan().tolist()
        u = torch.linspace(u_min, u_max, steps + 1, dtype=torch.float64)
        l_i = self.mu + self.gamma * u[1:-1].tan()
        inner = time_at(problem.process, (-l_i / 2).exp())
        return torch.cat([u.new_tensor([t_max]), inner, u.new_tensor([t_min])])
