"""Measured orders of convergence: every sampler on every process, on an exact problem.

Deterministic: the slope of the distance to the exact probability flow of three Gaussian bells in the plane, from
rho = 10 (or the process's largest) to 0.05, against the number of steps; 40 to 160 steps for orders 1 and 2, 80 to 320
for higher ones, with a warm start by the grid. Dormand-Prince: the slope against evaluations, tolerances switched off.
With churn: the slope of the error of the output's variance on standard normal data, 80 to 320 steps, no Monte Carlo.

    python tests/benchmarks/orders.py
"""

from __future__ import annotations

from collections.abc import Callable

import torch

import samplerhub as sh
from samplerhub.testing import exact, flow_errors, slope, weak_errors
from samplerhub_processes.edm import EDM
from samplerhub_processes.geometric import VEGeometric
from samplerhub_processes.ve import VE
from samplerhub_processes.vp import VP
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_samplers.euler import Euler
from samplerhub_samplers.euler_maruyama import EulerMaruyama
from samplerhub_samplers.heun import Heun

PROCESSES: dict[str, sh.ForwardProcess] = {"edm": EDM(), "ve": VE(), "ve-geometric": VEGeometric(), "vp": VP()}
FLOW: dict[str, sh.GridSampler] = {
    "ddim": DDIM(),
    "euler": Euler(),
    "euler-maruyama, churn 0": EulerMaruyama(churn=0),
    "heun": Heun(),
} | {
    f"deis {order}, {variable}": DEIS(order=order, variable=variable)  # type: ignore[arg-type]
    for order in (1, 2, 3, 4)
    for variable in ("rho", "log-rho", "t")
}
CHURNED: dict[str, sh.GridSampler] = {
    "ddim": DDIM(churn=1),
    "euler": Euler(churn=1),
    "euler-maruyama": EulerMaruyama(churn=1),
    "heun": Heun(churn=1),
    "deis 2, t, splice": DEIS(order=2, churn=1),
    "deis 2, t, keep": DEIS(order=2, churn=1, churn_history="keep"),
}


def flow_order(sampler: sh.GridSampler, process: sh.ForwardProcess) -> float:
    steps = (80, 160, 320) if sampler.order >= 3 else (40, 80, 160)
    return slope(steps, flow_errors(sampler, process, steps, sampler.order))


def weak_order(sampler: sh.GridSampler, process: sh.ForwardProcess) -> float | str:
    """The order; a word where the law is exact at every number of steps, or where the error passes through 0."""
    steps = (80, 160, 320)
    errors = weak_errors(sampler, process, steps)
    if max(map(abs, errors)) < 1e-12:
        return "exact"
    return slope(steps, errors) if min(errors) > 0 or max(errors) < 0 else "changes sign"


def dormand_prince_order(process: sh.ForwardProcess) -> float:
    low, high = exact.levels(process)
    start, end = exact.flow(high, low)
    times = sh.time_at(process, torch.tensor([high, low], dtype=torch.float64))
    scale = sh.alpha(process, times)
    evaluations, errors = [], []
    for max_step in (0.07, 0.05, 0.035):
        problem = exact.problem(process)
        sampler = DormandPrince(rtol=1e6, atol=1e6, max_step=max_step, first_step=1e-3)
        *_, last = sampler(problem, start * scale[0], times, torch.Generator())
        evaluations.append(problem.nfe)
        errors.append(float((last.x / scale[1] - end).square().mean().sqrt()))
    return slope(evaluations, errors)


def row(name: str, order: int, measured: Callable[[sh.ForwardProcess], float | str]) -> str:
    cells = [value if isinstance(value, str) else f"{value:.2f}" for value in map(measured, PROCESSES.values())]
    return f"| {name} | {order} | " + " | ".join(cells) + " |"


def main() -> None:
    torch.set_num_threads(1)
    head = "| sampler | declared | " + " | ".join(PROCESSES) + " |\n|---|---|" + "---|" * len(PROCESSES)
    print(f"Probability-flow ODE\n\n{head}")
    for name, sampler in FLOW.items():
        print(row(name, sampler.order, lambda process, sampler=sampler: flow_order(sampler, process)))
    print(row("dormand-prince", DormandPrince.order, dormand_prince_order))
    print(f"\nReverse SDE, churn 1: weak order of the variance\n\n{head}")
    for name, sampler in CHURNED.items():
        print(row(name, sampler.order, lambda process, sampler=sampler: weak_order(sampler, process)))


if __name__ == "__main__":
    main()
