"""Expectation-maximisation, and the model that it fits."""

import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Progress, Target, read_tensors, stream, write_tensors
from samplerhub.errors import UnusableFile


def responsibilities(x: Tensor, w: Tensor, mu: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probabilities (n, K) of the components at points x (n, D), and the log-density there (n,)."""
    r2 = (x[:, None] - mu).square().sum(2)
    log_p = w.log() - r2 / (2 * v) - x.shape[1] / 2 * (2 * math.pi * v).log()
    return log_p.softmax(1), log_p.logsumexp(1)


class EM(Component):
    r"""Fits a mixture of Gaussians by expectation-maximisation.

    For p(x) = sum_k w_k N(x; mu_k, v_k I) and samples x_i of the target, in turn

        E:  q_ik = P(k | x_i)
        M:  w_k = mean_i q_ik,    mu_k = sum_i q_ik x_i/sum_i q_ik,    v_k = sum_i q_ik |x_i - mu_k|^2/(D sum_i q_ik),

    by which the likelihood never falls. It begins with K of the samples as means. The same seed gives the same file.

    References:
        Maximum Likelihood from Incomplete Data via the EM Algorithm (Dempster, Laird and Rubin, 1977), Journal of the
            Royal Statistical Society B 39, 1-38
    """

    components: int = Field(8, ge=1)
    """Number K of Gaussians."""
    samples: int = Field(5000, ge=2)
    """How many of the target's samples."""
    rounds: int = Field(50, ge=1)
    """How often E and M are done."""
    floor: float = Field(1e-4, gt=0)
    """Smallest variance, by which no Gaussian shrinks to a single sample."""

    def __call__(self, target: Target, file: Path, seed: int) -> Iterator[Progress]:
        """Fit, yielding progress; w, mu and v are in `file` when the generator ends."""
        x = target.sample(self.samples, stream(seed, "data")).double().flatten(1)
        first = torch.randperm(len(x), generator=stream(seed, "first means"))[: self.components]
        mu, D = x[first], x.shape[1]
        w = torch.full((len(mu),), 1 / len(mu), dtype=torch.float64)
        v = x.var(0).mean().clamp(min=self.floor).expand(len(mu))
        for k in range(self.rounds):
            q, log_p = responsibilities(x, w, mu, v)
            n = q.sum(0).clamp(min=1e-12)
            w, mu = n / len(x), q.T @ x / n[:, None]
            r2 = (x[:, None] - mu).square().sum(2)
            v = ((q * r2).sum(0) / (D * n)).clamp(min=self.floor)
            yield Progress(k + 1, self.rounds, f"log-likelihood {log_p.mean():.4f}")
        write_tensors(file, {"w": w, "mu": mu.reshape(-1, *target.shape), "v": v.contiguous()})


class EMModel(Component):
    r"""The exact denoiser of the mixture that the trainer of the same name has fitted.

    D(y, rho) = sum_k P(k | y) (mu_k + v_k/(v_k + rho^2) (y - mu_k)),    y ~ sum_k w_k N(mu_k, (v_k + rho^2) I)
    """

    weights: Path
    """The file that the trainer wrote."""

    predicts: ClassVar[Literal["x0"]] = "x0"

    @cached_property
    def fitted(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights w (K,), means mu (K, *d) and variances v (K,); read when first used."""
        tensors, _ = read_tensors(self.weights)
        if set(tensors) != {"w", "mu", "v"}:
            raise UnusableFile(f"{self.weights} holds {', '.join(tensors)}, where w, mu and v are expected")
        return tensors["w"], tensors["mu"], tensors["v"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.fitted[1].shape[1:])

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return D(y, rho), shape (n, *d), for y (n, *d) and rho (n, 1, ...) or (1, 1, ...)."""
        w, mu, v = (part.to(y) for part in self.fitted)
        x, mu, noise = y.flatten(1), mu.flatten(1), rho.flatten(1) ** 2
        q, _ = responsibilities(x, w, mu, v + noise)
        shrink = v / (v + noise)
        mean = (q[:, :, None] * (mu + shrink[:, :, None] * (x[:, None] - mu))).sum(1)
        return mean.reshape(y.shape)
