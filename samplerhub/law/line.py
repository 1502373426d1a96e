r"""Laws on the line, as nodes with their masses and densities, and how a map carries them.

A density q is known on a uniform grid y_j of spacing h, fine enough that the trapezoidal rule is exact to rounding.
Carried by a map S to x = S(y) it is the law of mass q(y_j) h at the nodes x_j = S(y_j), and of density there

    q_S(x) = sum over all y with S(y) = x of q(y)/|S'(y)|.

Divergences are means under q: with r = q_S/p at the nodes, H(law | target) = E_q log r and
H(target | law) = -E_q log(r)/r.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.interpolate import BSpline, make_interp_spline
from torch import Tensor

from samplerhub import process as derived
from samplerhub.capabilities import Density, PriorDensity
from samplerhub.errors import Mismatch
from samplerhub.law.affine import Direction
from samplerhub.law.branches import Map, branches, found_jumps, law_at
from samplerhub.noise import stream
from samplerhub.protocols import Target
from samplerhub.setup import Setup

NODES = 2**13
"""Nodes of a density that a map carries, at fineness 1."""
MOST = 2**21
"""Nodes, at most."""
FLAT = 1e-12
"""Slope of a map that is rounding alone."""
FLAT_NODES, FLAT_MASS = 16, 1e-9
"""How many nodes, and how much mass, a flat part of a map has at least: where a map turns, a few nodes are flat too."""
SLOPE = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
"""Central differences of order 8."""


def reach(fineness: float) -> float:
    """Return how many standard deviations of a normal law are kept on each side."""
    return 8 * math.sqrt(fineness)


@dataclass(frozen=True, slots=True)
class Grid:
    """Uniform nodes low, low + h, ..., n of them."""

    low: float
    h: float
    n: int

    @property
    def nodes(self) -> Tensor:
        """The nodes, shape (n,), float64."""
        return self.low + self.h * torch.arange(self.n, dtype=torch.float64)


def grid(support: tuple[float, float], h: float) -> Grid:
    """Return a grid of spacing h over an interval.

    Raises:
        Mismatch: It would have too many nodes.
    """
    n = (support[1] - support[0]) / h
    if not n < MOST:
        raise Mismatch(
            f"the exact law would take {n:.1e} nodes on [{support[0]:g}, {support[1]:g}], more than {MOST}: the noise "
            "of a step is that small, or the steps are unstable; choose more churn or none, or a metric that works on "
            "samples, such as kl-histogram"
        )
    return Grid(support[0], h, max(2, math.ceil(n) + 1))


class Source(Protocol):
    """A smooth density on the line."""

    @property
    def support(self) -> tuple[float, float]:
        """Interval outside of which it is negligible."""
        ...

    @property
    def width(self) -> float:
        """Standard deviation of the narrowest normal density that it may contain."""
        ...

    def density(self, at: Grid) -> Tensor:
        """Return the density at the nodes of a grid."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LineLaw:
    """A law on the line, of y = x/alpha at one time of a run: nodes with their masses and densities."""

    t: float
    rho: float
    """Noise level; 0 where the state was denoised."""
    x: Tensor
    """Nodes, shape (n,), float64; the mean of f under the law is sum_i mass_i f(x_i)."""
    mass: Tensor
    """Mass that each node stands for."""
    log_density: Tensor
    """Log of the density at each node."""

    @property
    def mean(self) -> Tensor:
        """The mean, shape (1,)."""
        return (self.mass @ self.x / self.mass.sum())[None]

    @property
    def covariance(self) -> Tensor:
        """The variance, shape (1, 1)."""
        return (self.mass @ (self.x - self.mean).square() / self.mass.sum())[None, None]

    def quantile(self, p: Tensor) -> Tensor:
        """Return the points below which a share p of the mass lies, to the distance of the nodes."""
        x, order = self.x.sort()
        below = self.mass[order].cumsum(0) - self.mass[order] / 2
        return torch.from_numpy(np.interp(p.numpy(), below.numpy(), x.numpy()))

    def kl(self, target: Target, direction: Direction = "forward") -> float:
        """Return H(law | target) (forward) or H(target | law) (reverse) at the law's noise level.

        Raises:
            Mismatch: The target has no density there.
        """
        log_r = self.log_density - self.log_target(target)
        if direction == "forward":
            return float((self.mass * log_r).sum())
        # A node may have no mass to speak of and still stand for some of the target's.
        return float(-(self.mass * (-log_r).exp() * log_r).sum())

    def error(self, target: Target, direction: Direction = "forward") -> float:
        """Return the mass that the nodes miss, of the law or of the target, times the largest |log r| at their ends."""
        log_r = self.log_density - self.log_target(target)
        summed = self.mass if direction == "forward" else self.mass * (-log_r).exp()
        ends = log_r[[int(self.x.argmin()), int(self.x.argmax())]]
        return abs(1 - float(summed.sum())) * (1 + float(ends.abs().max()))

    def log_target(self, target: Target) -> Tensor:
        """Return the target's log-density at the nodes.

        Raises:
            Mismatch: The target has no density there.
        """
        if not isinstance(target, Density):
            raise Mismatch(f"the density of {type(target).__name__} is not known; choose another target")
        log_p = target.log_prob(self.x[:, None], torch.full((1, 1), self.rho, dtype=torch.float64)).double()
        if bool(log_p.isnan().any()) or bool((log_p == torch.inf).any()):
            raise Mismatch(
                f"{type(target).__name__} has no density at noise level {self.rho:g}; end at a positive noise level "
                "(last = stop)"
            )
        return log_p


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """The density of the prior, in y."""

    setup: Setup
    support: tuple[float, float]
    width: float

    @classmethod
    def of(cls, setup: Setup, fineness: float) -> Start:
        """Find where the prior has its mass.

        Raises:
            Mismatch: Its density is not known, or is none: it does not integrate to 1.
        """
        if not isinstance(setup.prior, PriorDensity):
            raise Mismatch(
                f"the exact law needs a prior whose density is known, which {type(setup.prior).__name__} is not; "
                "choose --prior gaussian or exact"
            )
        alpha, rho = derived.alpha(setup.process, setup.times[0]).item(), setup.rho[0].item()
        y = setup.start(1000, stream(setup.seed, "exact law")).flatten().cpu() / alpha
        middle, spread = y.median().item(), float(y.std())
        whole = cls(setup, (middle - 60 * spread, middle + 60 * spread), min(rho, spread))
        at = grid(whole.support, min(rho, spread) / 4)
        q, nodes = whole.density(at), at.nodes
        kept = nodes[q > q.max() * math.exp(-(reach(fineness) ** 2) / 2)]
        mass = float(q.sum()) * at.h
        if not abs(mass - 1) < 1e-6:
            raise Mismatch(
                f"the density of the prior {type(setup.prior).__name__} integrates to {mass:g} within 60 standard "
                "deviations, not to 1: it is no density, or has long tails; choose --prior gaussian"
            )
        return cls(setup, (kept[0].item() - at.h, kept[-1].item() + at.h), min(rho, spread))

    def density(self, at: Grid) -> Tensor:
        """Return the density of y = x/alpha at the nodes."""
        assert isinstance(self.setup.prior, PriorDensity)
        alpha = derived.alpha(self.setup.process, self.setup.times[0]).item()
        x = (at.nodes * alpha)[:, None].to(self.setup.device)
        return self.setup.prior.log_prob(self.setup.problem(), x).double().cpu().exp() * alpha


def unmoved(source: Source, fineness: float, t: float, rho: float) -> LineLaw:
    """Return the law of a density itself."""
    at = _dense(source, fineness)
    q = source.density(at)
    kept = q > q.max() * math.exp(-(reach(fineness) ** 2) / 2)
    return LineLaw(t, rho, at.nodes[kept], q[kept] * at.h, q[kept].log())


def carried(source: Source, S: Map, fineness: float, t: float, rho: float, spread: Map | None = None) -> LineLaw:
    """Return the law of S(y), y of the source's density; the nodes are close where `spread`, or else S, is steep.

    Raises:
        Mismatch: The map is not finite, turns too often, or takes a share of all starts to one place.
    """
    at = _dense(source, fineness)
    q = source.density(at)
    (inside,) = torch.nonzero(q > q.max() * math.exp(-(reach(fineness) ** 2) / 2), as_tuple=True)
    part = slice(int(inside[0]), int(inside[-1]) + 1)
    log_q = make_interp_spline(at.nodes[part].numpy(), q[part].log().numpy(), k=7)

    y = _spread(spread or S, at.nodes[part], round(NODES * fineness**2))
    x = S(y)
    if not bool(x.isfinite().all()):
        raise Mismatch("the sampler's map of the start is not finite: its steps are too long; choose more steps")
    _check_atoms(y, x, log_q)
    jumps = found_jumps(S, y, x)
    dy, dx = _differences(y), _differences(x)
    m = len(SLOPE)
    y, x = y[m:-m], x[m:-m]
    if len(jumps.a) or not (bool((dx > 0).all()) or bool((dx < 0).all())):
        parts = law_at(branches(y.numpy(), x.numpy(), jumps), log_q)
        return LineLaw(t, rho, *(torch.from_numpy(part) for part in parts))
    log_density = torch.from_numpy(log_q(y.numpy()))
    return LineLaw(t, rho, x, log_density.exp() * dy, log_density + dy.log() - dx.abs().log())


def _check_atoms(y: Tensor, x: Tensor, log_q: BSpline) -> None:
    """Raise `Mismatch` if a map, given at nodes, is flat to rounding where the density has mass."""
    dy = y.diff()
    flat = x.diff().abs() <= FLAT * dy
    mass = torch.from_numpy(log_q((y[:-1] + dy / 2).numpy())).exp() * dy * flat
    if int(flat.sum()) > FLAT_NODES and float(mass.sum()) > FLAT_MASS:
        raise Mismatch(
            f"the law has an atom (a share {float(mass.sum()):.2g} of all starts ends at single places, such as "
            f"{float(x[mass.argmax()]):.6g}): its KL divergence is infinite; choose another model, or end at a "
            "positive noise level (last = stop)"
        )


def _dense(source: Source, fineness: float) -> Grid:
    low, high = source.support
    return grid(source.support, min((high - low) / (NODES * fineness), source.width / 4 / fineness))


def _spread(S: Map, y: Tensor, n: int) -> Tensor:
    """Return nodes inside an interval, close where the map is steep: equidistant along its curve, but for smoothing.

    The nodes are a smooth function of their number, so that sums over them are integrals by the trapezoidal rule.
    """
    coarse = torch.linspace(float(y[0]), float(y[-1]), n // 4, dtype=torch.float64)
    dy, dx = coarse.diff(), S(coarse).diff().abs()
    length = dy / dy.sum() + (dx / dx.sum()).nan_to_num(0)
    for _ in range(4):
        padded = torch.cat([length[:8].flip(0), length, length[-8:].flip(0)])
        length = padded.unfold(0, 17, 1).mean(1)
    u = torch.cat([torch.zeros(1, dtype=torch.float64), length.cumsum(0)])
    nodes = make_interp_spline(u.numpy(), coarse.numpy(), k=7)
    at = np.linspace(0, float(u[-1]), n)
    y = nodes(at)
    if not (np.diff(y) > 0).all():  # a kink, at which a spline swings
        y = np.interp(at, u.numpy(), coarse.numpy())
    return torch.from_numpy(y)


def _differences(x: Tensor) -> Tensor:
    """Return the derivative by the number of the node, at all but the outermost nodes."""
    m, n = len(SLOPE), len(x)
    terms = [c * (x[m + k : n - m + k] - x[m - k : n - m - k]) for k, c in enumerate(SLOPE, 1)]
    return torch.stack(terms).sum(0)
