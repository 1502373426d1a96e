"""The bound of the reverse KL divergence (Schaeffer et al., 2025, Corollary 3.2)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from samplerhub import Component, Estimate, Evidence, Need, Setup
from samplerhub_metrics.bounds import Course
from samplerhub_metrics.continuous_law import can_be_solved, errors_of_data
from samplerhub_metrics.initial_divergence import can_start, initial_divergence
from samplerhub_metrics.lsi_bound import COVERS, gamma_is_positive, standard_error
from samplerhub_metrics.reverse_process import ReverseProcess
from samplerhub_metrics.trajectories import errors_along_data


class LSIBoundReverse(Component):
    r"""Upper bound of H(target | generated) in continuous time, from the start and the score error.

        H_0 + int (1 + gamma)^2/(8 gamma) E|eps|^2 du,    u = rho^2, E over the noised target

    The factor is smallest at gamma = 1, and the same for gamma and 1/gamma. No log-Sobolev inequality enters, and so
    nothing decays: this direction has none. E|eps|^2 is by quadrature on the line and by Monte Carlo elsewhere. With
    the exact score the bound is H_0, for gamma = 0 too, where it is attained.

    What is bounded is the process in continuous time. What the sampler's finite steps add, and a last denoising step,
    is not covered: with few steps the divergence of a run may lie above.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
    """

    steps: int = Field(400, ge=10, le=100_000)
    """Intervals, even in log rho, on which the bound is integrated."""
    samples: int = Field(1024, ge=2)
    """Number of samples in Monte Carlo estimates, where there are any."""

    @property
    def needs(self) -> frozenset[Need]:
        """The setup of a run, on a target whose density is known."""
        return frozenset({Need.SETUP, Need.DENSITY})

    def inspect(self, setup: Setup) -> None:
        """Return if the bound is defined for the run.

        Raises:
            Mismatch: It is not.
        """
        can_start(setup)
        process = ReverseProcess.of(setup, self.steps)
        if process.error is not None:
            gamma_is_positive(process)

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the bound at the end of the run, and along its path.

        Raises:
            Mismatch: It is not defined for the run.
        """
        setup = evidence.setup
        self.inspect(setup)
        process = ReverseProcess.of(setup, self.steps)
        H_0, stderr_0 = initial_divergence(setup, "reverse", self.samples)
        E = errors_of_data(process)[:, None] if can_be_solved(setup) else errors_along_data(process, self.samples)
        K = len(process.gamma)
        # delta = gamma in (25): without decay, and over the target instead of what is generated.
        H = Course(process.v, process.gamma, np.zeros(K)).squared(H_0, E, np.ones(K))
        noise = standard_error(H)
        stderr = None if stderr_0 is None and not noise.any() else np.hypot(noise, stderr_0 or 0)
        value = H.mean(1)
        details: dict[str, float | str] = {"method": "Corollary 3.2", "divergence at the start": H_0}
        details |= {"from the score error": float(value[-1] - H_0)} | COVERS
        return process.estimate(value, stderr, details, bounds="kl-reverse")
