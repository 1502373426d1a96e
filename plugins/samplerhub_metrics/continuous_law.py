r"""The exact law of the reverse process on the line, in continuous time: the Fokker-Planck equation by finite volumes.

With h = p~/p the ratio of the generated density to that of the noised target, and eps the error of the score,

    -d(h p)/dv = -d/dy [s/2 h p] - d/dy [(1 + gamma)/2 eps h p - gamma/2 p dh/dy],    s = grad log p.

Cells move and shrink with the standard deviation of p, so that one grid serves all noise levels. Across a moving edge
the first flux is that of p itself, known exactly as the change of its distribution function: h = 1 stays 1 to rounding
when there is no error, which is Lemma 2.1 of the paper. Crank-Nicolson in v. Twice the cells and twice the steps, until
Richardson's extrapolation of the divergence settles; the last change is the error that is reported. Without noise all
along there is nothing to mix, and the law is followed by `characteristics` instead.

References:
    The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solve_banded
from torch import Tensor

from samplerhub import Density, PriorDensity, Setup
from samplerhub.errors import Mismatch, NotFinite
from samplerhub_metrics.characteristics import along_characteristics
from samplerhub_metrics.initial_divergence import exact_initial_divergence, line, prior_log_prob, target_log_prob
from samplerhub_metrics.reverse_process import ReverseProcess, target_samples

Array = NDArray[np.float64]
CELLS, STEPS = 500, 1
"""Cells, and steps in each interval, of the coarsest grid."""
POINTS = 4000
"""Fewest characteristics, where there is no noise."""
LOST = 1e-6
"""Mass of the target, at most, that characteristics miss."""
LEVELS = 5
"""Grids are doubled at most so many times."""
FLOOR, TINY = 1e-250, 1e-280
"""Smaller densities of the target, and smaller ratios of densities, count as these."""


@dataclass(frozen=True)
class Law:
    """The law along the reverse process: figures at the ends of its intervals, (K + 1,) each."""

    kl: Array
    """H(p~ | p)."""
    kl_reverse: Array
    """H(p | p~)."""
    error: Array
    """E_p~ |eps|^2."""
    error_reverse: Array
    """E_p |eps|^2."""
    projected: Array
    """E_p~[eps . grad log(p~/p)]."""


@dataclass(frozen=True)
class ContinuousLaw:
    """The law and how far it can be trusted."""

    law: Law
    accuracy: Law
    """How much the last doubling of the grid changed each figure."""
    cells: int
    """Cells of the finest grid, or characteristics."""


def can_be_solved(setup: Setup) -> bool:
    """Say whether the law can be had: on the line, with the densities of target and prior."""
    if setup.shape != (1,) or not isinstance(setup.target, Density) or not isinstance(setup.prior, PriorDensity):
        return False
    try:
        prior_log_prob(setup, torch.zeros(1, 1, dtype=torch.float64))
    except Mismatch:
        return False
    return True


def continuous_law(process: ReverseProcess, tolerance: float = 1e-4) -> ContinuousLaw:
    """Solve for the law to a relative accuracy of the divergence.

    Raises:
        NotFinite: Mass leaves the grid, or the finest grid does not reach the tolerance.
    """
    solve = _refined if process.gamma.any() else _carried
    return process.setup.once(("continuous law", *process.v.tolist(), tolerance), lambda: solve(process, tolerance))


def _carried(process: ReverseProcess, tolerance: float) -> ContinuousLaw:
    """Follow characteristics, of which there are more and more, until the divergences agree: there is no noise."""
    start = [exact_initial_divergence(process.setup, direction) for direction in ("forward", "reverse")]
    if process.error is None and None not in start:  # the flow of the exact score keeps both divergences
        kept = [np.full(len(process.v), figure[0]) for figure in start if figure is not None]
        nothing = (np.zeros(len(process.v)),) * 3
        return ContinuousLaw(Law(kept[0], kept[1], *nothing), Law(*nothing, *nothing[:2]), 0)
    coarse = Law(*along_characteristics(process, POINTS, STEPS)[:5])
    for level in range(1, LEVELS + 1):
        *figures, lost = along_characteristics(process, POINTS * 2**level, STEPS * 2**level)
        fine = Law(*figures)
        accuracy = _combine(fine, coarse, lambda a, b: np.abs(a - b))
        off = max(_off(accuracy.kl, fine.kl), _off(accuracy.kl_reverse, fine.kl_reverse))
        if off < tolerance and lost.max() < LOST:
            return ContinuousLaw(fine, accuracy, POINTS * 2**level)
        coarse = fine
    raise NotFinite(
        f"the law in continuous time is not resolved by {POINTS * 2**LEVELS} characteristics: the divergence still "
        f"changes by {off:.1g} of itself, and they miss {lost.max():.1g} of the target's mass; choose churn > 0, or "
        f"kl-exact, which is the law of the run itself"
    )


def _refined(process: ReverseProcess, tolerance: float) -> ContinuousLaw:
    """Solve on finer and finer cells until the divergences agree."""
    grid = _Grid.of(process)
    before, coarse = None, _solve(process, grid, CELLS, STEPS)
    for level in range(1, LEVELS + 1):
        fine = _solve(process, grid, CELLS * 2**level, STEPS * 2**level)
        law = _combine(fine, coarse, lambda f, c: (4 * f - c) / 3)
        if before is not None:
            accuracy = _combine(law, before, lambda a, b: np.abs(a - b))
            off = max(_off(accuracy.kl, law.kl), _off(accuracy.kl_reverse, law.kl_reverse))
            if off < tolerance:
                return ContinuousLaw(law, accuracy, CELLS * 2**level)
        before, coarse = law, fine
    raise NotFinite(
        f"the law in continuous time is not resolved by {CELLS * 2**LEVELS} cells: the divergence still changes by "
        f"{off:.1g} of itself; the target has parts too narrow for its width, or the run ends at too low a noise level"
    )


def errors_of_data(process: ReverseProcess, cells: int = 4000) -> Array:
    """Return E_p |eps|^2 at the ends of the intervals, (K + 1,)."""
    if process.error is None:
        return np.zeros(len(process.v))
    grid = _Grid.of(process)
    states = (_State.of(process, grid, cells, v) for v in process.v.tolist())
    return np.array([state.w @ state.eps[1::2] ** 2 for state in states])


def _off(change: Array, value: Array) -> float:
    """Return the largest change relative to what the divergence is then, or later."""
    scale = np.maximum.accumulate(np.abs(value)[::-1])[::-1]
    return float((change / (scale + 1e-7)).max())


def _combine(a: Law, b: Law, rule: Callable[[Array, Array], Array]) -> Law:
    return Law(*(rule(getattr(a, field.name), getattr(b, field.name)) for field in fields(Law)))


@dataclass(frozen=True)
class _Grid:
    """Points at centre + spread(v) xi for xi from low to high."""

    centre: float
    variance: float
    """Variance of the clean data."""
    low: float
    high: float

    @classmethod
    def of(cls, process: ReverseProcess) -> _Grid:
        """Cover all that prior and target cover at the start, and a fifth more."""
        x_0 = target_samples(process.setup, 100_000, "line")[0]
        centre, variance = x_0.mean().item(), x_0.var().item()
        ends = line(process.setup, below=40)[[0, -1], 0] - centre
        low, high = (1.2 * ends / np.sqrt(variance + process.v[0])).tolist()
        return cls(centre, variance, min(low, -9.0), max(high, 9.0))

    def points(self, v: float, cells: int) -> Tensor:
        """Return edges and centres in turn, (2 cells + 1, 1)."""
        xi = torch.linspace(self.low, self.high, 2 * cells + 1, dtype=torch.float64)[:, None]
        return self.centre + float(np.sqrt(self.variance + v)) * xi


@dataclass(frozen=True)
class _State:
    """What the equation needs at one noise level, on N cells."""

    v: float
    width: float
    w: Array
    """Mass of p in each cell, (N,)."""
    p: Array
    """Density at the inner edges, (N - 1,)."""
    eps: Array
    """Error of the score at edges and centres in turn, (2 N + 1,)."""

    @classmethod
    def of(cls, process: ReverseProcess, grid: _Grid, cells: int, v: float) -> _State:
        y, rho = grid.points(v, cells), float(np.sqrt(v))
        p = target_log_prob(process.setup, y, rho).exp().clamp(min=FLOOR).numpy()
        error = process.error
        eps = np.zeros(len(p)) if error is None else error(y.to(process.setup.device), rho)[:, 0].cpu().numpy()
        width = (y[2] - y[0]).item()
        return cls(v, width, _masses(p, width), p[2:-1:2], eps)

    def fluxes(self, A: Array, gamma: float, dv: float) -> tuple[Array, Array]:
        """Return (l, r): in half a step, l_e h_e + r_e h_(e + 1) flows over inner edge e, A_e in a step of p itself."""
        drift = A / 4 + dv * (1 + gamma) / 8 * self.eps[2:-1:2] * self.p
        mixing = dv * gamma / 4 * self.p / self.width
        return drift + mixing, drift - mixing

    def figures(self, h: Array) -> tuple[float, ...]:
        """Return the figures of `Law`."""
        safe = np.maximum(h, TINY)
        edge, centre = self.eps[2:-1:2], self.eps[1::2]
        return (
            float(self.w @ (np.where(h > TINY, h * np.log(safe), 0) - h + 1)),
            float(self.w @ (h - 1 - np.log(safe))),
            float((self.w * h) @ centre**2),
            float(self.w @ centre**2),
            float((edge * self.p) @ np.diff(h)),
        )


def _solve(process: ReverseProcess, grid: _Grid, cells: int, steps: int) -> Law:
    """Return the figures at the ends of the intervals, by so many cells and steps in each interval."""
    state = _State.of(process, grid, cells, float(process.v[0]))
    start = prior_log_prob(process.setup, grid.points(state.v, cells)).exp().numpy()
    h = _masses(start, state.width) / state.w
    figures = [state.figures(h)]
    for gamma, v_t, v_s in zip(process.gamma, process.v, process.v[1:]):
        for v in np.geomspace(v_t, v_s, steps + 1)[1:]:
            after = _State.of(process, grid, cells, float(v))
            h, state = _step(state, after, h, float(gamma)), after
        figures.append(state.figures(h))
    m = state.w * h
    spilled = float(m[:3].sum() + m[-3:].sum())
    if not spilled <= 1:
        raise NotFinite(
            f"the law in continuous time is not resolved: the solution of its equation diverges (a share of "
            f"{spilled:.1g} at the ends of the grid), as where states leave it, or noise is little and the score is "
            f"very wrong; choose a larger churn without a window, or kl-exact, which is the law of the run itself"
        )
    if not spilled < 1e-9:
        raise NotFinite(
            f"the law in continuous time leaves its grid, a share of {spilled:.1g} is at the ends: "
            f"the model's score does not hold the states together"
        )
    return Law(*np.array(figures).T)


def _step(state: _State, after: _State, h: Array, gamma: float) -> Array:
    """Return h after a step of the Crank-Nicolson method."""
    A, dv = _moved(state.w, after.w), state.v - after.v
    left, right = state.fluxes(A, gamma, dv)
    out = np.append(left * h[:-1] + right * h[1:], 0.0)
    m = state.w * h - out
    m[1:] += out[:-1]
    left, right = after.fluxes(A, gamma, dv)
    bands = np.zeros((3, len(h)))
    bands[0, 1:], bands[1], bands[2, :-1] = right, after.w, -left
    bands[1, :-1] += left
    bands[1, 1:] -= right
    return np.asarray(solve_banded((1, 1), bands, m, check_finite=False))


def _moved(w: Array, w_s: Array) -> Array:
    """Return the mass of p that crosses each inner edge while cells of mass w become cells of mass w_s."""
    below, above = w.cumsum()[:-1], w[::-1].cumsum()[::-1][1:]
    change = below - w_s.cumsum()[:-1], w_s[::-1].cumsum()[::-1][1:] - above
    # Each from the side on which it is a small number.
    return np.asarray(np.where(below < above, *change))


def _masses(p: Array, width: float) -> Array:
    """Integrate a density over cells by Simpson's rule, from its values at edges and centres in turn; the sum is 1."""
    mass = width / 6 * (p[:-2:2] + 4 * p[1::2] + p[2::2])
    return np.asarray(mass / mass.sum())
