"""The classifier two-sample test."""

from __future__ import annotations

import math
import warnings
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import binomtest
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from samplerhub import Component, Estimate, Evidence, Need, Target
from samplerhub_metrics.vectors import Array, feature_pair

LEAST = 20
"""Samples of each set, of which some are to learn from and some to be told apart."""


class C2ST(Component):
    r"""Classifier two-sample test: how often a classifier tells samples from the target.

        accuracy = (P(c(x) = generated) + P(c(y) = target))/2,    TV >= 2 accuracy - 1

    on samples that the classifier c did not learn from: 1/2 at equal laws, 1 where it always knows. Twice the excess
    over 1/2 is a lower bound on the total variation distance, as good as the classifier. One share of both sets is to
    learn from and the rest to be told apart, so that the latter are independent and the binomial standard error holds,
    for the classifier at hand; the folds of a cross-validation are correlated, so that it would not. In the details are
    the bound on the total variation, and the p-value of the exact binomial test of equal laws.

    References:
        Revisiting Classifier Two-Sample Tests (Lopez-Paz and Oquab, 2017), arXiv:1610.06545
        On Multivariate Goodness-of-Fit and Two-Sample Testing (Friedman, 2003), SLAC-PUB-10325
    """

    classifier: Literal["boosting", "logistic", "neighbours", "network"] = "boosting"
    """boosting: trees, fast at any size; logistic: sees means only; neighbours: sqrt(n) of them; network: one layer."""
    train: float = Field(0.5, gt=0, lt=1)
    """Share of the samples that the classifier learns from."""
    most: int = Field(100_000, ge=LEAST)
    """Use so many of the samples, and of the target's."""

    @property
    def needs(self) -> frozenset[Need]:
        """Samples, and features."""
        return frozenset({Need.SAMPLES, Need.FEATURES})

    def least(self, target: Target) -> int:
        """Return 20."""
        return LEAST

    def at_equal_laws(self, samples: int) -> float:
        """1/2, whatever the classifier."""
        return 0.5

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the accuracy and its standard error.

        Raises:
            Mismatch: There are fewer than 20 samples, or some are not finite.
        """
        x, y = feature_pair(evidence, LEAST, self.most)
        cuts = [min(max(round(self.train * len(z)), 1), len(z) - 1) for z in (x, y)]
        learnt, (x_told, y_told) = zip(*(np.split(z, [cut]) for z, cut in zip((x, y), cuts)))
        classify = self._fitted(np.concatenate(learnt), np.repeat([1, 0], cuts))
        right_x, right_y = classify.predict(x_told) == 1, classify.predict(y_told) == 0
        a, b, n, m = right_x.mean(), right_y.mean(), len(right_x), len(right_y)
        accuracy, right = float(a + b) / 2, int(right_x.sum() + right_y.sum())
        # A classifier that calls all samples the same is right half of the time, without spread; hence one in n more.
        variance = sum((share * (1 - share) + 1 / size) / size for share, size in ((a, n), (b, m))) / 4
        details: dict[str, float | str] = {
            "total variation at least": 2 * accuracy - 1,
            "p-value": float(binomtest(right, n + m, 0.5, alternative="greater").pvalue),
            "learnt from": len(x) + len(y) - n - m,
            "told apart": n + m,
            "features": evidence.embedding,
        }
        return Estimate(accuracy, math.sqrt(float(variance)), details=details)

    def _fitted(self, z: Array, labels: NDArray[np.int64]) -> ClassifierMixin:
        match self.classifier:
            case "boosting":
                c = HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=0)
            case "logistic":
                c = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            case "neighbours":
                c = make_pipeline(StandardScaler(), KNeighborsClassifier(math.isqrt(len(z)) | 1))
            case "network":
                net = MLPClassifier((100,), early_stopping=True, max_iter=200, random_state=0)
                c = make_pipeline(StandardScaler(), net)
        with warnings.catch_warnings():
            # Where it has not converged, it is a classifier all the same.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return c.fit(z, labels)
