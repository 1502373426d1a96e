"""Samples as rows of numbers."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samplerhub.errors import Mismatch

Array = NDArray[np.float64]


def rows(x: Tensor, least: int, what: str = "the KL divergence") -> Array:
    """Return samples x (n, *d) as float64 rows, shape (n, D).

    Raises:
        Mismatch: There are fewer than `least`, some are not finite, or all are equal.
    """
    n = len(x)
    if n < least:
        raise Mismatch(f"{what} needs {least} samples or more; there are {n}")
    values: Array = x.flatten(1).to("cpu", torch.float64).numpy()
    low, high = values.min(0), values.max(0)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        bad = int((~np.isfinite(values).all(1)).sum())
        raise Mismatch(f"{bad} of {n} samples are not finite; {what} of the others would not be that of the sampler")
    if np.array_equal(low, high):
        raise Mismatch(f"all {n} samples are equal: their law has no density, so that {what} is infinite")
    return values


def shuffled(values: Array) -> Array:
    """Return rows in a random order that is the same for every order they come in.

    It is drawn from the sorted numbers themselves, so that no rank has its place in two sets.
    """
    values = values[np.lexsort(values.T)] + 0.0
    seed = int.from_bytes(hashlib.blake2b(values.tobytes(), digest_size=16).digest(), "big")
    return values[np.random.default_rng(seed).permutation(len(values))]
