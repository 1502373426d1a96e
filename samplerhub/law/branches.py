"""Maps of the line that turn or jump: cut into monotone branches, and the density that they carry.

Where several branches arrive at one x, their densities add up. At the image of a turning point the density has a pole
1/sqrt; where one of them ends, it jumps. In y it is integrated piece by piece between all points that arrive at such
places, by a rule (tanh-sinh) that does not mind what happens at the ends of a piece.

A sampler that chooses its steps has a map that jumps, by about its tolerance, wherever a choice changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import BSpline, make_interp_spline
from torch import Tensor

from samplerhub.errors import Mismatch

Array = NDArray[np.float64]
Map = Callable[[Tensor], Tensor]
"""A map of states y, shape (n,) to (n,)."""

BRANCHES = 3000
"""Branches of a map, at most."""
PIECES = 20_000
"""Pieces into which branches are cut where others begin or end, at most."""
ARRIVALS = 3_000_000
"""Points of other branches that arrive at nodes, at most."""
UNRESOLVED = (
    "the sampler's map of the start {}: its law is not resolved; choose more steps or looser tolerances, or a metric "
    "that works on samples, such as kl-histogram"
)
HALVINGS = 12
"""How often the distance between the nodes on both sides of a jump is halved."""
WINDOW = 16
"""Nodes on each side with which a third difference is compared."""


@dataclass(frozen=True, slots=True)
class Jumps:
    """Places where a map jumps, from `left` at a to `right` at b, close to each other."""

    a: Array
    b: Array
    left: Array
    right: Array


def found_jumps(S: Map, y: Tensor, x: Tensor) -> Jumps:
    """Return where a map jumps: where its third difference sticks out, and halving the distance does not help."""
    third = x.diff(n=3).abs()
    padded = torch.cat([third[:WINDOW].flip(0), third, third[-WINDOW:].flip(0)])
    usual = padded.unfold(0, 2 * WINDOW + 1, 1).median(1).values
    (peaks,) = torch.nonzero(third > 20 * usual + 1e-12 * x.abs().max(), as_tuple=True)
    # A jump between two nodes shows in three third differences, the middle one of which is the largest.
    top = peaks[(peaks > 0) & (peaks < len(third) - 1)]
    top = top[(third[top] >= third[top - 1]) & (third[top] >= third[top + 1])]
    steps = x.diff() / y.diff()
    slope = (steps[top] + steps[top + 2]) / 2
    a, b, left, right = y[top + 1], y[top + 2], x[top + 1], x[top + 2]
    whole = (right - left - slope * (b - a)).abs()
    for _ in range(HALVINGS):
        if not len(a):
            break
        middle = (a + b) / 2
        value, rise = S(middle), slope * (b - a) / 2
        lower = (value - left - rise).abs() > (right - value - rise).abs()
        a, left = torch.where(lower, a, middle), torch.where(lower, left, value)
        b, right = torch.where(lower, middle, b), torch.where(lower, value, right)
        # What only bends straightens out; a jump keeps its size.
        still = (right - left - rise).abs() > whole / 3
        a, b, left, right, slope, whole = (part[still] for part in (a, b, left, right, slope, whole))
    return Jumps(*(part.numpy() for part in (a, b, left, right)))


@dataclass(frozen=True, slots=True)
class Branch:
    """A part of a map that is smooth and monotone."""

    y: Array
    """Nodes, increasing."""
    S: BSpline
    slope: BSpline

    @property
    def images(self) -> Array:
        """Where the nodes arrive."""
        return np.asarray(self.S(self.y))

    def arriving(self, x: Array) -> Array:
        """Return the points that arrive at x, all of which are inside the branch's image."""
        y, images = self.y, self.images
        if images[-1] < images[0]:
            y, images = y[::-1], images[::-1]
        i = np.clip(np.searchsorted(np.maximum.accumulate(images), x), 1, len(y) - 1)
        return solved(self.S, self.slope, y[i - 1], y[i], x)


def branches(y: Array, x: Array, jumps: Jumps) -> list[Branch]:
    """Cut a map, given at nodes, at its jumps and turning points.

    Raises:
        Mismatch: There are too many.
    """
    inside = (jumps.a > y[0]) & (jumps.b < y[-1])
    starts = zip([y[0], *jumps.b[inside]], [x[0], *jumps.right[inside]])
    ends = zip([*jumps.a[inside], y[-1]], [*jumps.left[inside], x[-1]])
    middles = (jumps.a[inside] + jumps.b[inside]) / 2
    found = []
    for (a, x_a), (b, x_b), (first, last) in zip(starts, ends, pairwise([y[0], *middles, y[-1]])):
        if not b > a:
            continue
        margin = 1e-3 * (y[1] - y[0])
        between = (y > a + margin) & (y < b - margin)
        nodes = np.array([a, *y[between], b])
        S = make_interp_spline(nodes, [x_a, *x[between], x_b], k=min(5, 2 * ((len(nodes) - 2) // 2) + 1))
        slope = S.derivative()
        sign = np.signbit(slope(nodes))
        i = np.flatnonzero(sign[1:] != sign[:-1])
        turns = solved(slope, slope.derivative(), nodes[i], nodes[i + 1], np.zeros(len(i))) if len(i) else i
        # A piece reaches half of the way to the other side of the jump.
        for low, high in pairwise([first, *turns, last]):
            if high > low:
                inner = nodes[(nodes > low) & (nodes < high)]
                found.append(Branch(np.array([low, *inner, high]), S, slope))
        if len(found) > BRANCHES:
            raise Mismatch(UNRESOLVED.format(f"turns or jumps more than {BRANCHES} times"))
    return found


def law_at(parts: list[Branch], log_q: BSpline) -> tuple[Array, Array, Array]:
    """Return nodes x, their masses and the log-density there, of a density that the branches carry.

    Raises:
        Mismatch: The branches lie over each other too often.
    """
    images = [np.sort(part.images[[0, -1]]) for part in parts]
    special = np.unique(np.concatenate(images))
    low, high = np.transpose(images)
    if (np.searchsorted(special, high, "left") - np.searchsorted(special, low, "right") + 1).sum() > PIECES:
        raise Mismatch(UNRESOLVED.format(f"has {len(parts)} branches that lie over each other"))
    ys, ws, owners = [], [], []
    for k, (part, (low, high)) in enumerate(zip(parts, images)):
        between = special[np.searchsorted(special, low, "right") : np.searchsorted(special, high, "left")]
        cuts = np.unique(np.concatenate([part.y[[0, -1]], part.arriving(between)]))
        for a, b in pairwise(cuts):
            y, w = piece(a, b, 200 * (len(parts) < 20) + 40 + 2 * int(np.diff(np.searchsorted(part.y, [a, b]))[0]))
            ys.append(y)
            ws.append(w)
            owners.append(np.full(len(y), k))
    y, w, owner = np.concatenate(ys), np.concatenate(ws), np.concatenate(owners)
    x, q = np.empty_like(y), np.exp(log_q(y))
    mass = w * q
    with np.errstate(divide="ignore"):
        first = np.searchsorted(owner, np.arange(len(parts) + 1))
        for part, i, j in zip(parts, first[:-1], first[1:]):
            x[i:j] = part.S(y[i:j])
            q[i:j] /= np.abs(part.slope(y[i:j]))
        order = np.argsort(x)
        if np.diff(np.searchsorted(x[order], images), axis=1).sum() - len(x) > ARRIVALS:
            raise Mismatch(UNRESOLVED.format(f"has {len(parts)} branches that lie over each other"))
        for k, (part, (low, high)) in enumerate(zip(parts, images)):
            reached = slice(np.searchsorted(x[order], low, "right"), np.searchsorted(x[order], high, "left"))
            others = order[reached][owner[order[reached]] != k]
            if len(others):
                there = part.arriving(x[others])
                q[others] += np.exp(log_q(there)) / np.abs(part.slope(there))
    good = np.isfinite(q) & (q > 0)
    return x[good], mass[good], np.log(q[good])


def piece(a: float, b: float, n: int) -> tuple[Array, Array]:
    """Return n nodes and weights of the tanh-sinh rule on (a, b)."""
    u = np.linspace(-3.1, 3.1, n)
    g = math.pi / 2 * np.sinh(u)
    w = math.pi / 4 * np.cosh(u) / np.cosh(g) ** 2 * (u[1] - u[0]) * (b - a)
    # From the nearer end, so that the distance to it keeps its digits.
    near = 1 / (1 + np.exp(2 * np.abs(g))) * (b - a)
    y = np.where(u < 0, a + near, b - near)
    inside = (y > a) & (y < b)
    return y[inside], w[inside]


def solved(f: BSpline, slope: BSpline, a: Array, b: Array, value: Array) -> Array:
    """Return where f has the given values, between a and b, where it lies below or above them.

    By bisection, and then by Newton's method inside the bracket.
    """
    above = f(a) > value
    for _ in range(10):
        middle = (a + b) / 2
        left = (f(middle) > value) == above
        a, b = np.where(left, middle, a), np.where(left, b, middle)
    y, low, high = (a + b) / 2, np.minimum(a, b), np.maximum(a, b)
    for _ in range(6):
        with np.errstate(divide="ignore", invalid="ignore"):
            step = (f(y) - value) / slope(y)
        y = np.clip(y - np.nan_to_num(step), low, high)
    return np.asarray(y)
