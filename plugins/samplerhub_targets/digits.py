"""Scikit-learn's handwritten digits."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from samplerhub_targets.finite import FiniteTarget, Split, every


class Digits(FiniteTarget):
    r"""1,797 real 8x8 images of handwritten digits, scaled to [-1, 1].

    Grey levels 0..16 become pixels x = level/8 - 1. Every fifth image is held out: image i belongs to "held-out" if
    i mod 5 = 4, else to "train". The law is the uniform law on the images of the split.

    References:
        Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998), doi:10.24432/C50P49, as bundled with
            scikit-learn
    """

    split: Split = "train"
    """Which images: 1,438 to train on, 359 held out, or all 1,797."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, 8, 8)."""
        return 1, 8, 8

    @property
    def suggests(self) -> Mapping[str, str | int]:
        """A trained network, judged by the Frechet distance of the pixels."""
        return {"model": "network", "metric": "fd", "samples": 256}

    def read(self) -> Tensor:
        """Return the images of the split, shape (N, 1, 8, 8), float64."""
        return every(5, torch.from_numpy(load_digits().images).to(torch.float64).unsqueeze(1) / 8 - 1, self.split)
