r"""The bounds of the KL divergence as numbers: from rates on intervals to the divergence at their ends.

Along the reverse process, with C the log-Sobolev constant, h = p~/p, and E over the generated law p~,

    -dH/dv <= -gamma/C H + (1 + gamma)/2 E[eps . grad log h]                                    (24)
    -dH/dv <= -(gamma - delta)/C H + (1 + gamma)^2/(8 delta) E|eps|^2,    0 < delta <= gamma     (25)

What is known at the ends of an interval is taken to be linear in v between them; the exponential is integrated exactly.

References:
    The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

Array = NDArray[np.float64]
LEAST = 1e-9
"""The smallest delta/gamma that is tried."""


@dataclass(frozen=True)
class Course:
    """The intervals, and what the bounds know about the process there."""

    v: Array
    """Ends of the intervals in v = rho^2, decreasing, (K + 1,)."""
    gamma: Array
    """Stochasticity inside each interval, (K,)."""
    decay: Array
    """int gamma/C dv over each interval, (K,)."""

    @classmethod
    def of(cls, v: Array, gamma: Array, constant: Callable[[float], float]) -> Course:
        """Integrate gamma/C by adaptive quadrature, C = constant(rho), which may have kinks."""

        def rate(u: float) -> float:
            return 1 / constant(math.sqrt(u))

        decay = np.zeros(len(gamma))
        for i in np.flatnonzero(gamma):
            decay[i] = gamma[i] * quad(rate, v[i + 1], v[i], epsabs=1e-12, epsrel=1e-10)[0]
        return cls(v, gamma, decay)

    def exact(self, H_0: float) -> Array:
        """Return Theorem 1 at the ends, (K + 1,): H_0 exp(-int gamma/C dv)."""
        return np.asarray(H_0 * np.exp(-np.append(0.0, self.decay.cumsum())))

    def projected(self, H_0: float, P: Array) -> Array:
        """Return (24) at the ends, (K + 1,), from P = E[eps . grad log h] there."""
        H = [np.float64(H_0)]
        for i, (a, c) in enumerate(zip(self.decay, (1 + self.gamma) / 2)):
            H.append(np.float64(self._across(i, a, H[-1], c * P[i], c * P[i + 1])))
        return np.array(H)

    def squared(self, H_0: float, E: Array, share: Array) -> Array:
        """Return (25) at the ends, shape of E, with delta = share gamma.

        Args:
            H_0: The divergence at the start.
            E: |eps|^2 at the ends, (K + 1,) in the mean or (K + 1, n) for each of n trajectories.
            share: delta/gamma in each interval, (K,), in (0, 1].
        """
        H = [np.full(E.shape[1:], H_0)]
        for i, f in enumerate(share):
            H.append(self._squared_across(i, f, H[-1], E))
        return np.array(H)

    def carried(self, share: Array) -> Array:
        """Return what is left of the divergence at the start in (25), at the ends, (K + 1,)."""
        return np.asarray(np.exp(-np.append(0.0, ((1 - share) * self.decay).cumsum())))

    def constant_share(self, H_0: float, E: Array) -> Array:
        """Return the constant share whose bound is smallest at the end."""
        K = len(self.gamma)
        return np.full(K, smallest(lambda f: float(self.squared(H_0, E, np.full(K, f))[-1])))

    def piecewise_share(self, H_0: float, E: Array, pieces: int) -> Array:
        """Return the best share that is constant on so many pieces, even in log v.

        The bound at the end grows with that at the start of a piece: piece by piece the best is best for the whole.
        """
        level = np.log(self.v[0] / self.v)
        piece = np.minimum((pieces * level[:-1] / level[-1]).astype(int), pieces - 1)
        share, H = np.ones(len(self.gamma)), H_0
        for k in range(pieces):
            inside = np.flatnonzero(piece == k).tolist()
            if inside:
                f = smallest(partial(self._through, inside, H, E))
                share[inside], H = f, self._through(inside, H, E, f)
        return share

    def _through(self, intervals: list[int], H: float, E: Array, f: float) -> float:
        """Return (25) across several intervals."""
        for i in intervals:
            H = float(self._squared_across(i, f, H, E))
        return H

    def pointwise_share(self, H_0: float, E: Array) -> Array:
        """Return the best share of all: at each time the one at which the bound grows least.

        delta = min(gamma, (1 + gamma) sqrt(C E|eps|^2/(8 H))), H the bound itself.
        """
        share, H = np.ones(len(self.gamma)), H_0
        for i, (a, g, dv) in enumerate(zip(self.decay, self.gamma, -np.diff(self.v))):
            mean = (E[i] + E[i + 1]) / 2
            if a > 0 and H > 0:
                # With C = gamma dv/a, the constant in the mean over the interval.
                share[i] = np.clip((1 + g) / g * np.sqrt(g * dv / a * mean / (8 * H)), LEAST, 1)
            H = float(self._squared_across(i, share[i], H, E))
        return share

    def _squared_across(self, i: int, f: float, H: Array | float, E: Array) -> Array:
        c = (1 + self.gamma[i]) ** 2 / (8 * f * self.gamma[i]) if self.gamma[i] > 0 else np.inf
        return self._across(i, (1 - f) * self.decay[i], H, _times(c, E[i]), _times(c, E[i + 1]))

    def _across(self, i: int, a: float, H: Array | float, now: Array, then: Array) -> Array:
        """Return e^-a H + dv int_0^1 e^(-a (1 - s)) [(1 - s) now + s then] ds."""
        phi = -np.expm1(-a) / a if a > 1e-4 else 1 - a / 2 + a**2 / 6
        late = (1 - phi) / a if a > 1e-4 else 0.5 - a / 6 + a**2 / 24
        return np.asarray(np.exp(-a) * H + (self.v[i] - self.v[i + 1]) * ((phi - late) * now + late * then))


def smallest(f: Callable[[float], float]) -> float:
    """Return where f is smallest on (0, 1]: the best of a grid, then refined."""
    grid = np.linspace(0.02, 1, 50)
    i = int(np.argmin([f(x) for x in grid]))
    low, high = grid[i - 1] if i else LEAST, grid[min(i + 1, 49)]
    found = minimize_scalar(f, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
    return float(found.x) if found.fun < f(float(grid[i])) else float(grid[i])


def _times(c: float, E: Array) -> Array:
    """Return c E, 0 where E is 0 even if c is infinite."""
    return np.where(E == 0, 0.0, c * np.where(E == 0, 1.0, E))
