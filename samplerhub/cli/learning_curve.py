"""The picture of a training: its loss along the steps, and at each noise level in the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samplerhub.files import read_tensors, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

HEADER = "samplerhub.training"
"""Key of the safetensors header under which a trainer says how the training went, as JSON.

    {"steps": [...], "loss": [...], "levels": {"data": "held-out", "rho": [...], "loss": [...], "stderr": [...]}}
"""
REACH = 0.02
"""Reach of the smoothing, as a share of the training."""


def draw(file: Path) -> Path | None:
    """Draw the learning curve of a file of weights to FILE.png; None where its trainer left none in the header."""
    _, header = read_tensors(file)
    if HEADER not in header:
        return None
    picture = file.with_name(f"{file.name}.png")
    with whole(picture) as temporary:
        figure(json.loads(header[HEADER])).savefig(temporary, dpi=150, format="png")
    return picture


def figure(training: dict[str, Any]) -> Figure:
    """Return the picture: the loss along the steps, and beside it the loss by noise level with its 95 % interval."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture = Figure(figsize=(9.6, 4.0), layout="constrained")
    FigureCanvasAgg(picture)
    along, by_level = picture.subplots(1, 2)
    steps, loss, levels = training["steps"], training["loss"], training["levels"]
    along.plot(steps, loss, color="C0", alpha=0.3, linewidth=1)
    along.plot(steps, smoothed(loss), color="C0", label="smoothed")
    along.set_xlabel("steps")
    along.set_ylabel("weighted loss")
    by_level.errorbar(
        levels["rho"], levels["loss"], yerr=[1.96 * e for e in levels["stderr"]], marker=".", color="C0", capsize=2,
        label=f"{levels['data']} data",
    )  # fmt: skip
    by_level.set_xscale("log")
    by_level.set_xlabel(r"noise level $\rho = \sigma/\alpha$")
    by_level.set_ylabel("EDM's loss in the end, per number")
    for axes in (along, by_level):
        if axes is along and min(loss) > 0:
            axes.set_yscale("log")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize="small")
    return picture


def smoothed(loss: Sequence[float]) -> list[float]:
    """Return the moving average of a curve with exponentially falling weights, free of a bias towards its beginning."""
    keep = 1 - 1 / max(1.0, REACH * len(loss))
    total = weight = 0.0
    values = []
    for value in loss:
        total, weight = keep * total + value, keep * weight + 1
        values.append(total / weight)
    return values
