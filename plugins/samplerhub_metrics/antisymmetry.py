"""How far the model's score is from a gradient: the relative antisymmetry of its Jacobian."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from samplerhub import Component, Estimate, Evidence, Need, Point, Setup, normal, stream, time_at
from samplerhub.errors import Mismatch
from samplerhub_metrics.flow_likelihood import mean_and_error
from samplerhub_metrics.jacobian import check_derivatives, jacobian


class Antisymmetry(Component):
    r"""Relative antisymmetry of the Jacobian of the model's score, 0 for a gradient and at most 1.

        RA = E ||(J - J^T)/2||_F / ||J||_F,    J = d score/dy

    A score is the gradient of a log-density, and its Jacobian, the Hessian, is symmetric; where a network's is not, the
    network is the score of no law. The mean is over the noised target, along time: the curve has it at each recorded
    level, or at `levels` of them even in log rho, and the figure is their mean. The Jacobian is exact, one backward
    pass for each dimension. In one dimension RA is always 0.

    References:
        The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378
    """

    samples: int = Field(128, ge=2)
    """Noised samples of the target at which the Jacobian is taken, the same data and noise at every level."""
    levels: int = Field(9, ge=2)
    """Noise levels where no path is recorded, even in log rho from the start of the run to its end."""
    exact_up_to: int = Field(128, ge=1)
    """Largest dimension for which Jacobians are made."""

    @property
    def needs(self) -> frozenset[Need]:
        """The run, and samples of the target."""
        return frozenset({Need.SETUP, Need.REFERENCE})

    def inspect(self, setup: Setup) -> None:
        """Return if there are not too many dimensions, and derivatives.

        Raises:
            Mismatch: There are too many dimensions, or gradients do not flow through the model.
        """
        d = math.prod(setup.shape)
        if d > self.exact_up_to:
            raise Mismatch(
                f"samples have {d} dimensions, and Jacobians are made up to {self.exact_up_to}; raise exact_up_to "
                f"({d} backward passes and {d} x {d} numbers for each sample), or choose another metric"
            )
        check_derivatives(setup)

    def __call__(self, evidence: Evidence) -> Estimate:
        """Return the mean over time with its standard error, and the curve."""
        setup, target = evidence.setup, evidence.setup.target
        assert target is not None
        rng, problem = stream(setup.seed, "data"), setup.problem(gradients=True)
        x_0 = target.sample(self.samples, rng).to(setup.device, torch.float64)
        z = normal(x_0, rng)
        if setup.path:
            t, rho = setup.times[list(setup.path)], setup.rho[list(setup.path)]
        else:
            ends = setup.rho[[0, -1]].log()
            rho = torch.linspace(ends[0], ends[1], self.levels, dtype=torch.float64).exp()
            t = time_at(setup.process, rho)
        RA = torch.stack([antisymmetry(jacobian(lambda y: problem.score(y, r), x_0 + r * z)) for r in rho.tolist()])  # noqa: B023
        curve = tuple(Point(*at, *mean_and_error(values)) for at, values in zip(zip(t.tolist(), rho.tolist()), RA))
        value, stderr = mean_and_error(RA.mean(0))
        details: dict[str, float | str] = {
            "samples": self.samples,
            "levels": len(rho),
            "divisor": "||J||_F, so that RA <= 1",
        }
        return Estimate(value, stderr, curve, quantity="antisymmetry", details=details)


def antisymmetry(J: Tensor) -> Tensor:
    """Return ||(J - J^T)/2||_F / ||J||_F of matrices (n, d, d), shape (n,); 0 for J = 0."""
    skew, full = ((A * A).sum((1, 2)).sqrt() for A in ((J - J.mT) / 2, J))
    return skew / full.clamp(min=torch.finfo(J.dtype).tiny)
