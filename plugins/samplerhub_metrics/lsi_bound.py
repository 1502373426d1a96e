"""The bound of the KL divergence by a log-Sobolev inequality (Schaeffer et al., 2025, Theorems 1 and 2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from samplerhub import Component, Estimate, Evidence, LogSobolev, Need, Setup, kebab
from samplerhub.errors import Mismatch
from samplerhub_metrics.bounds import Course
from samplerhub_metrics.continuous_law import can_be_solved, continuous_law
from samplerhub_metrics.initial_divergence import can_start, initial_divergence
from samplerhub_metrics.reverse_process import ReverseProcess
from samplerhub_metrics.trajectories import errors_along_trajectories

Array = NDArray[np.float64]
Form = Literal["auto", "exact", "projected", "squared"]
Delta = Literal["pointwise", "piecewise", "constant"] | Annotated[float, Field(gt=0, le=1)]


class LSIBound(Component):
    r"""Upper bound of H(generated | target) in continuous time, by a log-Sobolev inequality.

    With C(rho) the log-Sobolev constant of the noised target, eps the error of the score, E over the generated law, and
    u = rho^2 from u_0 down to u,

        exact:      exp(-A) H_0,    A = int gamma/C du                                                    (Theorem 1)
        projected:  exp(-A) H_0 + int exp(-A) (1 + gamma)/2 E[eps . grad log(generated/target)] du        (24)
        squared:    the same with (gamma - delta)/C for gamma/C, and (1 + gamma)^2/(8 delta) E|eps|^2     (25)

    with exp(-A) in the integrals from there on. `projected` needs the law of the process, and so a line; it is an
    equality at gamma = 0. `squared` holds for every 0 < delta <= gamma. H_0 is in closed form between Gaussians, by
    quadrature on the line, and by Monte Carlo elsewhere, as is E|eps|^2; the standard error is that of both.

    What is bounded is the process in continuous time. What the sampler's finite steps add, and a last denoising step,
    is not covered: with few steps the divergence of a run may lie above.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
    """

    form: Form = "auto"
    """Which bound; auto: exact where the score is exact, else projected on a line, else squared."""
    delta: Delta = "pointwise"
    """delta/gamma in the squared form: a number, the best constant, the best on pieces, or the best at each time."""
    pieces: int = Field(8, ge=1)
    """Number of pieces, even in log rho, for `delta = "piecewise"`."""
    constant: float | None = Field(None, gt=0)
    """Log-Sobolev constant of the clean data, noised C + rho^2; none: the target knows its own at each level."""
    steps: int = Field(400, ge=10, le=100_000)
    """Intervals, even in log rho, on which the bound is integrated and trajectories are simulated."""
    trajectories: int = Field(1024, ge=2)
    """Number of samples in Monte Carlo estimates, where there are any."""

    @property
    def needs(self) -> frozenset[Need]:
        """The setup of a run, on a target whose density is known."""
        return frozenset({Need.SETUP, Need.DENSITY})

    def inspect(self, setup: Setup) -> None:
        """Return if the bound is defined for the run.

        Raises:
            Mismatch: It is not.
            NotFinite: The law in continuous time, which it needs, is not resolved.
        """
        can_start(setup)
        noised_constant(setup, self.constant)
        process = ReverseProcess.of(setup, self.steps)
        if self._form(process) != "exact" and can_be_solved(setup):
            continuous_law(process)  # kept for the bound itself

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the bound at the end of the run, and along its path.

        Raises:
            Mismatch: It is not defined for the run.
        """
        return self.of(evidence.setup)

    def of(self, setup: Setup) -> Estimate:
        """Return the bound for a run."""
        process = ReverseProcess.of(setup, self.steps)
        form, constant = self._form(process), noised_constant(setup, self.constant)
        course = Course.of(process.v, process.gamma, constant)
        H_0, stderr_0 = initial_divergence(setup, "forward", self.trajectories)
        bound = _Bound(course.exact(H_0), np.zeros(len(process.v)), np.zeros(len(process.gamma)), "Theorem 1")
        if form == "projected":
            P = continuous_law(process).law.projected
            bound = _Bound(course.projected(H_0, P), bound.noise, bound.share, "Theorem 2 (24), projected score error")
        if form == "squared":
            bound = self._squared(process, course, H_0)
        carried = course.carried(bound.share)
        stderr = (
            None if stderr_0 is None and not bound.noise.any() else np.hypot(bound.noise, carried * (stderr_0 or 0))
        )
        details: dict[str, float | str] = {"method": bound.method, "divergence at the start": H_0}
        details |= {"share of it that is left": float(carried[-1])}
        details |= {"from the score error": float(bound.H[-1] - carried[-1] * H_0)}
        if form == "squared":
            details |= {"delta/gamma at the end": float(bound.share[-1])}
        C = [constant(rho) for rho in process.rho[[0, -1]].tolist()]
        details |= {"log-Sobolev constant at the start": C[0], "log-Sobolev constant at the end": C[1]}
        details |= _vacuous(bound.H, course, C) | COVERS
        return process.estimate(bound.H, stderr, details, bounds="kl")

    def _form(self, process: ReverseProcess) -> Form:
        """Return the form that is meant, if it can be had."""
        exact = process.error is None
        line = can_be_solved(process.setup)
        form = ("exact" if exact else "projected" if line else "squared") if self.form == "auto" else self.form
        if form == "exact" and not exact:
            raise Mismatch("form = 'exact' is for the exact score, and the model's differs from it; set form to auto")
        if form == "projected" and not line:
            raise Mismatch(
                "form = 'projected' needs the law of the process, which is known on the line only, for a target and a "
                "prior with a density; set form to squared"
            )
        if form == "squared" and not exact:
            gamma_is_positive(process)
        return form

    def _squared(self, process: ReverseProcess, course: Course, H_0: float) -> _Bound:
        if can_be_solved(process.setup):
            E = continuous_law(process).law.error[:, None]
        else:
            E = errors_along_trajectories(process, self.trajectories)
        mean, K = E.mean(1), len(course.gamma)
        if self.delta == "constant":
            share = course.constant_share(H_0, mean)
        elif self.delta == "piecewise":
            share = course.piecewise_share(H_0, mean, self.pieces)
        elif self.delta == "pointwise":
            share = course.pointwise_share(H_0, mean)
        else:
            share = np.full(K, self.delta)
        H = course.squared(H_0, E, share)
        what = f"{self.delta:g} gamma" if isinstance(self.delta, float) else f"{self.delta} optimum"
        return _Bound(H.mean(1), standard_error(H), share, f"Theorem 2 (25), squared score error, delta = {what}")


@dataclass(frozen=True)
class _Bound:
    H: Array
    """The bound at the ends of the intervals, (K + 1,)."""
    noise: Array
    """Its standard error from the score error, (K + 1,)."""
    share: Array
    """delta/gamma, 0 in the forms without delta, (K,)."""
    method: str


COVERS: dict[str, float | str] = {
    "covers": "the process in continuous time; not the sampler's steps, nor a last denoising step"
}


def noised_constant(setup: Setup, constant: float | None) -> Callable[[float], float]:
    """Return the log-Sobolev constant as a function of rho.

    Raises:
        Mismatch: Neither the user nor the target gives one.
    """
    if constant is not None:
        return lambda rho: constant + rho**2
    if isinstance(setup.target, LogSobolev):
        return setup.target.log_sobolev
    raise Mismatch(
        f"the target {'' if setup.target is None else kebab(type(setup.target))!r} knows no log-Sobolev constant; "
        f"give the one of the clean data as the metric's constant, or choose another target"
    )


def gamma_is_positive(process: ReverseProcess) -> None:
    """Raise `Mismatch` unless gamma is positive everywhere."""
    if (process.gamma == 0).any():
        where = process.rho[:-1][process.gamma == 0]
        raise Mismatch(
            f"with an error of the score this bound needs gamma > 0 everywhere, and it is 0 at rho = {where[0]:g}; "
            f"set --churn above 0 without a window"
        )


def standard_error(values: Array) -> Array:
    """Return the standard error of the means of rows; 0 where a row has one value, which is exact."""
    n = values.shape[1]
    return np.asarray(values.std(1, ddof=1) / math.sqrt(n)) if n > 1 else np.zeros(len(values))


def _vacuous(H: Array, course: Course, C: list[float]) -> dict[str, float | str]:
    if not math.isfinite(H[-1]):
        return {"vacuous": "the bound is infinite"}
    if course.gamma.any() and course.decay.sum() < 1e-6:
        why = "infinite" if math.isinf(max(C)) else "too large"
        return {"vacuous": f"the log-Sobolev constant is {why}: nothing decays"}
    return {}
