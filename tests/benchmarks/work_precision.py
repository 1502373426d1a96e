"""Error against evaluations: every deterministic sampler here and of azula, diffusers and k-diffusion.

Error: RMS over 256 samples and all dimensions of y = x/alpha to the exact end state of the probability flow from the
same start, at the smallest noise level of the process. Reference: the Runge-Kutta method dop853 in 200 steps, half
of which give the same to 1e-12. Models: exact mixtures in one, two and 64 dimensions, the last fitted to
scikit-learn's digits. Processes: vp and edm. Budgets: 5, 8, 10, 20 and 50 evaluations, counted by the model; a method
takes as many steps as stay within the budget.

Every method of every side runs on the grids in use by the peers, with none preferred: EDM's (k-diffusion's default and
the common one), equal steps of log-SNR (the DPM-Solver family), equal steps of time (azula's and diffusers' default)
and of its square root (DEIS). Ours run on the grids angle and rectified too; with --lend, so do the peers. Where two
peers have the same method (tests/peers shows which), one of them runs. All work in float64 and get the same grid; a
peer that would end with a jump to noise level 0 is not given the jump.

    python tests/benchmarks/work_precision.py [--picture FILE.png] [--json] [--fixed] [--lend] [--held-out] [--adaptive]
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import peers
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import samplerhub as sh
from samplerhub.capabilities import Budgeted
from samplerhub.errors import InvalidSetting
from samplerhub.registry import Registry
from samplerhub.timetable import timetable
from samplerhub_grids.angle import AngleGrid
from samplerhub_grids.edm import EDMGrid
from samplerhub_grids.exponential import Exponential
from samplerhub_grids.rectified import Rectified
from samplerhub_grids.uniform import Uniform
from samplerhub_processes.edm import EDM
from samplerhub_processes.vp import VP
from samplerhub_samplers.angle import Angle
from samplerhub_samplers.dormand_prince import DormandPrince
from samplerhub_samplers.runge_kutta import RK
from samplerhub_targets.mixture import Mixture

BUDGETS = (5, 8, 10, 20, 50)
SAMPLES = 256
PROCESSES: dict[str, sh.ForwardProcess] = {"vp": VP(), "edm": EDM()}
GOAL = 1e-5
Cell = tuple[str, str, int]
"""Target, process, evaluations."""
Row = dict[Cell, float]


class Quadratic:
    """Equal steps of the square root of time, the grid of DEIS."""

    def __call__(self, problem: sh.Problem, steps: int) -> Tensor:
        t_min, t_max = problem.span
        times = torch.linspace(t_max**0.5, t_min**0.5, steps + 1, dtype=torch.float64) ** 2
        times[0], times[-1] = t_max, t_min
        return times


PUBLIC: dict[str, Any] = {
    "edm": EDMGrid(),
    "exponential": Exponential(),
    "uniform": Uniform(),
    "quadratic": Quadratic(),
}
OWN: dict[str, Any] = {
    "angle": AngleGrid(),
    "angle center=1": AngleGrid(center=1),
    "rectified": Rectified(),
    "rectified center=0.5": Rectified(center=0.5),
    "rectified center=1": Rectified(center=1),
}
FIXED = ("angle order=4", "rectified")
"""The one setting to use when in doubt: its name in `ours` and its grid."""

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "angle": [{"order": k} for k in (2, 3, 4, 5)] + [{"order": 3, "corrector": "none"}],
    "ddim": [{}],
    "deis": [{"order": k, "variable": v} for v in ("rho", "log-rho", "t") for k in (3, 4)],
    "dpm-solver": [{"order": k} for k in (2, 3)],
    "dpm-solver-pp": [{"memory": 2}, {"memory": 3}, {"memory": 3, "third": "corrected"}],
    "dpm-solver-pp-single": [{"order": k} for k in (2, 3)],
    "exponential-adams": [
        {"order": k, "form": form, "corrector": "moulton"} for form in ("data", "noise") for k in (3, 4)
    ],
    "rk": [{"tableau": name, "variable": "angle"} for name in ("heun", "bogacki-shampine", "rk4", "dormand-prince")],
    "unipc": [{"memory": k, "form": form} for form in ("data", "noise") for k in (2, 3)],
}
"""Settings of the samplers that have more than one; all others of the registry run as they come."""


# --- problems ---------------------------------------------------------------------------------------------------------


@dataclass
class Exact:
    """The exact model, which counts its evaluations."""

    target: Mixture
    predicts: str = "x0"
    calls: int = 0

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        self.calls += 1
        return self.target.denoise(y, rho.reshape(-1, 1).to(y))


@dataclass
class Case:
    """A problem with its start and its exact end, both y."""

    target: Mixture
    process: sh.ForwardProcess
    start: Tensor
    end: Tensor

    def problem(self) -> sh.Problem:
        model: Any = Exact(self.target)
        return sh.Problem(self.process, model, target=self.target, shape=self.target.shape)

    def error(self, y: Tensor) -> float:
        value = (y - self.end).square().mean().sqrt().item()
        return value if math.isfinite(value) else math.inf


def digits(components: int = 10) -> Mixture:
    """Full covariances, fitted by scikit-learn from a fixed start to the 1,797 digits scaled to [-1, 1]."""
    from sklearn.datasets import load_digits
    from sklearn.mixture import GaussianMixture

    fit = GaussianMixture(components, reg_covar=1e-3, random_state=0, max_iter=200).fit(load_digits().data / 8 - 1)
    covariances = ((S + S.T) / 2 for S in fit.covariances_)
    return Mixture(
        weights=tuple(fit.weights_.tolist()),
        means=tuple(map(tuple, fit.means_.tolist())),
        covariances=tuple(tuple(map(tuple, S.tolist())) for S in covariances),
    )


def targets() -> dict[str, Mixture]:
    lattice = [i / 2 for i in range(-2, 3)]
    return {
        "1-D": Mixture(weights=(0.3, 0.5, 0.2), means=(-1.0, 0.1, 0.9), covariances=(0.01, 0.0225, 0.0064)),
        "2-D": Mixture(
            weights=(1.0,) * 25, means=tuple((a, b) for a in lattice for b in lattice), covariances=(0.0064,) * 25
        ),
        "64-D": digits(),
    }


def held_out() -> dict[str, Mixture]:
    """Mixtures on which no setting was chosen: two wide ones, narrow modes, and eight dimensions."""
    rng = torch.Generator().manual_seed(5)
    narrow = torch.randn(6, 2, generator=rng, dtype=torch.float64)
    eight = 0.6 * torch.randn(12, 8, generator=rng, dtype=torch.float64)
    return {
        "1-D b": Mixture(),
        "2-D wide": Mixture(
            weights=(0.5, 0.3, 0.2), means=((1.0, 0.5), (-1.0, 0.0), (0.2, -1.2)), covariances=(0.3, 0.2, 0.25)
        ),
        "2-D narrow": Mixture(weights=(1.0,) * 6, means=tuple(map(tuple, narrow.tolist())), covariances=(0.0009,) * 6),
        "8-D": Mixture(weights=(1.0,) * 12, means=tuple(map(tuple, eight.tolist())), covariances=(0.02,) * 12),
    }


def cases(targets: Mapping[str, Mixture], samples: int = SAMPLES) -> dict[tuple[str, str], Case]:
    found = {}
    for name, target in targets.items():
        for of, process in PROCESSES.items():
            rng = torch.Generator().manual_seed(1)
            x0 = target.sample(samples, rng)
            rho_max = sh.rho(process, process.span[1]).item()
            start = x0 + rho_max * torch.randn(x0.shape, generator=rng, dtype=torch.float64)
            case = Case(target, process, start, start)
            problem = case.problem()
            case.end = end_of(RK(tableau="dop853", variable="angle"), case, problem, AngleGrid()(problem, 200))
            found[name, of] = case
    return found


def end_of(sampler: sh.Sampler, case: Case, problem: sh.Problem, times: Tensor) -> Tensor:
    """Return the last y; none where the sampler is not deterministic or ends elsewhere."""
    rng = torch.Generator().manual_seed(0)
    before = rng.get_state()
    with torch.no_grad():
        for step in sampler(problem, case.start * sh.alpha(case.process, times[0]).item(), times, rng):
            last = step
    if not torch.equal(before, rng.get_state()):
        raise Unfit("draws noise")
    if isinstance(last.rho, float) and last.rho < sh.rho(case.process, times[-1]).item() * (1 - 1e-9):
        raise Unfit("ends at another noise level")
    return last.x / sh.alpha(case.process, times[-1]).item()


class Unfit(Exception):
    """A sampler that is not compared here."""


# --- fixed steps ------------------------------------------------------------------------------------------------------

Method = Callable[[Case, Any, int], float]
"""The error on a case, with a grid, within a budget."""


def ours() -> dict[str, Method]:
    registry = Registry.discover()
    methods = {}
    for registered in registry.entries("sampler"):
        name = registered.entry.name
        for options in SETTINGS.get(name, [{}]):
            sampler: Any = registry.load("sampler", name)(**options)
            if isinstance(sampler, Budgeted):
                label = " ".join([name, *(f"{key}={value}" for key, value in options.items())])
                methods[label] = _of_ours(sampler)
    return methods


def _of_ours(sampler: Any) -> Method:
    def error(case: Case, grid: Any, budget: int) -> float:
        problem = case.problem()
        try:
            times = timetable(problem, grid, sampler, steps=None, nfe=budget)
        except InvalidSetting:
            return math.inf  # it needs more than that for its first step
        y = end_of(sampler, case, problem, times)
        assert problem.nfe <= budget
        return case.error(y)

    return error


def theirs() -> dict[str, Method]:
    methods = {}
    for name, (make, evaluations) in peers.deterministic().items():
        try:
            methods[name] = _of_peer(make(), evaluations)
        except ImportError:
            continue
    return methods


def _of_peer(solve: peers.Solve, evaluations: int) -> Method:
    def error(case: Case, grid: Any, budget: int) -> float:
        model = Exact(case.target)
        levels = sh.rho(case.process, grid(case.problem(), budget // evaluations))
        with torch.no_grad():
            y = solve(model, case.start, levels)
        assert model.calls <= budget
        return case.error(y)

    return error


def sweep(
    methods: Mapping[str, Method], grids: Mapping[str, Any], cases: Mapping[tuple[str, str], Case]
) -> dict[tuple[str, str], Row]:
    rows = {}
    for name, method in methods.items():
        for of, grid in grids.items():
            try:
                rows[name, of] = {
                    (*key, budget): method(case, grid, budget) for key, case in cases.items() for budget in BUDGETS
                }
            except Unfit:
                break
    return rows


# --- error control ----------------------------------------------------------------------------------------------------


def slope_in_t(case: Case, model: Exact) -> Callable[[Tensor, Tensor], Tensor]:
    """The probability-flow ODE as users write it, dx/dt = f x + g^2/(2 sigma) eps, for t of shape () or (n,)."""
    process = case.process

    def slope(t: Tensor, x: Tensor) -> Tensor:
        alpha, sigma, f, g2 = (
            number.reshape(-1, 1)
            for number in (sh.alpha(process, t), sh.sigma(process, t), sh.drift(process, t), sh.diffusion2(process, t))
        )
        y, rho = x / alpha, sigma / alpha
        return f * x + g2 / (2 * sigma) * (y - model(y, rho)) / rho

    return slope


def of_dormand_prince(case: Case, tolerance: float) -> tuple[float, float]:
    problem = case.problem()
    times = AngleGrid()(problem, 1)
    y = end_of(DormandPrince(rtol=tolerance, atol=tolerance), case, problem, times)
    return case.error(y), problem.nfe


def in_time(solve: Callable[[Any, Tensor, float, float, float], tuple[Tensor, float | None]]) -> Any:
    def run(case: Case, tolerance: float) -> tuple[float, float]:
        t_min, t_max = case.process.span
        model = Exact(case.target)
        start, end = (sh.alpha(case.process, t).item() for t in (t_max, t_min))
        with torch.no_grad():
            x, evaluations = solve(slope_in_t(case, model), case.start * start, t_max, t_min, tolerance)
        return case.error(x / end), model.calls if evaluations is None else evaluations

    return run


def of_torchdiffeq() -> Any:
    from torchdiffeq import odeint

    def solve(slope: Any, x: Tensor, t_max: float, t_min: float, tolerance: float) -> tuple[Tensor, None]:
        times = torch.tensor([t_max, t_min], dtype=torch.float64)
        options = {"step_t": times[1:]}  # it steps over the end otherwise, where the process is not defined
        return odeint(slope, x, times, rtol=tolerance, atol=tolerance, method="dopri5", options=options)[-1], None

    return in_time(solve)


def of_torchode() -> Any:
    import torchode

    def solve(slope: Any, x: Tensor, t_max: float, t_min: float, tolerance: float) -> tuple[Tensor, float]:
        times = torch.tensor([[t_max, t_min]], dtype=torch.float64).expand(len(x), -1)
        term = torchode.ODETerm(slope)
        controller = torchode.IntegralController(atol=tolerance, rtol=tolerance, term=term)
        adjoint = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), controller)
        solution = adjoint.solve(torchode.InitialValueProblem(y0=x, t_eval=times))
        # As many evaluations as each sample needs: six a step, one at the start and one to choose the first step.
        return solution.ys[:, -1], 6 * solution.stats["n_steps"].double().mean().item() + 2

    return in_time(solve)


def of_scipy() -> Any:
    def solve(slope: Any, x: Tensor, t_max: float, t_min: float, tolerance: float) -> tuple[Tensor, None]:
        def flat(t: float, state: np.ndarray) -> np.ndarray:
            return slope(torch.tensor(t), torch.from_numpy(state).view_as(x)).flatten().numpy()

        path = solve_ivp(flat, (t_max, t_min), x.flatten().numpy(), method="RK45", rtol=tolerance, atol=tolerance)
        return torch.from_numpy(path.y[:, -1]).view_as(x), None

    return in_time(solve)


def evaluations_to_goal(run: Callable[[Case, float], tuple[float, float]], case: Case) -> float:
    """Evaluations at the loosest tolerance, on a scale of eighths of powers of ten, that reaches the goal."""
    low, high = 8, 88  # 10^(-k/8): misses the goal, reaches it
    reached = math.nan
    while high - low > 1:
        middle = (low + high) // 2
        try:
            error, evaluations = run(case, 10 ** (-middle / 8))
        except AssertionError:  # torchdiffeq's way to give up, at loose tolerances
            error = math.inf
        if error <= GOAL:
            high, reached = middle, evaluations
        else:
            low = middle
    return reached


def adaptive(cases: Mapping[tuple[str, str], Case]) -> dict[str, dict[tuple[str, str], float]]:
    makers: dict[str, Callable[[], Any]] = {
        "samplerhub dormand-prince": lambda: of_dormand_prince,
        "torchdiffeq dopri5": of_torchdiffeq,
        "torchode dopri5": of_torchode,
        "scipy RK45": of_scipy,
    }
    table = {}
    for name, make in makers.items():
        try:
            run = make()
        except ImportError:
            continue
        table[name] = {key: evaluations_to_goal(run, case) for key, case in cases.items()}
    return table


# --- output -----------------------------------------------------------------------------------------------------------


def mean(values: Any) -> float:
    """Geometric mean."""
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs))


def over(row: Row, process: str | None = None, budget: int | None = None) -> float:
    return mean(v for (_, p, n), v in row.items() if process in (None, p) and budget in (None, n))


def best_cells(rows: Mapping[tuple[str, str], Row]) -> dict[Cell, tuple[float, str]]:
    every = next(iter(rows.values()))
    return {cell: min((row[cell], ", ".join(key)) for key, row in rows.items()) for cell in every}


def single(rows: Mapping[tuple[str, str], Row], process: str | None = None) -> tuple[str, str]:
    """The one setting with the smallest error, in geometric mean."""
    return min(rows, key=lambda key: over(rows[key], process))


def line(name: str, row: Row) -> str:
    cells = [over(row), *(over(row, p) for p in PROCESSES), *(over(row, budget=n) for n in BUDGETS)]
    return f"| {name} | " + " | ".join(f"{v:.3g}" for v in cells) + " |"


def table_of(lines: Iterator[str] | list[str], columns: list[str]) -> str:
    return "\n".join(["| " + " | ".join(columns) + " |", "|---|" + "---|" * (len(columns) - 1), *lines])


def report(our: dict[tuple[str, str], Row], their: dict[tuple[str, str], Row], ranks: int = 5) -> str:
    columns = ["setting", "both", *PROCESSES, *(f"{n} evaluations" for n in BUDGETS)]
    fixed = our[FIXED]
    text = ["RMS error, geometric means over the cells.\n"]
    shown = [line("**" + ", ".join(FIXED) + "**", fixed)]
    for side, rows in (("samplerhub", our), ("", their)):
        keys = sorted(rows, key=lambda key: over(rows[key]))[:ranks]
        keys += [key for key in (single(rows, p) for p in PROCESSES if ranks) if key not in keys]
        shown += [line(", ".join((f"{side} {key[0]}".strip(), key[1])), rows[key]) for key in keys]
    text.append(table_of(shown, columns))
    if not their:
        return "\n".join(text)

    text.append("\nBest single setting of the peers / the fixed setting (larger than 1: ours is better):\n")
    lines = []
    for title, process in (("both", None), *((p, p) for p in PROCESSES)):
        key = single(their, process)
        ratio = over(their[key], process) / over(fixed, process)
        lines.append(f"| {title} | {', '.join(key)} | {ratio:.2f} |")
    text.append(table_of(lines, ["processes", "best single setting of the peers", "ratio"]))

    text.append("\nEach cell: RMS error of the best of all peers, of the best of all ours, of the fixed setting.\n")
    best_their, best_our = best_cells(their), best_cells(our)
    lines = []
    for cell, (e_their, name_their) in best_their.items():
        e_our, name_our = best_our[cell]
        numbers = f"{e_their:.2e} | {name_their} | {e_our:.2e} | {name_our} | {e_their / e_our:.1f} | {fixed[cell]:.2e}"
        lines.append(f"| {cell[0]} | {cell[1]} | {cell[2]} | {numbers} |")
    titles = ["target", "process", "evaluations", "peers", "by", "ours", "by", "peers / ours", "fixed"]
    text.append(table_of(lines, titles))
    ratios = {cell: best_their[cell][0] / best_our[cell][0] for cell in best_their}
    by_budget = ", ".join(f"{over(ratios, budget=n):.1f} at {n}" for n in BUDGETS)
    text.append(
        f"\nBest of all peers / best of all ours: {mean(ratios.values()):.1f} in geometric mean ({by_budget}), "
        f"smallest {min(ratios.values()):.2f}; cells in which ours is at least as good: "
        f"{sum(v >= 1 for v in ratios.values())} of {len(ratios)}."
    )
    return "\n".join(text)


def draw(our: dict[tuple[str, str], Row], their: dict[tuple[str, str], Row], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(target for target, _, _ in our[FIXED]))
    figure, axes = pyplot.subplots(len(PROCESSES), len(names), figsize=(11, 6.4), sharex=True, layout="constrained")
    curves: dict[str, tuple[Mapping[Cell, float], dict[str, Any]]] = {}
    if their:
        key = single(their)
        curves["best of all peers, each point"] = (
            {cell: e for cell, (e, _) in best_cells(their).items()},
            {"color": "0.35", "linestyle": "--", "marker": "s", "markersize": 3},
        )
        curves[f"best peer setting: {', '.join(key)}"] = (their[key], {"color": "C1", "marker": "s", "markersize": 3})
    curves["best of all ours, each point"] = (
        {cell: e for cell, (e, _) in best_cells(our).items()},
        {"color": "C0", "linestyle": "--", "marker": "o", "markersize": 3},
    )
    curves[", ".join(FIXED)] = (our[FIXED], {"color": "C0", "marker": "o", "markersize": 4})
    for i, process in enumerate(PROCESSES):
        for j, name in enumerate(names):
            axis = axes[i, j]
            for row in their.values():
                axis.loglog(BUDGETS, [row[name, process, n] for n in BUDGETS], color="0.88", linewidth=0.5)
            for label, (values, style) in curves.items():
                axis.loglog(BUDGETS, [values[name, process, n] for n in BUDGETS], label=label, **style)
            axis.set_title(f"{name} mixture, {process}", fontsize=9)
            axis.set_ylim(best_cells(our)[name, process, BUDGETS[-1]][0] / 3, 2)
            axis.set_xticks(BUDGETS, map(str, BUDGETS))
            axis.minorticks_off()
        axes[i, 0].set_ylabel("RMS error to the exact end state", fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("model evaluations (thin: every setting of the peers)", fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.savefig(file, dpi=130)


def report_adaptive(table: dict[str, dict[tuple[str, str], float]]) -> str:
    first, *others = table
    keys = list(table[first])
    lines = [f"| {name} | " + " | ".join(f"{table[name][key]:.0f}" for key in keys) + " |" for name in table]
    text = f"Evaluations for each sample to RMS {GOAL:g}, at the loosest tolerance that reaches it.\n\n"
    text += table_of(lines, ["method", *(f"{target}, {process}" for target, process in keys)])
    for name in others:
        ratios = [table[name][key] / table[first][key] for key in keys]
        text += f"\n\n{name} / {first}: {mean(ratios):.1f} in geometric mean, {min(ratios):.1f} at least."
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixed", action="store_true", help="only the one setting to use when in doubt, no peers")
    parser.add_argument("--lend", action="store_true", help="let the peers run on the grids angle and rectified too")
    parser.add_argument("--held-out", action="store_true", help="other targets, on which no setting was chosen")
    parser.add_argument("--adaptive", action="store_true", help="methods with error control instead")
    parser.add_argument("--picture", type=Path, help="draw error against evaluations into this file")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable()
    began = time.perf_counter()
    problems = cases(held_out() if arguments.held_out else targets())

    if arguments.adaptive:
        table = adaptive(problems)
        if arguments.json:
            print(json.dumps({name: {" ".join(key): v for key, v in row.items()} for name, row in table.items()}))
        else:
            print(report_adaptive(table))
        return

    if arguments.fixed:
        our = sweep({FIXED[0]: _of_ours(Angle(order=4))}, {FIXED[1]: OWN[FIXED[1]]}, problems)
        their: dict[tuple[str, str], Row] = {}
    else:
        our = sweep(ours(), PUBLIC | OWN, problems)
        their = sweep(theirs(), PUBLIC | OWN if arguments.lend else PUBLIC, problems)
    if arguments.picture:
        draw(our, their, arguments.picture)
    if arguments.json:
        sides = (("ours", our), ("peers", their))
        print(json.dumps({side: [[*key, *cell, e] for key, row in rows.items() for cell, e in row.items()]
                          for side, rows in sides}))  # fmt: skip
        return
    versions = [f"torch {torch.__version__}"]
    for name in ("azula", "diffusers", "k-diffusion"):
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    print(report(our, their, ranks=0 if arguments.fixed else 5))
    print(
        f"\n{len(our)} settings of ours, {len(their)} of the peers, {time.perf_counter() - began:.0f} seconds; "
        f"{', '.join(versions)}."
    )


if __name__ == "__main__":
    main()
