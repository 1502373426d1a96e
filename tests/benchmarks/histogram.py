"""Counting histograms of one set of samples with many numbers of bins, in one pass and one numpy.histogram at a time.

Both compute the edges of 101 numbers of bins and count the samples between them; the counts must be equal, and the one
pass at least 60 times as fast. The two take turns, and of each the fastest run counts. Last comes the whole metric:
KL divergence, bias and standard error from samples and as many of the target.

    python tests/benchmarks/histogram.py
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import samplerhub as sh
from samplerhub_metrics.kl_histogram import KLHistogram, histograms
from samplerhub_targets.mixture import Mixture

Array = NDArray[np.float64]
EDGES = range(30, 131)
"""Numbers of edges: 101 of them."""
FACTOR = 60
"""The one pass must be so many times as fast."""


def edges(x: Array) -> list[Array]:
    low, high = x.min(), x.max()
    return [np.linspace(low, high, k) for k in EDGES]


def in_one_pass(x: Array) -> list[NDArray[np.intp]]:
    return histograms(x, edges(x))


def one_by_one(x: Array) -> list[NDArray[np.intp]]:
    return [np.histogram(x, e)[0] for e in edges(x)]


@dataclass(frozen=True)
class Pair:
    """The evidence that the metric reads."""

    samples: Tensor
    reference: Tensor

    def offers(self, need: sh.Need) -> bool:
        return True


def seconds(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[10**6, 10**7])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    rows = []
    for n in arguments.samples:
        samples, reference = (Mixture().sample(n, sh.stream(0, name)) for name in ("samples", "reference"))
        x = samples[:, 0].numpy()
        for ours, theirs in zip(in_one_pass(x), one_by_one(x), strict=True):
            assert np.array_equal(ours, theirs), "the counts differ"
        fast = slow = whole = math.inf
        for _ in range(arguments.repeats):
            slow = min(slow, seconds(lambda: one_by_one(x)))  # noqa: B023
            fast = min(fast, *(seconds(lambda: in_one_pass(x)) for _ in range(5)))  # noqa: B023
            whole = min(whole, seconds(lambda: KLHistogram()(Pair(samples, reference))))  # type: ignore[arg-type]  # noqa: B023
        rows.append({"samples": n, "one by one": slow, "one pass": fast, "ratio": slow / fast, "kl-histogram": whole})

    if arguments.json:
        print(json.dumps(rows))
    else:
        print(f"Seconds for histograms with {len(EDGES)} numbers of bins, numpy {np.__version__}, one thread.\n")
        print("| samples | numpy.histogram each | one pass | times as fast | kl-histogram |\n|---|---|---|---|---|")
        for row in rows:
            times = " | ".join(f"{row[name]:.4f}" for name in ("one by one", "one pass"))
            print(f"| {row['samples']:,} | {times} | {row['ratio']:.0f} | {row['kl-histogram']:.4f} |")
    for row in rows:
        assert row["ratio"] >= FACTOR, f"only {row['ratio']:.0f} times as fast at {row['samples']:,} samples"


if __name__ == "__main__":
    main()
