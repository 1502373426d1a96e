"""Every registered component keeps the promises of its role: one test a component, for samplers also a process."""

from __future__ import annotations

import pytest
from torch import Tensor

import samplerhub as sh
from samplerhub.checks import offered
from samplerhub.registry import Registered, Registry
from samplerhub.testing import CHECKS, EVERY, Finding, Kit, examine
from samplerhub.testing.check import Case
from samplerhub.testing.sampler import CONTRACT, Sampled

REGISTRY = Registry.discover()
KIT = Kit(REGISTRY)
QUICK = ("edm", "vp", "flow")
"""Processes on which samplers are checked by default; on the others with ``-m slow``."""

PAIRING = ("c2st", "precision", "recall", "density", "coverage")
"""Metrics whose time grows with the square of the samples, or with a fit to them."""


def standard_normal(y: Tensor, rho: Tensor) -> Tensor:
    """Return the noise in states of standard normal data."""
    level = rho.reshape(-1, *(1,) * (y.ndim - 1))
    return level * y / (1 + level * level)


def required(registered: Registered) -> dict[str, object]:
    """Return values for the fields that have no default: what only the user has."""
    return {"function": standard_normal} if registered.entry.name == "callable" else {}


def bundled(*roles: str) -> pytest.MarkDecorator:
    entries = [r for role in roles for r in REGISTRY.entries(role) if r.distribution == "samplerhub"]
    assert entries
    return pytest.mark.parametrize("registered", entries, ids=[f"{r.entry.role}-{r.entry.name}" for r in entries])


@bundled(*(role for role in sh.ROLES if role not in ("sampler", "metric")))
def test_component(registered: Registered) -> None:
    report = KIT.check(registered.entry.role, REGISTRY.spelled(registered), required=required(registered))
    assert not report.failures, str(report)
    if report.reason:
        pytest.skip(report.reason)


@bundled("metric")
def test_metric(registered: Registered) -> None:
    """On one target of each shape and kind, with fewer samples than `samplerhub check` takes; PAIRING with fewest."""
    from samplerhub.testing import metric as kit

    made = REGISTRY.load("metric", registered.entry.name)()
    if "samples" in type(made).model_fields:  # those that a metric draws itself
        made = made.replace(samples=64)  # type: ignore[attr-defined]
    kinds = {(tuple(t.shape), offered(t)): (n, t) for n, t in reversed(KIT.targets.items())}  # the first of each
    if registered.entry.name == "c2st":  # its classifiers are fitted anew for each figure
        kinds = dict([*kinds.items()][:1])
    samples = 500 if registered.entry.name in PAIRING else 2000
    findings = list(examine(CHECKS["metric"], kit.cases(made, dict(kinds.values()), samples=samples)))  # type: ignore[arg-type]
    hold(findings)


@pytest.mark.parametrize(
    "process", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in KIT.processes]
)
@bundled("sampler")
def test_contract(registered: Registered, process: str) -> None:
    sampler = REGISTRY.load("sampler", registered.entry.name)()
    variants = [sampler]
    if "churn" in type(sampler).model_fields:
        variants.append(sampler.replace(churn=0.7, last="denoise"))  # type: ignore[attr-defined]
    cases = [Case("", Sampled(variant, KIT.processes[process])) for variant in variants]  # type: ignore[arg-type]
    hold(list(examine(CONTRACT, cases)))


@bundled("sampler")
def test_record_of_a_sampler(registered: Registered) -> None:
    check_record(registered)


@bundled("metric")
def test_record_of_a_metric(registered: Registered) -> None:
    check_record(registered)


@pytest.mark.slow
@bundled("sampler")
def test_sampler(registered: Registered) -> None:
    """Orders and laws too, in every variant, on every process: as `samplerhub check` does."""
    report = KIT.check("sampler", REGISTRY.spelled(registered))
    assert report.state == "passed", str(report)


def check_record(registered: Registered) -> None:
    from samplerhub.testing.component import Record

    component = REGISTRY.load(registered.entry.role, registered.entry.name)
    hold(list(examine(EVERY, [Case("", Record(component, registered.entry.summary, registered.entry.role))])))


def hold(findings: list[Finding]) -> None:
    assert not [str(finding) for finding in findings if finding.failed]
    assert any(finding.passed for finding in findings), "nothing was checked"
