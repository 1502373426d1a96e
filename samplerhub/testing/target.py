"""What holds for every target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from samplerhub.capabilities import Denoises, Density, FiniteData, HasMoments, LogSobolev
from samplerhub.noise import stream
from samplerhub.protocols import Target
from samplerhub.testing.check import Case, Figure, Finding, NotApplicable, alone, check, examine, kept, require

SAMPLES = 4000
LEVELS = (0.1, 1.0, 10.0)
DIRECTIONS = 100


@dataclass(frozen=True)
class Sampled:
    """A target and samples of it."""

    target: Target

    def drawn(self, seed: int) -> tuple[Tensor, bool]:
        """Return samples, and whether the global random numbers were left alone."""
        return alone(lambda: self.target.sample(SAMPLES, torch.Generator().manual_seed(seed)))

    @cached_property
    def x(self) -> Tensor:
        """Samples of one seed."""
        return self.drawn(0)[0]

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance, as it says them."""
        if not isinstance(self.target, HasMoments):
            raise NotApplicable("it does not say its moments")
        return self.target.moments()

    def noised(self, level: float, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return data, what noise makes of them, and rho."""
        x = self.x[:n].double()
        z = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        return x, x + level * z, torch.full((1,) * x.ndim, level, dtype=torch.float64)


@check("target-runs", "one sample instead of n, or `shape` with the batch in it", gate=True)
def runs(case: Sampled) -> None:
    """It gives n finite samples of its shape.

    Everything that a run allocates is of that shape.
    """
    expected = (SAMPLES, *case.target.shape)
    require(case.x.shape == expected, f"shape {tuple(case.x.shape)}", f"{expected}")
    require(bool(case.x.isfinite().all()), "samples that are not finite")


@check("target-seed", "a generator of its own, or samples that were drawn once and kept")
def seed(case: Sampled) -> None:
    """The same generator gives the same samples, another one others.

    References and training data are drawn from streams of the run's seed.
    """
    require(torch.equal(case.drawn(0)[0], case.x), "the same generator gives other samples")
    one_point = torch.equal(case.x, case.x[:1].expand_as(case.x))
    require(one_point or not torch.equal(case.drawn(1)[0], case.x), "another generator gives the same samples")


@check("target-global-rng", "torch.randn or torch.multinomial without generator=rng, or numpy.random")
def global_rng(case: Sampled) -> None:
    """The global random numbers are neither drawn from nor seeded.

    What else the program does would change the data, and the data what else it does.
    """
    require(case.drawn(2)[1], "global random numbers are drawn or seeded")


@check("target-mean", "moments of the data before they were scaled")
def mean(case: Sampled) -> None:
    """The mean that it says is that of its samples, within 5 standard errors.

    Metrics take it for the truth.
    """
    m, C = case.moments
    flat = _flat(case.x).double()
    stderr = C.diagonal().clamp(min=0).sqrt() / SAMPLES**0.5
    off = (flat.mean(0) - m).abs() - 5 * stderr
    i = off.argmax()
    require(float(off[i]) <= 1e-12, f"{flat.mean(0)[i].item():.5g} in coordinate {int(i)}", f"{m[i].item():.5g}")


@check("target-variance", "standard deviations where variances are meant, or the parts without their spread")
def variance(case: Sampled) -> None:
    """The variances that it says are those of its samples, within 5 standard errors.

    Metrics take them for the truth, and networks are scaled by them.
    """
    m, C = case.moments
    flat, v = _flat(case.x).double(), C.diagonal().clamp(min=0)
    stderr = ((flat - m) ** 2).std(0) / SAMPLES**0.5
    # A coordinate that hardly ever varies, such as a corner pixel, shows that in few samples, or in none.
    reach = float(flat.max() - flat.min())
    stderr = torch.where(v < 10 * reach**2 / SAMPLES, reach * (v / SAMPLES).sqrt() + reach**2 / SAMPLES, stderr)
    # The variance of samples is about their own mean, which is off by 5 of its standard errors at most.
    off = (flat.var(0) - v).abs() - 5 * stderr - 25 * v / SAMPLES
    i = off.argmax()
    require(float(off[i]) <= 1e-12, f"{flat.var(0)[i].item():.5g} in coordinate {int(i)}", f"{v[i].item():.5g}")


@check("target-covariance", "the transpose of a factor, or the coordinates taken for independent")
def covariance(case: Sampled) -> None:
    """The covariance that it says is that of its samples: their variance in 100 directions, within 5 standard errors.

    Divergences and the exact starting law are computed from it, whole.
    """
    C = case.moments[1].double()
    flat = _flat(case.x).double()
    ways = torch.randn(len(C), DIRECTIONS, generator=stream(0, "directions"), dtype=torch.float64)
    along, said = (flat - flat.mean(0)) @ ways, ((C @ ways) * ways).sum(0)
    stderr = along.square().std(0) / SAMPLES**0.5
    off = (along.var(0) - said).abs() - 5 * stderr - 25 * said.abs() / SAMPLES
    i = off.argmax()
    way = ", ".join(f"{w:.2f}" for w in ways[:3, i].tolist()) + (", ..." if len(C) > 3 else "")
    require(float(off[i]) <= 1e-12, f"variance {along.var(0)[i]:.5g} along ({way})", f"{said[i]:.5g}")


@check("target-denoiser", "a formula for x where y is meant, or a variance without the noise")
def denoiser(case: Sampled) -> None:
    """Its posterior mean is that of its samples, and that of its density, y + rho^2 grad log p(y).

    The exact model is made of it, and every measured error is a distance to it.
    """
    target = case.target
    if not isinstance(target, Denoises):
        raise NotApplicable("its posterior mean is not known")
    for level in LEVELS:
        x, y, rho = case.noised(level, SAMPLES)
        _orthogonal(x - target.denoise(y, rho), y, level)
        if isinstance(target, Density):
            y = y[:64]
            D = target.denoise(y, rho)
            with torch.enable_grad():
                at = y.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(target.log_prob(at, rho).sum(), at)
            off = float((D - (y + level**2 * gradient)).abs().max())
            require(
                off <= 1e-8 * (1 + float(y.abs().max())),
                f"off by {off:.3g} at rho = {level:g}",
                "the gradient's, to 1e-8",
            )


def _orthogonal(residual: Tensor, y: Tensor, level: float) -> None:
    """The residual of a posterior mean has mean 0, and mean 0 times any function of y."""
    next_y = _flat(y).roll(1, 1).view_as(y)
    for name, weight in (("1", torch.ones_like(y)), ("y", y), ("the next coordinate of y", next_y)):
        product = _flat(residual * weight).sum(1)
        z = float(product.mean() / (product.std() / len(y) ** 0.5).clamp(min=1e-12))
        require(abs(z) < 5, f"E[(x_0 - D) {name}] is {z:.1f} standard errors from 0 at rho = {level:g}", "within 5")


@check("target-density", "a missing normalisation, or one that is not that of the noise level")
def density(case: Sampled) -> None:
    """Its density is that of its noised samples, and integrates to 1.

    Likelihoods and divergences are computed from it. Measured are E[q(y)/p(y)] = 1 for a normal law q far above the
    spread of the data, and E[d log p(y)/d log rho] = 0 at each level.
    """
    if not isinstance(case.target, Density):
        raise NotApplicable("its density is not known")
    for level in LEVELS:
        _, y, rho = case.noised(level, SAMPLES)
        up, down = (case.target.log_prob(y, rho * factor).double() for factor in (1 + 1e-4, 1 - 1e-4))
        rate = (up - down) / 2e-4
        mean, stderr = float(rate.mean()), float(rate.std()) / SAMPLES**0.5
        require(
            abs(mean) <= 5 * stderr + 1e-6, f"E[d log p/d log rho] = {mean:.4g} ± {stderr:.2g} at rho = {level:g}", "0"
        )
    # Far above the spread of the data the law is nearly normal, and a little narrower one is never far off it.
    centre, d = case.x.double().mean(0), case.x[0].numel()
    level = 10 * max(float(_flat(case.x.double() - centre).square().sum(1).mean().sqrt()), 0.1)
    _, y, rho = case.noised(level, SAMPLES)
    scale = level * (1 - 1 / (1 + d**0.5)) ** 0.5
    log_q = _flat(torch.distributions.Normal(centre, scale).log_prob(y)).sum(1)  # type: ignore[no-untyped-call]
    ratio = (log_q - case.target.log_prob(y, rho).double()).exp()
    value, bound = float(ratio.mean()), 5 * float(ratio.std()) / SAMPLES**0.5 + 1e-3
    require(abs(value - 1) < bound, f"E[q(y)/p(y)] = {value:.4g} at rho = {level:.4g}", f"1 within {bound:.2g}")


@check("target-log-sobolev", "the constant of the convention with half the Fisher information, or a variance left out")
def log_sobolev(case: Sampled) -> None:
    """A constant of the log-Sobolev inequality is no smaller than the largest variance, at any noise level.

    The inequality implies Poincare's, Var <= C in every direction; a smaller constant makes a bound that is none.
    """
    if not isinstance(case.target, LogSobolev):
        raise NotApplicable("it knows no constant of the log-Sobolev inequality")
    largest = float(torch.linalg.eigvalsh(case.moments[1]).max())
    for level in LEVELS:
        C, least = case.target.log_sobolev(level), largest + level**2
        fine = not math.isnan(C) and least * (1 - 1e-9) <= C
        require(fine, f"C = {C:.6g} at rho = {level:g}", f"{least:.6g} or more")


@check("target-data", "the data before they were scaled or split")
def data(case: Sampled) -> Figure:
    """A target of finitely many data draws its samples from them.

    Memorisation is measured as the distance to them.
    """
    if not isinstance(case.target, FiniteData):
        raise NotApplicable("its data are not finitely many")
    x = case.target.data()
    require(x.shape[1:] == tuple(case.target.shape), f"shape {tuple(x.shape[1:])}", f"{tuple(case.target.shape)}")
    some = case.target.sample(50, stream(0, "data")).double().flatten(1)
    off = float(torch.cdist(some, x.double().flatten(1)).min(1).values.max())
    return Figure(
        "0", f"the nearest datum of a sample is at most {off:.2g} away", off < 1e-5 * (1 + float(some.abs().max()))
    )


CHECKS = (runs, seed, global_rng, mean, variance, covariance, denoiser, density, log_sobolev, data)


def check_target(target: Target) -> list[Finding]:
    """Check the shape of samples, their randomness, moments, and that density and posterior mean agree.

    Raises:
        NotKept: Something does not hold.
    """
    return kept(examine(CHECKS, [Case("", Sampled(target))]))


def _flat(x: Tensor) -> Tensor:
    return x.reshape(len(x), -1)
