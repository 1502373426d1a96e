"""What all mixtures of boxes share: samples, moments, density and posterior mean in closed form."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor
from torch.special import erfc, erfcx

from samplerhub import Component, broadcast
from samplerhub_targets.blocks import in_blocks
from samplerhub_targets.log_sobolev import compact_support

FLAT = 8.0
"""The noise is taken for wide against an interval while the density changes by less than e^(2 FLAT) across it."""
NODES = 20
"""Nodes of Gauss's rule where it is."""


class BoxMixture(Component):
    r"""A mixture of uniform laws on boxes B_i = [a_i, b_i]: with p_0 = sum_i w_i U(B_i), y = x_0 + rho eps has

        p(y) = sum_i w_i prod_k [Phi((b_ik - y_k)/rho) - Phi((a_ik - y_k)/rho)]/(b_ik - a_ik),

    and E[x_0 | y, box i] is, coordinate by coordinate, the mean of a truncated normal law.

    A subclass says what its boxes are.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(d,)."""

    @abstractmethod
    def boxes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights (K,), lower and upper corners (K, d), float64."""

    @property
    def suggests(self) -> Mapping[str, str | int]:
        """The exact model, judged by the KL divergence on the line and by the Frechet distance elsewhere."""
        if self.shape == (1,):
            return {"model": "exact", "metric": "kl", "samples": 100_000}
        return {"model": "exact", "metric": "fd", "samples": 10_000}

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Return n samples, shape (n, d), float64."""
        w, a, b = (part.to(rng.device) for part in self._law)
        i = torch.multinomial(w, n, replacement=True, generator=rng)
        u = torch.rand(n, a.shape[1], generator=rng, device=rng.device, dtype=torch.float64)
        return a[i] + (b - a)[i] * u

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean (d,) and covariance (d, d), float64."""
        w, a, b = self._law
        centres = (a + b) / 2
        mean = w @ centres
        return mean, (w @ (b - a) ** 2 / 12).diag() + (w * (centres - mean).T) @ (centres - mean)

    def denoise(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return E[x_0 | x_0 + rho eps = y], shape (n, d)."""
        w, c, h = self._at(y)
        return in_blocks(partial(_denoised, w, c, h), y, broadcast(rho, y), c.numel())

    def log_prob(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return the log-density of x_0 + rho eps at y, shape (n,)."""
        w, c, h = self._at(y)
        return in_blocks(partial(_log_density, w, c, h), y, broadcast(rho, y), c.numel())

    def log_sobolev(self, rho: float) -> float:
        """Return a log-Sobolev constant of x_0 + rho eps, that of any data in a ball (Chen, Chewi and Niles-Weed)."""
        return compact_support(self._radius, rho**2)

    @cached_property
    def _radius(self) -> float:
        """Radius of a ball around all boxes, about the centre of the box that holds them."""
        _, a, b = self._law
        centre = (a.amin(0) + b.amax(0)) / 2
        R: float = torch.maximum((a - centre).abs(), (b - centre).abs()).norm(dim=1).max().item()
        return R

    def _at(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-weights (K,), centres and half widths (K, d), in the type and on the device of y."""
        kind = y.dtype, y.device
        if kind not in self._laws:
            w, a, b = self._law
            self._laws[kind] = w.log().to(y), ((a + b) / 2).to(y), ((b - a) / 2).to(y)
        return self._laws[kind]

    @cached_property
    def _laws(self) -> dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor, Tensor]]:
        return {}

    @cached_property
    def _law(self) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised weights (K,), lower and upper corners (K, d), float64."""
        w, a, b = self.boxes()
        return w / w.sum(), a, b


def _log_density(log_w: Tensor, c: Tensor, h: Tensor, y: Tensor, rho: Tensor) -> Tensor:
    log_p, _ = noised_interval(y[:, None] - c, h, rho[:, None])
    return (log_w + log_p.sum(2)).logsumexp(1)


def _denoised(log_w: Tensor, c: Tensor, h: Tensor, y: Tensor, rho: Tensor) -> Tensor:
    log_p, mean = noised_interval(y[:, None] - c, h, rho[:, None])
    r = (log_w + log_p.sum(2)).softmax(1)
    return (r[:, :, None] * (c + mean)).sum(1)


def noised_interval(s: Tensor, h: Tensor, rho: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return log-density of s = x + rho eps and E[x | s], for x uniform on [-h, h].

    With p = (|s| - h)/rho, q = (|s| + h)/rho, the distances from the near and the far end,

        2 h p(s) = Phi(q) - Phi(p),    E[x | s] = sign(s) [|s| - rho (phi(p) - phi(q))/(Phi(q) - Phi(p))].

    Differences of Phi are taken scaled by phi(p), and so are exact in the tails. Where the noise is so wide that they
    cancel, h < rho and h |s| < FLAT rho^2, Gauss's rule on [-h, h] is exact.
    """
    rho = rho.clamp(min=torch.finfo(rho.dtype).tiny ** 0.5)
    wide = (h < rho) & (h * s.abs() < FLAT * rho * rho)
    if bool(wide.all()):
        return _by_quadrature(s, h, rho)
    if not bool(wide.any()):
        return _by_tails(s, h, rho)
    # Each is given harmless numbers where the other holds, for the sake of derivatives.
    few, many = torch.where(wide, s, 0), torch.where(wide, 2 * rho, s)
    log_few, mean_few = _by_quadrature(few, torch.minimum(h, rho), rho)
    log_many, mean_many = _by_tails(many, torch.where(wide, rho, h), rho)
    return torch.where(wide, log_few, log_many), torch.where(wide, mean_few, mean_many)


def _by_tails(s: Tensor, h: Tensor, rho: Tensor) -> tuple[Tensor, Tensor]:
    root = math.sqrt(0.5)
    p, q = (s.abs() - h) / rho, (s.abs() + h) / rho
    outside, inside = p.clamp(min=0), p.clamp(max=0)
    fall = 2 * (s.abs() / rho) * (h / rho)
    # Phi(q) - Phi(p) = D phi(outside) (pi/2)^1/2
    D = erfc(root * inside) * erfcx(root * outside) - (-torch.where(p > 0, fall, q * q / 2)).exp() * erfcx(root * q)
    log_p = D.log() - outside * outside / 2 - (4 * h).log()
    pull = (-inside * inside / 2).exp() * -torch.expm1(-fall) * math.sqrt(2 / math.pi) / D
    return log_p, torch.minimum((s.abs() - rho * pull).clamp(min=0), h) * s.sign()


def _by_quadrature(s: Tensor, h: Tensor, rho: Tensor) -> tuple[Tensor, Tensor]:
    x, w = np.polynomial.legendre.leggauss(NODES)
    tilt, bend = h * s / rho**2, h * h / (2 * rho**2)
    total = first = torch.zeros(())
    for u, w_u in zip(x.tolist(), w.tolist()):
        e = w_u * (u * tilt - u * u * bend).exp()
        total, first = total + e, first + u * e
    log_p = total.log() - (s / rho) ** 2 / 2 - (2 * math.sqrt(2 * math.pi) * rho).log()
    return log_p, h * first / total
