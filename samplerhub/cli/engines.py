"""The engine that a command line asks for, with its fields as options like any other component's."""

from __future__ import annotations

from samplerhub.assembly import build
from samplerhub.cli.command import CHOICES
from samplerhub.cli.options import FieldOptions, Scan
from samplerhub.cli.selection import Selection, laid_over, select_for_run, select_one
from samplerhub.engine import Engine
from samplerhub.registry import Registry

ROLE = "engine"
WITH_ENGINE = (*CHOICES, ROLE)
"""What the options of a run choose that may be executed elsewhere."""

HERE = {ROLE: "this process"}


def select_with_engine(given: Scan, registry: Registry) -> Selection:
    """Return the components of a run, and the engine if one is named: it is no part of the run."""
    selection = select_for_run(given, registry)
    name = given.last(f"--{ROLE}")
    if name is None:
        return selection
    chosen = select_one(ROLE, name, given, registry).chosen
    return Selection(selection.config, (*selection.chosen, *chosen), selection.manifest)


def engine_of(given: Scan, registry: Registry, fields: FieldOptions | None = None) -> Engine | None:
    """Return the engine that is named, with its fields; None where none is.

    Args:
        given: The arguments.
        registry: What is installed.
        fields: The options that the arguments may have; by default those of the engine alone, so that any other is
            refused.
    """
    name = given.last(f"--{ROLE}")
    if name is None:
        return None
    selection = select_one(ROLE, name, given, registry)
    if fields is None:
        fields = FieldOptions(selection.chosen)
        fields.check(given)
    engine = build(ROLE, laid_over(selection.config, fields, given).components[ROLE], registry)
    assert isinstance(engine, Engine)
    return engine
