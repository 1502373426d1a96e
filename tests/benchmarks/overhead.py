"""Time that a solver adds to the model, per step, against peers, in one run on one thread.

The model costs nothing (it returns its input), so that all the time is the solver's. The time of a step is the
difference between runs of 120 and 20 steps, divided by 100: what is done once per run cancels
unless it grows with the steps. Medians over repeats. Peers that are not installed are left out.

    python tests/benchmarks/overhead.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from importlib import metadata

import torch
from torch import Tensor

import samplerhub as sh
from samplerhub_processes.vp import VP
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.deis import DEIS

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


METHODS: dict[str, Callable[[], Sample]] = {
    "bare arithmetic, order 1": lambda: bare(1),
    "samplerhub ddim": lambda: ours(DDIM()),
    "diffusers DDIMScheduler": lambda: of_diffusers("DDIMScheduler"),
    "azula DDIMSampler": lambda: of_azula("DDIMSampler"),
    "azula EulerSampler": lambda: of_azula("EulerSampler"),
    "bare arithmetic, order 3": lambda: bare(3),
    "samplerhub deis 3 (rho)": lambda: ours(DEIS(variable="rho")),
    "samplerhub deis 3 (t)": lambda: ours(DEIS(variable="t")),
    "diffusers DEISMultistepScheduler 3": lambda: of_diffusers("DEISMultistepScheduler", solver_order=3),
    "azula zABSampler 3": lambda: of_azula("zABSampler", order=3),
}
BASES = {"ddim": "samplerhub ddim", "deis": "samplerhub deis 3 (t)"}


def microseconds_per_step(sample: Sample, x: Tensor, repeats: int) -> float:
    def seconds(steps: int) -> float:
        start = time.perf_counter()
        sample(x, steps)
        return time.perf_counter() - start

    sample(x, FEW)
    return statistics.median((seconds(MANY) - seconds(FEW)) / (MANY - FEW) * 1e6 for _ in range(repeats))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")

    table: dict[str, list[float]] = {}
    for name, make in METHODS.items():
        try:
            sample = make()
        except ImportError:
            continue
        table[name] = [
            microseconds_per_step(
                sample, torch.randn(shape, generator=torch.Generator().manual_seed(0)), arguments.repeats
            )
            for shape in SHAPES
        ]
    if arguments.json:
        print(json.dumps({"shapes": SHAPES, "microseconds": table}))
        return

    versions = [f"torch {torch.__version__}"]
    versions += [f"{d} {metadata.version(d)}" for d in ("diffusers", "azula") if any(d in name for name in table)]
    print(
        f"Microseconds per step beside a free model, one thread, medians of {arguments.repeats}; {', '.join(versions)}."
    )
    print("In brackets: times as long as samplerhub's ddim (order 1) or deis of order 3 in t.\n")
    print("| method | " + " | ".join(map(str, SHAPES)) + " |\n|---|" + "---|" * len(SHAPES))
    base = BASES["ddim"]
    for name, row in table.items():
        base = BASES["deis"] if "order 3" in name else base
        cells = [f"{us:.0f} ({us / ref:.1f})" for us, ref in zip(row, table[base])]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
