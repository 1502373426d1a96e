"""How much churn is best: the exact KL divergence against churn and the number of steps, without sampling.

    python tests/benchmarks/churn.py [--picture FILE]

The mixture on the line with its exact score, from the paper's noise level 0.753 and N(0, 0.753^2) in place of the
noised target, by Euler-Maruyama on EDM's grid down to 0.002. Each figure is the divergence of the exact law of the
output, so that the smallest differences are real.

References:
    The Effect of Stochasticity in Score-Based Diffusion Sampling (Schaeffer et al., 2025), arXiv:2506.11378, figure 3
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import samplerhub as sh
from samplerhub_grids.edm import EDMGrid
from samplerhub_metrics.kl_exact import KLExact
from samplerhub_models.exact import Exact
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_samplers.euler_maruyama import EulerMaruyama
from samplerhub_targets.mixture import Mixture

START = 0.7530995852
STEPS = (70, 140, 280)
CHURN = (0.0, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0)


def divergence(steps: int, churn: float) -> float:
    experiment = sh.Experiment(
        process=EDM(t_max=START),
        target=Mixture(),
        model=Exact(),
        sampler=EulerMaruyama(churn=churn),
        grid=EDMGrid(),
        prior=GaussianPrior(),
        metrics=[KLExact(tolerance=1e-5)],
        steps=steps,
    )
    return experiment.evaluate()["kl-exact"].value


def measured() -> Iterator[tuple[float, list[float]]]:
    for churn in CHURN:
        yield churn, [divergence(steps, churn) for steps in STEPS]


def drawn(rows: list[tuple[float, list[float]]], start: float) -> Figure:
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    for j, steps in enumerate(STEPS):
        values = [row[j] for _, row in rows]
        left.plot([churn for churn, _ in rows], values, marker=".", label=f"{steps} steps")
        right.plot([churn / steps for churn, _ in rows], values, marker=".", label=f"{steps} steps")
    for axes, label in ((left, "churn"), (right, "churn / steps")):
        axes.axhline(start, color="0.5", linestyle=":", label="at the start")
        axes.set_yscale("log")
        axes.set_xscale("symlog", linthresh=0.2 if axes is left else 1e-3)
        axes.set_xlim(left=0)
        axes.set_xlabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("KL(generated | target), nats")
    left.legend(frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, help="where to draw it")
    arguments = parser.parse_args()
    print("| churn | " + " | ".join(f"{steps} steps" for steps in STEPS) + " |")
    print("|---|" + "---|" * len(STEPS))
    rows = []
    for churn, values in measured():
        rows.append((churn, values))
        print(f"| {churn:g} | " + " | ".join(f"{value:.3g}" for value in values) + " |", flush=True)
    if arguments.picture:
        drawn(rows, 0.00988496294).savefig(arguments.picture, dpi=110)


if __name__ == "__main__":
    main()
