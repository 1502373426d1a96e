"""The command ``budget``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samplerhub.assembly import assemble, complete
from samplerhub.cli.command import Line, command
from samplerhub.cli.settings import Json, Quiet, run_without
from samplerhub.registry import Registry

if TYPE_CHECKING:
    from samplerhub.budget import Budget, Figure

SAMPLES = 20_000
"""At most so many samples a run where the user does not say."""
Fine = Annotated[int, typer.Option(metavar="K", min=2, help="The exact grid has K times the steps.")]
Repeats = Annotated[
    int, typer.Option(metavar="R", min=2, help="Seeds over which a metric that has a standard error is averaged.")
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder of the results.")]


def budget_command(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    """Return the command with the options of the components that the arguments choose."""
    return command(budget, arguments, registry, shared=run_without("block", "path"))


def budget(
    line: Line,
    fine: Fine = 8,
    repeats: Repeats = 5,
    out: Out = Path("budget"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Attribute the figure of a run to its start, its score and its grid."""
    from samplerhub.budget import advise, measure_budget
    from samplerhub.budget.folder import BudgetFolder
    from samplerhub.cli import render

    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        config = line.config
        full = complete(config, line.registry)
        samples = min(SAMPLES, full.samples or SAMPLES) if config.samples is None else config.samples
        experiment = assemble(full.model_copy(update={"samples": samples}), line.registry)
        folder = BudgetFolder(out)
        try:
            with render.progress("budget", quiet) as observe:
                budget = measure_budget(experiment, fine=fine, repeats=repeats, kept=folder, observe=observe)
        except KeyboardInterrupt:
            render.note(f"interrupted; finished runs are kept in {render.shown(out)} for the same command")
            raise typer.Exit(130) from None
        advice = advise(budget)
        report = as_data(budget, advice)
        files = folder.write(budget, report)

    if as_json:
        render.machine_readable(json.dumps({**report, "files": {what: str(file) for what, file in files.items()}}))
        return
    for missing in budget.missing:
        render.note(missing, "yellow")
    render.columns(("prior", "score", "grid", budget.metric), _rows(budget))
    render.lines([""])
    render.bars([(part, share.value, render.measured(share.value, share.stderr)) for part, share in _shares(budget)])
    render.lines(["", *advice, "", *(render.shown(file) for file in files.values())])


def _rows(budget: Budget) -> list[tuple[str, ...]]:
    from samplerhub.budget import PARTS
    from samplerhub.cli import render

    words = {True: "given", False: "exact"}
    rows = [
        (*(words[part in cell] for part in PARTS), render.measured(figure.value, figure.stderr))
        for cell, figure in budget.cells.items()
    ]
    return [
        (prior, score, f"{budget.fine} x finer" if grid == "exact" else grid, text) for prior, score, grid, text in rows
    ]


def _shares(budget: Budget) -> list[tuple[str, Figure]]:
    return [*budget.shares.items(), ("what is left", budget.rest), ("as given", budget.total)]


def as_data(budget: Budget, advice: Sequence[str]) -> dict[str, object]:
    """Return a budget as plain data."""
    from samplerhub.budget import GIVEN, PARTS

    def plain(figure: Figure | None) -> dict[str, float | None] | None:
        return None if figure is None else {"value": figure.value, "stderr": figure.stderr}

    return {
        "metric": budget.metric,
        "shares": {part: plain(share) for part, share in budget.shares.items()},
        "rest": plain(budget.rest),
        "total": plain(budget.total),
        "slope of churn": plain(budget.slope),
        "runs": [
            {**{GIVEN[part]: "given" if part in cell else "exact" for part in PARTS}, **(plain(figure) or {})}
            for cell, figure in budget.cells.items()
        ],
        "repeats": budget.repeats,
        "fine": budget.fine,
        "missing": list(budget.missing),
        "advice": list(advice),
    }
