"""Whether a run of some rows stays finite, and which part is to blame where it does not."""

from __future__ import annotations

import torch

from samplerhub import process as derived
from samplerhub.errors import Mismatch
from samplerhub.noise import stream
from samplerhub.setup import Setup

ROWS = 16
"""Rows of the run."""


def check_finite(setup: Setup) -> None:
    """Raise `Mismatch` if the states of a run of some rows become NaN or infinite."""
    problem, alpha = setup.problem(), derived.alpha(setup.process, setup.times).tolist()
    t, rho = setup.times.tolist(), setup.rho.tolist()
    x = setup.start(ROWS, stream(setup.seed, "exact law"))
    with torch.no_grad():
        for i, step in enumerate(setup.sampler(problem, x, setup.times, stream(setup.seed, "exact law", 1))):
            if not bool(step.x.isfinite().all()):
                at = min(i, len(t) - 1)
                if not bool(problem.x0(x / alpha[at], rho[at]).isfinite().all()):
                    raise Mismatch(
                        f"the model {type(setup.model).__name__} returned NaN or infinity at t = {t[at]:g} "
                        f"(rho = {rho[at]:g}); choose another model, or a grid within its noise levels"
                    )
                raise Mismatch(
                    f"the state of a run of {type(setup.sampler).__name__} became NaN or infinite in step {i + 1}: "
                    "its steps are too long, or the model is not finite inside the step; choose more steps"
                )
            x = step.x
