"""What a grid that is learned through the sampler gains, on the problems of work_precision.py.

Error: RMS over 1,024 samples and all dimensions of y = x/alpha to the exact end state of the probability flow from the
same start. The grids are learned by `samplerhub.learn_grid` from EDM's grid, on its own starting states; the samples
here are others. Beside it stand EDM's grid, the best of the other fixed grids in each cell, and what that one setting
gains which is best over all cells.

    python tests/benchmarks/learned_grid.py [--held-out] [--samplers angle,deis,...] [--targets 1-D,2-D,...] [--json]
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import torch
from torch import Tensor
from work_precision import OWN, PROCESSES, PUBLIC, Case, cases, held_out, mean, table_of, targets

import samplerhub as sh
from samplerhub_models.exact import Exact
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_samplers.angle import Angle
from samplerhub_samplers.ddim import DDIM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.dpm_solver_pp import DPMSolverPP
from samplerhub_samplers.heun import Heun
from samplerhub_samplers.unipc import UniPC

BUDGETS = (8, 10, 14, 20)
SAMPLERS: dict[str, Any] = {
    "angle": Angle(order=4),
    "deis": DEIS(),
    "dpm-solver-pp": DPMSolverPP(),
    "unipc": UniPC(),
    "heun": Heun(),
    "ddim": DDIM(),
}
FIXED = {name: grid for name, grid in (PUBLIC | OWN).items() if name != "edm"}


def error(case: Case, sampler: Any, times: Tensor) -> float:
    with torch.no_grad():
        start = case.start * sh.alpha(case.process, times[0]).item()
        *_, last = sampler(case.problem(), start, times, torch.Generator().manual_seed(0))
    return case.error(last.x / sh.alpha(case.process, times[-1]).item())


def cell(case: Case, sampler: Any, budget: int) -> dict[str, float]:
    """The errors on all grids, and the seconds that learning took."""
    experiment = sh.Experiment(
        process=case.process, target=case.target, model=Exact(), sampler=sampler, grid=PUBLIC["edm"],
        prior=GaussianPrior(), nfe=budget,
    )  # fmt: skip
    steps = len(experiment.times) - 1
    errors = {name: error(case, sampler, grid(case.problem(), steps)) for name, grid in FIXED.items()}
    began = time.perf_counter()
    learned = sh.learn_grid(experiment)
    seconds = time.perf_counter() - began
    inner = sh.time_at(case.process, list(learned.rho[1:-1]))
    times = torch.cat([experiment.times[:1], inner, experiment.times[-1:]])
    before, after = (error(case, sampler, nodes) for nodes in (experiment.times, times))
    return {**errors, "edm": before, "learned": after, "promised": learned.gain, "seconds": seconds}


def report(rows: dict[tuple[str, str, str, int], dict[str, float]]) -> str:
    single = {
        s: min(FIXED, key=lambda g: mean(row[g] for key, row in rows.items() if key[2] == s)) for _, _, s, _ in rows
    }
    lines = []
    for (target, process, sampler, budget), row in rows.items():
        best = min(FIXED, key=lambda g: row[g])
        edm, learned = row["edm"], row["learned"]
        lines.append(
            f"| {target} | {process} | {sampler} | {budget} | {edm:.2e} | {row[best]:.2e} ({best}) | {learned:.2e} "
            f"| {edm / learned:.1f} | {row['promised']:.1f} | {row[best] / learned:.1f} | {row['seconds']:.0f} |"
        )
    titles = ["target", "process", "sampler", "NFE", "edm", "best fixed", "learned", "gain over edm", "promised"]
    text = [table_of(lines, [*titles, "over best fixed", "seconds"]), ""]
    lines = []
    for sampler in single:
        mine = [row for key, row in rows.items() if key[2] == sampler]
        gains = [row["edm"] / row["learned"] for row in mine]
        fixed = [min(row[g] for g in FIXED) / row["learned"] for row in mine]
        one = [row[single[sampler]] / row["learned"] for row in mine]
        lines.append(
            f"| {sampler} | {mean(gains):.1f} | {min(gains):.2f} | {mean(fixed):.2f} | {min(fixed):.2f} "
            f"| {mean(one):.2f} ({single[sampler]}) |"
        )
    titles = ["sampler", "gain over edm", "smallest", "over the best fixed grid of each cell", "smallest"]
    text.append(table_of(lines, [*titles, "over the best single fixed grid"]))
    every = [row["edm"] / row["learned"] for row in rows.values()]
    text.append(
        f"\nGain over edm: {mean(every):.1f} in geometric mean, 3 or more in {sum(g >= 3 for g in every)} of "
        f"{len(every)} cells, smallest {min(every):.2f}."
    )
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-out", action="store_true", help="other targets")
    parser.add_argument("--samplers", default=",".join(SAMPLERS))
    parser.add_argument("--targets", help="some of the targets, by name")
    parser.add_argument("--budgets", default=",".join(map(str, BUDGETS)))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = held_out() if arguments.held_out else targets()
    names = arguments.targets.split(",") if arguments.targets else list(found)
    rows = {}
    for (target, process), case in cases({name: found[name] for name in names}, samples=1024).items():
        assert PROCESSES[process] is case.process
        for sampler in arguments.samplers.split(","):
            for budget in map(int, arguments.budgets.split(",")):
                rows[target, process, sampler, budget] = cell(case, SAMPLERS[sampler], budget)
    if arguments.json:
        print(json.dumps([[*key, row] for key, row in rows.items()]))
    else:
        print(report(rows))


if __name__ == "__main__":
    main()
