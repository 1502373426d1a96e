"""What all mixtures of Gaussians share: samples, moments, density and posterior mean from the components."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from samplerhub import Component, broadcast
from samplerhub_targets.blocks import in_blocks
from samplerhub_targets.log_sobolev import Kind, TwoGaussians, compact_support, radius

DIRECT = 4
"""Up to this dimension distances are summed coordinate by coordinate; above it they come from one matrix product."""
FAINT = -80.0
"""Weights count as e^-80 of the largest or more: it makes no difference, and denormal numbers are slow."""


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """The components as arrays, K of them in d dimensions: the component runs along dimension 0."""

    log_w: Tensor
    """Log-weights less d/2 log(2 pi), (K, 1)."""
    mu: Tensor
    """Means, (K, d)."""
    v: Tensor
    """Variances: (K, 1) where every component is isotropic, else along the axes, (1, K, d)."""
    axes: Tensor | None
    """All axes of all components as columns, (d, K d), where not every component is isotropic."""
    shift: Tensor
    """Means along those axes, (K d,)."""
    ones: Tensor
    """A column of ones, (K, 1)."""
    mu_1: Tensor
    """Means and a column of ones, (K, d + 1)."""

    @classmethod
    def of(cls, w: Tensor, mu: Tensor, v: Tensor, axes: Tensor | None = None) -> _Parts:
        """Arrange weights (K,), means, variances and axes."""
        log_w = (w.log() - mu.shape[1] / 2 * math.log(2 * math.pi))[:, None]
        shift = mu[:, 0] if axes is None else (mu.repeat_interleave(mu.shape[1], 0) * axes.T).sum(1)
        ones = torch.ones_like(log_w)
        return cls(log_w, mu, v, axes, shift, ones, torch.cat([mu, ones], 1))

    def to(self, y: Tensor) -> _Parts:
        """Return them in the type and on the device of y."""
        axes = None if self.axes is None else self.axes.to(y)
        arrays = (array.to(y) for array in (self.shift, self.ones, self.mu_1))
        return _Parts(self.log_w.to(y), self.mu.to(y), self.v.to(y), axes, *arrays)

    @property
    def width(self) -> int:
        """Numbers for each sample."""
        return len(self.mu) if self.axes is None else self.mu.numel()


class GaussianMixture(Component):
    r"""A mixture of Gaussians: with p_0 = sum_i w_i N(mu_i, S_i) and S_i = U_i diag(v_i) U_i^T, y = x_0 + rho eps has

        p(y) = sum_i w_i N(y; mu_i, S_i + rho^2 I),    r_i = w_i N(y; mu_i, S_i + rho^2 I)/p(y)
        E[x_0 | y] = sum_i r_i [mu_i + U_i diag(v_i/(v_i + rho^2)) U_i^T (y - mu_i)].

    A subclass says what its components are.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(d,)."""

    @abstractmethod
    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights (K,), means (K, d), and variances (K,) or covariances (K, d, d), float64."""

    @property
    def suggests(self) -> Mapping[str, str | int]:
        """The exact model, judged by the KL divergence on the line and by the Frechet distance elsewhere."""
        if self.shape == (1,):
            return {"model": "exact", "metric": "kl", "samples": 100_000}
        return {"model": "exact", "metric": "fd", "samples": 10_000}

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Return n samples, shape (n, d), float64."""
        w, mu, _ = self._law
        K, d = mu.shape
        i = torch.multinomial(w.to(rng.device), n, replacement=True, generator=rng)
        z = torch.randn(n, d, generator=rng, device=rng.device, dtype=torch.float64)
        parts = self._at(z)
        x = (parts.v[i] if parts.axes is None else parts.v[0, i]).sqrt() * z
        if parts.axes is not None:
            U = parts.axes.reshape(d, K, d)
            for k in sorted(set(i.tolist())):
                x[i == k] = x[i == k] @ U[:, k].T
        return parts.mu[i] + x

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean (d,) and covariance (d, d), float64."""
        w, mu, S = self._law
        mean = w @ mu
        within = w @ S * torch.eye(len(mean), dtype=S.dtype) if S.ndim == 1 else (w[:, None, None] * S).sum(0)
        return mean, within + (w * (mu - mean).T) @ (mu - mean)

    def denoise(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return E[x_0 | x_0 + rho eps = y], shape (n, d)."""
        parts = self._at(y)
        return in_blocks(partial(_denoised, parts), y, broadcast(rho, y), parts.width)

    def log_prob(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return the log-density of x_0 + rho eps at y, shape (n,)."""
        parts = self._at(y)
        return in_blocks(partial(_log_density, parts), y, broadcast(rho, y), parts.width)

    def log_sobolev(self, rho: float) -> float:
        """Return a log-Sobolev constant of x_0 + rho eps.

        One component: its largest variance. Two: Schlichting's. More, all of one variance v: the means are data in a
        ball, to which noise of variance v + rho^2 is added (Chen, Chewi and Niles-Weed). Else infinity: there is a
        constant, but none of these theorems gives it.
        """
        w, _, S = self._law
        if len(w) == 1:
            return self._largest + rho**2
        if len(w) == 2:
            return self._two(rho, self._kind)
        if S.ndim == 1 and bool((S[0] == S).all()):
            return compact_support(self._radius, self._largest + rho**2)
        return math.inf

    @property
    def _kind(self) -> Kind:
        """Which constant of two components."""
        return "split"

    @cached_property
    def _two(self) -> TwoGaussians:
        w, mu, S = self._law
        return TwoGaussians.of(w, mu, S if S.ndim == 3 else S[:, None, None] * torch.eye(mu.shape[1], dtype=S.dtype))

    @cached_property
    def _radius(self) -> float:
        return radius(self._law[1])

    @cached_property
    def _largest(self) -> float:
        S = self._law[2]
        largest: float = (S if S.ndim == 1 else torch.linalg.eigvalsh(S)).max().item()
        return largest

    def _at(self, y: Tensor) -> _Parts:
        kind = y.dtype, y.device
        if kind not in self._parts_at:
            self._parts_at[kind] = self._parts.to(y)
        return self._parts_at[kind]

    @cached_property
    def _parts_at(self) -> dict[tuple[torch.dtype, torch.device], _Parts]:
        return {}

    @cached_property
    def _law(self) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised weights (K,), means (K, d), variances (K,) or covariances (K, d, d), float64."""
        w, mu, S = self.components()
        return w / w.sum(), mu, S

    @cached_property
    def _parts(self) -> _Parts:
        w, mu, S = self._law
        if S.ndim == 1:
            return _Parts.of(w, mu, S[:, None])
        v, U = torch.linalg.eigh(S)
        K, d = mu.shape
        return _Parts.of(w, mu, v[None], U.movedim(1, 0).reshape(d, K * d))


def _noised(parts: _Parts, rho: Tensor) -> Tensor:
    """Return the variances v + rho^2, (K, n or 1) or (n or 1, K, d)."""
    rho = rho.T if parts.axes is None else rho.unsqueeze(2)
    return torch.addcmul(parts.v, rho, rho)


def _log_density(parts: _Parts, y: Tensor, rho: Tensor) -> Tensor:
    return _log_terms(parts, y, _noised(parts, rho))[1].logsumexp(0)


def _denoised(parts: _Parts, y: Tensor, rho: Tensor) -> Tensor:
    s = _noised(parts, rho)
    z, L = _log_terms(parts, y, s)
    E = (L - L.amax(0)).clamp(min=FAINT).exp()
    gain = parts.v / s
    # Sums over components are matrix products with samples as rows: fast, and the same bits for every batch size.
    if parts.axes is None:
        E_v = E * gain
        kept, pulled = E_v.T @ parts.ones, (E - E_v).T @ parts.mu_1
        return (pulled[:, :-1] + kept * y) / (pulled[:, -1:] + kept)
    moved = (E.T.unsqueeze(2) * gain * z).flatten(1)
    return torch.addmm(E.T @ parts.mu, moved, parts.axes.T) / (E.T @ parts.ones)


def _log_terms(parts: _Parts, y: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Return y - mu_i along the axes, (n, K, d), empty without axes, and log w_i N(y; mu_i, S_i + rho^2), (K, n)."""
    if parts.axes is None:
        q = _squared_distances(parts.mu, y)
        return q[:0], torch.addcmul(parts.log_w - y.shape[1] / 2 * s.log(), q, -0.5 / s)
    z = torch.addmm(-parts.shift, y, parts.axes).reshape(-1, *parts.mu.shape)
    return z, parts.log_w - ((z * z / s).sum(2) + s.log().sum(2)).T / 2


def _squared_distances(mu: Tensor, y: Tensor) -> Tensor:
    """Return |y - mu_i|^2, (K, n)."""
    d = y.shape[1]
    if d <= DIRECT:
        q = (y[:, 0] - mu[:, :1]).square()
        for k in range(1, d):
            q = q + (y[:, k] - mu[:, k : k + 1]).square()
        return q
    # |y|^2 - 2 mu.y + |mu|^2 cancels near a mean, and it is divided by a variance that may be tiny: hence float64.
    centre = mu.double().mean(0)
    mu_c, y_c = mu.double() - centre, y.double() - centre
    q = torch.addmm(mu_c.square().sum(1), y_c, mu_c.T, alpha=-2) + y_c.square().sum(1, keepdim=True)
    return q.clamp(min=0).to(y).T
