"""The options that commands share, with their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[Path | None, typer.Argument(metavar="EXPERIMENT.toml", help="An experiment file.")]
Source = Annotated[
    Path | None, typer.Option("--from", metavar="MANIFEST", help="Repeat the run of this manifest.json.")
]
Samples = Annotated[
    int | None, typer.Option("--samples", "-n", metavar="N", help="How many (default: as the target suggests).")
]
Steps = Annotated[int | None, typer.Option(metavar="N", help="Steps of the grid (default: 10).")]
Nfe = Annotated[int | None, typer.Option(metavar="N", help="Budget of model evaluations a sample, instead of --steps.")]
Seed = Annotated[int | None, typer.Option(metavar="N", help="The same seed, the same samples (default: 0).")]
Dtype = Annotated[str | None, typer.Option(metavar="TYPE", help="float32 (default), float64, bfloat16, float16.")]
Device = Annotated[str | None, typer.Option(metavar="NAME", help="cpu (default), cuda, cuda:1, mps.")]
Batch = Annotated[int | None, typer.Option(metavar="N", help="Samples through the model at a time; changes no sample.")]
Block = Annotated[
    int | None, typer.Option(metavar="N", help="Samples from one stream of random numbers, kept when finished.")
]
PathTimes = Annotated[
    int | None, typer.Option(metavar="K", help="Record K times of the path: metrics are measured along it.")
]
TMax = Annotated[
    float | None, typer.Option("--t-max", metavar="T", help="Start at this time, not at the process's end.")
]
RhoMax = Annotated[
    float | None, typer.Option("--rho-max", metavar="RHO", help="Start at this noise level, not at the process's end.")
]
TMin = Annotated[float | None, typer.Option("--t-min", metavar="T", help="End at this time.")]
RhoMin = Annotated[float | None, typer.Option("--rho-min", metavar="RHO", help="End at this noise level.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]
