"""The chosen components as options: a pure scan of the arguments, and what each spelling of a field means."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, JsonValue

from samplerhub.cli.fields import described, is_boolean, value_of
from samplerhub.component import Imported, Part, held
from samplerhub.config import Choice, part_of
from samplerhub.deprecation import Formerly, formerly, tell_field
from samplerhub.errors import InvalidSetting
from samplerhub.explain import option as spelled
from samplerhub.plugin import ROLES
from samplerhub.registry import among, did_you_mean

FLAGS = ("--json", "--quiet", "--schema", "--dry-run", "--help")


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

    def within(self, where: str) -> Scan:
        """Return the options that begin with certain words, ``target``."""
        return Scan(tuple(o for o in self.options if o[0].startswith(f"--{where}.")), (), self.help)


def tidy(arguments: Iterable[str]) -> list[str]:
    """Return the arguments with hyphens for underscores in the names of options."""
    parts = [argument.partition("=") for argument in arguments]
    return [
        name.replace("_", "-") + equals + value if name.startswith("--") else name + equals + value
        for name, equals, value in parts
    ]


def begins_option(argument: str) -> bool:
    """Say whether an argument is an option, such as --json, -n or -n5, and not a value, such as -1 or -inf."""
    return argument.startswith("--") or re.fullmatch(r"-[a-z]\d*", argument) is not None


def scan(arguments: Sequence[str]) -> Scan:
    """Read the arguments of a command; every option but a few flags takes a value."""
    options, positional, rest = [], [], list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument in FLAGS:
            continue
        if argument.startswith("--"):
            name, equals, value = argument.partition("=")
            follows = bool(rest) and not begins_option(rest[0])
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
    words: tuple[str, ...] = ()
    """Other words that may stand before its fields: ``deis``, ``sampler.deis``."""
    together: tuple[str, ...] = ()
    """Words that mean it and others at once: ``precision-recall``."""


@dataclass(frozen=True, slots=True)
class FieldOption:
    """An option that sets a field of a chosen component."""

    chosen: Chosen
    field: str

    @property
    def part(self) -> bool:
        """Whether it chooses a component."""
        return self.field in held(self.chosen.component, Part)

    @property
    def imported(self) -> bool:
        """Whether it names a function to import."""
        return self.field in held(self.chosen.component, Imported)

    @property
    def boolean(self) -> bool:
        """Whether it may stand without a value, and is then true."""
        return is_boolean(self.chosen.component.model_fields[self.field])

    @property
    def long(self) -> str:
        """The full form, ``--sampler.order``."""
        return spelled(self.chosen.prefix, self.field)

    @property
    def spellings(self) -> Iterator[tuple[str, str]]:
        """All forms, the full one first and ``--order`` last, each with the words that tell whose field is meant."""
        for name in (self.field, *self.formerly):
            for where in (self.chosen.prefix, *self.chosen.words):
                yield spelled(where, name), self.chosen.prefix
            for where in self.chosen.together:
                yield spelled(where, name), where
            yield f"--{name.replace('_', '-')}", self.chosen.prefix

    @property
    def formerly(self) -> Mapping[str, Formerly]:
        """The old names of the field, with their marks."""
        return {old: mark for old, (name, mark) in formerly(self.chosen.component).items() if name == self.field}

    def tell_if_old(self, spelling: str) -> None:
        """Warn where a spelling has the field's old name."""
        mark = self.formerly.get(re.split(r"\.|--", spelling)[-1].replace("-", "_"))
        if mark is not None:
            tell_field(self.chosen.component, mark, self.field)


class FieldOptions:
    """The options of the chosen components: the full form, and every shorter one that only one of them answers to."""

    def __init__(self, chosen: Sequence[Chosen], reserved: Iterable[str] = ()) -> None:
        self.options = [FieldOption(one, field) for one in chosen for field in described(one.component)]
        self._reserved = {*reserved, *(f"--{role}" for role in ROLES)}
        taken = self._reserved | {option.long for option in self.options}
        self._meant: dict[str, dict[str, list[FieldOption]]] = {}
        for one in self.options:
            for spelling, whose in one.spellings:
                if spelling == one.long or spelling not in taken:
                    self._meant.setdefault(spelling, {}).setdefault(whose, []).append(one)

    @property
    def short(self) -> list[str]:
        """The spellings besides the full ones that mean something."""
        full = {option.long for option in self.options}
        return [name for name in self._meant if name not in full and self.meant(name)]

    def meant(self, spelling: str) -> list[FieldOption]:
        """Return the options that a spelling sets; none where it is unknown or ambiguous."""
        meanings = list(self._meant.get(spelling, {}).values())
        return meanings[0] if len(meanings) == 1 else []

    def full(self, spelling: str) -> str:
        """Return the full form of a spelling; the spelling itself where it means no field."""
        return next((option.long for option in self.meant(spelling)), spelling)

    def check(self, given: Scan) -> None:
        """Raise `InvalidSetting` for an option that is ambiguous, or that none of the chosen components has."""
        for name, value in given.options:
            if len(self._meant.get(name, {})) > 1:
                raise InvalidSetting(self._ambiguous(name))
            if name not in self._meant and name not in self._reserved:
                raise InvalidSetting(self._unknown(name, self._reserved | self._meant.keys()))
            meant = self.meant(name)
            if value is None and not (meant and all(option.boolean for option in meant)):
                raise InvalidSetting(f"{name} needs a value")

    def texts(self, given: Scan) -> dict[str, str]:
        """Return what is given for the fields, by the full forms; the last one given counts."""
        texts = {}
        for name, text in given.options:
            for option in self.meant(name):
                if text is not None or option.boolean:
                    option.tell_if_old(name)
                    texts[option.long] = "true" if text is None else text
        return texts

    def choice(self, texts: Mapping[str, str], prefix: str, name: str | None = None) -> Choice:
        """Return what was given for the fields of one component, and for those of its parts.

        Args:
            texts: What was given, by the full forms.
            prefix: The words before the component's fields.
            name: Its name.
        """
        fields: dict[str, JsonValue] = {}
        parts: dict[str, Choice] = {}
        imports: dict[str, str] = {}
        for option in self.options:
            if option.chosen.prefix != prefix:
                continue
            text = texts.get(option.long)
            if option.part and (text is None or text.lower() != "none"):
                part = self.choice(texts, part_of(prefix, option.field), text)
                parts |= {option.field: part} if part != Choice() else {}
            elif option.imported and text is not None:
                imports[option.field] = text
            elif text is not None:
                fields[option.field] = value_of(text, option.chosen.component.model_fields[option.field])
        return Choice(name=name, fields=fields, parts=parts, imports=imports)

    def _ambiguous(self, name: str) -> str:
        meant = [option for options in self._meant[name].values() for option in options]
        every = [f"{spelling} for all of them" for spelling in self.short if self.meant(spelling) == meant]
        return f"{name} is ambiguous: write {' or '.join([*(option.long for option in meant), *every[:1]])}"

    def _unknown(self, name: str, known: Collection[str]) -> str:
        prefix = f"{name.rpartition('.')[0]}."
        of_component = [spelling for option in self.options for spelling in self._within(prefix, option)]
        if of_component:
            return f"no option {name}{among(name, of_component, 'there are')}"
        chosen = dict.fromkeys(f"{option.chosen.role} {option.chosen.name}" for option in self.options)
        hint = did_you_mean(name, known) or ";"
        if not chosen:
            return f"no option {name}{hint} the chosen component has none"
        return f"no option {name}{hint} options depend on the chosen components; with options are {', '.join(chosen)}"

    @staticmethod
    def _within(prefix: str, option: FieldOption) -> list[str]:
        """Return the first spelling of an option that begins with the prefix, if one does."""
        return [spelling for spelling, _ in option.spellings if len(prefix) > 1 and spelling.startswith(prefix)][:1]
