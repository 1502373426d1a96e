r"""Everything that follows from alpha and sigma: noise level, log-SNR, drift, diffusion, and the time of a noise level.

A forward process x_t = alpha_t x_0 + sigma_t eps solves dx = f(t) x dt + g(t) dW with

    rho = sigma/alpha,    log-SNR = -2 log rho,    f = d log(alpha)/dt,    g^2 = alpha^2 d(rho^2)/dt.

All functions take a number or a tensor of times and return float64.

References:
    Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364, appendix B
"""

from __future__ import annotations

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
    return _derivative(lambda t: process.alpha(t).log(), t)


def diffusion2(process: ForwardProcess, t: Times) -> Tensor:
    """Squared diffusion coefficient g(t)^2 = alpha^2 d(rho^2)/dt."""
    t = torch.as_tensor(t, dtype=torch.float64)
    return process.alpha(t) ** 2 * _derivative(lambda t: rho(process, t) ** 2, t)


def time_at(process: ForwardProcess, level: Times) -> Tensor:
    """Return the time at which rho has the given value, to the last digits of float64.

    Chandrupatla's bracketing method (1997) on log rho, for all levels at once.

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
    # log rho is nearly straight in log t for most processes: fewer iterations, and small times keep their digits.
    to, back = (torch.log, torch.exp) if t_min > 0 else (torch.clone, torch.clone)
    ends = to(torch.tensor([t_min, t_max], dtype=torch.float64))
    root = _bracketed_root(lambda u: rho(process, back(u)).log() - goal, *(end.expand(goal.shape) for end in ends))
    return back(root).clamp(t_min, t_max)


def _derivative(f, t: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    with torch.enable_grad():
        t = t.detach().requires_grad_()
        value = f(t)
        if not value.requires_grad:
            return torch.zeros_like(t)
        (slope,) = torch.autograd.grad(value.sum(), t)
    return slope


def _bracketed_root(f, a: Tensor, b: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    """Root of an increasing f between a and b, elementwise."""
    fa, fb = f(a), f(b)
    # The ends of the span are asked for most often and must come back exactly.
    root, value = torch.where(fb.abs() < fa.abs(), b, a), torch.minimum(fa.abs(), fb.abs())
    share = torch.full_like(a, 0.5)
    for _ in range(100):
        width = b - a
        done = (value == 0) | (width.abs() <= 4e-16 * root.abs())
        if bool(done.all()):
            break
        t = a + share * width
        ft = f(t)
        better = ~done & (ft.abs() < value)
        root, value = torch.where(better, t, root), torch.where(better, ft.abs(), value)

        # c is the end that drops out; [a, b] stays a bracket with a the newest point.
        same = ft.sign() == fa.sign()
        c, fc = torch.where(same, a, b), torch.where(same, fa, fb)
        b, fb = torch.where(same, b, a), torch.where(same, fb, fa)
        a, fa = t, ft

        # Inverse quadratic interpolation where Chandrupatla's criterion trusts it, else bisection.
        xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
        trusted = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
        step = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        margin = (4e-16 * a.abs() / (b - a).abs()).clamp(max=0.5)
        share = torch.where(trusted & step.isfinite(), step, 0.5).clamp(margin, 1 - margin)
    return root
