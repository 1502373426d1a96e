"""What is checked of an experiment before anything is sampled: its numbers, its players, and that they fit together."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from samplerhub import process as derived
from samplerhub.capabilities import (
    PLAYERS,
    Chooses,
    Denoises,
    Density,
    FitsData,
    HasMoments,
    HasShape,
    Inspects,
    IsGaussian,
    NeedsSamples,
)
from samplerhub.component import kebab
from samplerhub.errors import InvalidSetting, Mismatch
from samplerhub.model import cost_of
from samplerhub.noise import stream
from samplerhub.problem import Problem
from samplerhub.protocols import Features, Metric, Need, Prior, Sampler, Target
from samplerhub.setup import Setup

MOST = 10**12
"""No number of samples is larger than that by intention."""
LONGEST = 10**6
"""Nor a number of steps, or of evaluations of a sample: the times of a run are kept in memory."""
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
MEANINGS = {
    Need.SAMPLES: "generated samples",
    Need.REFERENCE: "samples of the target",
    Need.MOMENTS: "a target with known mean and covariance",
    Need.GAUSSIAN: "a Gaussian target",
    Need.LINE: "a one-dimensional target",
    Need.DENSITY: "a target whose density is known",
    Need.DENOISER: "a target whose exact score is known",
    Need.FEATURES: "features of samples of the target",
    Need.SETUP: "the run's setup",
}


def check_numbers(numbers: Mapping[str, int | None], seed: int) -> None:
    """Raise `InvalidSetting` for a number that is none, too small, or larger than anyone means."""
    for name, value in {**numbers, "seed": seed}.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise InvalidSetting(f"{name} = {value!r}: it must be an integer")
    for name, value in numbers.items():
        most = LONGEST if name in ("steps", "nfe") else MOST
        if value is not None and not 1 <= value <= most:
            raise InvalidSetting(f"{name} = {value}: it must be at least 1{'' if value < 1 else f', at most {most:,}'}")
    path = numbers.get("path")
    if path is not None and path < 2:
        raise InvalidSetting(f"path = {path}: it must be at least 2, the start and the end")


def check_place(dtype: str, device: str) -> None:
    """Raise `InvalidSetting` if tensors of that type cannot be made on that device."""
    if dtype not in DTYPES:
        raise InvalidSetting(f"dtype = {dtype!r}: choose one of {', '.join(DTYPES)}")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidSetting(f"device = {device!r} cannot be used: {str(error).splitlines()[0]}") from error


def check_cost(problem: Problem, sampler: Sampler, nfe: int) -> None:
    """Raise `Mismatch` if a sampler that counts its calls would not keep to a budget of evaluations."""
    low, high = derived.rho(problem.process, list(problem.span)).log().tolist()
    if bool((cost_of(problem.model, torch.linspace(low, high, 4097, dtype=torch.float64).exp()) > 1).any()):
        raise Mismatch(
            f"nfe = {nfe}: {type(sampler).__name__} keeps to a budget of calls, and calls of model "
            f"{type(problem.model).__name__} cost more than one evaluation; choose a sampler of fixed steps, or leave "
            "--nfe out"
        )


def check_shapes(problem: Problem, prior: Prior, target: Target | None, seed: int) -> None:
    """Raise `Mismatch` if a prior, or a target that is compared with, gives samples of another shape."""
    start = prior.sample(problem, 1, stream(seed, "trial"))
    if start.shape != (1, *problem.shape):
        raise Mismatch(
            f"prior {type(prior).__name__} gives states of shape {tuple(start.shape[1:])}, not {problem.shape}"
        )
    drawn = (2, *problem.shape) if target is None else tuple(target.sample(2, stream(seed, "trial")).shape)
    if drawn != (2, *problem.shape):
        raise Mismatch(
            f"target {type(target).__name__} was asked for 2 samples of shape {problem.shape} and gives a tensor "
            f"of shape {drawn}, not {(2, *problem.shape)}"
        )


def common_shape(shape: tuple[int, ...] | None, target: Target | None, model: object) -> tuple[int, ...]:
    """Return the shape of a sample, which all that know one must agree on.

    Raises:
        Mismatch: Nothing knows it, or two do not agree.
    """
    known = {
        "the experiment's shape": shape,
        f"target {type(target).__name__}": None if target is None else tuple(target.shape),
        f"model {type(model).__name__}": model.shape if isinstance(model, HasShape) else None,
    }
    shapes = {who: tuple(one) for who, one in known.items() if one is not None}
    if not shapes:
        raise Mismatch("neither the target nor the model says which shape a sample has; give `shape`")
    (who, first), *others = shapes.items()
    for other, its_shape in others:
        if its_shape != first:
            raise Mismatch(f"{who} has shape {first} but {other} is made for {its_shape}; choose a pair that fits")
    return first


def offered(target: Target | None) -> Need:
    """Return all needs that a run with this target can meet."""
    offer = Need.SAMPLES | Need.SETUP
    if target is not None:
        offer |= Need.REFERENCE | Need.FEATURES
        offer |= Need.LINE if tuple(target.shape) == (1,) else Need(0)
        offer |= Need.MOMENTS if isinstance(target, HasMoments) else Need(0)
        offer |= Need.GAUSSIAN if isinstance(target, IsGaussian) else Need(0)
        offer |= Need.DENSITY if isinstance(target, Density) else Need(0)
        offer |= Need.DENOISER if isinstance(target, Denoises) else Need(0)
    return offer


def check_player(role: str, player: object) -> None:
    """Raise `Mismatch` if an object does not play its role."""
    if isinstance(player, type):
        raise Mismatch(f"{role} = {player.__name__} is a class: give an instance, {player.__name__}(...)")
    if not isinstance(player, PLAYERS[role]):
        expected = " or ".join(protocol.__name__ for protocol in PLAYERS[role])
        raise Mismatch(f"{role} = {player!r} is no {expected}: see `samplerhub.{PLAYERS[role][0].__name__}`")


def chosen(metric: Metric | Chooses, setup: Setup) -> Metric:
    """Return the metric itself, or the one that it chooses for the run."""
    return metric.choose(setup) if isinstance(metric, Chooses) else metric


def check_needs(metrics: Mapping[str, Metric], setup: Setup) -> None:
    """Raise `Mismatch` if a metric needs what this run cannot offer: called before anything is sampled."""
    target, samples = setup.target, setup.samples
    offer = offered(target)
    for name, metric in metrics.items():
        for need in metric.needs:
            if not need & offer:
                wanted = " or ".join(MEANINGS[member] for member in need)
                given = (
                    "there is no target"
                    if target is None
                    else f"{type(target).__name__} has shape {tuple(target.shape)}"
                )
                raise Mismatch(f"metric {name!r} needs {wanted}, but {given}; choose another metric or another target")
        if isinstance(metric, NeedsSamples) and target is not None and samples < metric.least(target):
            raise Mismatch(
                f"metric {name!r} needs {metric.least(target)} samples or more, not {samples}: see --samples"
            )
        if isinstance(metric, Inspects):
            try:
                metric.inspect(setup)
            except Mismatch as error:
                raise Mismatch(f"metric {name!r}: {error}") from error


def fits(metric: Metric | Chooses, setup: Setup) -> bool:
    """Say whether a metric can be had for a run."""
    try:
        check_needs({kebab(type(metric)): chosen(metric, setup)}, setup)
    except Mismatch:
        return False
    return True


def check_features(features: Features | FitsData | None, setup: Setup) -> None:
    """Raise if features are made for other data, or the files that they read are not there."""
    if isinstance(features, HasShape) and features.shape is not None and tuple(features.shape) != setup.shape:
        raise Mismatch(
            f"features {kebab(type(features))!r} are made for samples of shape {tuple(features.shape)}, "
            f"not {setup.shape}; choose others with --features"
        )
    if isinstance(features, Inspects):
        features.inspect(setup)
