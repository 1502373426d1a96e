"""Time that a solver adds to the model, per step, against peers, in one run on one thread.

The model costs nothing (it returns its input), so that all the time is the solver's. The time of a step is the
difference between runs of 120 and 20 steps, divided by 100: what is done once per run cancels
unless it grows with the steps. The methods take turns, and of each the fastest run of either length counts, so that
what else the machine does falls on all of them or on none. Peers that are not installed are left out.

    python tests/benchmarks/overhead.py
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from importlib import metadata

import peers
import torch
from torch import Tensor

import samplerhub as sh
from samplerhub_processes.vp import VP
from samplerhub_samplers.angle import Angle
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.dpm_solver_pp import DPMSolverPP
from samplerhub_samplers.unipc import UniPC

SHAPES = ((1, 2), (1024, 2), (64, 3, 32, 32))
FEW, MANY = 20, 120
Sample = Callable[[Tensor, int], object]


class Free:
    """A model that costs nothing."""

    predicts = "eps"

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        return y


def ours(sampler: sh.Sampler) -> Sample:
    process = VP()

    def run(x: Tensor, steps: int) -> Tensor:
        times = torch.linspace(1, 1e-3, steps + 1, dtype=torch.float64)
        with torch.no_grad():
            for step in sampler(sh.Problem(process, Free()), x, times, torch.Generator()):  # type: ignore[arg-type]
                state = step.x
        return state

    return run


def bare(order: int) -> Sample:
    """Only the tensor operations: y = a y + sum w_j e_j."""

    def run(x: Tensor, steps: int) -> Tensor:
        past = [x] * order
        for _ in range(steps):
            y = torch.add(x, past[0], alpha=0.1)
            for e in past[1:]:
                y.add_(e, alpha=0.1)
            x = y * 0.99
        return x

    return run


def of_diffusers(name: str, **options: object) -> Sample:
    import diffusers

    scheduler_class = getattr(diffusers, name)

    def run(x: Tensor, steps: int) -> Tensor:
        scheduler = scheduler_class(num_train_timesteps=1000, **options)
        scheduler.set_timesteps(steps)
        with torch.no_grad():
            for t in scheduler.timesteps:
                x = scheduler.step(x, t, x).prev_sample
        return x

    return run


def of_azula(name: str, **options: object) -> Sample:
    from azula import denoise, noise, sample

    class FreeDenoiser(denoise.Denoiser):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.schedule = noise.VPSchedule()

        def forward(self, x_t: Tensor, t: Tensor, **_: object) -> object:
            return denoise.DiracPosterior(mean=x_t)

    denoiser, sampler_class = FreeDenoiser(), getattr(sample, name)
    return lambda x, steps: sampler_class(denoiser, start=1.0, stop=1e-3, steps=steps, silent=True, **options)(x)


def of_k_diffusion(name: str, **options: object) -> Sample:
    solve = peers.k_diffusion(name, **options)
    return lambda x, steps: solve(lambda y, rho: y, x, torch.linspace(80, 0.002, steps + 1))


METHODS: dict[str, Callable[[], Sample]] = {
    "bare arithmetic, order 1": lambda: bare(1),
    "samplerhub ddim": lambda: ours(DDIM()),
    "diffusers DDIMScheduler": lambda: of_diffusers("DDIMScheduler"),
    "samplerhub dpm-solver-pp 2M": lambda: ours(DPMSolverPP()),
    "samplerhub angle 2": lambda: ours(Angle(order=2)),
    "k-diffusion sample_euler": lambda: of_k_diffusion("sample_euler"),
    "k-diffusion sample_dpmpp_2m": lambda: of_k_diffusion("sample_dpmpp_2m"),
    "diffusers DPMSolverMultistepScheduler 2": lambda: of_diffusers("DPMSolverMultistepScheduler"),
    "azula DDIMSampler": lambda: of_azula("DDIMSampler"),
    "azula EulerSampler": lambda: of_azula("EulerSampler"),
    "bare arithmetic, order 3": lambda: bare(3),
    "samplerhub deis 3 (rho)": lambda: ours(DEIS(variable="rho")),
    "samplerhub deis 3 (t)": lambda: ours(DEIS(variable="t")),
    "samplerhub angle 3": lambda: ours(Angle()),
    "samplerhub unipc 2": lambda: ours(UniPC(memory=2)),
    "k-diffusion sample_lms 3": lambda: of_k_diffusion("sample_lms", order=3),
    "diffusers UniPCMultistepScheduler 2": lambda: of_diffusers("UniPCMultistepScheduler"),
    "diffusers DEISMultistepScheduler 3": lambda: of_diffusers("DEISMultistepScheduler", solver_order=3),
    "azula zABSampler 3": lambda: of_azula("zABSampler", order=3),
}
FIRST, THIRD = "samplerhub ddim", "samplerhub deis 3 (t)"
"""What the others are compared with, above and below the arithmetic of order 3."""


def microseconds_per_step(samples: dict[str, Sample], x: Tensor, repeats: int) -> dict[str, float]:
    fastest = {(name, steps): math.inf for name in samples for steps in (FEW, MANY)}
    for sample in samples.values():
        sample(x, FEW)
    for _ in range(repeats):
        for (name, steps), best in fastest.items():
            start = time.perf_counter()
            samples[name](x, steps)
            fastest[name, steps] = min(best, time.perf_counter() - start)
    return {name: (fastest[name, MANY] - fastest[name, FEW]) / (MANY - FEW) * 1e6 for name in samples}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")

    samples: dict[str, Sample] = {}
    for name, make in METHODS.items():
        try:
            samples[name] = make()
        except ImportError:
            continue
    table: dict[str, list[float]] = {name: [] for name in samples}
    for shape in SHAPES:
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        for name, us in microseconds_per_step(samples, x, arguments.repeats).items():
            table[name].append(us)
    if arguments.json:
        print(json.dumps({"shapes": SHAPES, "microseconds": table}))
        return

    versions = [f"torch {torch.__version__}"]
    for name in ("diffusers", "azula", "k-diffusion"):
        if any(name in method for method in table):
            versions.append(f"{name} {metadata.version(name)}")
    print(
        f"Microseconds per step beside a free model, one thread, the fastest of {arguments.repeats}; "
        f"{', '.join(versions)}."
    )
    print("In brackets: times as long as samplerhub's ddim, and from order 3 on as its deis of order 3 in t.\n")
    print("| method | " + " | ".join(map(str, SHAPES)) + " |\n|---|" + "---|" * len(SHAPES))
    base = FIRST
    for name, row in table.items():
        base = THIRD if "order 3" in name else base
        cells = [f"{us:.0f} ({us / ref:.1f})" for us, ref in zip(row, table[base])]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
