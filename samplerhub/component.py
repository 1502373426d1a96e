"""A component is a frozen, validated record plus one method."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict


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

    def replace(self, **changes: object) -> Self:
        """Return a component like this one but for some fields, validated like any other."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


def summary(component: type) -> str:
    """Return the first line of a component's docstring."""
    return (inspect.getdoc(component) or "").partition("\n")[0]


def kebab(component: type) -> str:
    """Return the name of a class as it stands on a command line: ``EulerMaruyama`` gives ``euler-maruyama``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", component.__name__).lower()


def numbered(names: Sequence[str]) -> list[str]:
    """Return names that are all different: a second ``kl`` becomes ``kl-2``."""
    return [name if i == names.index(name) else f"{name}-{names[: i + 1].count(name)}" for i, name in enumerate(names)]
