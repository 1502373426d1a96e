"""Which rows of a table are wanted, and in which order: ``--where "nfe<=10"``, ``--sort kl``."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from samplerhub.errors import InvalidSetting
from samplerhub.sweep.flat import Row, names_of
from samplerhub.wording import among

CONDITION = re.compile(r"\s*([\w.-]+?)\s*(<=|>=|!=|==|=|<|>)\s*(.*?)\s*")
ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """What a column has to be."""

    text: str
    name: str
    relation: str
    wanted: str

    @classmethod
    def of(cls, text: str) -> Condition:
        """Return the condition that a text means.

        Raises:
            InvalidSetting: It means none.
        """
        found = CONDITION.fullmatch(text)
        if found is None:
            raise InvalidSetting(
                f"--where {text!r} is no condition: write NAME=VALUE, NAME=ONE,OTHER, NAME!=VALUE, or 'NAME<=NUMBER' "
                "with <, <=, > or >=, in quotes"
            )
        name, relation, wanted = found.groups()
        if relation in ORDERS and _number(wanted) is None:
            raise InvalidSetting(f"--where {text!r}: {wanted!r} is no number, which {relation} needs")
        return cls(text, name, "=" if relation == "==" else relation, wanted)

    def holds(self, row: Row) -> bool:
        """Say whether a row is wanted."""
        value = row.get(self.name)
        if self.relation in ORDERS:
            limit = _number(self.wanted)
            return (number := _number(value)) is not None and limit is not None and ORDERS[self.relation](number, limit)
        return (self.relation == "=") == any(_is(value, one) for one in _alternatives(self.wanted))


def wanted(found: Sequence[Row], conditions: Sequence[Condition]) -> list[Row]:
    """Return the rows for which all conditions hold.

    Raises:
        InvalidSetting: No row has what a condition is about.
    """
    for condition in conditions:
        known(condition.name, found, said := f"--where {condition.text!r}")
        if condition.relation in ORDERS and found and all(_number(row.get(condition.name)) is None for row in found):
            raise InvalidSetting(f"{said}: no {condition.name} is a number, which {condition.relation} needs")
    return [row for row in found if all(condition.holds(row) for condition in conditions)]


def known(name: str, found: Sequence[Row], said: str) -> None:
    """Make sure that a name stands for something in some row.

    Raises:
        InvalidSetting: It does not.
    """
    if found and all(name not in row.cells for row in found) and all(row.get(name) is None for row in found):
        raise InvalidSetting(f"{said}: nothing here is called {name!r}{among(name, names_of(found))}")


def in_order(found: Sequence[Row], names: Sequence[str], reverse: bool = False) -> list[Row]:
    """Return the rows sorted by columns: metrics the best first, and last what has no value."""
    result = list(found)
    for name in reversed(names):
        there = [row for row in result if _has(row, name)]
        there.sort(key=lambda row: _key(row, name), reverse=reverse)
        result = there + [row for row in result if not _has(row, name)]
    return result


def _has(row: Row, name: str) -> bool:
    value = row.get(name)
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _key(row: Row, name: str) -> tuple[bool, float, str]:
    if name in row.group.figures:
        return False, row.group.figures[name].key()[1], ""
    value = row.get(name)
    number = _number(value)
    return (True, 0.0, _text(value)) if number is None else (False, number, "")


def _alternatives(wanted: str) -> list[str]:
    """Return what a value may be: the texts between commas, the whole text, and lists in brackets."""
    return [wanted, *(one.strip() for one in wanted.split(",")), *re.findall(r"\[[^\[\]]*\]", wanted)]


def _is(value: JsonValue, text: str) -> bool:
    one, other = _number(value), _number(text)
    if one is None or other is None:
        return _text(value) == text or ((items := _items(value)) is not None and items == _items(text))
    return one == other


def _items(value: JsonValue) -> list[JsonValue] | None:
    """Return the items of a list, which may be written with brackets or without; None where it is no list."""
    if isinstance(value, str) and ("," in value or value.startswith("[")):
        inner = value.strip().removeprefix("[").removesuffix("]")
        value = [one.strip().strip("\"'") for one in inner.split(",")]
    if not isinstance(value, list):
        return None
    numbers = [_number(one) for one in value]
    return [one if number is None else number for one, number in zip(value, numbers)]


def _number(value: JsonValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def conditions_of(texts: Iterable[str]) -> list[Condition]:
    """Return the conditions that texts mean."""
    return [Condition.of(text) for text in texts]
