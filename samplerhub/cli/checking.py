"""The command ``check``: what a component promises, measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from samplerhub.assembly import build
from samplerhub.config import Choice
from samplerhub.errors import SamplerhubError
from samplerhub.registry import Registry

if TYPE_CHECKING:
    from samplerhub.testing import Finding


def check_one(registry: Registry, role: str, name: str, as_json: bool) -> None:
    """Show the findings of a component as they come, and exit with 1 where one fails."""
    from samplerhub.cli import render

    findings = []
    for finding in _findings(registry, role, name):
        findings.append(finding)
        if not as_json:
            render.finding(finding.passed, finding.check, finding.about, finding.expected, finding.measured)
    failed = sum(not finding.passed for finding in findings)
    if as_json:
        render.machine_readable(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        render.lines(["", f"{role} {name}: {len(findings) - failed} of {len(findings)} checks hold"])
    if failed:
        raise typer.Exit(1)


def _findings(registry: Registry, role: str, name: str) -> Iterator[Finding]:
    """Yield the findings of a component: those of its record, then those of its role, on all registered processes."""
    from samplerhub import testing

    entry = registry.find(role, name).entry
    component = registry.load(role, name)
    yield testing.holds("record", "", "kept", partial(testing.check_component, component, entry.summary))
    made: Any = build(role, Choice(name=name), registry)
    processes = _defaults(registry, "process")
    targets: dict[str, Any] = _defaults(registry, "target")
    if role == "sampler":
        yield from testing.check_sampler(made, processes)
        return
    checks: dict[str, Callable[[], None]] = {}
    if role == "process":
        checks = {"": partial(testing.check_process, made)}
    elif role == "target":
        checks = {"": partial(testing.check_target, made)}
    elif role == "model":
        cases = testing.made_for_each(made, targets)
        checks = {about: partial(testing.check_model, model, shape) for about, model, shape in cases}
    elif role == "grid":
        checks = {about: partial(testing.check_grid, made, process) for about, process in processes.items()}
    elif role == "prior":
        checks = {about: partial(testing.check_prior, made, process) for about, process in processes.items()}
    elif role == "metric":
        checks = {
            about: partial(testing.check_metric, made, target)
            for about, target in targets.items()
            if testing.suits(made, target)
        }
    elif role == "features":
        checks = {about: partial(testing.check_features, made, target) for about, target in targets.items()}
    for about, check in checks.items():
        yield testing.holds(role, about, "kept", check)


def _defaults(registry: Registry, role: str) -> dict[str, Any]:
    """Return every component of a role that can be made without arguments, by name."""
    made = {}
    for name in map(registry.spelled, registry.entries(role)):
        try:
            made[name] = build(role, Choice(name=name), registry)
        except SamplerhubError:
            continue
    return made
