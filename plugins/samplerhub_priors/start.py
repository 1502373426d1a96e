"""What priors that are fitted to data start from: the data, and the scales of the state at the start."""

from __future__ import annotations

import torch
from torch import Tensor

from samplerhub import Problem, alpha, rho, stream
from samplerhub.errors import Mismatch


def scales(problem: Problem) -> tuple[float, float]:
    """Return alpha and rho at the time at which sampling starts."""
    t = problem.span[1]
    return alpha(problem.process, t).item(), rho(problem.process, t).item()


def clean_data(problem: Problem, prior: str, samples: int, seed: int) -> Tensor:
    """Return samples of the target, flattened, shape (samples, D), float64, from a stream of their own.

    Raises:
        Mismatch: The problem has no target.
    """
    if problem.target is None:
        raise Mismatch(
            f"the prior {prior!r} is fitted to samples of the target, and there is none; choose a target, or "
            "--prior gaussian"
        )
    return problem.target.sample(samples, stream(seed, f"{prior} data")).to(torch.float64).flatten(1)
