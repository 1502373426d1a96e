"""The commands, and what each needs of the command line before typer reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from samplerhub.plugin import ROLES
from samplerhub.registry import Registry

RUN = (
    "Make samples, measure them, and write them to a folder.\n\n"
    "With nothing but defaults it generates images with a trained network. Every component has options of its own: "
    "name it and ask for help, as in samplerhub run --sampler deis --help. Where only one component has a field, "
    "--churn is short for --sampler.churn."
)
BUDGET = (
    "Say how much of a run's error comes from the start, the score and the discretisation.\n\n"
    "The run is repeated with the prior, the score and the grid made exact in turn, eight runs of the same seed, and "
    "the metric's change is attributed to the three (Shapley values). It takes the options of samplerhub run, and one "
    "--metric."
)
TRAIN = (
    "Fit a model to a target, and write its weights to a file.\n\n"
    "A run that was killed is taken up again by the same command."
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"samplerhub {metadata.version('samplerhub')}")
        raise typer.Exit


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Role = Annotated[str, typer.Argument(metavar="ROLE", help=f"One of {', '.join(ROLES)}.")]
RoleOrAll = Annotated[str | None, typer.Argument(metavar="[ROLE]", help=f"One of {', '.join(ROLES)}; default: all.")]
Name = Annotated[str | None, typer.Argument(metavar="NAME", help="A name from `samplerhub list ROLE`.")]
Picture = Annotated[
    Path | None, typer.Option(metavar="FILE.png", help="Draw what the component shows over the noise level.")
]
Version = Annotated[bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)]


def build_app(arguments: Sequence[str], registry: Registry) -> typer.Typer:
    """Return the application; `run` and `train` have the options of the components that the arguments choose."""
    app = typer.Typer(
        name="samplerhub",
        help="Any forward process, score model, sampler and metric of diffusion sampling, combined and measured.",
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    asked, rest = (arguments[0], arguments[1:]) if arguments else ("", arguments)

    app.callback()(_options)
    app.command("run", help=RUN)(_run(rest, registry) if asked == "run" else _only_listed)
    app.command("budget", help=BUDGET)(_budget(rest, registry) if asked == "budget" else _only_listed)
    app.command("train", help=TRAIN)(_train(rest, registry) if asked == "train" else _only_listed)

    @app.command("list")
    def list_(role: RoleOrAll = None, as_json: Json = False) -> None:
        """List the components that are installed, of one role or of all."""
        from samplerhub.cli.listing import list_components

        list_components(registry, role, as_json)

    @app.command()
    def show(role: Role, name: Name = None, picture: Picture = None, as_json: Json = False) -> None:
        """Explain a component: its formula and options, where it comes from; a target's log-Sobolev constants."""
        from samplerhub.cli.listing import role_and_name, show_component

        show_component(registry, *role_and_name(registry, "show", role, name), as_json, picture)

    @app.command()
    def check(role: Role, name: Name = None, as_json: Json = False) -> None:
        """Measure what a component promises: orders, evaluations, laws; exit code 1 where something does not hold."""
        from samplerhub.cli.checking import check_one
        from samplerhub.cli.listing import role_and_name

        check_one(registry, *role_and_name(registry, "check", role, name), as_json)

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


def _budget(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    from samplerhub.cli.budgeting import budget_command

    return budget_command(arguments, registry)


def _train(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    from samplerhub.cli.training import train_command

    return train_command(arguments, registry)
