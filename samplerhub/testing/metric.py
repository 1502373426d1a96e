"""What holds for every metric."""

from __future__ import annotations

import torch

from samplerhub.measure import Recorded, check_needs
from samplerhub.noise import normal, stream
from samplerhub.protocols import Metric, Target


def check_metric(metric: Metric, target: Target, samples: int = 4000) -> None:
    """Assert that a metric can be had for the target, ignores the order of samples, and is honest about equal laws.

    It reads through the same guard as in a run, so that reading what it did not declare is an error.
    """
    check_needs({type(metric).__name__: metric}, target, samples)
    rho = 0.1
    scores = []
    for seed in range(20):
        x0 = target.sample(samples, stream(seed, "check")).double()
        y = x0 + rho * normal(x0, stream(seed, "check noise"))
        estimate = metric(Recorded(y, rho, target, seed, metric.needs))
        if seed == 0:
            shuffled = y[torch.randperm(samples, generator=stream(0, "shuffle"))]
            again = metric(Recorded(shuffled, rho, target, seed, metric.needs))
            assert abs(again.value - estimate.value) <= 1e-9 * (1 + abs(estimate.value)), "the order of samples matters"
        if estimate.stderr is None:
            return
        assert estimate.stderr > 0, f"standard error {estimate.stderr}"
        scores.append(estimate.value / estimate.stderr)
    z = torch.tensor(scores)
    assert abs(float(z.mean())) < 4 / 20**0.5, (
        f"biased at equal laws: value/stderr is {float(z.mean()):.2f} in the mean"
    )
    assert float(z.abs().max()) < 5, f"standard error too small: value/stderr reaches {float(z.abs().max()):.1f}"
