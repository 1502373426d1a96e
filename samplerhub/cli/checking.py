"""The command ``check``: what a component promises, measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from samplerhub.errors import InvalidSetting, UnusableFile
from samplerhub.files import write_text
from samplerhub.plugin import ROLES
from samplerhub.protocols import Progress
from samplerhub.registry import Registry

if TYPE_CHECKING:
    from samplerhub.testing import Finding, Kit, Report

SHOWN = 5
"""Failures of a component that are shown at length; often they are the same one on many processes."""


def check_components(
    registry: Registry,
    role: str | None,
    name: str | None,
    everything: bool,
    on: Sequence[str] = (),
    as_json: bool = False,
    out: Path | None = None,
) -> None:
    """Check one component, all of a role, or all that there are; exit with 1 where something does not hold."""
    from samplerhub.cli import render
    from samplerhub.testing import Kit
    from samplerhub.testing.report import as_json as plain

    chosen = _chosen(registry, role, name, everything)
    kit = Kit(registry, on)
    reports: list[Report] = []
    if not everything:
        _check_on(kit, chosen[0][0])
    if out is not None:
        _writable(out)
    for i, (one, called) in enumerate(chosen):
        with render.progress(f"{one} {called}", quiet=not sys.stderr.isatty()) as observe:
            made = 0

            def count(finding: Finding, i: int = i) -> None:
                nonlocal made
                made += 1
                observe(Progress(i, len(chosen), f"{made} {finding.check} {finding.about}"))

            report = kit.check(one, called, count)
        reports.append(report)
        if not as_json:
            _show(report, in_full=len(chosen) == 1)
    text = json.dumps(plain(reports), indent=2)
    if as_json:
        render.machine_readable(text)
    elif len(chosen) > 1:
        render.lines(["", _total(reports)])
    if out is not None:
        write_text(out, text + "\n")
    if any(report.state == "failed" for report in reports):
        raise typer.Exit(1)


def _check_on(kit: Kit, role: str) -> None:
    """Refuse names that mean nothing for the role.

    Raises:
        InvalidSetting: There is one.
    """
    from samplerhub.testing.kit import TRIED_ON

    for name in kit.named_in_vain(role):
        kinds = " and a ".join(TRIED_ON[role])
        why = f"role {role} is tried on a {kinds}, and that is none" if kinds else f"role {role} is tried by itself"
        raise InvalidSetting(f"--on {name}: {why}; leave it out")


def _writable(out: Path) -> None:
    """Make the folder of a report, before minutes are spent on what is in it.

    Raises:
        UnusableFile: It cannot be made, or the report's name is that of a folder.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableFile(f"cannot write {out}: {error.strerror or error}; name another file with --out") from error
    if out.is_dir():
        raise UnusableFile(f"--out {out} is a folder: name a file in it, as in {out / 'report.json'}")


def _chosen(registry: Registry, role: str | None, name: str | None, everything: bool) -> list[tuple[str, str]]:
    """Return role and name of what is to be checked.

    Raises:
        InvalidSetting: Nothing is named, or both something and everything.
    """
    from samplerhub.cli.listing import role_and_name
    from samplerhub.testing.kit import named

    if everything and (role or name):
        raise InvalidSetting(f"--all checks every component: leave out {role or name!r}, or --all")
    if everything:
        return named(registry)
    if role is None:
        raise InvalidSetting(f"Missing argument 'ROLE': one of {', '.join(ROLES)}, or --all for every component")
    if name is None and role in ROLES:
        return named(registry, role)
    if name is None and not any(r.entry.name == role for one in ROLES for r in registry.entries(one)):
        registry.entries(role)  # says that there is no such role, and which there are
    one, called = role_and_name(registry, "check", role, name)
    return [(one, registry.spelled(registry.find(one, called)))]


def _show(report: Report, in_full: bool) -> None:
    """Print a line for each check and what it found, or a line for the component; failures at length in both."""
    from samplerhub.cli import render

    if in_full:
        by_check: dict[str, list[Finding]] = {}
        for finding in report.findings:
            by_check.setdefault(finding.check, []).append(finding)
        for check, findings in by_check.items():
            render.outcome(_state(findings), f"{check:<22}", _outcome(findings))
    for failure in report.failures[:SHOWN]:
        render.lines(["", *str(failure).splitlines()])
    if len(report.failures) > SHOWN:
        render.lines(["", f"... and {len(report.failures) - SHOWN} more failures: see --json"])
    if in_full:
        render.lines(["", report.summary])
    else:
        render.outcome(report.state, report.summary, f"({report.distribution} {report.version})")


def _state(findings: Sequence[Finding]) -> str:
    states = {finding.state for finding in findings}
    return next(state for state in ("failed", "passed", "skipped") if state in states)


def _outcome(findings: Sequence[Finding]) -> str:
    """Say in how many cases a check holds, and what was measured where it is one thing."""
    made = [finding for finding in findings if finding.state != "skipped"]
    measured = {finding.measured for finding in made or findings}
    said = measured.pop() if len(measured) == 1 else ""
    if not made:
        return said or "does not apply"
    passed = sum(finding.passed for finding in made)
    if len(made) == 1:
        return said
    if passed < len(made):
        return f"holds in {passed} of {len(made)} cases"
    return f"holds in {len(made)} cases" + (f": {said}" if said not in ("", "holds") else "")


def _total(reports: Sequence[Report]) -> str:
    states = [report.state for report in reports]
    return (
        f"{len(reports)} components: {states.count('passed')} ok, {states.count('failed')} failed, "
        f"{states.count('skipped')} not checked"
    )
