"""The density of the probability-flow ODE's samples, by the instantaneous change of variables."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.integrate import solve_ivp
from torch import Tensor

from samplerhub import Component, PriorDensity, Setup, alpha, kebab, stream
from samplerhub.errors import Mismatch, NotFinite
from samplerhub_metrics.jacobian import Map, basis, check_derivatives, pulled_back

ROWS = 65_536
"""Numbers in the states that are integrated together."""
CHECKED = 16
"""Samples that are integrated once more, with a tenth of the tolerance, for an estimate of the error."""


@dataclass(frozen=True)
class Flow:
    r"""The probability-flow ODE of a run, and the law of what it makes of the prior.

        dy/drho = eps(y, rho),    log q(y; rho) = log pi(Y) + int_rho^rho_max tr(d eps/dy) d rho'

    y at noise level rho is moved to Y at rho_max; pi is the prior's density there. It is integrated in log rho by the
    Dormand-Prince method of order 8. The trace is exact (d products with the transposed Jacobian), or the estimate
    v^T (d eps/dy) v with random signs v that stay the same along the way, which has no bias.

    References:
        Neural Ordinary Differential Equations (Chen et al., 2018), arXiv:1806.07366
        FFJORD: Free-form Continuous Dynamics for Scalable Reversible Generative Models (Grathwohl et al., 2019),
            arXiv:1810.01367
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021), arXiv:2011.13456
    """

    setup: Setup
    tolerance: float
    probes: int | None
    """Number of random v; None: the exact trace."""

    @property
    def divergence(self) -> str:
        """How the trace is had."""
        return "exact" if self.probes is None else f"{self.probes} random probes"

    def prior_log_prob(self, y: Tensor) -> Tensor:
        """Return the log-density of the prior in y = x/alpha, shape (n,)."""
        a = alpha(self.setup.process, self.setup.span[1]).item()
        return prior_of(self.setup).log_prob(self.setup.problem(), a * y).to(y) + y[0].numel() * math.log(a)

    def log_prob(self, y: Tensor, rho: float) -> Tensor:
        """Return log q(y; rho), shape (n, K): a column for each probe, one if the trace is exact."""
        rho_max = self.setup.rho[0].item()
        Y, log_det = self.transport(y, rho, rho_max)
        return self.prior_log_prob(Y)[:, None] + log_det

    def integration_error(self, y: Tensor, rho: float) -> float:
        """Return what a tenth of the tolerance changes in log q of the first samples, in the mean."""
        y, finer = y[:CHECKED], replace(self, tolerance=self.tolerance / 10)
        return (self.log_prob(y, rho) - finer.log_prob(y, rho)).abs().mean().item()

    def transport(self, y: Tensor, start: float, end: float) -> tuple[Tensor, Tensor]:
        """Return Y at noise level `end` for y (n, *d) at `start`, and log |det dY/dy|, shape (n, K)."""
        rows = max(1, ROWS // (y[0].numel() + (self.probes or 1)))
        v = self._probes(y)
        chunks = zip(torch.split(y, rows), [None] * len(y) if v is None else torch.split(v, rows))
        moved = [self._transported(y_i, v_i, start, end) for y_i, v_i in chunks]
        return torch.cat([Y for Y, _ in moved]), torch.cat([log_det for _, log_det in moved])

    def _probes(self, y: Tensor) -> Tensor | None:
        """Return random signs, shape (n, K, *d)."""
        if self.probes is None:
            return None
        rng = stream(self.setup.seed, "probes of the divergence")
        v = torch.randint(0, 2, (len(y), self.probes, *y.shape[1:]), generator=rng)
        return (2 * v - 1).to(y)

    def _transported(self, y: Tensor, v: Tensor | None, start: float, end: float) -> tuple[Tensor, Tensor]:
        n, d, K = len(y), y[0].numel(), self.probes or 1
        problem = self.setup.problem(gradients=True)

        def slope(s: float, state: NDArray[np.float64]) -> NDArray[np.float64]:
            rho = math.exp(s)
            now = torch.from_numpy(state.reshape(n, d + K)[:, :d]).to(y).reshape(y.shape)
            eps, trace = _divergence(lambda y: problem.eps(y, rho), now, v)
            both: NDArray[np.float64] = (rho * torch.cat([eps.flatten(1), trace], 1)).cpu().numpy()
            return both.ravel()

        if start == end:
            return y, y.new_zeros(n, K)
        first = torch.cat([y.flatten(1), y.new_zeros(n, K)], 1).cpu().numpy().ravel()
        ends = math.log(start), math.log(end)
        solution = solve_ivp(slope, ends, first, "DOP853", t_eval=ends[1:], rtol=self.tolerance, atol=self.tolerance)
        if not solution.success:
            raise NotFinite(
                f"the probability-flow ODE of model {kebab(type(self.setup.model))!r} could not be integrated from "
                f"rho = {start:g} to {end:g} with tolerance {self.tolerance:g}: {solution.message}; try a larger "
                f"tolerance"
            )
        last = torch.from_numpy(solution.y[:, -1].reshape(n, d + K)).to(y)
        return last[:, :d].reshape(y.shape), last[:, d:]


def _divergence(f: Map, y: Tensor, probes: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return f(y) and its divergence, shape (n, K); exact, and K = 1, without probes (n, K, *d)."""
    if probes is None:
        value, rows = pulled_back(f, y, basis(y))
        trace = sum((row.flatten(1)[:, i] for i, row in enumerate(rows)), y.new_zeros(len(y)))
        return value, trace[:, None]
    v = probes.unbind(1)
    value, products = pulled_back(f, y, v)
    return value, torch.stack([(v_k * product).flatten(1).sum(1) for v_k, product in zip(v, products)], 1)


def prior_of(setup: Setup) -> PriorDensity:
    """Return the prior of a run as a density.

    Raises:
        Mismatch: Its density is not known.
    """
    if not isinstance(setup.prior, PriorDensity):
        raise Mismatch(
            f"the density of the start is needed, and prior {kebab(type(setup.prior))!r} has no method 'log_prob'; "
            f"choose another, such as --prior gaussian"
        )
    return setup.prior


class FlowMetric(Component, ABC):
    """A figure that needs the density of the probability-flow ODE's samples."""

    samples: int = Field(10_000, ge=2)
    """Points at which the density is evaluated, at most; fewer if the run makes fewer samples."""
    tolerance: float = Field(1e-5, gt=0, lt=0.1)
    """Tolerance of the integration, relative and absolute; what is left of it stands in the details."""
    exact_up_to: int = Field(16, ge=0)
    """Dimension up to which divergences and determinants are exact."""
    probes: int = Field(4, ge=2)
    """Beyond it, random probes of the divergence for each point."""

    def inspect(self, setup: Setup) -> None:
        """Return if prior and model allow it.

        Raises:
            Mismatch: The prior has no density for this run, or the model no derivatives.
        """
        prior_of(setup).log_prob(setup.problem(), setup.start(2, stream(setup.seed, "trial")))
        check_derivatives(setup)

    def flow(self, setup: Setup) -> Flow:
        """Return the flow of a run."""
        exact = math.prod(setup.shape) <= self.exact_up_to
        return Flow(setup, self.tolerance, None if exact else self.probes)

    def count(self, setup: Setup) -> int:
        """Return the number of points."""
        return max(2, min(self.samples, setup.samples))


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return the mean of independent figures (n,) and its standard error, 0 if they are all the same."""
    if bool((values == values[0]).all()):
        return values[0].item(), 0.0
    return values.mean().item(), (values.std() / math.sqrt(len(values))).item()


def levels_of(setup: Setup) -> Sequence[tuple[int, float, float]]:
    """Return (index, time, noise level) of the recorded times; only the last if none are recorded."""
    times, rho = setup.times.tolist(), setup.rho.tolist()
    return [(k, times[k], rho[k]) for k in setup.path or (len(times) - 1,)]
