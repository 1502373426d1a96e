"""The folder of a budget: the figures of finished runs, then the report and its picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Picture
from pydantic import BaseModel, ValidationError

from samplerhub.budget.shares import Budget, numerical_error
from samplerhub.errors import UnusableFile
from samplerhub.files import read_json, whole, writable_folder, write_text
from samplerhub.protocols import Estimate


class _Kept(BaseModel):
    """A figure in a file."""

    value: float
    stderr: float | None
    error: float = 0.0

    @property
    def estimate(self) -> Estimate:
        """The figure."""
        return Estimate(self.value, self.stderr, details={"error": self.error} if self.error else {})


class BudgetFolder:
    """Keeps the figure of each run as a small file, so that a budget that was interrupted is taken up again."""

    def __init__(self, path: Path) -> None:
        self.path = writable_folder(path)
        self.runs = path / "runs"

    def load(self, key: str) -> Estimate | None:
        """Return a figure that was kept."""
        try:
            return _Kept.model_validate(read_json(self._file(key))).estimate
        except (UnusableFile, ValidationError):
            return None

    def save(self, key: str, estimate: Estimate) -> None:
        """Keep a figure."""
        writable_folder(self.runs)
        write_text(
            self._file(key),
            _Kept(value=estimate.value, stderr=estimate.stderr, error=numerical_error(estimate)).model_dump_json()
            + "\n",
        )

    def write(self, budget: Budget, report: Mapping[str, object]) -> dict[str, Path]:
        """Write report and picture; return where they are."""
        files = {"report": self.path / "budget.json", "picture": self.path / "budget.png"}
        write_text(files["report"], json.dumps(report, indent=2) + "\n")
        with whole(files["picture"]) as temporary:
            draw_budget(budget).savefig(temporary, dpi=150)
        return files

    def _file(self, key: str) -> Path:
        return self.runs / f"{key[:32]}.json"


def draw_budget(budget: Budget) -> Picture:
    """Return a picture of the shares as bars with 95 % intervals."""
    bars = [*budget.shares.items(), ("what is left", budget.rest), ("as given", budget.total)]
    figure = Picture(figsize=(6.8, 0.6 * len(bars) + 1.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colors = [f"C{i}" for i in range(len(budget.shares))] + ["0.75", "0.4"]
    axes.barh(
        [name for name, _ in bars],
        [share.value for _, share in bars],
        xerr=[share.half for _, share in bars],
        color=colors,
        ecolor="0.2",
        capsize=3,
    )
    axes.invert_yaxis()
    axes.axvline(0, color="0.2", linewidth=0.8)
    axes.set_xlabel(f"share of {budget.metric}")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
