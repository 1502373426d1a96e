"""samplerhub: any forward process, score model, sampler and metric, combined and measured.

The public names; each is imported when it is first used, so that ``import samplerhub`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samplerhub.component import Component as Component
    from samplerhub.noise import normal as normal
    from samplerhub.noise import stream as stream
    from samplerhub.problem import Problem as Problem
    from samplerhub.process import alpha as alpha
    from samplerhub.process import diffusion2 as diffusion2
    from samplerhub.process import drift as drift
    from samplerhub.process import log_snr as log_snr
    from samplerhub.process import rho as rho
    from samplerhub.process import sigma as sigma
    from samplerhub.process import time_at as time_at

_HOMES = {
    "component": ("Component",),
    "noise": ("normal", "stream"),
    "problem": ("Problem", "broadcast"),
    "process": ("alpha", "diffusion2", "drift", "log_snr", "rho", "sigma", "time_at"),
    "protocols": (
        "Density",
        "Denoises",
        "Estimate",
        "Evidence",
        "ForwardProcess",
        "FromTarget",
        "Grid",
        "HasDtype",
        "HasMoments",
        "HasShape",
        "IsGaussian",
        "Metric",
        "Need",
        "Prior",
        "Progress",
        "Sampler",
        "ScoreModel",
        "Step",
        "Suggests",
        "Target",
        "Trainer",
        "Budgeted",
    ),
    "sampling": ("GridSampler", "Leg", "MultistepSampler", "Run"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'samplerhub' has no attribute {name!r}")
    return getattr(import_module(f"samplerhub.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
