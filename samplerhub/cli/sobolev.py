"""The log-Sobolev constants of a target over the noise level, as a table and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from samplerhub.capabilities import LogSobolev

LEVELS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 80.0)
"""Noise levels of the table."""
BAR = 30


def constants(target: LogSobolev, levels: Sequence[float] = LEVELS) -> list[tuple[float, float]]:
    """Return (rho, C)."""
    return [(rho, target.log_sobolev(rho)) for rho in levels]


def show_constants(target: LogSobolev) -> None:
    """Print the table, with bars on a logarithmic scale."""
    from samplerhub.cli import render

    table = constants(target)
    logs = [math.log10(C) for _, C in table if math.isfinite(C) and C > 0]
    low, high = min(logs, default=0.0), max(logs, default=1.0)
    render.lines(["", "Log-Sobolev constants C(rho) of the target noised to rho, KL <= C/2 E|grad log ratio|^2:"])
    render.columns(
        ("rho", "C", ""),
        [
            (
                f"{rho:g}",
                f"{C:.4g}" if math.isfinite(C) else "infinite: vacuous",
                "━" * (1 + round((BAR - 1) * (math.log10(C) - low) / ((high - low) or 1.0)))
                if math.isfinite(C)
                else "",
            )
            for rho, C in table
        ],
    )


def draw_constants(target: LogSobolev, name: str, file: Path) -> None:
    """Write a picture of C over rho, both on logarithmic scales."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from samplerhub.files import whole

    levels = [10 ** (-3 + 5 * i / 200) for i in range(201)]
    table = [(rho, C) for rho, C in constants(target, levels) if math.isfinite(C)]
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.loglog([rho for rho, _ in table], [C for _, C in table], color="C0", label=f"C of {name}")
    axes.loglog(
        levels, [rho**2 for rho in levels], color="0.6", linestyle=":", label=r"$\rho^2$, that of the noise alone"
    )
    axes.set_xlabel(r"noise level $\rho = \sigma/\alpha$")
    axes.set_ylabel(r"log-Sobolev constant $C$, units of $x^2$")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with whole(file) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
