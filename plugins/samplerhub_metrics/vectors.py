"""Samples as rows of float64 numbers: checked, and in an order that does not depend on how they came."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samplerhub import Evidence
from samplerhub.errors import Mismatch

Array = NDArray[np.float64]


def rows(x: Tensor, what: str = "samples") -> Array:
    """Return samples x (n, *d) as rows, shape (n, D), float64.

    Raises:
        Mismatch: Some are not finite.
    """
    vectors: Array = x.detach().reshape(len(x), -1).to("cpu", torch.float64).numpy()
    bad = int((~np.isfinite(vectors)).any(1).sum())
    if bad:
        raise Mismatch(f"{bad} of {len(vectors)} {what} are not finite")
    return vectors


def check_pair(x: Array, y: Array, least: int) -> None:
    """Raise `Mismatch` if samples and reference cannot be compared."""
    if x.shape[1] != y.shape[1]:
        raise Mismatch(f"samples have {x.shape[1]} numbers each and those of the target {y.shape[1]}")
    if min(len(x), len(y)) < least:
        raise Mismatch(
            f"{least} samples or more are needed, of the run and of the target; there are {len(x)}, {len(y)}"
        )


def feature_pair(evidence: Evidence, least: int, most: int | None = None) -> tuple[Array, Array]:
    """Return features of the samples (n, D) and of the reference (m, D), shuffled; of each the first `most`."""
    x = rows(evidence.features, "features of the samples")
    y = rows(evidence.reference_features, "features of the target's samples")
    check_pair(x, y, least)
    return shuffled(x)[:most], shuffled(y)[:most]


def shuffled(x: Array) -> Array:
    """Return rows in a random order, which is the same for every order they come in.

    Groups and subsets of rows must depend neither on the order nor on the rank of a row: the order is drawn from a
    hash of the sorted numbers.
    """
    x = x + 0.0  # a copy, in which -0 is 0
    x = x[x.view(np.dtype((np.void, x.itemsize * x.shape[1]))).ravel().argsort()]
    seed = int.from_bytes(hashlib.blake2b(x.tobytes(), digest_size=16).digest(), "big")
    return x[np.random.default_rng(seed).permutation(len(x))]
