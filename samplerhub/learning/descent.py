"""Levenberg and Marquardt's method on the nodes of a grid, with a robust loss or the mean square."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from samplerhub.learning.trials import Trials

DIFFERENCE = 1e-3
"""Step of the finite differences in theta: far above the rounding of a model in single precision."""
ENOUGH = 1e-3
"""Relative gain below which a descent ends."""
TRIES = 8
"""So many dampings are tried for a step."""
LEAST = 1e-3
"""No step is smaller, in log rho, than this part of the mean step: nodes cannot meet."""


def unknowns(rho: Tensor) -> Tensor:
    """Return theta (N - 1,) of nodes rho (N + 1,): the logarithms of the shares, relative to the last."""
    h = (rho[:-1] / rho[1:]).log()
    shares = (h / h.sum() - LEAST / len(h)).clamp(min=LEAST**2)
    return (shares[:-1] / shares[-1]).log()


def nodes(theta: Tensor, ends: tuple[float, float]) -> Tensor:
    """Return the nodes rho (N + 1,) of theta (N - 1,): whatever theta is, they fall from one end to the other."""
    N = len(theta) + 1
    h = (1 - LEAST) * torch.softmax(torch.cat([theta, theta.new_zeros(1)]), 0) + LEAST / N
    above, below = math.log(ends[0]), math.log(ends[1])
    rho = (above + torch.cat([h.new_zeros(1), h.cumsum(0)]) * (below - above)).exp()
    rho[0], rho[-1] = ends
    return rho


@dataclass(frozen=True, slots=True)
class Loss:
    """The mean of s^2 log(1 + e/s^2) over the mean square errors e of the trials; s infinite: the mean of e."""

    s2: float

    def __call__(self, r: Tensor) -> float:
        """Return the loss of residuals r (n, D); infinite where a run failed."""
        e = r.square().mean(1)
        loss = (e if math.isinf(self.s2) else self.s2 * (e / self.s2).log1p()).mean().item()
        return loss if math.isfinite(loss) else math.inf

    def weights(self, r: Tensor) -> Tensor:
        """Return the derivative of the loss with respect to the squared residuals of each trial, shape (n,)."""
        return 1 / (1 + r.square().mean(1) / self.s2) / r.numel()


def descend(trials: Trials, rho: Tensor, reach: float, iterations: int) -> Iterator[tuple[Tensor, float]]:
    """Yield better and better nodes, each with its RMS error in training.

    Args:
        trials: The starting states.
        rho: The first nodes.
        reach: Errors of more than so many times the median count less and less; infinite: all count the same.
        iterations: At most so many.
    """
    ends = (rho[0].item(), rho[-1].item())
    theta, damping = unknowns(rho), 1e-2
    r = trials.residuals(nodes(theta, ends))
    for _ in range(iterations):
        loss = Loss(reach**2 * r.square().mean(1).median().item() if math.isfinite(reach) else math.inf)
        before = loss(r)
        directions = DIFFERENCE * torch.eye(len(theta), dtype=torch.float64)
        J = torch.stack([(trials.residuals(nodes(theta + h, ends)) - r) / DIFFERENCE for h in directions], -1)
        A = torch.einsum("n,ndj,ndk->jk", loss.weights(r), J, J)
        b = torch.einsum("n,ndj,nd->j", loss.weights(r), J, r)
        if not bool(A.isfinite().all() and b.isfinite().all()):
            return
        scale = A.diagonal() + A.diagonal().mean() / 10
        for _ in range(TRIES):
            step = torch.linalg.solve(A + damping * scale.diag(), -b)
            new = theta + step / step.abs().max().clamp(min=1)
            r_new = trials.residuals(nodes(new, ends))
            if loss(r_new) < before:
                break
            damping *= 4
        else:
            return
        theta, r, damping = new, r_new, max(damping / 5, 1e-7)
        yield nodes(theta, ends), r.square().mean().sqrt().item()
        if loss(r) > (1 - ENOUGH) * before:
            return
