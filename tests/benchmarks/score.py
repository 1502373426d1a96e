"""Time of the exact score against autograd of the log-density, in one run on one thread.

Three cases: 1e5 points and a mixture of 2 on the line; 1e5 points and 25 in the plane; 1e4 points and the 1,797 digits
in 64 dimensions (the model `empirical`). The straightforward way writes the log-density down, distance by distance, as
a logsumexp, and differentiates it. The floor is two matrix products, points by components by coordinates: what is left
when exponentials and all else cost nothing. The methods take turns, and of each the fastest run counts. The largest
difference of the two scores stands beside the times.

    OMP_NUM_THREADS=1 python tests/benchmarks/score.py
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import samplerhub as sh
from samplerhub_models.empirical import Empirical
from samplerhub_models.exact import Exact
from samplerhub_targets.digits import Digits
from samplerhub_targets.lattice import Lattice
from samplerhub_targets.mixture import Mixture

RHO = 0.3
CHUNK = 2**22
"""Distances that autograd may hold at a time: for the digits all at once would be 9 GB."""
Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    name: str
    model: sh.ScoreModel
    w: Tensor
    mu: Tensor
    v: Tensor
    """Variances of the components, 0 for data."""
    y: Tensor


def ours(case: Case) -> Score:
    rho = torch.full((1, 1), RHO, dtype=case.y.dtype)

    def score(y: Tensor) -> Tensor:
        with torch.no_grad():
            return (case.model(y, rho) - y) / RHO**2

    return score


def by_autograd(case: Case) -> Score:
    w, mu, s = case.w.to(case.y), case.mu.to(case.y), case.v.to(case.y) + RHO**2
    d = mu.shape[1]

    def chunk(y: Tensor) -> Tensor:
        y = y.detach().requires_grad_()
        q = (y[:, None, :] - mu).square().sum(2)
        log_p = (w.log() - d / 2 * (2 * math.pi * s).log() - q / (2 * s)).logsumexp(1)
        return torch.autograd.grad(log_p.sum(), y)[0]

    return lambda y: torch.cat([chunk(part) for part in torch.split(y, max(CHUNK // mu.numel(), 1))])


def floor(case: Case) -> Score:
    mu = case.mu.to(case.y)
    rows = max(2**18 // len(mu), 1)
    return lambda y: torch.cat([(part @ mu.T) @ mu for part in torch.split(y, rows)])


def cases(dtype: torch.dtype) -> list[Case]:
    rng = torch.Generator().manual_seed(0)

    def noised(x: Tensor) -> Tensor:
        return (x + RHO * torch.randn(x.shape, generator=rng, dtype=torch.float64)).to(dtype)

    found = []
    for name, target in (("1e5 x 1, 2 components", Mixture()), ("1e5 x 2, 25 components", Lattice())):
        w, mu, v = target.components()
        found.append(Case(name, Exact().of(target), w / w.sum(), mu, v, noised(target.sample(100_000, rng))))
    digits = Digits(split="all")
    x = digits.data().flatten(1)
    ones = torch.ones(len(x), dtype=torch.float64)
    y = noised(digits.sample(10_000, rng).flatten(1))
    model = Empirical().of(Flat(x))
    found.append(Case("1e4 x 64, 1,797 digits", model, ones / len(x), x, 0 * ones, y))
    return found


@dataclass(frozen=True)
class Flat:
    """Data as vectors."""

    x: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    def data(self) -> Tensor:
        return self.x

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.x[torch.randint(len(self.x), (n,), generator=rng)]


def fastest(methods: list[Score], y: Tensor, repeats: int) -> list[float]:
    best = [math.inf] * len(methods)
    for _ in range(repeats):
        for i, method in enumerate(methods):
            start = time.perf_counter()
            method(y)
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads, rho = {RHO}, milliseconds\n")
    print("| case | type | samplerhub | autograd | ratio | matrix products | samplerhub/products | difference |")
    print("|---|---|---|---|---|---|---|---|")
    for dtype in (torch.float64, torch.float32):
        for case in cases(dtype):
            methods = [ours(case), by_autograd(case), floor(case)]
            gap = (methods[0](case.y) - methods[1](case.y)).abs().max().item()
            a, b, c = fastest(methods, case.y, arguments.repeats)
            kind = str(dtype).removeprefix("torch.")
            times = f"{1e3 * a:.1f} | {1e3 * b:.1f} | {b / a:.1f} | {1e3 * c:.1f} | {a / c:.1f}"
            print(f"| {case.name} | {kind} | {times} | {gap:.1e} |", flush=True)


if __name__ == "__main__":
    main()
