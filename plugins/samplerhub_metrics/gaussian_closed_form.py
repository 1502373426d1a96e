"""The example that is solved in full: Gaussian data, start and model (Schaeffer et al., 2025, section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from samplerhub import Component, Estimate, Evidence, IsGaussian, Need, Setup, normal_kl
from samplerhub.errors import Mismatch
from samplerhub_metrics.initial_divergence import Direction, normal_start
from samplerhub_metrics.reverse_process import Array, ReverseProcess, gamma_of

CLOSE = 1e-7
"""Relative error up to which a model's score is of the form that is solved."""


class GaussianClosedForm(Component):
    r"""KL divergence from a Gaussian target in the limit of small steps, in closed form.

    The target's noised law is N(mu_0, S(v)), v = rho^2; the model's score is -(y - mu)/(a S(v)), that of a Gaussian
    with another mean and a times the covariance; the start is normal. Then the law at v is N(m, V), along each axis of
    the covariance, with r = S(v)/S(v_0) and k = (1 + gamma)/a,

        m = mu + r^(k/2) (m_0 - mu),    V/S(v) = r^(k - 1) V_0/S(v_0) + gamma (1 - r^(k - 1))/(k - 1)

        forward: 1/2 sum [V/S + (m - mu_0)^2/S - 1 - log(V/S)]
        reverse: 1/2 sum [S/V + (m - mu_0)^2/V - 1 - log(S/V)]

    and intervals of constant gamma follow one another. What is missing to the divergence of a run is what its finite
    steps add. Of that form are the models `exact` and `gaussian` and the priors `gaussian`, `exact` and `matched`.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378, sec. 5
    """

    direction: Direction = "forward"
    """forward: H(generated | target), quality; reverse: H(target | generated), coverage."""

    @property
    def needs(self) -> frozenset[Need]:
        """The setup of a run, on a Gaussian target."""
        return frozenset({Need.SETUP, Need.GAUSSIAN})

    def inspect(self, setup: Setup) -> None:
        """Return if the run is the example.

        Raises:
            Mismatch: It is not: says in what.
        """
        _Example.of(setup)
        process = ReverseProcess.of(setup, 1)
        gamma = gamma_of(setup)
        for i, here in enumerate(process.gamma):
            inside = np.geomspace(process.rho[i], process.rho[i + 1], 34)[1:-1]
            if any(gamma(rho) != here for rho in inside.tolist()):
                raise Mismatch(
                    f"gamma varies between rho = {inside[0]:g} and {inside[-1]:g}, and the closed form is for a gamma "
                    f"that is constant, or constant inside a churn_window; choose such a sampler"
                )

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the divergence at the end of the run, and along its path."""
        setup = evidence.setup
        example, process = _Example.of(setup), ReverseProcess.of(setup, 1)
        m, V = example.m, example.V
        values = [divergence(m, V, example.mu_0, example.S(process.v[0]), self.direction)]
        for gamma, v_t, v_s in zip(process.gamma, process.v, process.v[1:]):
            m, V = example.moved(m, V, float(gamma), example.S(v_t), example.S(v_s))
            values.append(divergence(m, V, example.mu_0, example.S(v_s), self.direction))
        details: dict[str, float | str] = {
            "method": "closed form",
            "factor on the covariance in the model": example.a,
            "distance of the means in the model": float(np.linalg.norm(example.mu - example.mu_0)),
            "covers": "the process in continuous time; not the sampler's steps",
        }
        quantity = "kl" if self.direction == "forward" else "kl-reverse"
        return process.estimate(np.array(values), None, details, quantity=quantity)


@dataclass(frozen=True)
class _Example:
    """The laws along the axes of the target's covariance, (D,) each."""

    mu_0: Array
    """Mean of the target."""
    variances: Array
    """Its variances."""
    mu: Array
    """Mean of the model."""
    a: float
    """Its factor on the covariance."""
    m: Array
    """Mean at the start."""
    V: Array
    """Variances at the start."""

    @classmethod
    def of(cls, setup: Setup) -> _Example:
        """Read the laws off the components.

        Raises:
            Mismatch: Start or model are not of the form.
        """
        if not isinstance(setup.target, IsGaussian):
            raise Mismatch("the closed form is for a Gaussian target; choose --target gaussian")
        mean, C = setup.target.moments()
        variances, axes = torch.linalg.eigh(C)
        start = normal_start(setup)
        if start is None:
            raise Mismatch("the closed form is for a normal start; choose a prior such as gaussian or matched")
        V = axes.T @ start[1] @ axes
        off = (V - V.diagonal().diag()).abs().max().item()
        if off > CLOSE * V.abs().max().item():
            raise Mismatch(
                f"the covariance of the prior has other axes than the target's (off by {off:.2g}), and the closed form "
                f"is for equal axes; choose a prior such as gaussian or matched"
            )
        u, S = (axes.T @ mean).numpy(), variances.numpy()
        mu, a = _linear_score(setup, axes.numpy(), u, S)
        return cls(u, S, mu, a, (axes.T @ start[0]).numpy(), V.diagonal().numpy())

    def S(self, v: float) -> Array:
        """Return the variances of the noised target."""
        return np.asarray(self.variances + v)

    def moved(self, m: Array, V: Array, gamma: float, S_t: Array, S_s: Array) -> tuple[Array, Array]:
        """Return mean and variances after an interval of constant gamma."""
        k, log_r = (1 + gamma) / self.a, np.log(S_s / S_t)
        x = (k - 1) * log_r
        # (1 - r^(k - 1))/(k - 1), which is -log r where k = 1.
        gained = -log_r * np.divide(np.expm1(x), x, out=np.ones_like(x), where=x != 0)
        return self.mu + np.exp(k / 2 * log_r) * (m - self.mu), S_s * (np.exp(x) * V / S_t + gamma * gained)


def _linear_score(setup: Setup, axes: Array, mu_0: Array, variances: Array) -> tuple[Array, float]:
    """Return mu, along the axes, and a of a model whose score is -(y - mu)/(a S).

    Raises:
        Mismatch: It is not of that form.
    """
    problem, D = setup.problem(), len(mu_0)
    rng = np.random.default_rng(0)
    levels = np.geomspace(setup.rho[0].item(), setup.rho[-1].item(), 5).tolist()

    def score(z: Array, rho: float) -> Array:
        y = torch.from_numpy(z @ axes.T).reshape(-1, *setup.shape).to(setup.device)
        return np.asarray(problem.score(y, rho).flatten(1).cpu().numpy() @ axes)

    S = variances + levels[0] ** 2
    pair = score(mu_0 + np.stack([np.zeros(D), np.sqrt(S)]), levels[0])
    a = -float(np.mean(1 / ((pair[1] - pair[0]) * np.sqrt(S))))
    mu = mu_0 + a * S * pair[0]
    for rho in levels:
        S = variances + rho**2
        z = mu_0 + 2 * np.sqrt(S) * rng.standard_normal((8, D))
        expected, found = -(z - mu) / (a * S), score(z, rho)
        off = float(np.abs((found - expected) * np.sqrt(S)).max())
        if not (a > 0 and off <= CLOSE * (1 + float(np.abs(expected * np.sqrt(S)).max()))):
            raise Mismatch(
                f"the model's score is not that of a Gaussian with the target's covariance times a number (it is off "
                f"by {off:.2g} at rho = {rho:g}), and the closed form is for such; choose --model gaussian or exact"
            )
    return mu, a


def divergence(m: Array, V: Array, mu: Array, S: Array, direction: Direction) -> float:
    """Return H(N(m, V) | N(mu, S)) or the reverse, V and S variances along the same axes."""
    a, b = ((torch.from_numpy(mean), torch.from_numpy(variances)) for mean, variances in ((m, V), (mu, S)))
    return normal_kl(*a, *b) if direction == "forward" else normal_kl(*b, *a)
