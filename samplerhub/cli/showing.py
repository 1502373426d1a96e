"""The command ``show``: all there is to know about one component, and what it looks like over the noise level."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel

from samplerhub.assembly import assemble, build
from samplerhub.capabilities import LogSobolev
from samplerhub.cli.citing import entries
from samplerhub.cli.command import extended, field_parameters, parameter, role_parameter
from samplerhub.cli.examples import Example, fitting
from samplerhub.cli.fields import described
from samplerhub.cli.listing import documentation, facts_of, role_and_name
from samplerhub.cli.options import FieldOptions, Scan, scan
from samplerhub.cli.selection import Selection, laid_over, select_for_run, select_one
from samplerhub.cli.settings import RUN
from samplerhub.config import RunConfig
from samplerhub.errors import InvalidSetting, SamplerhubError
from samplerhub.nesting import default_names
from samplerhub.plugin import ROLES
from samplerhub.protocols import ForwardProcess
from samplerhub.registry import Registered, Registry

if TYPE_CHECKING:
    from samplerhub.cli.views import View

OPTIONS = ("--picture", "--schema", "--json", "--help")
SETTINGS = {name: RUN[name] for name in ("steps", "t_max", "rho_max", "t_min", "rho_min")}
"""What a grid depends on besides components."""
AROUND = ("process", "target", "model", "sampler", "prior")
"""Roles that a grid may depend on: those of a run without its figures."""

Role = Annotated[str, typer.Argument(metavar="ROLE", help=f"One of {', '.join(ROLES)}.")]
Name = Annotated[str | None, typer.Argument(metavar="NAME", help="A name from `samplerhub list ROLE`.")]
Picture = Annotated[
    Path | None, typer.Option(metavar="FILE.png", help="Draw what the component shows over the noise level.")
]
Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON schema of its fields, and nothing else.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def show_command(arguments: Sequence[str], registry: Registry) -> Callable[..., None]:
    """Return the command with the options of the component, and of the run around it where it is a grid."""
    given = scan(arguments)
    if not given.positional or (given.help and len(given.positional) < 2):
        return _incomplete
    role, spelled = role_and_name(registry, "show", given.positional[0], *given.positional[1:2])
    grid = role == "grid"
    selection = _with_run(spelled, given, registry) if grid else select_one(role, spelled, given, registry)
    settings, around = (SETTINGS, AROUND) if grid else ({}, ())
    fields = FieldOptions(selection.chosen, [*OPTIONS, *map(_option, settings), *map(_option, around)])
    if not given.help:
        fields.check(given)
    asked = [(option, value) for option, value in given.options if option != "--picture"]

    def show(
        role: Role,
        name: Name = None,
        picture: Picture = None,
        schema: Schema = False,
        as_json: Json = False,
        **options: Any,
    ) -> None:
        numbers = {setting: options[setting] for setting in settings}
        config = RunConfig(**numbers).over(laid_over(selection.config, fields, given))
        subject = Subject(role, spelled, config, registry)
        if schema:
            subject.show_schema()
            return
        view = subject.view(must=bool(asked or picture or subject.read))
        if picture:
            subject.draw(view, picture)
        words = [word for option, value in asked for word in (option if grid else fields.full(option), str(value))]
        subject.show(view, words, picture, as_json)

    numbers = [parameter(setting, kind) for setting, kind in settings.items()]
    return extended(show, [*numbers, *(role_parameter(one, registry) for one in around), *field_parameters(fields)])


@dataclass(frozen=True)
class Subject:
    """The component that is shown, in the run around it."""

    role: str
    given: str
    """Its name, or a file that it reads."""
    config: RunConfig
    registry: Registry

    @property
    def read(self) -> bool:
        """Whether a file stands for its name."""
        return self.given in self.config.components[self.role].fields.values()

    @property
    def registered(self) -> Registered:
        """Where it comes from."""
        return self.registry.find(self.role, str(self.config.components[self.role].name))

    @property
    def component(self) -> type[BaseModel]:
        """Its class."""
        return self.registry.load(self.role, str(self.config.components[self.role].name))

    @property
    def command(self) -> list[str]:
        """The words of a command that uses it."""
        command = "train" if self.role == "trainer" else "run"
        name = self.given if self.read else self.registry.spelled(self.registered)
        return ["samplerhub", command, f"--{self.role}", name]

    def view(self, *, must: bool) -> View | str | None:
        """Return what it looks like; why that is not known, where nobody asked for it; None where there is nothing.

        Args:
            must: Whether options or a picture were asked for, so that what stands in the way is an error.
        """
        visible = self.role in ("grid", "process") or issubclass(self.component, LogSobolev)
        if not (visible or must):
            return None
        try:
            return self._view()
        except SamplerhubError as error:
            if must:
                raise
            return str(error)

    def _view(self) -> View | None:
        from samplerhub.cli import views

        name = self.registered.entry.name
        if self.role == "grid":
            experiment = assemble(self.config, self.registry)
            process = str(self.config.components["process"].name)
            return views.nodes(experiment.times, experiment.process, name, process)
        made = build(self.role, self.config.components[self.role], self.registry)
        if self.role == "process" and isinstance(made, ForwardProcess):
            return views.levels(made, name)
        return views.constants(made, name) if isinstance(made, LogSobolev) else None

    def draw(self, view: View | str | None, file: Path) -> None:
        """Write the picture.

        Raises:
            InvalidSetting: There is nothing to draw.
        """
        if view is None or isinstance(view, str):
            raise InvalidSetting(
                f"--picture {file}: there is nothing to draw of {self.role} {self.registered.entry.name!r}, only of "
                "grids, processes, and targets with a log-Sobolev constant"
            )
        view.draw(file)

    def show_schema(self) -> None:
        """Print the schema of its fields, for another program."""
        from samplerhub.cli import render

        render.machine_readable(json.dumps(self.component.model_json_schema(), indent=2))

    def example(self, view: View | str | None, words: Sequence[str]) -> tuple[str, str]:
        """Return a command that uses it, and what that needs which is not there; a grid has been in its run already."""
        if self.role == "grid":
            found = Example(needs=view if isinstance(view, str) else "")
        else:
            found = fitting(self.role, self.config, self.registry)
        return shlex.join([*self.command, *words, *found.words]), found.needs

    def show(self, view: View | str | None, words: Sequence[str], picture: Path | None, as_json: bool) -> None:
        """Print all there is to know about it.

        Args:
            view: What it looks like.
            words: The options that were given.
            picture: The picture that was drawn.
            as_json: Whether to print JSON.
        """
        from samplerhub.cli import render

        registered, (text, references) = self.registered, documentation(self.component)
        example, needs = self.example(view, words)
        if as_json:
            facts = {
                **facts_of(registered),
                "target": registered.entry.target,
                "documentation": text,
                "references": references,
                "bibtex": entries(references),
                "schema": self.component.model_json_schema(),
                "example": example,
                "example_needs": needs or None,
            }
            shown = {} if view is None or isinstance(view, str) else {view.key: view.facts()}
            render.machine_readable(json.dumps({**facts, **shown}, indent=2))
            return

        title = f"{self.role} {registered.entry.name}  ({registered.source}, {registered.entry.target})"
        render.lines([title, "", text])
        if references:
            render.lines(["", "References:", *(f"    {reference}" for reference in references)])
        fields = described(self.component, default_names(self.component, self.registry)).values()
        if fields:
            render.lines(["", "Options:"])
            render.definitions(
                (f"--{self.role}.{field.name} {field.type}", field.limits, field.help) for field in fields
            )
        if isinstance(view, str):
            render.lines(["", f"As it stands there are no numbers to show: {view}"])
        elif view is not None:
            view.show()
        if picture:
            render.lines(["", render.shown(picture)])
        if references:
            render.lines(
                ["", "BibTeX:", *(f"    {line}" for entry in entries(references) for line in entry.split("\n"))]
            )
        render.lines(["", "Example:", f"    {example}"])
        if needs and not isinstance(view, str):
            render.lines([f"    As it stands this does not run: {needs}"])


def _with_run(name: str, given: Scan, registry: Registry) -> Selection:
    """Return a grid, and what it may depend on: the run that it would be part of, without its figures."""
    run = Scan((("--grid", name), *given.options), (), given.help)
    selection = select_for_run(run, registry)
    chosen = tuple(one for one in selection.chosen if one.prefix.partition(".")[0] in ("grid", *AROUND))
    return Selection(selection.config.model_copy(update={"metrics": ()}), chosen)


def _incomplete(
    role: Role, name: Name = None, picture: Picture = None, schema: Schema = False, as_json: Json = False
) -> None:
    """Stand in where no component is named: for the help, and for what is said of a missing argument."""


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
