"""A picture of figures along the path: what was measured, with its error band, and the bounds on it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from samplerhub.protocols import Estimate

DECADE = 5
"""Values that differ by more than this factor are drawn on a logarithmic scale."""
UNITS = {
    "kl": "KL(generated | target), nats",
    "kl-reverse": "KL(target | generated), nats",
    "l1": "L1 distance of the densities",
}
"""Labels of the quantities that several metrics share; any other is labelled by its metric's name."""


def draw_curves(estimates: Mapping[str, Estimate]) -> Figure | None:
    """Return a picture of all curves over the noise level, a panel for each quantity; None where there is no curve.

    Sampling runs from left to right. Bands are 95 % intervals; bounds are dashed.
    """
    panels: dict[str, dict[str, Estimate]] = {}
    for name, estimate in estimates.items():
        if estimate.curve:
            panel = estimate.curve_of or estimate.bounds or estimate.quantity or name
            panels.setdefault(panel, {})[name] = estimate
    if not panels:
        return None
    figure = Figure(figsize=(6.8, 3.4 * len(panels) + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, (quantity, curves) in zip(rows, panels.items()):
        _panel(axes, quantity, curves)
    rows[-1].set_xlabel(r"noise level $\rho = \sigma/\alpha$  (sampling runs to the right)")
    return figure


def _panel(axes: Axes, quantity: str, curves: Mapping[str, Estimate]) -> None:
    values = [p.value for e in curves.values() for p in e.curve if math.isfinite(p.value)]
    if values and min(values) > 0 and max(values) > DECADE * min(values):
        axes.set_yscale("log")
    levels = [p.rho for e in curves.values() for p in e.curve if p.rho > 0]
    if levels and min(levels) < max(levels):
        axes.set_xscale("log")
        axes.invert_xaxis()
    floor = min(levels, default=0.0)
    measured = [estimate for estimate in curves.values() if not estimate.bounds]
    for i, (name, estimate) in enumerate(curves.items()):
        points = [p for p in estimate.curve if math.isfinite(p.value)]
        if not points:
            axes.plot([], [], label=f"{name}: infinite everywhere", color=f"C{i}", linestyle="--")
            continue
        rho, value = [max(p.rho, floor) for p in points], [p.value for p in points]
        bound = bool(estimate.bounds)
        below = bound and any(_at(p.rho, other) > p.value * (1 + 1e-6) for p in points for other in measured)
        axes.plot(
            rho, value, color=f"C{i}", linestyle="--" if bound else "-", marker="" if len(points) > 30 else ".",
            label=f"$\\leq$ {name}: {estimate.details.get('method', 'bound')}"
            + (", which does not cover all errors of the run" if below else "") if bound
            else f"{name}, {value[0]:.3g} at the start, {value[-1]:.3g} at the end",
        )  # fmt: skip
        if any(p.stderr for p in points):
            half = [1.96 * (p.stderr or 0) for p in points]
            low, high = [v - h for v, h in zip(value, half)], [v + h for v, h in zip(value, half)]
            axes.fill_between(rho, low, high, color=f"C{i}", alpha=0.2, linewidth=0)
    axes.set_ylabel(UNITS.get(quantity, quantity))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small")


def _at(rho: float, estimate: Estimate) -> float:
    """Return what was measured at a noise level of the path, less its error."""
    return max((p.value - 2 * (p.stderr or 0.0) for p in estimate.curve if p.rho == rho), default=-math.inf)
