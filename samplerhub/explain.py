"""What pydantic found wrong with a component's fields, in the words of the command line."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from samplerhub.registry import among

WANTED = {
    "bool_parsing": "true or false is expected",
    "bool_type": "true or false is expected",
    "float_parsing": "a number is expected",
    "float_type": "a number is expected",
    "int_from_float": "an integer is expected",
    "int_parsing": "an integer is expected",
    "int_type": "an integer is expected",
    "finite_number": "a finite number is expected",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "choose {expected}",
    "tuple_type": "values with commas between them are expected",
    "list_type": "values with commas between them are expected",
}
"""What is allowed, by pydantic's type of error; the rest speak for themselves."""


def option(prefix: str, field: str) -> str:
    """Return the long option that sets a field."""
    return f"--{prefix}.{field.replace('_', '-')}"


def explain(error: ValidationError, component: type[BaseModel], role: str, name: str, prefix: str = "") -> str:
    """Return a line for each thing wrong: the option, its value, what is allowed.

    Args:
        error: What pydantic found.
        component: The class whose fields they are.
        role: Its role.
        name: Its name.
        prefix: The words before its fields, ``model.base`` for a part; the role by default.
    """
    return "\n".join(dict.fromkeys(_line(d, component, role, name, prefix or role) for d in error.errors()))


def _line(detail: ErrorDetails, component: type[BaseModel], role: str, name: str, prefix: str) -> str:
    kind, where = detail["type"], detail["loc"]
    if not where:
        return f"--{prefix} {name}: {_said(detail)}"
    field = str(where[0])
    if kind == "extra_forbidden":
        hint = among(field, component.model_fields, "fields:")
        return f"{option(prefix, field)}: {role} {name!r} has no field {field!r}{hint}"
    if kind == "missing":
        return f"{option(prefix, field)}: {role} {name!r} needs it, and there is no default"
    inside = "".join(f"[{part}]" for part in where[1:] if isinstance(part, int))
    return f"{option(prefix, field)}{inside}: {detail['input']!s} is not allowed: {_said(detail)}"


def _said(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    if detail["type"] == "value_error":
        return str(context["error"])
    if detail["type"] in WANTED:
        return WANTED[detail["type"]].format(**{key: _plain(value) for key, value in context.items()})
    return detail["msg"][:1].lower() + detail["msg"][1:]


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
