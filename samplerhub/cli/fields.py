"""The fields of a component as a user meets them: type, range, default and help in words, and values from text."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

from samplerhub.component import Imported, Part, kebab

PLAIN = {int: "INT", float: "FLOAT", str: "TEXT", bool: "BOOL", Path: "PATH", type(None): "none"}
SEQUENCES = (tuple, list, Sequence)


@dataclass(frozen=True, slots=True)
class FieldText:
    """What is said of a field."""

    name: str
    """As on the command line, with hyphens."""
    type: str
    default: str | None
    """As one would type it; None where there is no default."""
    range: str
    """What is allowed, in words, or nothing."""
    help: str

    @property
    def limits(self) -> str:
        """Default and range in one phrase."""
        default = "required" if self.default is None else f"default: {self.default}"
        return f"{default}; {self.range}" if self.range else default


def described(component: type[BaseModel], parts: Mapping[str, str] = MappingProxyType({})) -> dict[str, FieldText]:
    """Return what is said of each field, the component's own before those that it inherits.

    Args:
        component: The class.
        parts: Names of the components that are its defaults, by field.
    """
    own = inspect.get_annotations(component)
    fields = sorted(component.model_fields.items(), key=lambda item: item[0] not in own)
    return {name: _described(name, info, parts.get(name)) for name, info in fields}


def value_of(text: str, info: FieldInfo) -> JsonValue:
    """Return the value that a text on the command line stands for; pydantic does the rest.

    ``none`` is None where that is allowed, brackets are JSON, and commas separate the items of a sequence.
    """
    members = _members(info.annotation)
    if text.lower() == "none" and type(None) in members:
        return None
    if text[:1] in "[{" and text:
        return _json(text)
    if is_sequence(info):
        scalar = any(member in PLAIN and member is not type(None) for member in members)
        if "," in text or not scalar:
            items = _json(f"[{text}]")
            return items if isinstance(items, list) else [part.strip() for part in text.split(",")]
    return text


def is_sequence(info: FieldInfo) -> bool:
    """Say whether a value of a field is, or may be, several."""
    return any(get_origin(member) in SEQUENCES or member in SEQUENCES for member in _members(info.annotation))


def is_boolean(info: FieldInfo) -> bool:
    """Say whether a field is true or false: on the command line it may stand without a value, and is then true."""
    return [member for member in _members(info.annotation) if member is not type(None)] == [bool]


def _json(text: str) -> JsonValue:
    try:
        return json.loads(text)  # type: ignore[no-any-return]
    except ValueError:
        return text


def _described(name: str, info: FieldInfo, part: str | None) -> FieldText:
    default = None if info.is_required() else _typed(info.get_default(call_default_factory=True, validated_data={}))
    kinds = {Part: "NAME", Imported: "MODULE:NAME"}
    held = [text for mark in info.metadata for kind, text in kinds.items() if isinstance(mark, kind)]
    return FieldText(
        name.replace("_", "-"),
        held[0] if held else "|".join(dict.fromkeys(_type(member) for member in _members(info.annotation))),
        part or default,
        _range(info),
        " ".join((info.description or "").split()),
    )


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if annotation in PLAIN:
        return PLAIN[annotation]
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    items = [_type(item) for item in get_args(annotation) if item is not Ellipsis]
    if get_origin(annotation) in SEQUENCES and all(item in PLAIN.values() for item in items):
        return ",".join(items) if Ellipsis not in get_args(annotation) and len(items) > 1 else f"{items[0]},..."
    return "JSON"


def _typed(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return kebab(type(value))
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list | tuple):
        flat = not any(isinstance(item, list | tuple) for item in value)
        return ",".join(_typed(item) for item in value) if flat else json.dumps(value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _range(info: FieldInfo) -> str:
    """Return the bounds among a field's constraints in words."""
    kinds = {"ge": Ge, "gt": Gt, "le": Le, "lt": Lt}
    bounds = {
        name: _typed(getattr(item, name))
        for item in info.metadata
        for name, kind in kinds.items()
        if isinstance(item, kind)
    }
    if {"ge", "le"} <= bounds.keys():
        return f"{bounds['ge']} to {bounds['le']}"
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    return ", ".join(f"{words[kind]} {bound}" for kind, bound in bounds.items())
