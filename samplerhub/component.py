"""A component is a frozen, validated record plus one method; its fields may hold other components."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from samplerhub.deprecation import renewed


class Component(BaseModel):
    """A frozen, validated record: its fields are its arguments, its options and its entry in the manifest.

    A field is documented by the string below it, and that text is also its help on the command line.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _by_old_names(cls, data: object) -> object:
        """Fields may be given by the names that they had before."""
        return renewed(cls, data) if isinstance(data, Mapping) else data

    def replace(self, **changes: object) -> Self:
        """Return a component like this one but for some fields, validated like any other."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


class Held:
    """Marks a field that holds an object instead of data: it is checked with isinstance and kept as it is."""

    def accepts(self, value: object, kinds: tuple[Any, ...]) -> bool:
        """Say whether the object may stand in the field, `kinds` being the members of its annotation."""
        return isinstance(value, kinds) and not isinstance(value, type)

    def refusal(self, value: object, kinds: tuple[Any, ...]) -> str:
        """Return what is said of an object that may not."""
        return f"{' or '.join(kind.__name__ for kind in kinds)} is expected, not {type(value).__name__}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the object; written out, it is what `described_as` says."""
        kinds = get_args(source) or (source,)

        def check(value: object) -> object:
            if not self.accepts(value, kinds):
                raise ValueError(self.refusal(value, kinds))
            return value

        written = core_schema.plain_serializer_function_ser_schema(described_as)
        return core_schema.no_info_plain_validator_function(check, serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema of what stands for the object in a file."""
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class Part(Held):
    """Marks a field that holds a component: ``base: Annotated[ScoreModel | FromTarget, Part("model")]``.

    From Python it takes an object. On the command line ``--model.base NAME`` chooses it and ``--model.base.FIELD`` sets
    its fields; in an experiment file it is a name, or a table with a name and fields.
    """

    role: str
    """What it plays, one of `samplerhub.ROLES`."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema of a name, or of a table with a name and fields."""
        table = {"type": "object", "properties": {"name": {"type": "string"}}}
        return {"anyOf": [{"type": "string"}, table], "role": self.role}


@dataclass(frozen=True, slots=True)
class Imported(Held):
    """Marks a field that holds a function: ``function: Annotated[Callable[..., Tensor], Imported()]``.

    From Python it takes the function. On the command line it is written ``package.module:attribute``, and that is the
    only place from which it is imported: no experiment file and no manifest can have code imported.
    """

    def accepts(self, value: object, kinds: tuple[Any, ...]) -> bool:
        """Say whether it can be called."""
        return callable(value)

    def refusal(self, value: object, kinds: tuple[Any, ...]) -> str:
        """Return what to do about it."""
        return "a function is expected; one is imported on the command line's word alone, from module:attribute"


def described_as(value: object) -> object:
    """Return what can be written of an object: where it comes from, and its fields if it is a record."""
    if value is None:
        return None
    if isinstance(value, BaseModel):
        return {"target": target_of(type(value)), "fields": value.model_dump(mode="json")}
    return target_of(value if inspect.isroutine(value) else type(value))


def target_of(thing: Any) -> str:
    """Return where a class or a function is, "module:name"."""
    return f"{thing.__module__}:{thing.__qualname__}"


def held(component: type, kind: type[Held] = Held) -> Mapping[str, Any]:
    """Return the fields of a component that hold objects instead of data, each with its mark."""
    if not issubclass(component, BaseModel):
        return {}
    marks = {name: [m for m in field.metadata if isinstance(m, kind)] for name, field in component.model_fields.items()}
    return {name: found[0] for name, found in marks.items() if found}


def parts(component: object) -> dict[str, Any]:
    """Return the components that a component is made of, by field; fields that are None are left out."""
    found = {name: getattr(component, name) for name in held(type(component), Part)}
    return {name: part for name, part in found.items() if part is not None}


def all_parts(components: Iterable[object]) -> Iterator[object]:
    """Yield components, their parts, the parts of these and so on; None is left out."""
    for component in components:
        if component is not None:
            yield component
            yield from all_parts(parts(component).values())


def with_parts(component: Any, change: Callable[[Any], object]) -> Any:
    """Return a component with `change` applied to each of its parts; the same object where nothing changes."""
    changed = {name: new for name, part in parts(component).items() if (new := change(part)) is not part}
    return component.model_validate({**dict(component), **changed}) if changed else component


def summary(component: type) -> str:
    """Return the first line of a component's docstring."""
    return (inspect.getdoc(component) or "").partition("\n")[0]


def kebab(component: type) -> str:
    """Return the name of a class as it stands on a command line: ``EulerMaruyama`` gives ``euler-maruyama``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", component.__name__).lower()


def numbered(names: Sequence[str]) -> list[str]:
    """Return names that are all different: a second ``kl`` becomes ``kl-2``."""
    return [name if i == names.index(name) else f"{name}-{names[: i + 1].count(name)}" for i, name in enumerate(names)]
