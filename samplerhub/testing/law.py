"""The exact law of a sampler's output on a Gaussian problem, without Monte Carlo."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import samplerhub.process as derived
from samplerhub.problem import Problem
from samplerhub.protocols import ForwardProcess, Sampler
from samplerhub.testing.exact import Bell

DRAWS = (torch.randn, torch.randn_like, torch.Tensor.normal_, torch.normal)


class Impulses(TorchFunctionMode):
    """While active, the k-th draw of standard normal noise is 1 in row k + 1 of the batch and 0 in all others."""

    def __init__(self) -> None:
        super().__init__()
        self.draws = 0

    def __torch_function__(  # type: ignore[no-untyped-def]
        self, func: Callable[..., Tensor], types: Sequence[type], args=(), kwargs=None
    ) -> Tensor:
        """Replace a draw, pass everything else through."""
        drawn = func(*args, **(kwargs or {}))
        if func not in DRAWS:
            return drawn
        self.draws += 1
        impulse = torch.zeros_like(drawn)
        if self.draws < len(impulse):
            impulse[self.draws] = 1
        return impulse


def variance(sampler: Sampler, process: ForwardProcess, times: Tensor) -> float:
    """Return the exact variance of the output y relative to the truth, for standard normal data and exact prior.

    A fixed-step sampler maps (start, noise) to its output linearly here, so that the variance is the sum of the squared
    responses to a unit in each of them. 1 means that the marginal law is exact.
    """
    rho_start, rho_end = derived.rho(process, times[[0, -1]]).tolist()
    alpha_start, alpha_end = derived.alpha(process, times[[0, -1]]).tolist()
    rows = 2
    while True:
        x = torch.zeros(rows, 1, dtype=torch.float64)
        x[0] = alpha_start * (1 + rho_start**2) ** 0.5
        with Impulses() as impulses:
            *_, step = sampler(Problem(process, Bell(), shape=(1,)), x, times, torch.Generator())
        if impulses.draws < rows:
            break
        rows = impulses.draws + 1
    y = step.x / alpha_end
    return float(y.square().sum().item() / (1 + rho_end**2))
