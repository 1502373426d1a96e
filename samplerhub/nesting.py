"""Components made of components: which parts a choice has, by name, down to the last.

In a file a part is a name, or a table with a name and fields; in Python it is an object, and so is a default. All of
them become choices here, so that everything after deals with names alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, JsonValue

from samplerhub.component import Part, held
from samplerhub.config import Choice, RunConfig, choice_of, part_of
from samplerhub.deprecation import renewed
from samplerhub.registry import Registry
from samplerhub.shorthand import read_from_file


def with_parts(role: str, choice: Choice, registry: Registry, *, defaults: bool = True, where: str = "") -> Choice:
    """Return a choice whose parts are choices, with their names, down to the last.

    Args:
        role: What it plays.
        choice: A choice with a name.
        registry: What is installed.
        defaults: Whether parts that are left open are named, from the defaults of the fields.
        where: The words before its fields, ``model.base`` for a part; the role by default.

    Raises:
        InvalidSetting: Something else than a name or a table stands for a part.
    """
    where = where or role
    component = registry.load(role, str(choice.name))
    fields, parts = renewed(component, choice.fields), renewed(component, choice.parts)
    for field, mark in held(component, Part).items():
        part = parts.pop(field, Choice())
        if field in fields and fields[field] is not None:
            part = part.over(choice_of(fields.pop(field), part_of(where, field)))
        if part.name is None and defaults and field not in fields:
            part = part.over(_default(component, field, mark.role, registry))
        if part.name is not None:
            fields.pop(field, None)
            part = read_from_file(mark.role, part, registry)
            parts[field] = with_parts(mark.role, part, registry, defaults=defaults, where=part_of(where, field))
        elif part != Choice():
            parts[field] = part
    return choice.model_copy(update={"fields": fields, "parts": parts})


def with_all_parts(config: RunConfig, registry: Registry, *, defaults: bool = True) -> RunConfig:
    """Return a run whose components are choices down to the last part; those without a name are left alone."""

    def written(role: str, choice: Choice) -> Choice:
        return choice if choice.name is None else with_parts(role, choice, registry, defaults=defaults)

    components = {role: written(role, choice) for role, choice in config.components.items()}
    metrics = None if config.metrics is None else tuple(written("metric", metric) for metric in config.metrics)
    return config.model_copy(update={"components": components, "metrics": metrics})


def members(registry: Registry, role: str, choice: Choice, where: str) -> Iterator[tuple[str, Choice, str]]:
    """Yield a choice and all its parts: the role, the choice, and the words before its fields."""
    yield role, choice, where
    marks = held(registry.load(role, str(choice.name)), Part)
    for field, part in choice.parts.items():
        if field in marks and part.name is not None:
            yield from members(registry, marks[field].role, part, part_of(where, field))


def default_names(component: type[BaseModel], registry: Registry) -> dict[str, str]:
    """Return what the parts that have defaults are called, by field."""
    chosen = {field: _default(component, field, mark.role, registry) for field, mark in held(component, Part).items()}
    return {field: choice.name for field, choice in chosen.items() if choice.name is not None}


def _default(component: type[BaseModel], field: str, role: str, registry: Registry) -> Choice:
    """Return the default of a part as a choice; an empty one where there is none, or no plugin offers it."""
    info = component.model_fields[field]
    made = None if info.is_required() else info.get_default(call_default_factory=True, validated_data={})
    return _chosen(role, made, registry)


def _chosen(role: str, made: object, registry: Registry) -> Choice:
    name = registry.name_of(role, type(made))
    if name is None or not isinstance(made, BaseModel):
        return Choice(name=name)
    marks = held(type(made), Part)
    fields: dict[str, JsonValue] = made.model_dump(mode="json", exclude=set(marks), exclude_defaults=True)
    return Choice(
        name=name,
        fields=fields,
        parts={f: _chosen(mark.role, getattr(made, f), registry) for f, mark in marks.items()},
    )
