"""What a component looks like over the noise level, as a table and as a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samplerhub.capabilities import LogSobolev

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

    from samplerhub.protocols import ForwardProcess

LEVELS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 80.0)
"""Noise levels of the table of log-Sobolev constants."""
BAR = 30


@dataclass(frozen=True, slots=True)
class View:
    """A table of numbers, with bars for one of its columns, and a picture."""

    key: str
    """Its name in JSON."""
    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[float, ...]]
    bar: int
    """The column that the bars show, on a logarithmic scale."""
    panels: int
    """How many axes the picture has, side by side."""
    paint: Callable[[list[Axes]], None]

    def facts(self) -> list[dict[str, float | None]]:
        """Return the rows for another program; infinity is None."""
        names = [name.lower().replace("-", "_") if len(name) > 1 else name for name in self.header]
        return [dict(zip(names, (x if math.isfinite(x) else None for x in row))) for row in self.rows]

    def show(self) -> None:
        """Print the table."""
        from samplerhub.cli import render

        logs = [math.log10(row[self.bar]) for row in self.rows if 0 < row[self.bar] < math.inf]
        low, high = min(logs, default=0.0), max(logs, default=1.0)

        def bar(x: float) -> str:
            long = (math.log10(x) - low) / ((high - low) or 1.0) if 0 < x < math.inf else 0.0
            return "━" * (1 + round((BAR - 1) * long)) if math.isfinite(x) else ""

        render.lines(["", self.title])
        digits = [6 if name == "t" else 4 for name in self.header]
        render.columns((*self.header, ""), [(*map(_shown, row, digits), bar(row[self.bar])) for row in self.rows])

    def draw(self, file: Path) -> None:
        """Write the picture."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        from samplerhub.files import whole

        figure = Figure(figsize=(6.4 if self.panels == 1 else 9.6, 4.0), layout="constrained")
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(1, self.panels, squeeze=False)[0])
        self.paint(axes)
        for one in axes:
            one.spines[["top", "right"]].set_visible(False)
        with whole(file) as temporary:
            figure.savefig(temporary, dpi=150, format="png")


def constants(target: LogSobolev, name: str) -> View:
    """Return the log-Sobolev constants of a target over the noise level."""

    def paint(axes: list[Axes]) -> None:
        rho = [10 ** (-3 + 5 * i / 200) for i in range(201)]
        C = [target.log_sobolev(level) for level in rho]
        known = [(level, constant) for level, constant in zip(rho, C) if math.isfinite(constant)]
        axes[0].loglog([x for x, _ in known], [y for _, y in known], color="C0", label=f"C of {name}")
        noise = [level**2 for level in rho]
        axes[0].loglog(rho, noise, color="0.6", linestyle=":", label=r"$\rho^2$, that of the noise alone")
        axes[0].set_xlabel(r"noise level $\rho = \sigma/\alpha$")
        axes[0].set_ylabel(r"log-Sobolev constant $C$, units of $x^2$")
        axes[0].legend(frameon=False)

    title = "Log-Sobolev constants C(rho) of the target noised to rho, KL <= C/2 E|grad log ratio|^2:"
    rows = [(level, target.log_sobolev(level)) for level in LEVELS]
    return View("log_sobolev", title, ("rho", "C"), rows, 1, 1, paint)


def levels(process: ForwardProcess, name: str) -> View:
    """Return a process's scale, noise and noise level at eleven times, equally spaced in log-SNR."""
    import torch

    from samplerhub import process as derived

    low, high = derived.rho(process, list(process.span)).log().tolist()
    inner = derived.time_at(process, torch.linspace(low, high, 11, dtype=torch.float64)[1:-1].exp())
    t = torch.cat([inner.new_tensor([process.span[0]]), inner, inner.new_tensor([process.span[1]])])

    def paint(axes: list[Axes]) -> None:
        times = torch.linspace(*process.span, 400, dtype=torch.float64)
        axes[0].plot(times, derived.alpha(process, times), color="C0", label=r"$\alpha$")
        axes[0].plot(times, derived.sigma(process, times), color="C1", label=r"$\sigma$")
        axes[0].set_xlabel("time $t$")
        axes[0].legend(frameon=False)
        fine = derived.time_at(process, torch.linspace(low, high, 400, dtype=torch.float64)[1:-1].exp())
        axes[1].loglog(fine, derived.rho(process, fine), color="C0")
        axes[1].set_xlabel("time $t$")
        axes[1].set_ylabel(rf"noise level $\rho = \sigma/\alpha$ of {name}")

    columns = (t, derived.alpha(process, t), derived.sigma(process, t), *_noise(process, t))
    title = f"From t = {process.span[0]:g} to {process.span[1]:g} in equal steps of log-SNR:"
    return View("levels", title, ("t", "alpha", "sigma", "rho", "log-SNR"), _rows(columns), 3, 2, paint)


def nodes(times: Tensor, process: ForwardProcess, name: str, process_name: str) -> View:
    """Return the nodes of a grid."""
    from matplotlib.ticker import MaxNLocator

    rho, log_snr = _noise(process, times)

    def paint(axes: list[Axes]) -> None:
        i = range(len(times))
        axes[0].semilogy(i, rho, color="C0", marker="o", markersize=4, linewidth=1)
        axes[0].set_ylabel(r"noise level $\rho = \sigma/\alpha$")
        axes[1].plot(i, times, color="C0", marker="o", markersize=4, linewidth=1)
        axes[1].set_ylabel("time $t$")
        for one in axes:
            one.set_xlabel(f"node of {name}")
            one.xaxis.set_major_locator(MaxNLocator(integer=True))

    steps = len(times) - 1
    title = f"Nodes of {steps} step{'' if steps == 1 else 's'} on process {process_name}:"
    return View("nodes", title, ("t", "rho", "log-SNR"), _rows((times, rho, log_snr)), 1, 2, paint)


def _noise(process: ForwardProcess, t: Tensor) -> tuple[Tensor, Tensor]:
    from samplerhub import process as derived

    return derived.rho(process, t), derived.log_snr(process, t)


def _rows(columns: Sequence[Tensor]) -> list[tuple[float, ...]]:
    return list(zip(*(column.tolist() for column in columns)))


def _shown(x: float, digits: int) -> str:
    return f"{x:.{digits}g}" if math.isfinite(x) else "infinite: vacuous"
