"""Precision and recall of a generator."""

from __future__ import annotations

from samplerhub import Estimate, Evidence
from samplerhub_metrics.manifold import NeighbourBalls, inside


class Precision(NeighbourBalls):
    r"""Share of generated samples that lie where the target lives: fidelity.

        precision = 1/n #{i: |x_i - y_j| <= r_k(y_j) for some j}

    x are features of generated samples, y of samples of the target, and r_k(y_j) is the distance of y_j to its k-th
    nearest neighbour among the y. It is a number between 0 and 1, larger is better; for a perfect generator it is not 1
    but depends on the law, the number of samples and k: compare at equal numbers only. The standard error is the
    spread over disjoint blocks of samples.

    References:
        Improved Precision and Recall Metric for Assessing Generative Models (Kynkäänniemi et al., 2019),
            arXiv:1904.06991
    """

    def at_equal_laws(self, samples: int) -> None:
        """It depends on the law."""
        return None

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the share and its standard error.

        Raises:
            Mismatch: There are too few samples, or some are not finite.
        """
        return self._estimate(evidence, lambda x, y: inside(x, y, self.k).points)


class Recall(NeighbourBalls):
    r"""Share of the target's samples that lie where generated samples live: variety.

        recall = 1/m #{j: |y_j - x_i| <= r_k(x_i) for some i}

    As precision, with the roles exchanged: r_k(x_i) is the distance of the generated x_i to its k-th nearest neighbour
    among the x. Outliers of the generator have large balls and raise it; `coverage` has no such weakness.

    References:
        Improved Precision and Recall Metric for Assessing Generative Models (Kynkäänniemi et al., 2019),
            arXiv:1904.06991
    """

    def at_equal_laws(self, samples: int) -> None:
        """It depends on the law."""
        return None

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the share and its standard error.

        Raises:
            Mismatch: There are too few samples, or some are not finite.
        """
        return self._estimate(evidence, lambda x, y: inside(y, x, self.k).points)
