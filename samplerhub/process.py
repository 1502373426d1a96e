r"""Everything that follows from alpha and sigma: noise level, log-SNR, drift, diffusion, and the time of a noise level.

A forward process x_t = alpha_t x_0 + sigma_t eps solves dx = f(t) x dt + g(t) dW with

    rho = sigma/alpha,    log-SNR = -2 log rho,    f = d log(alpha)/dt,    g^2 = alpha^2 d(rho^2)/dt.

All functions take a number or a tensor of times and return float64.

References:
    Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364, app. B
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from samplerhub.errors import InvalidSetting
from samplerhub.protocols import ForwardProcess

Times = float | list[float] | Tensor


def alpha(process: ForwardProcess, t: Times) -> Tensor:
    """Scale of the data, alpha_t."""
    return process.alpha(torch.as_tensor(t, dtype=torch.float64))


def sigma(process: ForwardProcess, t: Times) -> Tensor:
    """Standard deviation of the noise, sigma_t."""
    return process.sigma(torch.as_tensor(t, dtype=torch.float64))


def rho(process: ForwardProcess, t: Times) -> Tensor:
    """Noise level of y = x/alpha, rho_t = sigma_t/alpha_t."""
    t = torch.as_tensor(t, dtype=torch.float64)
    return process.sigma(t) / process.alpha(t)


def log_snr(process: ForwardProcess, t: Times) -> Tensor:
    """Log of the signal-to-noise ratio, log(alpha^2/sigma^2)."""
    return -2 * rho(process, t).log()


def drift(process: ForwardProcess, t: Times) -> Tensor:
    """Coefficient f(t) = d log(alpha)/dt of the forward drift f(t) x."""
    t = torch.as_tensor(t, dtype=torch.float64)
    return _with_derivative(lambda t: process.alpha(t).log(), t)[1]


def diffusion2(process: ForwardProcess, t: Times) -> Tensor:
    """Squared diffusion coefficient g(t)^2 = alpha^2 d(rho^2)/dt."""
    t = torch.as_tensor(t, dtype=torch.float64)
    return process.alpha(t) ** 2 * _with_derivative(lambda t: rho(process, t) ** 2, t)[1]


def time_at(process: ForwardProcess, level: Times) -> Tensor:
    """Return the time at which rho has the given value, to the last digits of float64.

    A table of log rho brackets each root, Newton's method refines it and never leaves the bracket.

    Raises:
        InvalidSetting: A level lies outside the process's span.
    """
    level = torch.as_tensor(level, dtype=torch.float64)
    t_min, t_max = process.span
    rho_min, rho_max = rho(process, [t_min, t_max]).tolist()
    outside = (level < rho_min * (1 - 1e-12)) | (level > rho_max * (1 + 1e-12)) | level.isnan()
    if bool(outside.any()):
        raise InvalidSetting(
            f"noise level {level[outside].flatten()[0].item():g} is outside the process's range: "
            f"rho goes from {rho_min:g} at t = {t_min:g} to {rho_max:g} at t = {t_max:g}"
        )
    goal = level.clamp(rho_min, rho_max).log()
    # log rho is nearly straight in log t for most processes, and small times keep their digits.
    Map = Callable[[Tensor], Tensor]
    maps: tuple[Map, Map] = (torch.log, torch.exp) if t_min > 0 else (torch.clone, torch.clone)
    to, back = maps

    def log_rho(u: Tensor) -> Tensor:
        return rho(process, back(u)).log()

    u_min, u_max = to(torch.tensor([t_min, t_max], dtype=torch.float64)).tolist()
    table = torch.linspace(u_min, u_max, 129, dtype=torch.float64, device=level.device)
    values = log_rho(table)
    cell = torch.searchsorted(values, goal).clamp(1, 128)
    low, high = table[cell - 1], table[cell]
    u = torch.lerp(low, high, (goal - values[cell - 1]) / (values[cell] - values[cell - 1]))
    for _ in range(60):
        value, slope = _with_derivative(log_rho, u)
        excess = value - goal
        low, high = torch.where(excess < 0, u, low), torch.where(excess > 0, u, high)
        newton = u - excess / slope
        u_next = torch.where((newton >= low) & (newton <= high), newton, (low + high) / 2)
        moved = (u_next - u).abs() > 4e-16 * u_next.abs().clamp(min=1)
        u = u_next
        if not bool(moved.any()):
            break
    return back(u).clamp(t_min, t_max)


def _with_derivative(f: Callable[[Tensor], Tensor], t: Tensor) -> tuple[Tensor, Tensor]:
    """Return an elementwise f and its derivative."""
    with torch.enable_grad():
        t = t.detach().requires_grad_()
        value = f(t)
        if not value.requires_grad:  # f is constant
            return value, torch.zeros_like(t)
        (slope,) = torch.autograd.grad(value.sum(), t)
    return value.detach(), slope
