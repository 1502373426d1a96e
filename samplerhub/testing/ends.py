"""What holds for every grid and every prior: where a run starts and which times it visits."""

from __future__ import annotations

import torch

import samplerhub.process as derived
from samplerhub.problem import Problem
from samplerhub.protocols import ForwardProcess, Grid, Prior
from samplerhub.testing.exact import Bells


class BellsTarget(Bells):
    """The bells as a target."""

    def sample(self, n: int, rng: torch.Generator) -> torch.Tensor:
        """Return n samples."""
        i = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        return self.means[i] + self.variances[i, None].sqrt() * torch.randn(n, 2, generator=rng, dtype=torch.float64)

    def moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean (2,) and covariance (2, 2)."""
        w, mean = self.weights, self.weights @ self.means
        spread = self.means - mean
        return mean, (w * self.variances).sum() * torch.eye(2, dtype=torch.float64) + (w * spread.T) @ spread


def check_grid(grid: Grid, process: ForwardProcess) -> None:
    """Assert that a grid has the right number of times, falls strictly and hits both ends exactly."""
    for span in (process.span, derived.time_at(process, sorted(_inner(process))).tolist()):
        problem = Problem(process, Bells(), target=BellsTarget(), shape=(2,), span=(span[0], span[1]))
        for steps in (1, 2, 3, 10, 100):
            times = grid(problem, steps)
            assert times.dtype == torch.float64
            assert times.shape == (steps + 1,), f"{tuple(times.shape)} times for {steps} steps"
            assert bool((times.diff() < 0).all()), f"times do not fall strictly: {times.tolist()}"
            assert (times[-1].item(), times[0].item()) == tuple(span), f"ends {times[-1]}, {times[0]}, not {span}"


def _inner(process: ForwardProcess) -> list[float]:
    rho_min, rho_max = derived.rho(process, list(process.span)).log().tolist()
    return torch.tensor([rho_min * 0.8 + rho_max * 0.2, rho_min * 0.2 + rho_max * 0.8]).double().exp().tolist()


def check_prior(prior: Prior, process: ForwardProcess) -> None:
    """Assert the shape and scale of the starting state, and that it comes from its generator alone."""
    problem = Problem(process, Bells(), target=BellsTarget(), shape=(2,))
    state = torch.get_rng_state()
    x = prior.sample(problem, 4000, torch.Generator().manual_seed(0))
    assert x.shape == (4000, 2)
    assert torch.equal(x, prior.sample(problem, 4000, torch.Generator().manual_seed(0))), (
        "not a function of its generator"
    )
    assert torch.equal(torch.get_rng_state(), state), "the global random numbers are left alone"
    alpha, sigma = (f(process, problem.span[1]).item() for f in (derived.alpha, derived.sigma))
    true_std = (alpha**2 * (0.25 + 1.0) + sigma**2) ** 0.5
    assert bool((x.std(0) / true_std).sub(1).abs().max() < 0.2), f"std {x.std(0).tolist()}, expected near {true_std:g}"
