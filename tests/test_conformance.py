"""Every registered component keeps the promises of its role: one test a component."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from torch import Tensor

import samplerhub as sh
from samplerhub import testing
from samplerhub.errors import BrokenPlugin, Mismatch, UnusableFile
from samplerhub.measure import offered
from samplerhub.registry import Registered, Registry

REGISTRY = Registry.discover()


def every(role: str) -> pytest.MarkDecorator:
    entries = REGISTRY.entries(role)
    assert entries, f"no {role} is registered"
    return pytest.mark.parametrize("registered", entries, ids=[r.entry.name for r in entries])


def standard_normal(y: Tensor, rho: Tensor) -> Tensor:
    """Return the noise in states of standard normal data."""
    level = rho.reshape(-1, *(1,) * (y.ndim - 1))
    return level * y / (1 + level * level)


def required(registered: Registered) -> dict[str, Any]:
    """Return values for the fields that have no default: what only the user has."""
    return {"function": standard_normal} if registered.entry.name == "callable" else {}


def made(registered: Registered) -> Any:
    return REGISTRY.load(registered.entry.role, registered.entry.name).model_validate(required(registered))


def usable() -> list[sh.Target]:
    """Return all targets but those whose files are not here."""
    found = []
    for target in (made(r) for r in REGISTRY.entries("target")):
        with contextlib.suppress(UnusableFile):
            _ = target.shape
            found.append(target)
    return found


TARGETS = usable()
PROCESSES = [pytest.param(made(r), id=r.entry.name) for r in REGISTRY.entries("process")]
QUICK = ("edm", "ve", "ve-geometric", "vp", "flow")
"""Processes on which samplers are checked by default; on the others with ``-m slow``."""
SAMPLED = [
    pytest.param(made(r), id=r.entry.name, marks=() if r.entry.name in QUICK else pytest.mark.slow)
    for r in REGISTRY.entries("process")
]


@pytest.mark.parametrize(
    "registered",
    [r for role in sh.ROLES for r in REGISTRY.entries(role)],
    ids=lambda r: f"{r.entry.role} {r.entry.name}",
)
def test_component(registered: Registered) -> None:
    component = REGISTRY.load(registered.entry.role, registered.entry.name)
    testing.check_component(component, registered.entry.summary, **required(registered))


@every("process")
def test_process(registered: Registered) -> None:
    testing.check_process(made(registered))


@every("target")
def test_target(registered: Registered) -> None:
    target = made(registered)
    try:
        _ = target.shape
    except UnusableFile as error:
        pytest.skip(str(error))
    testing.check_target(target)


@every("model")
def test_model(registered: Registered) -> None:
    cases = list(testing.made_for_each(made(registered), {type(target).__name__: target for target in TARGETS}))
    assert cases, "no registered target fits it"
    for _, model, shape in cases:
        testing.check_model(model, shape)


@pytest.mark.parametrize("process", SAMPLED)
@every("sampler")
def test_sampler(registered: Registered, process: sh.ForwardProcess) -> None:
    sampler = made(registered)
    testing.check_contract(sampler, process)
    if "churn" in type(sampler).model_fields:
        testing.check_contract(sampler.replace(churn=0.7, last="denoise"), process)


@pytest.mark.parametrize("process", PROCESSES)
@every("grid")
def test_grid(registered: Registered, process: sh.ForwardProcess) -> None:
    try:
        testing.check_grid(made(registered), process)
    except UnusableFile as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("process", PROCESSES)
@every("prior")
def test_prior(registered: Registered, process: sh.ForwardProcess) -> None:
    try:
        testing.check_prior(made(registered), process)
    except BrokenPlugin as error:  # a library that an extra brings is not installed
        pytest.skip(str(error))


@every("metric")
def test_metric(registered: Registered) -> None:
    metric = made(registered)
    if "samples" in type(metric).model_fields:  # those that a metric draws itself
        metric = metric.replace(samples=64)
    kinds = {(tuple(target.shape), offered(target)): target for target in reversed(TARGETS)}  # the first of each kind
    targets = [target for target in kinds.values() if testing.suits(metric, target)]
    for target in targets:
        testing.check_metric(metric, target, samples=2000)
    assert targets, "no registered target meets its needs"


@every("features")
def test_features(registered: Registered) -> None:
    features, checked = made(registered), 0
    try:
        _ = features.digest if isinstance(features, sh.HasDigest) else ""
    except UnusableFile as error:
        pytest.skip(str(error))
    for target in TARGETS:
        try:
            testing.check_features(features, target)
        except Mismatch:
            continue
        checked += 1
    assert checked, "no registered target fits them"
