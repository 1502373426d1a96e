"""Starting states with the ends of the exact flow: on them a grid is judged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from samplerhub import process as derived
from samplerhub.capabilities import HasDtype
from samplerhub.errors import Mismatch, NotFinite
from samplerhub.noise import stream
from samplerhub.problem import Problem
from samplerhub.setup import Setup


@dataclass(frozen=True)
class Trials:
    """n starting states x of a run, and the y at which the probability-flow ODE of its model ends."""

    setup: Setup
    x: Tensor
    """(n, *d), float64."""
    end: Tensor
    """(n, D), float64, on the CPU."""
    denoised: bool
    """Whether the sampler replaces its last state by the posterior mean, and `end` is that."""

    @classmethod
    def draw(cls, setup: Setup, n: int, purpose: str) -> Trials:
        """Draw starting states from the prior, and follow the exact flow from them.

        Raises:
            Mismatch: The sampler draws noise, or chooses its own steps.
        """
        x = setup.start(n, stream(setup.seed, purpose))
        denoised = _denoises(setup, x[:4])
        y = x / derived.alpha(setup.process, setup.span[1]).item()
        levels = setup.rho.tolist()
        end = flow(setup.problem(), y, levels[0], levels[-1])
        if denoised:
            with torch.no_grad():
                end = setup.problem().x0(end, levels[-1])
        return cls(setup, x, end.flatten(1).cpu(), denoised)

    def residuals(self, rho: Tensor) -> Tensor:
        """Return how far from the exact ends the sampler ends on nodes rho (N + 1,), shape (n, D)."""
        process, (t_min, t_max) = self.setup.process, self.setup.span
        inner = derived.time_at(process, rho[1:-1])
        times = torch.cat([inner.new_tensor([t_max]), inner, inner.new_tensor([t_min])])
        with torch.no_grad():
            *_, last = self.setup.sampler(self.setup.problem(), self.x, times, stream(self.setup.seed, "learning"))
        y = last.x if self.denoised else last.x / derived.alpha(process, t_min).item()
        return y.flatten(1).cpu() - self.end

    def errors(self, rho: Tensor) -> Tensor:
        """Return the mean square error of each, shape (n,)."""
        return self.residuals(rho).square().mean(1)


def _denoises(setup: Setup, x: Tensor) -> bool:
    """Say whether the run ends with the posterior mean; refuse a sampler through which no grid can be learned."""
    rng = stream(setup.seed, "learning")
    before = rng.get_state()
    with torch.no_grad():
        *_, last = setup.sampler(setup.problem(), x, setup.times, rng)
    name = type(setup.sampler).__name__
    if not torch.equal(before, rng.get_state()):
        raise Mismatch(
            f"{name} draws noise, so that its ends cannot be compared with those of the flow one by one: learn the "
            "grid with a sampler, or settings, without noise (churn 0), and use it with noise"
        )
    if isinstance(last.rho, Tensor):
        raise Mismatch(f"{name} chooses its own steps: there is no grid to learn")
    return last.rho == 0


def flow(problem: Problem, y: Tensor, rho_max: float, rho_min: float) -> Tensor:
    r"""Return the end of the probability-flow ODE from y (n, *d) at rho_max, by Dormand and Prince's method of order 8.

    In l = log rho, and z = y/sqrt(rho^2 + 1) whose scale does not change,

        dz/dl = (y - E[x_0 | y])/sqrt(rho^2 + 1) - z rho^2/(rho^2 + 1).

    Raises:
        NotFinite: The integration failed.
    """
    from scipy.integrate import solve_ivp

    exact = not isinstance(problem.model, HasDtype) or problem.model.dtype is torch.float64
    tolerance = 1e-9 if exact else 1e-5  # below the rounding of a model in single precision steps only get smaller

    def slope(level: float, flat: object) -> object:
        rho = math.exp(level)
        scale = math.sqrt(rho**2 + 1)
        z = torch.as_tensor(flat).view(y.shape).to(y)
        with torch.no_grad():
            dz = rho / scale * problem.eps(scale * z, rho) - (rho / scale) ** 2 * z
        return dz.flatten().cpu().numpy()

    span = (math.log(rho_max), math.log(rho_min))
    z = (y / math.sqrt(rho_max**2 + 1)).flatten().cpu().numpy()
    path = solve_ivp(slope, span, z, method="DOP853", rtol=tolerance, atol=tolerance, t_eval=span[1:])
    if not path.success:
        raise NotFinite(f"the flow of the model could not be followed: {path.message}")
    return torch.from_numpy(path.y[:, -1]).view(y.shape).to(y) * math.sqrt(rho_min**2 + 1)
