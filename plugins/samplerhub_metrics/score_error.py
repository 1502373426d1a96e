"""How far the model's score is from the exact one, along time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from samplerhub import (
    Component,
    Denoises,
    Estimate,
    Evidence,
    Need,
    Point,
    Setup,
    alpha,
    kebab,
    normal,
    stream,
    time_at,
)
from samplerhub.errors import Mismatch
from samplerhub_metrics.flow_likelihood import mean_and_error

POWER = {"score": -2, "eps": 0, "x0": 2}
"""Power of rho by which the square of each error differs from that of eps."""
UNIT = {"score": ", 1/x^2", "eps": "", "x0": ", x^2"}
"""Unit of that square, x the unit of the data."""


class ScoreError(Component):
    r"""Mean square of the score's error along time, and its integral, the score's part of a path's KL.

        E_S = 1/2 int E |s_model - s|^2 d(rho^2) = int E |eps_model - eps|^2 d log rho,    s = -eps/rho

    over the noise levels of the run. Over the noised target, E_S is what the error of the score adds to the divergence
    H(target | generated) between the paths of the reverse SDE (churn 1). The curve is the mean square itself, of the
    score, of eps or of the posterior mean x0, which differ by powers of rho.

    The mean is over the noised target, one set of data and noise for all levels, and the integral is Simpson's rule in
    log rho; or it is over what the run's sampler generates, at the times of its grid, as in Theorem 2 of the paper
    below, and the integral is the trapezoidal rule in log rho.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
        Maximum Likelihood Training of Score-Based Diffusion Models (Song et al., 2021), arXiv:2101.09258, theorem 1
    """

    of: Literal["score", "eps", "x0"] = "score"
    """Prediction whose mean square error the curve shows; the integral is the same for all."""
    under: Literal["target", "generated"] = "target"
    """Law of the states: the noised target, or what the run's sampler generates."""
    levels: int = Field(65, ge=5)
    """Noise levels of the integral over the noised target, even in log rho: 4 m + 1 of them for Simpson's rule."""

    @model_validator(mode="after")
    def _levels_can_be_halved_twice(self) -> Self:
        if self.levels % 4 != 1:
            raise ValueError(f"levels is {self.levels}; Simpson's rule, with half of it as a check, takes 4 m + 1")
        return self

    @property
    def needs(self) -> frozenset[Need]:
        """The run, and the exact posterior mean."""
        return frozenset({Need.SETUP, Need.DENOISER})

    def least(self, target: object) -> int:
        """Return 2: a standard error."""
        return 2

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the integral and its standard error, and the curve."""
        return self._of_target(evidence.setup) if self.under == "target" else self._of_generated(evidence.setup)

    def _of_target(self, setup: Setup) -> Estimate:
        target, rng = setup.target, stream(setup.seed, "data")
        assert target is not None
        x_0 = target.sample(setup.samples, rng).to(setup.device, torch.float64)
        z = normal(x_0, rng)
        ends = setup.rho[[0, -1]].log()
        rho = torch.linspace(ends[0], ends[1], self.levels, dtype=torch.float64).exp()
        squares = torch.stack([square_error(setup, x_0 + r * z, r) for r in rho.tolist()])
        h = (ends[0] - ends[1]).item() / (self.levels - 1)
        E_S = simpson(squares, h)
        quadrature = (E_S - simpson(squares[::2], 2 * h)).mean().item() / 15
        if setup.path:
            t, rho = setup.times[list(setup.path)], setup.rho[list(setup.path)]
            squares = torch.stack([square_error(setup, x_0 + r * z, r) for r in rho.tolist()])
        else:
            t = time_at(setup.process, rho)
        value, stderr = mean_and_error(E_S)
        details = self._details(setup, "noised samples of the target") | {"quadrature error": abs(quadrature)}
        curve = self._curve(t.tolist(), rho.tolist(), squares)
        return Estimate(value, stderr, curve, quantity="score-error", curve_of=self._curve_of, details=details)

    def _of_generated(self, setup: Setup) -> Estimate:
        path = generated(setup)
        squares = torch.stack([square_error(setup, y, r) for _, r, y in path])
        t, rho = [t for t, _, _ in path], [r for _, r, _ in path]
        E_S = -torch.trapezoid(squares, torch.tensor(rho, dtype=torch.float64, device=squares.device).log(), dim=0)
        value, stderr = mean_and_error(E_S)
        kept = {setup.times[k].item() for k in setup.path} or set(t)
        shown = [i for i, t_i in enumerate(t) if t_i in kept]
        curve = self._curve([t[i] for i in shown], [rho[i] for i in shown], squares[shown])
        details = self._details(setup, "states that the sampler generates") | {"down to rho": rho[-1]}
        return Estimate(value, stderr, curve, quantity="score-error", curve_of=self._curve_of, details=details)

    @property
    def _curve_of(self) -> str:
        return f"E |{self.of}_model - {self.of}|^2{UNIT[self.of]}"

    def _curve(self, t: Sequence[float], rho: Sequence[float], squares: Tensor) -> tuple[Point, ...]:
        """Return the mean square errors from the squares of those of eps, shape (levels, n)."""
        return tuple(Point(*at, *mean_and_error(at[1] ** POWER[self.of] * s)) for at, s in zip(zip(t, rho), squares))

    def _details(self, setup: Setup, states: str) -> dict[str, float | str]:
        return {
            "value": "E_S = 1/2 int E |s_model - s|^2 d(rho^2)",
            "curve": self._curve_of,
            "under": f"{setup.samples} {states}",
        }


def square_error(setup: Setup, y: Tensor, rho: float) -> Tensor:
    """Return |eps_model - eps|^2 at states y (n, *d), shape (n,)."""
    target = setup.target
    assert isinstance(target, Denoises)
    with torch.no_grad():
        D = target.denoise(y, torch.tensor(rho, dtype=y.dtype, device=y.device))
        return ((setup.problem().x0(y, rho) - D) / rho).flatten(1).square().sum(1)


def simpson(values: Tensor, h: float) -> Tensor:
    """Integrate over dimension 0, an odd number of values at distance h."""
    return h / 3 * (values[0] + 4 * values[1::2].sum(0) + 2 * values[2:-1:2].sum(0) + values[-1])


def generated(setup: Setup) -> list[tuple[float, float, Tensor]]:
    """Return (time, noise level, y) of fresh samples of the run, from the start on, without denoised states.

    Raises:
        Mismatch: The sampler chooses its own steps.
    """
    scale = dict(zip(setup.times.tolist(), alpha(setup.process, setup.times).tolist()))
    x, t_max = setup.start(setup.samples, stream(setup.seed, "points")), setup.span[1]
    found = {t_max: (t_max, setup.rho[0].item(), x / scale[t_max])}
    with torch.no_grad():
        for step in setup.sampler(setup.problem(), x, setup.times, stream(setup.seed, "noise of the points")):
            if isinstance(step.t, Tensor) or isinstance(step.rho, Tensor):
                raise Mismatch(
                    f"sampler {kebab(type(setup.sampler))!r} chooses its own steps for each sample, so that there are "
                    f"no common times; choose a sampler of fixed steps, or under 'target'"
                )
            if step.t in scale and step.rho > 0:
                found[step.t] = (step.t, step.rho, step.x / scale[step.t])
    return [found[t] for t in sorted(found, reverse=True)]
