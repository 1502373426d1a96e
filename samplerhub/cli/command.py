"""Commands whose options are components, their fields, and the settings of a run.

Such a command is a function of a `Line` and of options of its own. What it shares with ``run`` costs it nothing::

    def sweep(line: Line, as_json: Json = False) -> None:
        experiment = assemble(line.config, line.registry)

    def sweep_command(arguments, registry):
        return command(sweep, arguments, registry)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any

import typer

from samplerhub.cli.booleans import BOOL
from samplerhub.cli.fields import described
from samplerhub.cli.options import FieldOption, FieldOptions, Scan, scan
from samplerhub.cli.selection import Selection, laid_over, select_for_run
from samplerhub.cli.settings import RUN
from samplerhub.config import RUN_ROLES, SETTINGS, RunConfig
from samplerhub.errors import UnknownComponent
from samplerhub.plugin import ROLES
from samplerhub.registry import Registry

CHOICES = (*RUN_ROLES, "metric")
"""What the options of a run choose."""
OPTION = type(typer.Option())
Select = Callable[[Scan, Registry], Selection]


@dataclass(frozen=True, slots=True)
class Line:
    """What stands on a command line about components, and what it means."""

    given: Scan
    registry: Registry
    selection: Selection
    fields: FieldOptions
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings of the run."""

    @classmethod
    def read(
        cls,
        given: Scan,
        registry: Registry,
        select: Select = select_for_run,
        roles: Sequence[str] = CHOICES,
        reserved: Collection[str] = (),
    ) -> Line:
        """Find out which components are chosen and whether they have the options that are given.

        Args:
            given: The arguments.
            registry: What is installed.
            select: How the components are chosen.
            roles: Whose fields are options.
            reserved: Options that are not fields.
        """
        selection = select(given, registry)
        chosen = [one for one in selection.chosen if one.prefix.partition(".")[0] in roles]
        fields = FieldOptions(chosen, reserved)
        if not given.help:
            fields.check(given)
        return cls(given, registry, selection, fields)

    @property
    def config(self) -> RunConfig:
        """The run: what files say, with the command line on top."""
        return RunConfig(**self.settings).over(laid_over(self.selection.config, self.fields, self.given))


def command(
    body: Callable[..., None],
    arguments: Sequence[str],
    registry: Registry,
    *,
    select: Select = select_for_run,
    roles: Sequence[str] = CHOICES,
    shared: Mapping[str, Any] = RUN,
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> Callable[..., None]:
    """Return a command for typer: its own options, those that choose components, and the fields of the chosen ones.

    Args:
        body: What it does, given a `Line` and its own options.
        arguments: What follows the command's name.
        registry: What is installed.
        select: How the components are chosen.
        roles: What can be chosen.
        shared: The parameters that it shares with others, by name: those of `RUN` for a command about a run.
        defaults: What is said of roles that stay empty where nothing is chosen.
    """
    own = [one.replace(kind=one.KEYWORD_ONLY) for one in inspect.signature(body, eval_str=True).parameters.values()][1:]
    parameters = [*(parameter(name, kind) for name, kind in shared.items()), *own]
    always = (parameter(name, kind) for name, kind in RUN.items() if shared)  # mean the same in all of them, or nothing
    line = Line.read(scan(arguments), registry, select, roles, reserved=flags([*parameters, *always]))

    def filled(**options: Any) -> None:
        settings = {name: options[name] for name in shared if name in SETTINGS}
        body(replace(line, settings=settings), **{one.name: options[one.name] for one in own})

    choosing = (role_parameter(role, registry, defaults.get(role, "")) for role in roles)
    return extended(filled, [*parameters, *choosing, *field_parameters(line.fields)])


def flags(parameters: Iterable[inspect.Parameter]) -> set[str]:
    """Return how the options among a command's parameters are spelled."""
    found = set()
    for one in parameters:
        for info in one.annotation.__metadata__:
            if isinstance(info, OPTION):
                names = {name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)}
                found |= names or {f"--{one.name.replace('_', '-')}"}  # in Annotated, the first name is its default
    return found


def parameter(name: str, kind: Any) -> inspect.Parameter:
    """Return an optional parameter of a command, None where it is not given."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def role_parameter(role: str, registry: Registry, default: str = "") -> inspect.Parameter:
    """Return the option that chooses a component, or several metrics.

    Args:
        role: What it plays.
        registry: What is installed.
        default: What is taken where none is chosen, in words; by default what the registry says.
    """
    try:
        default = default or registry.spelled(registry.default(role))
    except UnknownComponent:
        default = "as the target suggests" if role in CHOICES else "none"
    text = f"{ROLES[role][:1].upper()}{ROLES[role][1:]} (default: {default})."
    info = typer.Option(f"--{role}", metavar="NAME", help=text, rich_help_panel="Components")
    return parameter(role, Annotated[list[str] | None, info] if role == "metric" else Annotated[str | None, info])


def field_parameters(fields: FieldOptions) -> list[inspect.Parameter]:
    """Return the fields as options, a help panel for each component; their shorter spellings are not in the help.

    typer only has to know them: their values are taken from the arguments, in the order in which they stand there.
    """
    long = [_field(option) for option in fields.options]
    bare = [name for name in fields.short if all(option.boolean for option in fields.meant(name))]
    short = {"short": [name for name in fields.short if name not in bare], BOOL: bare}
    return [*long, *(_hidden(metavar, names) for metavar, names in short.items() if names)]


def _hidden(metavar: str, names: Sequence[str]) -> inspect.Parameter:
    info = typer.Option(*names, hidden=True, metavar=metavar)
    return parameter(f"spelled__{metavar.lower()}", Annotated[str | None, info])


def _field(option: FieldOption) -> inspect.Parameter:
    text = described(option.chosen.component, option.chosen.parts)[option.field]
    info = typer.Option(
        option.long,
        help=f"{text.help} ({text.limits})".replace("[", r"\["),  # brackets, not markup
        metavar=BOOL if option.boolean else text.type,
        rich_help_panel=f"{option.chosen.role} {option.chosen.name}",
        show_default=False,
    )
    name = option.long.removeprefix("--").replace(".", "__").replace("-", "_")
    return parameter(f"field__{name}", Annotated[str | None, info])


def extended(function: Callable[..., None], parameters: Iterable[inspect.Parameter]) -> Callable[..., None]:
    """Give a function parameters in place of its ``**options``: typer finds them in the signature."""
    signature = inspect.signature(function, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    function.__signature__ = signature.replace(parameters=[*own, *parameters])  # type: ignore[attr-defined]
    return function
