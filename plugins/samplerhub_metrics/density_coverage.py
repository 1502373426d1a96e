"""Density and coverage of a generator."""

from __future__ import annotations

import math

from pydantic import Field

from samplerhub import Estimate, Evidence
from samplerhub_metrics.manifold import NeighbourBalls, inside


class Density(NeighbourBalls):
    r"""Number of the target's neighbourhoods that a generated sample is in, over its expectation: fidelity.

        density = 1/(k n) sum_i #{j: |x_i - y_j| <= r_k(y_j)}

    x are features of generated samples, y of samples of the target, and r_k(y_j) is the distance of y_j to its k-th
    nearest neighbour among the y. At equal laws without atoms its expectation is 1 exactly; it is above 1 where samples
    gather in the dense parts. An outlier of the target counts no more than any other sample. The standard error is
    the spread over disjoint blocks of samples.

    References:
        Reliable Fidelity and Diversity Metrics for Generative Models (Naeem et al., 2020), arXiv:2002.09797
    """

    k: int = Field(5, ge=1, le=100)
    """Each ball reaches as far as the k-th nearest neighbour of its centre in the same set."""

    def at_equal_laws(self, samples: int) -> float:
        """1: a new sample is equally likely to have any rank among the neighbours of y_j."""
        return 1.0

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the density and its standard error.

        Raises:
            Mismatch: There are too few samples, or some are not finite.
        """
        return self._estimate(evidence, lambda x, y: inside(x, y, self.k).depth / self.k)


class Coverage(NeighbourBalls):
    r"""Share of the target's neighbourhoods that hold a generated sample: variety.

        coverage = 1/m #{j: |x_i - y_j| <= r_k(y_j) for some i}

    x are features of generated samples, y of samples of the target, and r_k(y_j) is the distance of y_j to its k-th
    nearest neighbour among the y. It is a number between 0 and 1; at equal laws without atoms its expectation is
    1 - prod_(i<k) (m - 1 - i)/(m + n - 1 - i), near 1 - 2^-k, whatever the law. The standard error is the spread
    over disjoint blocks of samples.

    References:
        Reliable Fidelity and Diversity Metrics for Generative Models (Naeem et al., 2020), arXiv:2002.09797
    """

    k: int = Field(5, ge=1, le=100)
    """Each ball reaches as far as the k-th nearest neighbour of its centre in the same set."""

    def at_equal_laws(self, samples: int) -> float:
        """Return the chance that the k nearest of a sample are not all of the target's."""
        n = min(samples, self.most)
        return 1 - math.prod((n - 1 - i) / (2 * n - 1 - i) for i in range(self.k))

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the share and its standard error.

        Raises:
            Mismatch: There are too few samples, or some are not finite.
        """
        return self._estimate(evidence, lambda x, y: inside(x, y, self.k).balls)
