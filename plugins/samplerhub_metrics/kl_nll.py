"""The Kullback-Leibler divergence from densities: the target's, and that of what a deterministic flow generates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor

from samplerhub import Density, Estimate, Evidence, Need, Point, Setup, alpha, kebab, normal, stream
from samplerhub.errors import Mismatch, NotFinite
from samplerhub_metrics.flow_likelihood import Flow, FlowMetric, levels_of, mean_and_error, prior_of
from samplerhub_metrics.jacobian import basis, check_derivative

ROWS = 512
"""Samples whose way through the sampler is differentiated together."""
Ratios = list[tuple[float, float, Tensor]]
"""Time, noise level and the figures log(q/p) or log(p/q), shape (n,), at each level of the path."""


class KLNll(FlowMetric):
    r"""Kullback-Leibler divergence from densities, that of a deterministic sampler or of the ODE, in nats.

        forward: H(generated | target) = E_q [log q - log p],    reverse: H(target | generated) = E_p [log p - log q]

    p is the density of the noised target, known in closed form. q is one of two laws.

    sampler: the law of what the run's sampler makes of the prior pi, discretisation included. A sampler that draws no
    noise and has fixed steps is one map y = Phi(x) of the start, and log q(Phi(x)) = log pi(x) - log |det dPhi/dx|; the
    determinant comes from derivatives through the whole run, one backward pass for each dimension. Where Phi folds
    (steps so long that two starts end in one point) this is the density of one branch only, and the figure a lower
    bound; "folded" is the share of samples whose determinant has the sign of the minority.

    flow: the law of the probability-flow ODE, integrated without error: error of start and score, none of the sampler.

    Both have an expectation over fresh points, independent of the run's samples, and no bias.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
        Neural Ordinary Differential Equations (Chen et al., 2018), arXiv:1806.07366
    """

    direction: Literal["forward", "reverse"] = "forward"
    """forward: H(generated | target), quality; reverse: H(target | generated), coverage."""
    law: Literal["sampler", "flow"] | None = None
    """Law of the generated samples; none: the sampler's in the forward direction, the flow's in the reverse one."""

    @model_validator(mode="after")
    def _a_sampler_is_not_inverted(self) -> Self:
        if self.direction == "reverse" and self.law == "sampler":
            raise ValueError(
                "direction 'reverse' with law 'sampler' needs the inverse of the sampler's map; choose law 'flow', or "
                "direction 'forward'"
            )
        return self

    @property
    def needs(self) -> frozenset[Need]:
        """The run, and the density of the target."""
        return frozenset({Need.SETUP, Need.DENSITY})

    @property
    def of_sampler(self) -> bool:
        """Whether q is the law of the run's sampler."""
        return self.direction == "forward" and self.law != "flow"

    def inspect(self, setup: Setup) -> None:
        """Return if prior, model and sampler allow it.

        Raises:
            Mismatch: The prior has no density for this run, the model no derivatives, or the sampler is not a smooth
                map of the start in few dimensions.
        """
        super().inspect(setup)
        if not self.of_sampler:
            return
        d = math.prod(setup.shape)
        if d > self.exact_up_to:
            raise Mismatch(
                f"samples have {d} dimensions, and the determinant of the sampler's map is had up to "
                f"{self.exact_up_to}; raise exact_up_to ({d} backward passes through the whole run), or choose the law "
                f"of the ODE, law 'flow'"
            )
        x = setup.start(16, stream(setup.seed, "trial"))
        check_derivative(lambda x: states(setup, x)[-1][2], x, 3e-4 * x.std().item(), setup, "sampler")

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the divergence and its standard error."""
        setup = evidence.setup
        flow, n = self.flow(setup), self.count(setup)
        details: dict[str, float | str] = {"samples": n}
        if self.of_sampler:
            ratios, folded = sampler_ratios(flow, n)
            details |= {"law": "the sampler's, discretisation included", "determinant": "exact", "folded": folded}
            if folded:
                details["value is"] = "a lower bound: the sampler's map folds, and one branch alone is counted"
        else:
            ratios, error = (forward_ratios if self.direction == "forward" else reverse_ratios)(flow, n)
            details |= {"law": "the ODE's, without discretisation", "divergence": flow.divergence}
            details |= {"integration error": error}
        curve = tuple(Point(t, rho, *mean_and_error(values)) for t, rho, values in ratios)
        value, stderr = mean_and_error(ratios[-1][2])
        quantity = "kl" if self.direction == "forward" else "kl-reverse"
        return Estimate(value, stderr, curve if setup.path else (), quantity=quantity, details=details)


def sampler_ratios(flow: Flow, n: int) -> tuple[Ratios, float]:
    """Return log(q/p) at n samples, q the law of the sampler's map, at every level of the path; and what is folded."""
    setup, log_p = flow.setup, density(flow.setup)
    x = setup.start(n, stream(setup.seed, "points"))
    blocks: list[list[tuple[Tensor, Tensor]]] = []
    for x_i in torch.split(x, ROWS):
        log_pi = prior_of(setup).log_prob(setup.problem(), x_i)
        with torch.enable_grad():
            start = x_i.detach().requires_grad_()
            path = states(setup, start)
        block = []
        for _, rho, y in path:
            sign, log_det = torch.linalg.slogdet(torch.stack([_row(y, start, e) for e in basis(y)], 1))
            block.append((log_pi - log_det - log_p(y.detach(), rho), sign))
        blocks.append(block)
    by_level = [[torch.cat(parts) for parts in zip(*level)] for level in zip(*blocks)]
    ratios = [(t, rho, values) for (t, rho, _), (values, _) in zip(path, by_level)]
    negative = (by_level[-1][1] < 0).double().mean().item()
    if not all(bool(values.isfinite().all()) for *_, values in ratios):
        raise NotFinite(
            f"the map of sampler {kebab(type(setup.sampler))!r} has a determinant of 0, or leaves the finite numbers, "
            f"at some sample: its law has no density; try more steps"
        )
    return ratios, min(negative, 1 - negative)


def forward_ratios(flow: Flow, n: int) -> tuple[Ratios, float]:
    """Return log(q/p) at n points of q, the law of the flow, and the error of the integration."""
    setup, log_p = flow.setup, density(flow.setup)
    a = alpha(setup.process, setup.span[1]).item()
    y, here = setup.start(n, stream(setup.seed, "points")) / a, setup.rho[0].item()
    log_q = flow.prior_log_prob(y)
    ratios = []
    for _, t, rho in levels_of(setup):
        y, log_det = flow.transport(y, here, rho)
        here, log_q = rho, log_q - log_det.mean(1)
        ratios.append((t, rho, log_q - log_p(y, rho)))
    return ratios, flow.integration_error(y, here)


def reverse_ratios(flow: Flow, n: int) -> tuple[Ratios, float]:
    """Return log(p/q) at n points of p, the noised target, q the law of the flow; and the error of the integration."""
    setup, log_p = flow.setup, density(flow.setup)
    assert setup.target is not None
    rng = stream(setup.seed, "points")
    x_0 = setup.target.sample(n, rng).to(setup.device, torch.float64)
    z = normal(x_0, rng)
    ratios = []
    for _, t, rho in levels_of(setup):
        y = x_0 + rho * z
        log_q = flow.log_prob(y, rho)
        ratios.append((t, rho, log_p(y, rho) - log_q.mean(1)))
    return ratios, flow.integration_error(y, rho)


def states(setup: Setup, x: Tensor) -> list[tuple[float, float, Tensor]]:
    """Return (time, noise level, y) of the sampler's states at the recorded times, from the start x (n, *d).

    Raises:
        Mismatch: The sampler draws noise, or chooses its own steps.
    """
    name, rng = kebab(type(setup.sampler)), stream(setup.seed, "sampler")
    drawn = rng.get_state()
    wanted = {t: a for t, a in zip(setup.times.tolist(), alpha(setup.process, setup.times).tolist())}
    kept = {setup.times[k].item() for k in setup.path} | {setup.times[-1].item()}
    t_max = setup.span[1]
    found = {t_max: (t_max, setup.rho[0].item(), x / wanted[t_max])}
    for step in setup.sampler(setup.problem(gradients=True), x, setup.times, rng):
        if isinstance(step.t, Tensor) or isinstance(step.rho, Tensor):
            raise Mismatch(
                f"sampler {name!r} chooses its own steps for each sample, so that derivatives of its map are not those "
                f"of its steps; choose a sampler of fixed steps, or the law of the ODE, law 'flow'"
            )
        if step.t in kept:
            found[step.t] = (step.t, step.rho, step.x / (1.0 if step.rho == 0 else wanted[step.t]))
    if not torch.equal(drawn, rng.get_state()):
        raise Mismatch(
            f"sampler {name!r} draws noise (churn?), so that it is no map of the start; set churn to 0, choose a "
            f"deterministic sampler, or the law of the ODE, law 'flow'"
        )
    if not kept <= found.keys():
        raise Mismatch(f"sampler {name!r} passes over times of the grid that are to be recorded; leave --path out")
    return [found[t] for t in sorted(kept, reverse=True)]


def _row(y: Tensor, x: Tensor, e: Tensor) -> Tensor:
    """Return e . dy/dx of every sample, shape (n, d)."""
    (row,) = torch.autograd.grad(y, x, e.to(y).expand_as(y), retain_graph=True, materialize_grads=True)
    return row.flatten(1)


def density(setup: Setup) -> Callable[[Tensor, float], Tensor]:
    """Return the log-density of the noised target as a function of y (n, *d) and the noise level."""
    target = setup.target
    assert isinstance(target, Density)
    return lambda y, rho: target.log_prob(y, torch.tensor(rho, dtype=y.dtype, device=y.device))
