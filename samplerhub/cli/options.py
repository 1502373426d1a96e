"""The chosen components as options: a pure scan of the arguments, then a typer option for each field."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from pydantic import BaseModel, JsonValue

from samplerhub.cli.fields import described, value_of
from samplerhub.component import Imported, Part, held
from samplerhub.config import Choice, part_of
from samplerhub.errors import InvalidSetting, UnknownComponent
from samplerhub.plugin import ROLES
from samplerhub.registry import Registry, among, did_you_mean

FLAGS = ("--json", "--quiet", "--help")


@dataclass(frozen=True, slots=True)
class Scan:
    """What stands on the command line, before it is known which options there are."""

    options: tuple[tuple[str, str | None], ...]
    """Names and values; None where no value follows."""
    positional: tuple[str, ...]
    help: bool

    def values(self, option: str) -> list[str]:
        """Return the values given to an option, in order.

        Raises:
            InvalidSetting: It stands there without a value.
        """
        given = [value for name, value in self.options if name == option]
        if not all(given) and not self.help:
            raise InvalidSetting(f"{option} needs a value")
        return [value for value in given if value]

    def last(self, option: str) -> str | None:
        """Return the value given to an option last."""
        return next(reversed(self.values(option)), None)


def tidy(arguments: Iterable[str]) -> list[str]:
    """Return the arguments with hyphens for underscores in the names of options."""
    parts = [argument.partition("=") for argument in arguments]
    return [
        name.replace("_", "-") + equals + value if name.startswith("--") else name + equals + value
        for name, equals, value in parts
    ]


def scan(arguments: Sequence[str]) -> Scan:
    """Read the arguments of a command; every option but a few flags takes a value."""
    options, positional, rest = [], [], list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument in FLAGS:
            continue
        if argument.startswith("--"):
            name, equals, value = argument.partition("=")
            follows = bool(rest) and not rest[0].startswith("--")
            options.append((name, value if equals else rest.pop(0) if follows else None))
        elif argument.startswith("-") and len(argument) > 1:
            options.append((argument[:2], argument[2:] or (rest.pop(0) if rest else None)))
        else:
            positional.append(argument)
    return Scan(tuple(options), tuple(positional), "--help" in arguments)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A component of the run, with the words before its fields: ``sampler``, or ``metric.kl`` among several metrics."""

    role: str
    name: str
    component: type[BaseModel]
    prefix: str
    parts: Mapping[str, str] = field(default_factory=dict)
    """Names of the components that are its defaults, by field."""


@dataclass(frozen=True, slots=True)
class FieldOption:
    """An option that sets a field of a chosen component."""

    chosen: Chosen
    field: str

    @property
    def bare(self) -> str:
        """The short form, ``--order``."""
        return f"--{self.field.replace('_', '-')}"

    @property
    def part(self) -> bool:
        """Whether it chooses a component."""
        return self.field in held(self.chosen.component, Part)

    @property
    def imported(self) -> bool:
        """Whether it names a function to import."""
        return self.field in held(self.chosen.component, Imported)

    @property
    def long(self) -> str:
        """The full form, ``--sampler.order``."""
        return f"--{self.chosen.prefix}.{self.field.replace('_', '-')}"

    @property
    def parameter(self) -> str:
        """Its name as an argument of the command."""
        return f"{self.chosen.prefix}.{self.field}".replace(".", "__").replace("-", "_")


class FieldOptions:
    """The options of the chosen components: always the long form, the bare one where only one of them has the field."""

    def __init__(self, chosen: Sequence[Chosen], reserved: Iterable[str] = ()) -> None:
        self.options = [FieldOption(one, field) for one in chosen for field in described(one.component)]
        self._reserved = {*reserved, *(f"--{role}" for role in ROLES)}
        self._owners: dict[str, list[FieldOption]] = {}
        for option in self.options:
            if option.bare not in self._reserved:
                self._owners.setdefault(option.bare, []).append(option)

    @property
    def _bare(self) -> list[FieldOption]:
        """The options whose bare form is no one else's."""
        return [owners[0] for owners in self._owners.values() if len(owners) == 1]

    def check(self, given: Scan) -> None:
        """Raise `InvalidSetting` for an option that is ambiguous, or that none of the chosen components has."""
        known = self._reserved | {option.long for option in self.options} | self._owners.keys()
        for name, value in given.options:
            owners = self._owners.get(name, [])
            if len(owners) > 1:
                raise InvalidSetting(f"{name} is ambiguous: write {' or '.join(option.long for option in owners)}")
            if name not in known:
                raise InvalidSetting(self._unknown(name, known))
            if value is None:
                raise InvalidSetting(f"{name} needs a value")

    def parameters(self) -> list[inspect.Parameter]:
        """Return the options as parameters for typer, a help panel for each component."""
        short = [
            parameter(f"bare__{option.parameter}", str | None, typer.Option(option.bare, hidden=True))
            for option in self._bare
        ]
        return [*map(self._parameter, self.options), *short]

    def choice(self, values: Mapping[str, Any], prefix: str, name: str | None = None) -> Choice:
        """Return what was given for the fields of one component, and for those of its parts.

        Args:
            values: The command's parameters.
            prefix: The words before the component's fields.
            name: Its name.
        """
        fields: dict[str, JsonValue] = {}
        parts: dict[str, Choice] = {}
        imports: dict[str, str] = {}
        for option in self.options:
            if option.chosen.prefix != prefix:
                continue
            text = values.get(option.parameter)
            text = values.get(f"bare__{option.parameter}") if text is None else text
            if option.part and (text is None or text.lower() != "none"):
                part = self.choice(values, part_of(prefix, option.field), text)
                parts |= {option.field: part} if part != Choice() else {}
            elif option.imported and text is not None:
                imports[option.field] = text
            elif text is not None:
                fields[option.field] = value_of(text, option.chosen.component.model_fields[option.field])
        return Choice(name=name, fields=fields, parts=parts, imports=imports)

    def values(self, given: Scan) -> dict[str, str]:
        """Return the names of parts as the command's parameters, before typer has read them."""
        texts = {option.parameter: given.last(option.long) for option in self.options if option.part}
        bare = {f"bare__{option.parameter}": given.last(option.bare) for option in self._bare if option.part}
        return {parameter: text for parameter, text in {**texts, **bare}.items() if text is not None}

    def _unknown(self, name: str, known: Collection[str]) -> str:
        prefix = name.rpartition(".")[0]
        of_component = [option.long for option in self.options if option.long.startswith(f"{prefix}.")]
        if prefix and of_component:
            return f"no option {name}{among(name, of_component, 'there are')}"
        chosen = dict.fromkeys(f"{option.chosen.role} {option.chosen.name}" for option in self.options)
        hint = did_you_mean(name, known) or ";"
        return f"no option {name}{hint} options depend on the chosen components; with options are {', '.join(chosen)}"

    def _parameter(self, option: FieldOption) -> inspect.Parameter:
        text = described(option.chosen.component, option.chosen.parts)[option.field]
        info = typer.Option(
            option.long,
            help=escaped(f"{text.help} ({text.limits})"),
            metavar=text.type,
            rich_help_panel=f"{option.chosen.role} {option.chosen.name}",
            show_default=False,
        )
        return parameter(option.parameter, str | None, info)


def parameter(name: str, kind: Any, info: Any) -> inspect.Parameter:
    """Return an optional parameter of a command, None where it is not given."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, info])


def role_parameter(role: str, registry: Registry, otherwise: str = "none") -> inspect.Parameter:
    """Return the option that chooses a component, or several metrics."""
    try:
        default = registry.spelled(registry.default(role))
    except UnknownComponent:
        default = otherwise
    text = f"{ROLES[role][:1].upper()}{ROLES[role][1:]} (default: {default})."
    info = typer.Option(f"--{role}", metavar="NAME", help=text, rich_help_panel="Components")
    return parameter(role, list[str] | None if role == "metric" else str | None, info)


def extended(command: Callable[..., None], parameters: Iterable[inspect.Parameter]) -> Callable[..., None]:
    """Give a command parameters in place of its ``**options``: typer finds them in the signature."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    command.__signature__ = signature.replace(parameters=[*own, *parameters])  # type: ignore[attr-defined]
    return command


def escaped(text: str) -> str:
    """Return text in which brackets are brackets and not markup."""
    return text.replace("[", r"\[")
