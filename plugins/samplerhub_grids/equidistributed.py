"""Equal discretisation error in every step, from a measured curve."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Denoises, IsGaussian, Problem, Target, normal, rho, stream, time_at
from samplerhub.errors import Mismatch
from samplerhub_grids.spaced import between, equal_steps

FINE = 4096
"""Intervals of log v on which the density of the nodes is summed up."""
SHIFT = 0.1
"""Distance, in noise levels, over which the score is differentiated."""


class Equidistributed(Component):
    r"""Equal discretisation error in every step, from the Fisher information of the target, which is measured.

        int_{v_i+1}^{v_i} sqrt(-J'(v)) dv = the same for all i,    v = rho^2,    J(v) = E |score_v(y)|^2

    Freezing the score during a step costs 1/2 int (J(v) - J(v_i)) dv, about -J' (v_i - v_i+1)^2/4, in Kullback-Leibler
    divergence (the discretisation term of `error-terms`). The sum over N steps is smallest where all of them cost the
    same. Data at a point have J = d/v, and the grid is `exponential`; where the data are spread out J is flat at low
    noise, and few steps go there.

    J falls with the noise, and how fast is a mean square, so that it is measured without differences of J:

        -J'(v) = E |grad^2 log p_v(y)|_F^2 = E |H z|^2,    H z = (d/dy E[x_0 | y] z - z)/v,    z = +-1 at random

    over data drawn once, at `levels` noise levels; in closed form for a Gaussian target. The posterior mean is the
    target's own where it knows it, else the model's. The curve is computed once for a run, from a fixed stream.

    References:
        Evaluating the design space of diffusion-based generative models (Wang et al., 2024), arXiv:2406.12839
        A Concavity Property for the Reciprocal of Fisher Information and Its Consequences on Costa's EPI (Toscani,
            2014), arXiv:1410.2722
        A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian Smoothing Splines (Hutchinson, 1989),
            doi:10.1080/03610918908812806
    """

    levels: int = Field(49, ge=2)
    """Noise levels, equally spaced in log rho, at which -J' is measured; two evaluations each."""
    data: int = Field(512, ge=2)
    """Data of the target over which the mean is taken."""

    def __call__(self, problem: Problem, steps: int) -> Tensor:
        """Return steps + 1 times, strictly decreasing, shape (steps + 1,).

        Raises:
            Mismatch: There is no target.
        """
        shares = equal_steps(0, 1, steps)
        log_v, done = problem.once(
            (type(self), self.model_dump_json(), problem.span), lambda: self._cumulative(problem)
        )
        i = torch.searchsorted(done, shares[1:-1]).clamp(1, len(done) - 1)
        inner = torch.lerp(log_v[i - 1], log_v[i], (shares[1:-1] - done[i - 1]) / (done[i] - done[i - 1]))
        return between(problem, time_at(problem.process, (inner / 2).exp()))

    def _cumulative(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Return log v, falling, and the share of the integral above it, rising from 0 to 1; shapes (FINE + 1,)."""
        if problem.target is None:
            raise Mismatch(
                "the grid 'equidistributed' is measured on the data, and the run has no target; choose a target, or "
                "another grid, such as edm"
            )
        t_min, t_max = problem.span
        first, last = (2 * rho(problem.process, [t_max, t_min]).log()).tolist()
        coarse = equal_steps(first, last, self.levels - 1)
        slopes = steepness(problem, problem.target, coarse.exp(), self.data)
        density = slopes.log() / 2 + coarse  # of nodes in log v, as a logarithm: sqrt(-J') v
        log_v = equal_steps(first, last, FINE)
        place = (torch.arange(FINE + 1, dtype=torch.float64) / FINE * (self.levels - 1)).clamp(max=self.levels - 1)
        i = place.floor().long().clamp(max=self.levels - 2)
        fine = torch.lerp(density[i], density[i + 1], place - i)
        fine = (fine - fine.max()).exp()
        done = torch.cat([fine.new_zeros(1), ((fine[1:] + fine[:-1]) / 2).cumsum(0)])
        return log_v, done / done[-1]


def steepness(problem: Problem, target: Target, v: Tensor, data: int) -> Tensor:
    """Return -J' at v (L,), shape (L,)."""
    if isinstance(target, IsGaussian):
        _, covariance = target.moments()
        slopes: Tensor = (torch.linalg.eigvalsh(covariance)[:, None] + v).pow(-2).sum(0)
        return slopes
    rng = stream(0, "the data of an equidistributed grid")
    x_0 = target.sample(data, rng).to(torch.float64)
    noise = normal(x_0, rng)
    z = normal(x_0, rng).sign()
    found = []
    for v_k in v.tolist():
        level = math.sqrt(v_k)
        y, h = x_0 + level * noise, SHIFT * level
        change = _mean(problem, target, y + h * z, level) - _mean(problem, target, y - h * z, level)
        H = (change / (2 * h) - z) / v_k
        found.append(H.flatten(1).square().sum(1).mean())
    return torch.stack(found)


def _mean(problem: Problem, target: Target, y: Tensor, level: float) -> Tensor:
    """Return E[x_0 | y]."""
    if isinstance(target, Denoises):
        return target.denoise(y, torch.tensor(level).to(y))
    return problem.x0(y, level)
