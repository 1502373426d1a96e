"""The prior that is a normalising flow, fitted to noised data."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, HasMoments, Problem, normal, stream
from samplerhub.errors import BrokenPlugin
from samplerhub_priors.start import clean_data, scales

if TYPE_CHECKING:
    from zuko.flows import Flow

CHECK = 25
"""Steps of training after which the likelihood of held-out data is looked at."""
SURE = 2.0
"""Held-out data have become likelier if by so many standard errors."""
HELD_OUT = 0.2
"""Share of the samples that are held out."""


class FlowPrior(Component):
    r"""A normalising flow, fitted to noised data by maximum likelihood.

        x = alpha (m + L f(z)),    z standard normal,    max_f E log p_f(x_0 + rho eps)

    m and L L^T are mean and covariance of the noised data; f is an autoregressive neural spline flow that starts as the
    identity, so that training starts at the best normal law. Every batch has fresh noise. Every 25 steps there is a
    look at held-out data: the flow is kept if they have become likelier than under the one kept before, by two standard
    errors, and training ends after `patience` looks in vain. Splines end 5 standard deviations from the mean, beyond
    which the tails are normal: for heavy tails take student-t.

    It needs the package zuko, which comes with samplerhub[flow]. Fitting takes seconds in a few dimensions and half a
    minute in 64, where a sample costs 64 evaluations of each network unless `passes` is 2. The fit does not depend on
    the seed of the run.

    References:
        Neural Spline Flows (Durkan et al., 2019), arXiv:1906.04032
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017), arXiv:1705.07057
        Initialization-Aware Score-Based Diffusion Sampling (Fassina et al., 2026), arXiv:2603.00772
    """

    transforms: int = Field(2, ge=1)
    """Number of spline transformations, one after the other."""
    bins: int = Field(8, ge=2)
    """Bins of each spline."""
    hidden: int = Field(32, ge=1)
    """Width of the two hidden layers from which the splines of a coordinate come, given the coordinates before it."""
    passes: int | None = Field(None, ge=2)
    """Network evaluations for a sample and transformation; none: one for each coordinate; 2: coupling layers."""
    samples: int = Field(20_000, ge=10)
    """Samples of the target to which it is fitted, a fifth of them held out."""
    steps: int = Field(2000, ge=0)
    """At most so many steps of training."""
    batch: int = Field(512, ge=1)
    """Samples in a batch."""
    learning_rate: float = Field(2e-3, gt=0)
    """Step size of Adam, which falls to 0 along a cosine."""
    patience: int = Field(5, ge=1)
    """Looks at held-out data without an improvement after which training ends."""
    seed: int = Field(0, ge=0)
    """Seed of the samples, the noise and the first network."""

    def sample(self, problem: Problem, n: int, rng: torch.Generator) -> Tensor:
        """Return n states at time problem.span[1], shape (n, *problem.shape), float64.

        Raises:
            Mismatch: The problem has no target.
            BrokenPlugin: The package zuko is not installed.
        """
        fitted = self._fitted(problem)
        z = torch.randn(n, len(fitted.m), generator=rng, device=rng.device, dtype=torch.float64)
        return scales(problem)[0] * fitted.sample(z).reshape(n, *problem.shape)

    def log_prob(self, problem: Problem, x: Tensor) -> Tensor:
        """Return the log-density of the starting state at x (n, *d), shape (n,).

        Raises:
            Mismatch: The problem has no target.
            BrokenPlugin: The package zuko is not installed.
        """
        alpha_t, _ = scales(problem)
        y = x.flatten(1) / alpha_t
        log_p: Tensor = self._fitted(problem).log_prob(y) - y.shape[1] * math.log(alpha_t)
        return log_p

    def _fitted(self, problem: Problem) -> Whitened:
        """Return the law of y, fitted once for a run."""
        if find_spec("zuko") is None:
            raise BrokenPlugin(
                "the prior 'flow' needs the package zuko, which is not installed: pip install 'samplerhub[flow]', or "
                "choose another prior, such as --prior mixture-fit"
            )
        return problem.once((type(self), self.model_dump_json(), *problem.span), lambda: self._fit(problem))

    def _fit(self, problem: Problem) -> Whitened:
        x_0, rho_t = clean_data(problem, "flow", self.samples, self.seed), scales(problem)[1]
        if isinstance(problem.target, HasMoments):
            m, C = problem.target.moments()
        else:
            m, C = x_0.mean(0), torch.cov(x_0.T).reshape(x_0.shape[1], x_0.shape[1])
        L = torch.linalg.cholesky(C.double() + rho_t**2 * torch.eye(len(m), dtype=torch.float64))
        law = Whitened(m.double(), L, self._first(len(m)))
        with torch.enable_grad():
            self._train(law, x_0, rho_t)
        law.flow.requires_grad_(False)
        return law

    def _first(self, D: int) -> Flow:
        """Return the flow that is the identity, with random hidden layers."""
        from zuko.flows import NSF

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(self.seed, "flow network").initial_seed())
            flow = NSF(
                D, bins=self.bins, transforms=self.transforms, passes=self.passes, hidden_features=(self.hidden,) * 2
            ).double()
        with torch.no_grad():
            for transform in flow.transform.transforms:
                last = transform.hyper[-1].parameters() if D > 1 else transform.parameters()
                for parameter in last:
                    parameter.zero_()
        return flow

    def _train(self, law: Whitened, x_0: Tensor, rho: float) -> None:
        """Maximise the likelihood, and leave the flow at its best on held-out data."""
        rng = stream(self.seed, "flow training")
        n = max(1, round(HELD_OUT * len(x_0)))
        held_out, x_0 = x_0[:n] + rho * normal(x_0[:n], stream(self.seed, "flow held out")), x_0[n:]
        adam = torch.optim.Adam(law.flow.parameters(), self.learning_rate)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(1, self.steps))
        best, kept, looks = _log_prob(law, held_out), copy.deepcopy(law.flow.state_dict()), 0
        for step in range(1, self.steps + 1):
            x = x_0[torch.randint(len(x_0), (self.batch,), generator=rng)]
            loss = -law.log_prob(x + rho * normal(x, rng)).mean()
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            falling.step()
            if step % CHECK == 0 or step == self.steps:
                now, looks = _log_prob(law, held_out), looks + 1
                gain = now - best
                if gain.mean() > SURE * gain.std() / math.sqrt(n):
                    best, kept, looks = now, copy.deepcopy(law.flow.state_dict()), 0
                if looks == self.patience:
                    break
        law.flow.load_state_dict(kept)


@dataclass(frozen=True, slots=True, eq=False)
class Whitened:
    """The law of y = m + L u, u of a flow."""

    m: Tensor
    L: Tensor
    flow: Flow

    def sample(self, z: Tensor) -> Tensor:
        """Return what becomes of standard normal z, shape (n, D)."""
        with torch.no_grad():
            u: Tensor = self.flow.to(z.device)().transform.inv(z)
        return self.m.to(z) + u @ self.L.to(z).T

    def log_prob(self, y: Tensor) -> Tensor:
        """Return the log-density at y (n, D), shape (n,)."""
        m, L = self.m.to(y.device), self.L.to(y.device)
        u = torch.linalg.solve_triangular(L, (y.to(m) - m).T, upper=False).T
        log_p: Tensor = self.flow.to(y.device)().log_prob(u) - L.diagonal().log().sum()
        return log_p.to(y)


def _log_prob(law: Whitened, y: Tensor) -> Tensor:
    with torch.no_grad():
        return law.log_prob(y)
