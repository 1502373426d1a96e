"""The squared score error along the reverse process, by Monte Carlo: where no law is known in closed form."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samplerhub import normal, stream
from samplerhub_metrics.reverse_process import ReverseProcess, start_of, target_samples

Array = NDArray[np.float64]


def errors_along_trajectories(process: ReverseProcess, n: int) -> Array:
    r"""Return |eps|^2 at the ends of the intervals for each of n trajectories of the process, (K + 1, n).

    Each interval is one step with the predicted x_0 = D held fixed and all else exact, r = rho_s/rho_t:

        y_s = D + r^(1 + gamma) (y_t - D) + rho_s sqrt(1 - r^(2 gamma)) z
    """
    setup, error = process.setup, process.error
    if error is None:
        return np.zeros((len(process.v), n))
    rng = stream(setup.seed, "trajectories")
    problem, y = setup.problem(), start_of(setup, n, rng)
    rho = process.rho.tolist()
    squares = [_square(error(y, rho[0]))]
    with torch.no_grad():
        for gamma, (rho_t, rho_s) in zip(process.gamma.tolist(), pairwise(rho)):
            r, D = rho_s / rho_t, problem.x0(y, rho_t)
            y = D + r ** (1 + gamma) * (y - D)
            if gamma > 0:
                y = y + rho_s * math.sqrt(1 - r ** (2 * gamma)) * normal(y, rng)
            squares.append(_square(error(y, rho_s)))
    return np.array(squares)


def errors_along_data(process: ReverseProcess, n: int) -> Array:
    """Return |eps|^2 at the ends of the intervals for each of n noised samples of the target, (K + 1, n)."""
    error = process.error
    if error is None:
        return np.zeros((len(process.v), n))
    x_0, rng = target_samples(process.setup, n, "trajectories")
    z = normal(x_0, rng)
    return np.array([_square(error(x_0 + rho * z, rho)) for rho in process.rho.tolist()])


def _square(eps: Tensor) -> Array:
    return np.asarray(eps.flatten(1).square().sum(1).cpu().numpy())
