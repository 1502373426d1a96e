"""What holds for every component, whatever its role."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ValidationError

from samplerhub.capabilities import PLAYERS
from samplerhub.component import held, summary
from samplerhub.testing.check import Case, Finding, NotApplicable, NotKept, check, examine, kept, require


@dataclass(frozen=True)
class Record:
    """A class, what its entry says of it, and values for the fields that have no default."""

    component: type[BaseModel]
    said: str
    role: str = ""
    required: Mapping[str, object] = field(default_factory=dict)

    def made(self) -> BaseModel:
        """Return it with its defaults."""
        missing = [name for name, f in self.component.model_fields.items() if f.is_required()]
        if missing := [name for name in missing if name not in self.required]:
            raise NotApplicable(f"cannot be made without {', '.join(missing)}")
        return self.component.model_validate(dict(self.required))


@check("component-summary", "the entry was written first and the docstring changed later, or the other way round")
def said(case: Record) -> None:
    """The summary of the entry is the first line of the class's docstring, and a sentence.

    `samplerhub list` shows the one without importing the component, `samplerhub show` the other.
    """
    line = summary(case.component) if "__doc__" in vars(case.component) else ""
    require(line, f"{case.component.__name__} has no docstring of its own")
    require(line == case.said, f"the entry says {case.said!r}, the docstring {line!r}")
    require(line.endswith("."), f"{line!r} does not end with a full stop")


@check("component-fields", "a comment beside the field instead of a string below it")
def described(case: Record) -> None:
    """Every field has a string below it that says what it is.

    That string is its help on the command line, and the only one.
    """
    bare = [name for name, f in case.component.model_fields.items() if not f.description]
    require(not bare, f"no string below {', '.join(bare)}")


@check("component-frozen", "a BaseModel of its own instead of samplerhub.Component")
def frozen(case: Record) -> None:
    """Its fields cannot be assigned.

    A run is described by the fields of its components; one that changes on the way is not the one that is described.
    """
    require(case.component.model_config.get("frozen"), "model_config has no frozen = True")


@check("component-strict", "model_config with extra = 'allow' or 'ignore'")
def strict(case: Record) -> None:
    """A field that it does not have is refused.

    A misspelt option that is taken silently gives figures of another experiment.
    """
    case.made()
    try:
        case.component.model_validate({**case.required, "no_such_field": 1})
    except ValidationError:
        return
    raise NotKept("no_such_field = 1 is accepted")


@check("component-json", "a field of a type that JSON has not, without a serialiser")
def json_and_back(case: Record) -> None:
    """Written as JSON and read again it is the same component.

    A manifest is JSON, and `samplerhub run --from` makes the run again from it.
    """
    made = case.made()
    objects = {name: getattr(made, name) for name in held(case.component)}
    plain = json.loads(made.model_dump_json(exclude=set(objects)))
    again = case.component.model_validate({**plain, **objects})
    require(again == made, f"{made!r} became {again!r}")


@check("component-role", "a method of another name, or a role that it was not written for")
def plays(case: Record) -> None:
    """It has the members of its role.

    Everything that takes a component of the role calls them.
    """
    if not case.role:
        raise NotApplicable("no role was named")
    made, kinds = case.made(), PLAYERS[case.role]
    expected = " or ".join(kind.__name__ for kind in kinds)
    require(isinstance(made, kinds), f"{type(made).__name__} has {', '.join(_public(made))}", f"a {expected}")


CHECKS = (said, described, frozen, strict, json_and_back, plays)


def check_component(component: type[BaseModel], said: str, role: str = "", **required: object) -> list[Finding]:
    """Check that a class is a frozen, documented record whose summary is `said`, and plays its role.

    Args:
        component: The class.
        said: Its summary.
        role: What it plays, one of `samplerhub.ROLES`; empty for a record that plays none.
        required: Values for fields that have no default.

    Raises:
        NotKept: Something does not hold.
    """
    return kept(examine(CHECKS, [Case("", Record(component, said, role, required))]))


def _public(made: BaseModel) -> list[str]:
    names = [n for n in vars(type(made)) if not n.startswith("_") or n == "__call__"]
    return [n for n in names if inspect.isroutine(getattr(type(made), n, None))] or ["no methods"]
