"""Old names: they work for one minor release more, and say what the name is now and when they go away.

* a name in Python: an item of `MOVED`
* a component: ``Entry(..., deprecated=(("old-name", "0.3"),))``
* a field: ``order: Annotated[int, Formerly("degree", "0.3")] = 3``
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

MOVED: Mapping[str, tuple[str, str]] = {}
"""Old names in Python, "samplerhub.old": what they are now, "samplerhub.new", and the version that has them no more."""


class OldName(FutureWarning):
    """A component or a field was called by a name that it has no more: for whoever typed it, shown as one line."""


@dataclass(frozen=True, slots=True)
class Formerly:
    """Marks a field that had another name: ``order: Annotated[int, Formerly("degree", "0.3")] = 3``.

    The old name is accepted, with a warning, wherever the new one is: in Python, on the command line, in files.
    """

    name: str
    """The old name."""
    until: str
    """The version of its distribution that does not accept it any more."""


def moved(module: str, name: str) -> object:
    """Return what an old name of a module stands for, with a warning; for the module's own ``__getattr__``.

    Raises:
        AttributeError: It is no old name.
    """
    old = f"{module}.{name}"
    if old not in MOVED:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    new, until = MOVED[old]
    warnings.warn(f"{old} is now {new}; the old name goes away in samplerhub {until}", DeprecationWarning, stacklevel=3)
    home, _, attribute = new.rpartition(".")
    return getattr(import_module(home), attribute)


def tell(what: str, old: str, new: str, until: str, stacklevel: int = 3) -> None:
    """Warn that something was called by an old name."""
    message = f"{what} {old!r} is now {new!r}; the old name goes away in {until}"
    warnings.warn(message, OldName, stacklevel=stacklevel)


def formerly(component: type[BaseModel]) -> dict[str, tuple[str, Formerly]]:
    """Return the old names of a component's fields: what the field is called now, and the mark."""
    fields = component.model_fields.items()
    return {m.name: (name, m) for name, field in fields for m in field.metadata if isinstance(m, Formerly)}


def renewed(component: type[BaseModel], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a component by the names that they have now, with a warning for each old one."""
    old_names = formerly(component) if data.keys() - component.model_fields.keys() else {}
    fields = {}
    for given, value in data.items():
        name, mark = old_names.get(given, (given, None))
        if mark is None or name in data:  # both were given: the old one is refused as any unknown field is
            fields[given] = value
        else:
            tell_field(component, mark, name)
            fields[name] = value
    return fields


def tell_field(component: type[BaseModel], mark: Formerly, name: str) -> None:
    """Warn that a field was called by its old name."""
    package = component.__module__.partition(".")[0]
    distribution = next(iter(metadata.packages_distributions().get(package, [])), "version")
    tell(f"field of {component.__name__}", mark.name, name, f"{distribution} {mark.until}", stacklevel=5)
