"""The options that commands share, with their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def _option(kind: type, *names: str, metavar: str, help: str) -> Any:
    return Annotated[kind | None, typer.Option(*names, metavar=metavar, help=help)]


RUN: dict[str, Any] = {
    "file": Annotated[Path | None, typer.Argument(metavar="EXPERIMENT.toml", help="An experiment file.")],
    "source": _option(Path, "--from", metavar="MANIFEST", help="Repeat the run of this manifest.json."),
    "samples": _option(int, "--samples", "-n", metavar="N", help="How many (default: as the target suggests)."),
    "steps": _option(int, "--steps", metavar="N", help="Steps of the grid (default: 10)."),
    "nfe": _option(int, "--nfe", metavar="N", help="Budget of model evaluations a sample, instead of --steps."),
    "seed": _option(int, "--seed", metavar="N", help="The same seed, the same samples (default: 0)."),
    "dtype": _option(str, "--dtype", metavar="TYPE", help="float32 (default), float64, bfloat16, float16."),
    "device": _option(str, "--device", metavar="NAME", help="cpu (default), cuda, cuda:1, mps."),
    "batch": _option(int, "--batch", metavar="N", help="Samples through the model at a time; changes no sample."),
    "block": _option(
        int, "--block", metavar="N", help="Samples from one stream of random numbers, kept when finished."
    ),
    "path": _option(int, "--path", metavar="K", help="Record K times of the path: metrics are measured along it."),
    "t_max": _option(float, "--t-max", metavar="T", help="Start at this time, not at the process's end."),
    "rho_max": _option(float, "--rho-max", metavar="RHO", help="Start at this noise level, not at the process's end."),
    "t_min": _option(float, "--t-min", metavar="T", help="End at this time."),
    "rho_min": _option(float, "--rho-min", metavar="RHO", help="End at this noise level."),
}
"""What a run takes besides components, by the names of the parameters: the files that it is in, and its settings."""
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]


def run_without(*names: str) -> dict[str, Any]:
    """Return what a run takes, but for some."""
    return {name: kind for name, kind in RUN.items() if name not in names}
