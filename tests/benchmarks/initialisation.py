"""What the start costs: its divergence and the quality at the end, by prior and horizon, with half the steps.

    python tests/benchmarks/initialisation.py [--steps N] [--samples N] [--dimension D] [--picture FILE]

The claim: with a start that is close to the noised data, sampling may begin late, at sigma_T in place of 80, and then
half the steps do. Heun's method with the exact score on EDM's grid goes from sigma_T down to 0.002, with N steps from
80 for the usual prior, and N/2 from 80, 7 and 2 for each prior. E_I is KL(noised target || prior). On the line it and
KL(generated || target) at the end are numbers, not estimates: the law of the output is exact. In d dimensions E_I and
the sliced Wasserstein distance at the end are estimates, with their standard errors.

References:
    Initialization-Aware Score-Based Diffusion Sampling (Fassina et al., 2026), arXiv:2603.00772
    Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), arXiv:2206.00364
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import samplerhub as sh
from samplerhub_grids.edm import EDMGrid
from samplerhub_metrics.initial_divergence import initial_divergence
from samplerhub_metrics.kl_exact import KLExact
from samplerhub_metrics.sliced_wasserstein import SlicedWasserstein
from samplerhub_models.exact import Exact
from samplerhub_priors.exact import ExactPrior
from samplerhub_priors.flow import FlowPrior
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_priors.matched import MatchedPrior
from samplerhub_priors.mixture_fit import MixtureFit
from samplerhub_priors.student_t import StudentT
from samplerhub_processes.edm import EDM
from samplerhub_samplers.heun import Heun
from samplerhub_targets.mixture import Mixture

HORIZONS = (80.0, 7.0, 2.0)
PRIORS: dict[str, sh.Prior] = {
    "gaussian": GaussianPrior(),
    "matched": MatchedPrior(),
    "student-t": StudentT(),
    "mixture-fit": MixtureFit(),
    **({"flow": FlowPrior()} if find_spec("zuko") else {}),
    "exact": ExactPrior(),
}


@dataclass(frozen=True)
class Row:
    """One run: where it starts, what the start costs, and how far the end is from the target."""

    sigma: float
    steps: int
    prior: str
    start: tuple[float, float | None]
    end: tuple[float, float | None]


def in_dimensions(d: int) -> Mixture:
    """Return eight Gaussians of different widths in d dimensions, their mean off the origin."""
    rng = sh.stream(0, "initialisation benchmark")
    means = torch.randn(8, d, generator=rng, dtype=torch.float64) + 0.3
    variances = 0.02 + 0.1 * torch.rand(8, generator=rng, dtype=torch.float64)
    return Mixture(weights=(1.0,) * 8, means=means.tolist(), covariances=variances.tolist())


def run(target: Mixture, metric: sh.Metric, sigma: float, steps: int, name: str, samples: int) -> Row:
    experiment = sh.Experiment(
        process=EDM(),
        target=target,
        model=Exact(),
        sampler=Heun(),
        grid=EDMGrid(),
        prior=PRIORS[name],
        metrics={"end": metric},
        steps=steps,
        samples=samples,
        rho_max=sigma,
        dtype="float64",
    )
    end = experiment.evaluate()["end"]
    return Row(sigma, steps, name, initial_divergence(experiment.setup(), "reverse", samples), (end.value, end.stderr))


def measured(target: Mixture, metric: sh.Metric, steps: int, samples: int) -> Iterator[Row]:
    yield run(target, metric, HORIZONS[0], steps, "gaussian", samples)
    for sigma in HORIZONS:
        for name in PRIORS:
            yield run(target, metric, sigma, steps // 2, name, samples)


def table(rows: Sequence[Row], quality: str) -> str:
    lines = [f"| sigma_T | steps | prior | E_I | {quality} |", "|---|---|---|---|---|"]
    lines += [f"| {r.sigma:g} | {r.steps} | {r.prior} | {figure(*r.start)} | {figure(*r.end)} |" for r in rows]
    return "\n".join(lines)


def figure(value: float, stderr: float | None) -> str:
    return f"{value:.2e}" + ("" if stderr is None else f" ± {stderr:.0e}")


def drawn(rows: Sequence[Row]) -> Figure:
    """Return a picture of start against end on the line: one curve a prior, one point a horizon."""
    picture = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.add_subplot()
    first, *rest = rows
    for name in PRIORS:
        points = [row for row in rest if row.prior == name]
        axes.loglog(
            [row.sigma for row in points], [row.end[0] for row in points], "o-", label=f"{name}, half the steps"
        )
    axes.axhline(first.end[0], color="0.3", linestyle="--", label=f"{first.prior} from 80, all steps")
    axes.set_xlabel("noise level at the start")
    axes.set_xticks(HORIZONS, [f"{sigma:g}" for sigma in HORIZONS])
    axes.minorticks_off()
    axes.set_ylabel("KL(generated | target) at the end")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=24, metavar="N", help="steps of the full horizon (default: 24)")
    parser.add_argument("--samples", type=int, default=20_000, metavar="N", help="samples in D dimensions")
    parser.add_argument("--dimension", type=int, default=10, metavar="D", help="dimension of the second target")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the first table")
    arguments = parser.parse_args()

    line = list(measured(Mixture(), KLExact(), arguments.steps, arguments.samples))
    print(f"On the line, exact\n\n{table(line, 'KL at the end')}\n")
    if arguments.picture:
        drawn(line).savefig(arguments.picture, dpi=150)
    space = list(measured(in_dimensions(arguments.dimension), SlicedWasserstein(), arguments.steps, arguments.samples))
    print(f"In {arguments.dimension} dimensions\n\n{table(space, 'sliced Wasserstein at the end')}")


if __name__ == "__main__":
    main()
