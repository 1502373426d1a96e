r"""The law of the reverse process on the line without noise, gamma = 0: the prior carried along characteristics.

States follow dy/dv = -s(y, v)/2, s the model's score, from y_0 at v_0. That map y(y_0, v) pushes the prior p_0 forward:

    p~(y(y_0, v)) = p_0(y_0)/J,    J = dy/dy_0,    d log J/dv = -1/2 ds/dy,

so that expectations over p~ are integrals over y_0 with weight p_0, and those over p with weight p(y) J. The fourth
order of Runge and Kutta in log v; ds/dy by automatic differentiation, integrals by the trapezoidal rule in y_0.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from samplerhub.errors import NotFinite
from samplerhub_metrics.initial_divergence import line, prior_log_prob, target_log_prob
from samplerhub_metrics.reverse_process import ReverseProcess

Array = NDArray[np.float64]
Velocity = Callable[[Array, float], Array]


def along_characteristics(process: ReverseProcess, points: int, steps: int) -> Array:
    """Return H(p~ | p), H(p | p~), E_p~ |eps|^2, E_p |eps|^2, E_p~[eps . grad log(p~/p)], (5, K + 1).

    And how much of the mass of p the integral over the states lacks, or has too much, (1, K + 1) below them.

    Args:
        process: A process without noise.
        points: Number of starting points.
        steps: Steps in each interval of the process.

    Raises:
        NotFinite: The states are not.
    """
    setup, problem = process.setup, process.setup.problem(gradients=True)
    first, last = line(setup)[[0, -1], 0].tolist()
    y_0 = np.linspace(first, last, points)
    log_p_0 = prior_log_prob(setup, torch.from_numpy(y_0)[:, None]).numpy()

    def velocity(state: Array, log_v: float) -> Array:
        """Return the derivatives of y and log J, (2, points), by log v."""
        v = float(np.exp(log_v))
        with torch.enable_grad():
            y = torch.from_numpy(state[0])[:, None].to(setup.device).requires_grad_()
            score = problem.score(y, float(np.sqrt(v)))
            (slope,) = torch.autograd.grad(score.sum(), y)
        return -v / 2 * torch.cat([score.detach(), slope], 1).T.double().cpu().numpy()

    state, figures = np.stack([y_0, np.zeros(points)]), []
    for k, v in enumerate(process.v.tolist()):
        if k > 0:
            times = np.linspace(np.log(process.v[k - 1]), np.log(v), steps + 1)
            for t, s in itertools.pairwise(times.tolist()):
                state = _runge_kutta(velocity, state, t, s)
        figures.append(_figures(process, y_0, log_p_0, state, v))
    return np.array(figures).T


def _runge_kutta(velocity: Velocity, y: Array, t: float, s: float) -> Array:
    """Return y after a step of the classical method from t to s."""
    h, middle = s - t, (t + s) / 2
    a = velocity(y, t)
    b = velocity(y + h / 2 * a, middle)
    c = velocity(y + h / 2 * b, middle)
    d = velocity(y + h * c, s)
    return y + h / 6 * (a + 2 * b + 2 * c + d)


def _figures(process: ReverseProcess, y_0: Array, log_p_0: Array, state: Array, v: float) -> tuple[float, ...]:
    """Return the figures at v from y and log J of the starting points by then."""
    setup, rho = process.setup, float(np.sqrt(v))
    if not np.isfinite(state).all():
        raise NotFinite(
            f"the states have no finite value at rho = {rho:g}: the model's score is not finite, or too large"
        )
    y, log_J = torch.from_numpy(state[0])[:, None], state[1]
    log_p = target_log_prob(setup, y, rho).numpy()
    ratio = log_p_0 - log_J - log_p
    generated, target = np.exp(log_p_0), np.exp(log_p + log_J)

    def integral(values: Array) -> float:
        return float(np.trapezoid(values, y_0))

    lost = abs(1 - integral(target))
    kl, kl_reverse = integral(generated * ratio), -integral(target * ratio)
    if process.error is None:
        return kl, kl_reverse, 0.0, 0.0, 0.0, lost
    eps = process.error(y.to(setup.device), rho)[:, 0].cpu().numpy()
    slope = np.gradient(ratio, y_0, edge_order=2) * np.exp(-log_J)
    error, error_reverse = integral(generated * eps**2), integral(target * eps**2)
    return kl, kl_reverse, error, error_reverse, integral(generated * eps * slope), lost
