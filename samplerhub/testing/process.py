"""What holds for every forward process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

import samplerhub.process as derived
from samplerhub.protocols import ForwardProcess
from samplerhub.testing.check import Case, Finding, alone, check, examine, kept, require


@dataclass(frozen=True)
class Processed:
    """A process, and times all over its span."""

    process: ForwardProcess

    @cached_property
    def t(self) -> Tensor:
        """Uniform times, and geometric ones where the span allows it."""
        t_min, t_max = self.process.span
        t = torch.linspace(t_min, t_max, 2001, dtype=torch.float64)
        if t_min > 0:
            small = torch.logspace(0, 1, 500, base=t_max / t_min, dtype=torch.float64) * t_min
            t = torch.sort(torch.cat([t, small]).clamp(t_min, t_max)).values
            t = t[torch.cat([torch.ones(1, dtype=torch.bool), t.diff() > 0])]
        return t

    @cached_property
    def inner(self) -> tuple[Tensor, Tensor]:
        """Times inside the span, and steps for central differences that stay in it."""
        t_min, t_max = self.process.span
        h = 1e-5 * (self.t.abs() if t_min > 0 else torch.full_like(self.t, t_max - t_min))
        inside = (self.t - h > t_min) & (self.t + h < t_max)
        return self.t[inside], h[inside]

    def differences(self, f: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Return the differences of f to the left and to the right; their mean is the central one."""
        t, h = self.inner
        return (f(t) - f(t - h)) / h, (f(t + h) - f(t)) / h


@check("process-span", "the ends swapped, or given in steps instead of the process's own time", gate=True)
def span(case: Processed) -> None:
    """The span is (t_min, t_max), finite, t_min below t_max.

    Every grid begins and ends there.
    """
    t_min, t_max = map(float, case.process.span)
    ends = torch.tensor([t_min, t_max])
    require(t_min < t_max and bool(ends.isfinite().all()), f"span = {case.process.span}")


@check("process-shape", "a constant returned as a number, or a table in float32", gate=True)
def shape(case: Processed) -> None:
    """alpha and sigma take times of any shape and return as many numbers, in float64.

    Noise levels are computed once, in double precision, and rho = sigma/alpha loses digits that are not there.
    """
    for t in (case.t[3], case.t[:5], case.t[:6].view(2, 3)):
        for name, value in (("alpha", case.process.alpha(t)), ("sigma", case.process.sigma(t))):
            require(
                isinstance(value, Tensor) and value.shape == t.shape and value.dtype == torch.float64,
                f"{name} of times {tuple(t.shape)} is {_said(value)}",
                f"shape {tuple(t.shape)}, float64",
            )


@check("process-positive", "alpha or sigma is 0 at an end of the span: shorten the span", gate=True)
def positive(case: Processed) -> None:
    """alpha and sigma are positive on the whole span.

    Models and samplers work with y = x/alpha at the noise level rho = sigma/alpha, and with log rho.
    """
    for name, f in (("alpha", derived.alpha), ("sigma", derived.sigma)):
        value = f(case.process, case.t)
        least = value.argmin()
        require(bool((value > 0).all()), f"{name} is {value[least].item():g} at t = {case.t[least].item():g}")


@check("process-rho", "time runs from noise to data: this library's runs from data to noise", gate=True)
def rises(case: Processed) -> None:
    """The noise level rho = sigma/alpha rises strictly.

    Samplers work in rho, and find the time that belongs to it; where it falls or stands still there is none, or two.
    """
    rho = derived.rho(case.process, case.t)
    least = rho.diff().argmin()
    require(
        bool((rho.diff() > 0).all()),
        f"rho goes from {rho[least].item():.6g} at t = {case.t[least].item():g} "
        f"to {rho[least + 1].item():.6g} at t = {case.t[least + 1].item():g}",
    )


@check("process-inverse", "rho is so flat somewhere that float64 cannot tell its times apart")
def inverse(case: Processed) -> None:
    """The time that is found from rho(t) is t, to 1e-9.

    Grids in rho are turned into times and back; what is lost there shows as an error of the last step.
    """
    t_min, t_max = case.process.span
    found = derived.time_at(case.process, derived.rho(case.process, case.t))
    error = ((found - case.t) / case.t.abs().clamp(min=1e-3 * (t_max - t_min))).abs().max().item()
    require(error < 1e-9, f"off by {error:.2g}", "below 1e-9")


@check("process-drift", "a detach, a round trip through numpy or a table lookup inside alpha")
def drift(case: Processed) -> None:
    """The drift f = d log(alpha)/dt is that of central differences.

    It is derived by automatic differentiation of alpha, which has to be differentiable for that.
    """
    t = case.inner[0]
    _close(derived.drift(case.process, t), *case.differences(lambda t: derived.alpha(case.process, t).log()), 1e-4, t)


@check("process-diffusion", "a detach, a round trip through numpy or a table lookup inside sigma")
def diffusion(case: Processed) -> None:
    """The diffusion g^2 = alpha^2 d(rho^2)/dt is that of central differences, and so is not negative.

    The reverse SDE and the bounds of the KL divergence integrate it.
    """
    t = case.inner[0]
    left, right = case.differences(lambda t: derived.rho(case.process, t) ** 2)
    alpha2 = derived.alpha(case.process, t) ** 2
    _close(derived.diffusion2(case.process, t), alpha2 * left, alpha2 * right, 1e-8, t)


@check("process-pure", "a table that is drawn at random, or a cache that is filled on the first call")
def pure(case: Processed) -> None:
    """The same times give the same alpha and sigma, and the times and the global random numbers are left alone.

    A run that is made again from its manifest calls them again.
    """
    t = case.t.clone()
    first, untouched = alone(lambda: (case.process.alpha(t), case.process.sigma(t)))
    second = case.process.alpha(t), case.process.sigma(t)
    require(all(map(torch.equal, first, second)), "the second call gives other numbers")
    require(torch.equal(t, case.t), "the times that were given are modified")
    require(untouched, "global random numbers are drawn or seeded")


CHECKS = (span, shape, positive, rises, inverse, drift, diffusion, pure)


def check_process(process: ForwardProcess) -> list[Finding]:
    """Check positivity, monotone rho, the inverse, and drift and diffusion against central differences.

    Raises:
        NotKept: Something does not hold.
    """
    return kept(examine(CHECKS, [Case("", Processed(process))]))


def _close(value: Tensor, left: Tensor, right: Tensor, floor: float, t: Tensor) -> None:
    """Hold a derivative against the central difference; at a kink, anything between the two sides is one."""
    expected = (left + right) / 2
    beyond = torch.maximum(torch.minimum(left, right) - value, value - torch.maximum(left, right))
    off = torch.minimum((value - expected).abs(), beyond) - 1e-4 * expected.abs() - floor * float(expected.abs().max())
    worst = off.argmax()
    require(
        bool((off <= 0).all()),
        f"{value[worst].item():.6g} at t = {t[worst].item():g}",
        f"{expected[worst].item():.6g} by differences",
    )


def _said(value: object) -> str:
    return f"{tuple(value.shape)}, {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
