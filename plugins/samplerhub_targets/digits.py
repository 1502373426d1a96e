"""Scikit-learn's handwritten digits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from samplerhub import Component
from samplerhub.errors import Mismatch
from samplerhub_targets.log_sobolev import compact_support, radius


class Digits(Component):
    r"""1,797 real 8x8 images of handwritten digits, scaled to [-1, 1].

    Grey levels 0..16 become pixels x = level/8 - 1. Every fifth image is held out: image i belongs to "held-out" if
    i mod 5 = 4, else to "train". The law is the uniform law on the images of the split.

    References:
        Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998), doi:10.24432/C50P49, as bundled with
        scikit-learn
    """

    split: Literal["train", "held-out", "all"] = "train"
    """Which images: 1,438 to train on, 359 held out, or all 1,797."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, 8, 8)."""
        return 1, 8, 8

    @property
    def suggests(self) -> Mapping[str, str | int]:
        """A trained network, judged by the Frechet distance of the pixels."""
        return {"model": "network", "metric": "fd", "samples": 256}

    @cached_property
    def images(self) -> Tensor:
        """The images of the split, shape (N, 1, 8, 8), float64."""
        x = torch.from_numpy(load_digits().images).to(torch.float64).unsqueeze(1) / 8 - 1
        held_out = torch.arange(len(x)) % 5 == 4
        return {"train": x[~held_out], "held-out": x[held_out], "all": x}[self.split]

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Return n images drawn with replacement, shape (n, 1, 8, 8), float64."""
        i = torch.randint(len(self.images), (n,), generator=rng, device=rng.device)
        return self.images.to(rng.device)[i]

    def data(self) -> Tensor:
        """Return the images of the split, shape (N, 1, 8, 8), float64."""
        return self.images

    def held_out(self) -> Digits:
        """Return the target of the images that are held out.

        Raises:
            Mismatch: The split holds none out.
        """
        if self.split != "train":
            raise Mismatch(f"split = {self.split!r} of the digits holds no image out; choose split = 'train'")
        return Digits(split="held-out")

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean (64,) and covariance (64, 64) of the pixels of the split, float64."""
        x = self.images.flatten(1)
        return x.mean(0), torch.cov(x.T, correction=0)

    def log_sobolev(self, rho: float) -> float:
        """Return a log-Sobolev constant of x_0 + rho eps, that of any data in a ball (Chen, Chewi and Niles-Weed).

        It is infinite without noise, where the law falls into points, and in float64 for rho < R/13, R about 5.
        """
        return compact_support(self._radius, rho**2)

    @cached_property
    def _radius(self) -> float:
        return radius(self.images.flatten(1))
