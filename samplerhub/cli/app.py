"""The commands, and what each needs of the command line before typer reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import typer

from samplerhub.cli import about
from samplerhub.plugin import ROLES
from samplerhub.registry import Registry


def _version(wanted: bool) -> None:
    if wanted:
        print(f"samplerhub {metadata.version('samplerhub')}")
        raise typer.Exit


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Role = Annotated[str, typer.Argument(metavar="ROLE", help=f"One of {', '.join(ROLES)}.")]
RoleOrAll = Annotated[str | None, typer.Argument(metavar="[ROLE]", help=f"One of {', '.join(ROLES)}; default: all.")]
Name = Annotated[str | None, typer.Argument(metavar="NAME", help="A name from `samplerhub list ROLE`.")]
CheckRole = Annotated[str | None, typer.Argument(metavar="[ROLE]", help=f"One of {', '.join(ROLES)}.")]
Every = Annotated[bool, typer.Option("--all", help="Check every component that is installed.")]
On = Annotated[
    list[str] | None,
    typer.Option("--on", metavar="NAME", help="A process or target to try them on; repeatable (default: all)."),
]
ReportFile = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the JSON to a file as well.")]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN RUN", help="The folders of runs, or their manifest.json.")]
Picture = Annotated[
    Path | None, typer.Option("--picture", metavar="FILE.png", help="Draw the samples of the runs beside each other.")
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where", metavar="CONDITION", help="Only these: sampler=deis,heun or 'nfe<=10'; repeatable, all have to hold."
    ),
]
Sort = Annotated[
    list[str] | None,
    typer.Option("--sort", metavar="NAME", help="Sort by a column, metrics the best first; repeatable."),
]
Reverse = Annotated[bool, typer.Option("--reverse", help="Sort the other way round.")]
Metric = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="NAME", help="Only this metric, or seconds, or nfe_spent; repeatable."),
]
Best = Annotated[
    str | None, typer.Option(metavar="METRIC", help="Rank at equal NFE, and mark what cannot be told from the best.")
]
Per = Annotated[
    Literal["group", "run"] | None, typer.Option(help="A row for each group over the seeds, or for each run.")
]
Table = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write a file: .csv, .parquet or .json.")]
Source = Annotated[Path, typer.Argument(metavar="SOURCE", help="The checkpoint: .pkl, .pt, .pth, .ckpt or .bin.")]
RunOrSweep = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="The folder of a run, or its manifest.json; or the folder of a sweep."),
]
Out = Annotated[
    Path | None, typer.Option(metavar="FILE.safetensors", help="The file to write (default: beside the source).")
]
Sweep = Annotated[Path, typer.Argument(metavar="SWEEP", help="The folder of a sweep.")]
Html = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The file to write (default: SWEEP/report.html).")
]
Browse = Annotated[bool, typer.Option("--open", help="Open it in a browser.")]
Part = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Which network of the checkpoint (default: ema, else the one that there is)."),
]
Trust = Annotated[bool, typer.Option("--trust-pickle", help="Read a pickle: you trust whoever made it.")]
PluginName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the distribution and of its folder.")]
PluginRole = Annotated[str, typer.Option("--role", metavar="ROLE", help=f"One of {', '.join(ROLES)}.")]
ComponentName = Annotated[
    str | None, typer.Option("--component", metavar="NAME", help="Name of the component on the command line.")
]
Summary = Annotated[str | None, typer.Option(metavar="TEXT", help="What it is, in one sentence.")]
Author = Annotated[str | None, typer.Option(metavar="TEXT", help="Who has the copyright (default: git's user.name).")]
Parent = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the folder NAME is made.")]
Version = Annotated[bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)]


def build_app(arguments: Sequence[str], registry: Registry) -> typer.Typer:
    """Return the application; `run` and its like have the options of the components that the arguments choose."""
    app = typer.Typer(
        name="samplerhub",
        help="Any forward process, score model, sampler and metric of diffusion sampling, combined and measured.",
        pretty_exceptions_enable=False,
    )
    asked, rest = (arguments[0], arguments[1:]) if arguments else ("", arguments)

    app.callback()(_options)
    app.command("run", help=about.RUN)(_run(rest, registry) if asked == "run" else _only_listed)
    several = {"ignore_unknown_options": True, "allow_extra_args": True}  # options with several values: `planning`
    app.command("sweep", help=about.SWEEP, context_settings=several)(
        _sweep(rest, registry) if asked == "sweep" else _only_listed
    )
    app.command("budget", help=about.BUDGET)(_budget(rest, registry) if asked == "budget" else _only_listed)
    app.command("learn-grid", help=about.LEARN_GRID)(
        _learn_grid(rest, registry) if asked == "learn-grid" else _only_listed
    )
    app.command("train", help=about.TRAIN)(_train(rest, registry) if asked == "train" else _only_listed)
    app.command("show", help=about.SHOW)(_show(rest, registry) if asked == "show" else _only_listed)

    @app.command(help=about.CONVERT)
    def convert(
        source: Source, out: Out = None, part: Part = None, trust_pickle: Trust = False, as_json: Json = False
    ) -> None:
        from samplerhub.cli.converting import convert_checkpoint

        convert_checkpoint(source, out, part, trust_pickle, as_json)

    @app.command("list")
    def list_(role: RoleOrAll = None, as_json: Json = False) -> None:
        """List the components that are installed, of one role or of all."""
        from samplerhub.cli.listing import list_components

        list_components(registry, role, as_json)

    @app.command(help=about.CHECK)
    def check(
        role: CheckRole = None,
        name: Name = None,
        every: Every = False,
        on: On = None,
        as_json: Json = False,
        out: ReportFile = None,
    ) -> None:
        from samplerhub.cli.checking import check_components

        check_components(registry, role, name, every, on or (), as_json, out)

    @app.command("new-plugin", help=about.NEW_PLUGIN)
    def new_plugin(
        name: PluginName,
        role: PluginRole = "sampler",
        component: ComponentName = None,
        summary: Summary = None,
        author: Author = None,
        out: Parent = Path(),
        as_json: Json = False,
    ) -> None:
        from samplerhub.cli.scaffolding import write_plugin

        write_plugin(registry, name, role, component, summary, author, out, as_json)

    @app.command()
    def cite(run: RunOrSweep, as_json: Json = False) -> None:
        """Print the BibTeX of the works that the components of a run or of a sweep follow, and of samplerhub.

        Each component names the works that it follows; a work that several follow is printed once.
        """
        from samplerhub.cli.citing import cite

        cite(registry, run, as_json)

    @app.command(help=about.RESULTS)
    def results(
        sweep: Sweep,
        where: Where = None,
        sort: Sort = None,
        reverse: Reverse = False,
        metric: Metric = None,
        best: Best = None,
        per: Per = None,
        out: Table = None,
        as_json: Json = False,
    ) -> None:
        from samplerhub.cli.results import Asked, show_results

        show_results(sweep, Asked(where or (), sort or (), reverse, metric or (), best, per, out, as_json))

    @app.command(help=about.COMPARE)
    def compare(runs: Runs, picture: Picture = None, as_json: Json = False) -> None:
        from samplerhub.cli.comparing import compare_runs

        compare_runs(registry, runs, as_json, picture)

    @app.command()
    def report(sweep: Sweep, out: Html = None, browse: Browse = False, as_json: Json = False) -> None:
        """Write a sweep as one HTML file: who leads at equal NFE, charts, pictures, and how to run it again.

        The file needs no network and can be passed on as it is.
        """
        from samplerhub.cli.reporting import write_report

        write_report(registry, sweep, out, browse, as_json)

    @app.command()
    def plugins(as_json: Json = False) -> None:
        """List the plugins, and what is wrong with those that fail."""
        from samplerhub.cli.listing import list_plugins

        list_plugins(registry, as_json)

    return app


def _options(version: Version = False) -> None:
    """Take the options that stand before a command."""


def _only_listed() -> None:
    """Stand in for a command that is not the one asked for."""


def _run(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    from samplerhub.cli.running import run_command

    return run_command(arguments, registry)


def _sweep(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    from samplerhub.cli.sweeping import sweep_command

    return sweep_command(arguments, registry)


def _budget(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    from samplerhub.cli.budgeting import budget_command

    return budget_command(arguments, registry)


def _learn_grid(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    from samplerhub.cli.learning import learn_grid_command

    return learn_grid_command(arguments, registry)


def _train(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    from samplerhub.cli.training import train_command

    return train_command(arguments, registry)


def _show(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    from samplerhub.cli.showing import show_command

    return show_command(arguments, registry)
