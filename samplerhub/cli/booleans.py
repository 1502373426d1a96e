"""Options that are true where they stand without a value: ``--model.trust-pickle``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from samplerhub.cli.options import begins_option

if TYPE_CHECKING:
    import typer

BOOL = "BOOL"
"""How the values of such an option are called."""


def written_out(arguments: Sequence[str], app: typer.Typer) -> list[str]:
    """Return arguments in which the booleans that no value follows are true: typer gives every option a value."""
    booleans = set(_booleans(app))
    return [
        f"{argument}=true" if argument in booleans and (after is None or begins_option(after)) else argument
        for argument, after in zip(arguments, [*arguments[1:], None])
    ]


def _booleans(app: typer.Typer) -> Iterator[str]:
    """Yield the options of an application's commands that have the values BOOL."""
    for command in app.registered_commands:
        parameters = inspect.signature(command.callback).parameters if command.callback else {}
        for one in parameters.values():
            for info in getattr(one.annotation, "__metadata__", ()):
                if getattr(info, "metavar", None) == BOOL:
                    names = (info.default, *(info.param_decls or ()))  # the first name is where a default may be too
                    yield from (name for name in names if isinstance(name, str))
