"""Time of the Frechet distance of many features, against scipy's square root and torchmetrics, in one run.

The features are rectified normal numbers, mixed so that the eigenvalues of their covariance fall like k^-1.2, as those
of a network's features do. From the same two means and covariances the distance is computed three ways; then with fewer
samples than dimensions, where ours is the nuclear norm of a small matrix of rows (the others take roots of eigenvalues
that are 0 but for rounding, and are low by some 1e-6); last the whole metric from the features: moments, distance,
bias and standard error. Ratios are to ours. What is not installed is left out.

    OMP_NUM_THREADS=2 python tests/benchmarks/frechet.py
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata

import scipy
import torch
from scipy import linalg
from torch import Tensor

from samplerhub_metrics.fd import FD
from samplerhub_metrics.frechet import Law, Moments, frechet

Distance = Callable[[Tensor, Tensor, Tensor, Tensor], float]


@dataclass(frozen=True)
class Record:
    """What the metric reads."""

    samples: Tensor
    reference: Tensor
    feature_moments: None = None
    embedding: str = "random"

    def feature_batches(self) -> Iterator[Tensor]:
        return iter(torch.split(self.samples, 1024))

    def reference_feature_batches(self) -> Iterator[Tensor]:
        return iter(torch.split(self.reference, 1024))


def features(n: int, d: int, seed: int) -> Tensor:
    """Return n features, float32, in chunks; the mixing is the same for every seed but for a small drift."""
    mix, rng = torch.randn(d, d, generator=torch.Generator().manual_seed(0)), torch.Generator().manual_seed(seed)
    axes, _ = torch.linalg.qr(mix)
    scale = torch.arange(1, d + 1) ** -0.6
    chunks = torch.split(torch.empty(n, d), 5000)
    return torch.cat([(torch.randn(c.shape, generator=rng) * scale @ axes.T + 0.01 * seed).relu() for c in chunks])


def ours(m: Tensor, S: Tensor, mu: Tensor, C: Tensor) -> float:
    return frechet(Law.normal(m, S), Law.normal(mu, C))


def by_sqrtm(m: Tensor, S: Tensor, mu: Tensor, C: Tensor) -> float:
    root = linalg.sqrtm((S @ C).numpy())
    return float((m - mu).square().sum() + S.trace() + C.trace() - 2 * root.real.trace())


def others() -> dict[str, Distance]:
    found: dict[str, Distance] = {f"scipy {scipy.__version__} sqrtm": by_sqrtm}
    try:
        from torchmetrics.image.fid import _compute_fid
    except ImportError:
        print("torchmetrics is not installed and left out: pip install --no-deps torchmetrics lightning-utilities\n")
    else:
        found[f"torchmetrics {metadata.version('torchmetrics')}"] = lambda m, S, mu, C: float(_compute_fid(m, S, mu, C))
    return found


def timed(work: Callable[[], float], repeats: int) -> tuple[float, float]:
    """Return the result and the least time in seconds."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = work()
        seconds.append(time.perf_counter() - start)
    return value, min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--samples", type=int, default=50_000)
    parser.add_argument("-d", "--dimensions", type=int, default=2048)
    parser.add_argument("--few", type=int, default=500, help="samples of the case with fewer samples than dimensions")
    parser.add_argument("--repeats", type=int, default=3, help="of ours; the others run once")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    n, d, few = arguments.samples, arguments.dimensions, arguments.few

    peers = others()
    print(f"torch {torch.__version__}, {arguments.threads} threads\n")
    print("| case | method | seconds | ratio | relative difference |\n|---|---|---|---|---|")
    x, y = features(n, d, 1), features(n, d, 2)
    for case, (a, b) in {f"{n} x {d}, from moments": (x, y), f"{few} x {d}": (x[:few], y[:few])}.items():
        moments = [Moments.of(rows) for rows in (a, b)]
        four = (moments[0].mean, moments[0].covariance, moments[1].mean, moments[1].covariance)
        rows = len(a) <= d
        work = (lambda a=a, b=b: frechet(Law.of(a), Law.of(b))) if rows else (lambda four=four: ours(*four))
        value, base = timed(work, arguments.repeats)
        print(f"| {case} | samplerhub, {'rows' if rows else 'moments'} | {base:.2f} | 1 | |", flush=True)
        for name, distance in peers.items():
            other, seconds = timed(lambda distance=distance, four=four: distance(*four), 1)
            gap = abs(other - value) / value
            print(f"| {case} | {name} | {seconds:.2f} | {seconds / base:.1f} | {gap:.1e} |", flush=True)
    start = time.perf_counter()
    Moments.of(x)
    print(f"| {n} x {d} | moments of one set | {time.perf_counter() - start:.2f} | | |", flush=True)
    start = time.perf_counter()
    e = FD()(Record(x, y))
    print(f"| {n} x {d} | the metric: moments, 10 groups, bias, error | {time.perf_counter() - start:.2f} | | |")
    print(f"\nfd = {e.value:.5f} ± {e.stderr:.5f}, plug-in {e.details['plug-in']:.5f}")


if __name__ == "__main__":
    main()
