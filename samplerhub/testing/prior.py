"""What holds for every prior: the state that a run starts from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor

import samplerhub.process as derived
from samplerhub.capabilities import NormalPrior, PriorDensity
from samplerhub.noise import stream
from samplerhub.problem import Problem
from samplerhub.protocols import ForwardProcess, Prior, Target
from samplerhub.testing.check import Case, Figure, Finding, NotApplicable, alone, check, examine, kept, require
from samplerhub.testing.metric import model_of
from samplerhub.testing.reference import PROCESSES, BellsTarget

SAMPLES = 4000


@dataclass(frozen=True)
class Started:
    """A prior on a process, for a target; three bells in the plane by default."""

    prior: Prior
    process: ForwardProcess
    target: Target = field(default_factory=BellsTarget)

    @cached_property
    def problem(self) -> Problem:
        """What it starts."""
        shape = tuple(self.target.shape)
        return Problem(self.process, model_of(self.target), target=self.target, shape=shape)

    def drawn(self, seed: int) -> tuple[Tensor, bool]:
        """Return states, and whether the global random numbers were left alone."""
        return alone(lambda: self.prior.sample(self.problem, SAMPLES, torch.Generator().manual_seed(seed)))

    @cached_property
    def x(self) -> Tensor:
        """States of one seed."""
        return self.drawn(0)[0]


@check("prior-runs", "states y = x/alpha, or the shape of one sample instead of n", gate=True)
def runs(case: Started) -> None:
    """It gives n finite states of the problem's shape.

    The sampler starts from them.
    """
    expected = (SAMPLES, *case.target.shape)
    require(case.x.shape == expected, f"shape {tuple(case.x.shape)}", f"{expected}")
    require(bool(case.x.isfinite().all()), "states that are not finite")


@check("prior-seed", "a generator of its own, or a sample that was drawn once and kept")
def seed(case: Started) -> None:
    """The same generator gives the same states, another one others.

    A run is made again from its seed; its blocks have generators of their own, and would be copies of each other.
    """
    require(torch.equal(case.drawn(0)[0], case.x), "the same generator gives other states")
    require(not torch.equal(case.drawn(1)[0], case.x), "another generator gives the same states")


@check("prior-global-rng", "torch.randn without generator=rng, or fitting without torch.random.fork_rng")
def global_rng(case: Started) -> None:
    """The global random numbers are neither drawn from nor seeded.

    What else the program does would change the samples, and the samples what else it does.
    """
    require(case.drawn(2)[1], "global random numbers are drawn or seeded")


@check("prior-law", "the variance of the noise forgotten, or alpha where x = alpha y is meant")
def law(case: Started) -> Figure:
    """Each coordinate has the mean and the scale of the noised data at the time of the start, within a fifth of it.

    A prior may be an approximation; the wrong scale is a mistake, and every sample carries it.
    """
    alpha, sigma = (f(case.process, case.problem.span[1]).item() for f in (derived.alpha, derived.sigma))
    data = case.target.sample(SAMPLES, stream(4, "law")).double().flatten(1)
    x, mean, true = case.x.double().flatten(1), alpha * data.mean(0), (alpha**2 * data.var(0) + sigma**2).sqrt()
    off = torch.maximum((x.std(0) / true - 1).abs(), (x.mean(0) - mean).abs() / true)
    i = int(off.argmax())
    expected = f"{mean[i]:.4g} ± {true[i]:.4g}, both within a fifth of the scale"
    return Figure(expected, f"{x.mean(0)[i]:.4g} ± {x.std(0)[i]:.4g} in coordinate {i}", float(off[i]) < 0.2)


@check("prior-normal", "standard deviations where variances are meant, in `normal` or in `sample`")
def normal(case: Started) -> None:
    """A prior that says that it is normal has the mean and covariance that it says.

    The exact divergences, and the error of the start, are computed from what it says.
    """
    said = case.prior.normal(case.problem) if isinstance(case.prior, NormalPrior) else None
    if said is None:
        raise NotApplicable("it does not say that it is normal")
    mean, covariance = said
    x, v = case.x.double().flatten(1), covariance.diagonal()
    z = ((x.mean(0) - mean) / (v / SAMPLES).sqrt()).abs().max().item()
    require(z < 5, f"{z:.1f} standard errors off in the mean", "within 5")
    C = torch.cov(x.T)
    stderr = ((v[:, None] * v + covariance**2) / SAMPLES).sqrt()
    z = ((C - covariance) / stderr).abs().max().item()
    require(z < 5, f"{z:.1f} standard errors off in the covariance", "within 5")


@check("prior-density", "a missing Jacobian or normalisation, or a density of y = x/alpha")
def density(case: Started) -> Figure:
    """A density that it says it has is that of its states: E[q(x)/p(x)] = 1 for a narrower normal law q.

    The likelihood and the divergence of the start are computed from it.
    """
    if not isinstance(case.prior, PriorDensity):
        raise NotApplicable("it does not say its density")
    x = case.x.double().flatten(1)
    mean, C = x.mean(0), torch.cov(x.T) * (1 - 1 / (2 * x.shape[1]) ** 0.5)  # narrower, not to be far off in many
    fresh = case.prior.sample(case.problem, SAMPLES, stream(3, "density")).double()
    with torch.no_grad():
        q = _normal_log_prob(fresh.flatten(1), mean, C)
        ratio = (q - case.prior.log_prob(case.problem, fresh).double()).exp()
    value, stderr = float(ratio.mean()), float(ratio.std()) / SAMPLES**0.5
    return Figure(f"1 within {5 * stderr + 1e-3:.2g}", f"{value:.4f}", abs(value - 1) < 5 * stderr + 1e-3)


CHECKS = (runs, seed, global_rng, law, normal, density)


def cases(
    prior: Prior, processes: Mapping[str, ForwardProcess], targets: Mapping[str, Target] = MappingProxyType({})
) -> Iterator[Case]:
    """Yield a prior on each process, for each target; for three bells in the plane where there is none."""
    for about, target in targets.items() or [("", BellsTarget())]:
        for name, process in processes.items():
            yield Case(", ".join(filter(None, (name, about))), Started(prior, process, target))


def check_prior(prior: Prior, process: ForwardProcess | None = None) -> list[Finding]:
    """Check shape, scale and law of the starting state, and that it comes from its generator alone.

    Args:
        prior: The prior.
        process: At the end of which it stands; by default three of the kit's own, one after the other.

    Raises:
        NotKept: Something does not hold.
    """
    return kept(examine(CHECKS, cases(prior, PROCESSES if process is None else {"": process})))


def _normal_log_prob(x: Tensor, mean: Tensor, C: Tensor) -> Tensor:
    z = torch.linalg.solve_triangular(torch.linalg.cholesky(C), (x - mean).T, upper=False)
    log_q: Tensor = -0.5 * (z.square().sum(0) + torch.logdet(2 * torch.pi * C))
    return log_q
