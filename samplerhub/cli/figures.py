"""The figures of a run in words: a value with its error, a bound with what it bounds and how tight it is."""

from __future__ import annotations

import math
from collections.abc import Mapping

from samplerhub.protocols import Estimate


def tightness(name: str, estimates: Mapping[str, Estimate]) -> tuple[str, float] | None:
    """Return the metric that measured what a bound bounds, and bound/value; None where there is no such."""
    bound = estimates[name]
    for other, estimate in estimates.items():
        if bound.bounds and estimate.quantity == bound.bounds and not estimate.bounds and estimate.value > 0:
            return other, bound.value / estimate.value
    return None


def in_words(name: str, estimates: Mapping[str, Estimate]) -> str:
    """Return a figure with its error and method, or a bound with its tightness."""
    from samplerhub.cli import render

    estimate = estimates[name]
    text = render.measured(estimate.value, estimate.stderr)
    remarks = [str(estimate.details["method"])] if "method" in estimate.details else []
    if estimate.bounds:
        text = f"<= {text}"
        found = tightness(name, estimates)
        ratio = f", {found[1]:.3g} times {found[0]}" if found and math.isfinite(found[1]) else ""
        ratio += ": the run has errors that it does not cover" if found and found[1] < 1 else ""
        remarks += [str(estimate.details["vacuous"])] if "vacuous" in estimate.details else []
        remarks.insert(0, f"bound on {estimate.bounds}{ratio}")
    return f"{text}  {'; '.join(remarks)}" if remarks else text
