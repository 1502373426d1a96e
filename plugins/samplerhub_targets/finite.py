"""What all targets of finitely many data share."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor

from samplerhub import Component
from samplerhub.errors import Mismatch, SamplerhubError, UnusableFile
from samplerhub_targets.log_sobolev import compact_support, radius

Split = Literal["train", "held-out", "all"]


class EmptySplit(UnusableFile):
    """There are too few data for a split to have any."""


class FiniteTarget(Component):
    """Finitely many data: the law is the uniform law on those of the split.

    A subclass says what the data are, by reading them when they are first used.
    """

    split: Split = "train"
    """Which data: those to train on, those held out, or all."""

    @abstractmethod
    def read(self) -> Tensor:
        """Return the data of the split, shape (N, *shape), float64.

        Raises:
            UnusableFile: They cannot be read, or there are none in the split.
        """

    def data(self) -> Tensor:
        """Return the data of the split, shape (N, *shape), float64."""
        return self._data

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one datum."""
        return tuple(self._data.shape[1:])

    @property
    def suggests(self) -> Mapping[str, str | int]:
        """The Frechet distance of the raw data."""
        return {"metric": "fd", "samples": 256}

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Return n data drawn with replacement, shape (n, *shape), float64."""
        i = torch.randint(len(self._data), (n,), generator=rng, device=rng.device)
        return self._data.to(rng.device)[i]

    def held_out(self) -> Self:
        """Return the target of the data that are held out.

        Raises:
            Mismatch: The split holds none out.
        """
        if self.split != "train":
            raise Mismatch(f"split = {self.split!r} holds no data out; choose split = 'train'")
        return self._held_out

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean (D,) and covariance (D, D) of the flattened data of the split, float64."""
        return self._moments

    def log_sobolev(self, rho: float) -> float:
        """Return a log-Sobolev constant of x_0 + rho eps, that of any data in a ball (Chen, Chewi and Niles-Weed).

        It is infinite without noise, where the law falls into points, and in float64 for rho < R/13, R the radius.
        """
        return compact_support(self._radius, rho**2)

    @cached_property
    def _data(self) -> Tensor:
        return self.read()

    @cached_property
    def _held_out(self) -> Self:
        held_out = self.replace(split="held-out")
        try:
            held_out.data()
        except EmptySplit as error:
            raise Mismatch(str(error)) from error
        return held_out

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        x = self._data.flatten(1)
        return x.mean(0), torch.cov(x.T, correction=0).reshape(x.shape[1], -1)

    @cached_property
    def _radius(self) -> float:
        return radius(self._data.flatten(1))


def every(k: int, x: Tensor, split: Split) -> Tensor:
    """Return the data of a split where every k-th is held out: datum i if i mod k = k - 1.

    Raises:
        EmptySplit: They are fewer than k, so that none is held out.
    """
    if split == "held-out" and len(x) < k:
        raise EmptySplit(
            f"no data are held out: that is one in {k}, and there are only {len(x)}; give more data, or set `every` "
            f"to {len(x)} or less"
        )
    held_out = torch.arange(len(x)) % k == k - 1
    return {"train": x[~held_out], "held-out": x[held_out], "all": x}[split]


@contextmanager
def reading(file: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turn what goes wrong on reading a file into an `UnusableFile` that names it.

    Args:
        file: The file.
        errors: What its decoder raises, besides errors of the system, on a file that is damaged.
    """
    try:
        yield
    except SamplerhubError:
        raise
    except FileNotFoundError:
        raise UnusableFile(f"there is no file {file}") from None
    except OSError as error:
        raise UnusableFile(f"cannot read {file}: {error.strerror or error}") from error
    except errors as error:
        raise UnusableFile(f"cannot read {file}: {str(error) or type(error).__name__}") from error


def checked(x: Tensor, file: Path) -> Tensor:
    """Return data that are two or more and all finite, as float64.

    Raises:
        UnusableFile: They are not.
    """
    if x.ndim < 2 or len(x) < 2 or x[0].numel() == 0:
        raise UnusableFile(
            f"{file} holds an array of shape {tuple(x.shape)}; data are rows, two or more: shape (N, d) or (N, c, h, w)"
        )
    x = x.to(torch.float64)
    bad = ~x.flatten(1).isfinite().all(1)
    if bool(bad.any()):
        raise UnusableFile(f"{file}: {int(bad.sum())} of {len(x)} data contain NaN or infinity; leave them out")
    return x


def sha256(files: Iterable[Path]) -> str:
    """Return the hash of files, in their order."""
    digest = hashlib.sha256()
    for file in files:
        with reading(file):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
