"""Samplers of azula, diffusers and k-diffusion behind one signature, for the benchmarks and the tests beside them.

All of them solve the same problem here: the state is y = x/alpha at a noise level, the model is D(y, rho) = E[x_0 | y],
and the grid is given as noise levels rho_0 > rho_1 > ... > rho_N. Each peer's own code takes the steps; an adapter only
puts the state into the peer's scaling and answers the peer's call to its network with D. A peer whose grids end with a
jump to noise level 0 is not given that jump: every method starts and ends where the others do.

Nothing here is imported before it is used, so that a peer that is not installed costs only itself.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor

Denoise = Callable[[Tensor, Tensor], Tensor]
"""D(y, rho), rho of shape ()."""
Solve = Callable[[Denoise, Tensor, Tensor], Tensor]
"""From D, y at the first noise level and the noise levels, shape (N + 1,), to y at the last."""


# --- azula ------------------------------------------------------------------------------------------------------------


def azula(name: str, **options: Any) -> Solve:
    """A sampler of azula, in a variance-exploding schedule whose time is the noise level."""
    from azula import denoise, noise, sample

    class Levels(noise.Schedule):  # type: ignore[misc]
        def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
            return torch.ones_like(t), t

        def alpha(self, t: Tensor) -> Tensor:
            return torch.ones_like(t)

        def sigma(self, t: Tensor) -> Tensor:
            return t

    class Model(denoise.Denoiser):  # type: ignore[misc]
        def __init__(self, model: Denoise) -> None:
            super().__init__()
            self.schedule, self.model = Levels(), model

        def forward(self, x_t: Tensor, t: Tensor, **_: object) -> Any:
            return denoise.DiracPosterior(mean=self.model(x_t, t))

    def solve(model: Denoise, y: Tensor, levels: Tensor) -> Tensor:
        class Given(getattr(sample, name)):  # type: ignore[misc]
            timesteps = levels

        return Given(Model(model), silent=True, **options)(y)

    return solve


# --- diffusers --------------------------------------------------------------------------------------------------------


def diffusers(name: str, **options: Any) -> Solve:
    """A scheduler of diffusers that keeps its noise levels in `sigmas`, which are put there in float64."""
    import diffusers as package

    scheduler_class = getattr(package, name)
    fixed = {"final_sigmas_type": "sigma_min"} if "final_sigmas_type" in _arguments(scheduler_class) else {}

    def solve(model: Denoise, y: Tensor, levels: Tensor) -> Tensor:
        scheduler = scheduler_class(num_train_timesteps=1000, **fixed, **options)
        steps = len(levels) - 1
        scheduler.set_timesteps(steps)
        stretched = len(scheduler.timesteps) > steps  # two entries for a step of two evaluations
        each = levels.repeat_interleave(2)[1:-1] if stretched else levels
        scheduler.sigmas = each.clone()
        # Names of the steps; two entries of one noise level share theirs.
        names = torch.arange(1000, 1000 - len(levels), -1)
        scheduler.timesteps = names.repeat_interleave(2)[1:-1] if stretched else names[:-1]
        scaled = hasattr(scheduler, "_sigma_to_alpha_sigma_t")  # the state is x = y/sqrt(1 + rho^2)
        x = y / (1 + levels[0] ** 2).sqrt() if scaled else y
        for t, rho in zip(scheduler.timesteps, each):
            y = x * (1 + rho**2).sqrt() if scaled else x
            eps = (y - model(y, rho)) / rho
            x = scheduler.step(eps, t, x).prev_sample
        return x * (1 + levels[-1] ** 2).sqrt() if scaled else x

    return solve


def _arguments(scheduler_class: Any) -> Iterable[str]:
    return scheduler_class.__init__.__wrapped__.__code__.co_varnames  # type: ignore[no-any-return]


def diffusers_ddim(model: Denoise, y: Tensor, levels: Tensor) -> Tensor:
    """The DDIM scheduler of diffusers, which has alpha^2 in a table by integer time: the table is given."""
    import diffusers as package

    steps = len(levels) - 1
    scheduler = package.DDIMScheduler(num_train_timesteps=steps + 1, clip_sample=False, set_alpha_to_one=False)
    scheduler.alphas_cumprod = 1 / (1 + levels.flip(0) ** 2)
    scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    scheduler.num_inference_steps = steps + 1
    x = y / (1 + levels[0] ** 2).sqrt()
    for i, rho in enumerate(levels[:-1]):
        y = x * (1 + rho**2).sqrt()
        x = scheduler.step((y - model(y, rho)) / rho, steps - i, x).prev_sample
    return x * (1 + levels[-1] ** 2).sqrt()


# --- k-diffusion ------------------------------------------------------------------------------------------------------


@cache
def k_diffusion_sampling() -> Any:
    """The module `k_diffusion.sampling`, without the packages for training that `import k_diffusion` asks for."""
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'k_diffusion'", name="k_diffusion")
    parent = types.ModuleType("k_diffusion")
    parent.__path__ = list(spec.submodule_search_locations)
    utils = types.ModuleType("k_diffusion.utils")
    utils.append_dims = lambda x, ndim: x[(...,) + (None,) * (ndim - x.ndim)]  # type: ignore[attr-defined]
    parent.utils = utils  # type: ignore[attr-defined]
    kept = {name: sys.modules.get(name) for name in ("k_diffusion", "k_diffusion.utils")}
    sys.modules.update({"k_diffusion": parent, "k_diffusion.utils": utils})
    try:
        return importlib.import_module("k_diffusion.sampling")
    finally:
        for name, module in kept.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def k_diffusion(name: str, **options: Any) -> Solve:
    """A sampler of k-diffusion; eta = 0 where it has one."""
    function = getattr(k_diffusion_sampling(), name)
    if "eta" in function.__code__.co_varnames or name.endswith("_sde"):
        options = {"eta": 0.0, "noise_sampler": lambda a, b: 0.0, **options}

    def solve(model: Denoise, y: Tensor, levels: Tensor) -> Tensor:
        return function(lambda y, rho: model(y, rho[0]), y, levels, disable=True, **options)  # type: ignore[no-any-return]

    return solve


def k_diffusion_fast(model: Denoise, y: Tensor, levels: Tensor) -> Tensor:
    """DPM-Solver-fast of k-diffusion: as many evaluations as the grid has steps, on levels of its own."""
    function = k_diffusion_sampling().sample_dpm_fast
    low, high = levels[-1].item(), levels[0].item()
    return function(  # type: ignore[no-any-return]
        lambda y, rho: model(y, rho[0]), y, low, high, len(levels) - 1, disable=True, noise_sampler=lambda a, b: 0.0
    )


# --- all that are deterministic ---------------------------------------------------------------------------------------


def deterministic() -> dict[str, tuple[Callable[[], Solve], int]]:
    """Every deterministic method with its sensible settings: how to make it, and its evaluations for a step.

    Where several have the same method, one of them is listed (in brackets: who else has it).
    """
    methods: dict[str, tuple[Callable[[], Solve], int]] = {
        "azula DDIM": (lambda: azula("DDIMSampler"), 1),  # azula Euler, diffusers DDIM, k-diffusion euler
        "azula Heun": (lambda: azula("HeunSampler"), 2),  # k-diffusion heun
        "k-diffusion dpm_2": (lambda: k_diffusion("sample_dpm_2"), 2),
        "k-diffusion dpm_fast": (lambda: k_diffusion_fast, 1),
        "k-diffusion dpmpp_2s": (lambda: k_diffusion("sample_dpmpp_2s_ancestral"), 2),
        "k-diffusion dpmpp_2m": (lambda: k_diffusion("sample_dpmpp_2m"), 1),  # diffusers dpmsolver++ 2M
        "k-diffusion dpmpp_2m_sde heun": (lambda: k_diffusion("sample_dpmpp_2m_sde", solver_type="heun"), 1),
        "k-diffusion dpmpp_3m_sde": (lambda: k_diffusion("sample_dpmpp_3m_sde"), 1),  # diffusers dpmsolver++ 3M
    }
    for order in (2, 3, 4):  # zAB: k-diffusion lms; zEAB: diffusers DEIS
        for name in ("zAB", "vAB", "zEAB", "xEAB", "REAB"):
            methods[f"azula {name}{order}"] = (lambda n=name, o=order: azula(f"{n}Sampler", order=o), 1)
    for order in (2, 3):
        methods[f"diffusers dpmsolver {order}M"] = (lambda o=order: diffusers_dpm("Multistep", o, "dpmsolver"), 1)
        for kind in ("dpmsolver", "dpmsolver++"):
            methods[f"diffusers {kind} {order}S"] = (lambda o=order, k=kind: diffusers_dpm("Singlestep", o, k), 1)
    for order in (1, 2, 3):
        for solver in ("bh1", "bh2"):
            for form in ("data", "noise"):
                methods[f"diffusers UniPC{order} {solver} {form}"] = (
                    lambda o=order, s=solver, f=form: diffusers(
                        "UniPCMultistepScheduler", solver_order=o, solver_type=s, predict_x0=f == "data"
                    ),
                    1,
                )
    return methods


def diffusers_dpm(steps: str, order: int, algorithm: str) -> Solve:
    """DPM-Solver or DPM-Solver++ of diffusers, multistep or single step."""
    return diffusers(f"DPMSolver{steps}Scheduler", solver_order=order, algorithm_type=algorithm)
