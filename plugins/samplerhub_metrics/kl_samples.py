"""Samples of a law that has a density."""

from __future__ import annotations

from torch import Tensor

from samplerhub.errors import Mismatch
from samplerhub_metrics.vectors import Array, rows


def with_density(x: Tensor, least: int, what: str = "the KL divergence") -> Array:
    """Return samples x (n, *d) as float64 rows, shape (n, D).

    Raises:
        Mismatch: There are fewer than `least`, some are not finite, or all are equal.
    """
    if len(x) < least:
        raise Mismatch(f"{what} needs {least} samples or more; there are {len(x)}")
    values = rows(x)
    if (values[0] == values).all():
        raise Mismatch(f"all {len(x)} samples are equal: their law has no density, so that {what} is infinite")
    return values
