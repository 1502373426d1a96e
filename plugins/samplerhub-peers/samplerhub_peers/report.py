"""The tables of docs/peers.md: ``python -m samplerhub_peers.report [NAME ...]`` prints them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from importlib import metadata

import torch

from samplerhub import ForwardProcess
from samplerhub.registry import Registry
from samplerhub.testing import slope
from samplerhub_peers.measured import STEPS, Row, errors_of, measured, warm_errors
from samplerhub_peers.peer import Peer
from samplerhub_peers.settings import SETTINGS, Fields
from samplerhub_peers.verification import TRIALS, WARM, WARMTHS, OnePath, Trial, distance

FEWER = (24, 48, 96)
"""Steps for the trials: with more of them those that cast to float32 are at its rounding."""
LIBRARIES = {"kdiffusion": "k-diffusion", "azula": "azula", "diffusers": "diffusers"}
HEAD = ("sampler", "fields", "declared", "measured", "error", "evaluations", "contract", "noise from", "float64")


def main(names: list[str]) -> None:
    """Print a table for each library that is installed, then what became of the orders that fall short."""
    warnings.simplefilter("ignore")
    registry = Registry.discover()
    offered = {entry.entry.name for entry in registry.entries("sampler")}
    chosen = offered & set(names or offered)
    for prefix, distribution in LIBRARIES.items():
        settings = {n: f for n, f in SETTINGS.items() if n.startswith(f"{prefix}-") and n in chosen}
        if settings:
            print(f"### {distribution} {metadata.version(distribution)}\n")
            _table(HEAD, _rows(registry, settings))
    trials = [trial for trial in TRIALS if trial.sampler in chosen]
    if trials:
        print("### The same code with one change\n")
        head = ("sampler", "fields", "the peer's code", "instead", "measured", "with the change")
        _table(head, _trials(registry, trials))
    if chosen & {name for name, *_ in WARM}:
        print("### The law, started cold and warm\n")
        starts = ("cold", *(f"warm, {warmth}" for warmth in WARMTHS))
        _table(("sampler", "fields", "instead", *starts), _warm(registry, chosen))
    if "diffusers-dpm-single" in chosen:
        one = OnePath(algorithm_type="sde-dpmsolver++", lower_order_final=False)
        order = slope(STEPS, errors_of(one, _process(registry)))
        print(f"diffusers-dpm-single, sde-dpmsolver++, noise of one path: {order:.2f}\n")
    if {"diffusers-ipndm", "kdiffusion-lms"} <= chosen:
        print(f"diffusers-ipndm from kdiffusion-lms of order 4, on 48 equal steps of rho: {_ipndm(registry):.0e}\n")
    print(f"torch {torch.__version__}; {_listed(STEPS)} steps, with one change {_listed(FEWER)}.")


def _listed(steps: tuple[int, ...]) -> str:
    return ", ".join(map(str, steps))


def _process(registry: Registry) -> ForwardProcess:
    """Return the process on which all is measured: noise alone, x = x_0 + t eps."""
    process = registry.load("process", "edm")()
    assert isinstance(process, ForwardProcess)
    return process


def made(registry: Registry, name: str, fields: Fields) -> Peer:
    """Return a sampler of a peer."""
    sampler = registry.load("sampler", name)(**fields)
    assert isinstance(sampler, Peer)
    return sampler


def _rows(registry: Registry, samplers: Mapping[str, tuple[Fields, ...]]) -> Iterator[tuple[str, ...]]:
    for name, settings in samplers.items():
        for fields in settings:
            row = measured(made(registry, name, fields), _process(registry))
            yield name, _said(fields), str(row.declared), _order(row), f"{row.error:.0e}", *_kept(row)


def _order(row: Row) -> str:
    order = f"{row.order:.2f} ({row.towards})"
    return f"**{order}**" if row.short else order


def _kept(row: Row) -> tuple[str, ...]:
    return row.evaluations, row.contract, row.noise, "cast to float32" if row.single else "kept"


def _trials(registry: Registry, trials: list[Trial]) -> Iterator[tuple[str, ...]]:
    for trial in trials:
        sampler = made(registry, trial.sampler, trial.fields)
        before = slope(FEWER, errors_of(sampler, _process(registry), FEWER))
        with trial.change.applied():
            after = slope(FEWER, errors_of(sampler, _process(registry), FEWER))
        codes = (f"`{trial.change.old}`", f"`{trial.change.new}`")
        yield trial.sampler, _said(trial.fields), *codes, f"{before:.2f}", f"{after:.2f}"


def _warm(registry: Registry, chosen: set[str]) -> Iterator[tuple[str, ...]]:
    process = _process(registry)
    for name, fields, change in WARM:
        if name not in chosen:
            continue
        sampler = made(registry, name, fields)
        with change.applied() if change else nullcontext():
            errors = [errors_of(sampler, process), *(warm_errors(sampler, process, warmth) for warmth in WARMTHS)]
        instead = f"`{change.new}`" if change else ""
        yield name, _said(fields), instead, *(f"{slope(STEPS, these):.2f}" for these in errors)


def _ipndm(registry: Registry) -> float:
    levels = torch.linspace(10, 0.05, 49, dtype=torch.float64)
    ipndm, lms = (made(registry, name, {}) for name in ("diffusers-ipndm", "kdiffusion-lms"))
    return distance(ipndm, lms, _process(registry), levels)


def _said(fields: Fields) -> str:
    return ", ".join(f"{key} {value}" for key, value in fields.items())


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> None:
    for row in (head, ("---",) * len(head)):
        print(f"| {' | '.join(row)} |")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
    print()


if __name__ == "__main__":
    main(sys.argv[1:])
