"""Balls around samples, as far as the k-th nearest of the same set: a picture of where a law lives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field

from samplerhub import Component, Estimate, Evidence, Need, Target, stream
from samplerhub_metrics.discrepancy import squared_distances
from samplerhub_metrics.vectors import Array, feature_pair

TILE = 512
"""Rows of a matrix of distances that are held at a time."""
BLOCKS, PARTITIONS = 5, 5
"""Disjoint blocks of samples whose spread gives the standard error, and random partitions into blocks."""
SLACK = 1e-9
"""Squared distances from a matrix product are less wrong than that share of the largest: close calls are done again."""


class NeighbourBalls(Component):
    """What the metrics of balls to the k-th neighbour share."""

    k: int = Field(3, ge=1, le=100)
    """Each ball reaches as far as the k-th nearest neighbour of its centre in the same set."""
    most: int = Field(10_000, ge=100)
    """Compare so many of the samples, and of the target's: the time grows with the square."""

    @property
    def needs(self) -> frozenset[Need]:
        """Samples, and features."""
        return frozenset({Need.SAMPLES, Need.FEATURES})

    def least(self, target: Target) -> int:
        """Return 10 (k + 1): blocks in each of which there are more than k neighbours."""
        return 2 * BLOCKS * (self.k + 1)

    def _estimate(self, evidence: Evidence, figure: Callable[[Array, Array], float]) -> Estimate:
        """Return a figure of features x and y, and its standard error.

        The figure is a mean over neighbourhoods, which are the same picture on another scale when there are fewer
        samples: its variance is that over disjoint blocks of both sets, over the number of blocks, here in the mean
        over random partitions. (The jackknife overestimates it, for however many samples.) A share of few or almost
        all has little spread to judge by, hence that of independent draws at least, half a sample more and less.
        """
        x, y = feature_pair(evidence, 2 * BLOCKS * (self.k + 1), self.most)
        value, n, rng = figure(x, y), min(len(x), len(y)), stream(0, "partitions")
        variances = []
        for _ in range(PARTITIONS):
            i, j = (torch.randperm(len(z), generator=rng).numpy() for z in (x, y))
            figures = [figure(x[i[g::BLOCKS]], y[j[g::BLOCKS]]) for g in range(BLOCKS)]
            variances.append(np.var(figures, ddof=1) / BLOCKS)
        share = min(max(value, 1 / (2 * n)), 1 - 1 / (2 * n))
        stderr = math.sqrt(max(float(np.mean(variances)), share * (1 - share) / n))
        details: dict[str, float | str] = {"samples": len(x), "features": evidence.embedding}
        return Estimate(value, stderr, details=details, better="larger")


@dataclass(frozen=True, slots=True)
class Inside:
    """Which points are in which balls."""

    points: float
    """Share of points that are in a ball."""
    balls: float
    """Share of balls with a point in them."""
    depth: float
    """Number of balls that a point is in, in the mean."""


def inside(points: Array, centres: Array, k: int) -> Inside:
    """Return who of points (n, D) is in whose ball, around centres (m, D) to their k-th neighbour."""
    p, c = (torch.from_numpy(z - centres.mean(0)) for z in (points, centres))
    slack = SLACK * max(float(z.square().sum(1).max()) for z in (p, c))
    depth, hit = np.zeros(len(points), np.int64), 0
    for start in range(0, len(c), TILE):
        tile = c[start : start + TILE]
        own = torch.arange(len(tile))
        q = squared_distances(tile, c)
        q[own, own + start] = math.inf
        near = q.topk(min(k + 1, len(c) - 1), largest=False).indices
        radius = _squares(tile[:, None], c[near]).sort(1).values[:, k - 1]

        j, i = (squared_distances(tile, p) <= radius[:, None] + slack).nonzero(as_tuple=True)
        there = torch.cat(
            [_squares(tile[a], p[b]) <= radius[a] for a, b in zip(torch.split(j, 2**16), torch.split(i, 2**16))]
        )
        depth += np.bincount(i[there].numpy(), minlength=len(p))
        hit += len(np.unique(j[there].numpy()))
    return Inside(float((depth > 0).mean()), hit / len(c), float(depth.mean()))


def _squares(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return |a - b|^2 along the last axis without cancellation: equal vectors have distance 0."""
    return (a - b).square().sum(-1)
