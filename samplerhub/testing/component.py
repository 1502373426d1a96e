"""What holds for every component, whatever its role."""

from __future__ import annotations

import json

from pydantic import BaseModel, ValidationError

from samplerhub.component import held, summary


def check_component(component: type[BaseModel], said: str, **required: object) -> BaseModel:
    """Assert that a component is a frozen, documented record whose summary is `said`; return it with its defaults.

    Args:
        component: The class.
        said: Its summary.
        required: Values for fields that have no default.
    """
    assert summary(component) == said, f"the entry says {said!r}, the docstring {summary(component)!r}"
    assert said.endswith("."), "a summary is a sentence"
    for name, field in component.model_fields.items():
        assert field.description, f"field {name!r} has no string below it that says what it is"
    made = component.model_validate(required)
    objects = {name: getattr(made, name) for name in held(component)}
    plain = json.loads(made.model_dump_json(exclude=set(objects)))
    assert component.model_validate({**plain, **objects}) == made, "JSON and back gives another component"
    assert made.model_config.get("frozen"), "a component is frozen"
    try:
        component.model_validate({**required, "no_such_field": 1})
    except ValidationError:
        return made
    raise AssertionError("an unknown field is accepted")
