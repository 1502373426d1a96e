"""samplerhub: any forward process, score model, sampler and metric, combined and measured.

The public names; each is imported when it is first used, so that ``import samplerhub`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samplerhub.block import Block as Block
    from samplerhub.block import BlockStore as BlockStore
    from samplerhub.capabilities import AtEqualLaws as AtEqualLaws
    from samplerhub.capabilities import Budgeted as Budgeted
    from samplerhub.capabilities import Chooses as Chooses
    from samplerhub.capabilities import Costs as Costs
    from samplerhub.capabilities import Denoises as Denoises
    from samplerhub.capabilities import Density as Density
    from samplerhub.capabilities import FiniteData as FiniteData
    from samplerhub.capabilities import FitsBudget as FitsBudget
    from samplerhub.capabilities import FitsData as FitsData
    from samplerhub.capabilities import FromTarget as FromTarget
    from samplerhub.capabilities import HasDigest as HasDigest
    from samplerhub.capabilities import HasDtype as HasDtype
    from samplerhub.capabilities import HasGamma as HasGamma
    from samplerhub.capabilities import HasMoments as HasMoments
    from samplerhub.capabilities import HasShape as HasShape
    from samplerhub.capabilities import HasSigmaData as HasSigmaData
    from samplerhub.capabilities import HasSteps as HasSteps
    from samplerhub.capabilities import HasTable as HasTable
    from samplerhub.capabilities import HeldOut as HeldOut
    from samplerhub.capabilities import Inspects as Inspects
    from samplerhub.capabilities import IsGaussian as IsGaussian
    from samplerhub.capabilities import LinearFeatures as LinearFeatures
    from samplerhub.capabilities import LogSobolev as LogSobolev
    from samplerhub.capabilities import NeedsSamples as NeedsSamples
    from samplerhub.capabilities import NormalPrior as NormalPrior
    from samplerhub.capabilities import PriorDensity as PriorDensity
    from samplerhub.capabilities import Suggests as Suggests
    from samplerhub.checks import fits as fits
    from samplerhub.component import Component as Component
    from samplerhub.component import Imported as Imported
    from samplerhub.component import Part as Part
    from samplerhub.component import kebab as kebab
    from samplerhub.component import summary as summary
    from samplerhub.deprecation import Formerly as Formerly
    from samplerhub.deprecation import OldName as OldName
    from samplerhub.engine import Engine as Engine
    from samplerhub.engine import Outcome as Outcome
    from samplerhub.experiment import Experiment as Experiment
    from samplerhub.experiment import Result as Result
    from samplerhub.files import read_json as read_json
    from samplerhub.files import read_numbers as read_numbers
    from samplerhub.files import read_tensors as read_tensors
    from samplerhub.files import write_tensors as write_tensors
    from samplerhub.law import ExactLaw as ExactLaw
    from samplerhub.law import GaussianLaw as GaussianLaw
    from samplerhub.law import Law as Law
    from samplerhub.law import LineLaw as LineLaw
    from samplerhub.law import exact_law as exact_law
    from samplerhub.law import normal_kl as normal_kl
    from samplerhub.learning import LearnedNodes as LearnedNodes
    from samplerhub.learning import learn_grid as learn_grid
    from samplerhub.manifest import Manifest as Manifest
    from samplerhub.measure import Snapshot as Snapshot
    from samplerhub.model import cost_of as cost_of
    from samplerhub.model import made_for as made_for
    from samplerhub.model import posterior_mean as posterior_mean
    from samplerhub.noise import normal as normal
    from samplerhub.noise import stream as stream
    from samplerhub.plugin import ROLES as ROLES
    from samplerhub.plugin import Entry as Entry
    from samplerhub.plugin import hookimpl as hookimpl
    from samplerhub.problem import Problem as Problem
    from samplerhub.problem import broadcast as broadcast
    from samplerhub.process import alpha as alpha
    from samplerhub.process import diffusion2 as diffusion2
    from samplerhub.process import drift as drift
    from samplerhub.process import log_snr as log_snr
    from samplerhub.process import rho as rho
    from samplerhub.process import sigma as sigma
    from samplerhub.process import time_at as time_at
    from samplerhub.protocols import Estimate as Estimate
    from samplerhub.protocols import Evidence as Evidence
    from samplerhub.protocols import Features as Features
    from samplerhub.protocols import ForwardProcess as ForwardProcess
    from samplerhub.protocols import Grid as Grid
    from samplerhub.protocols import Metric as Metric
    from samplerhub.protocols import Need as Need
    from samplerhub.protocols import Point as Point
    from samplerhub.protocols import Prior as Prior
    from samplerhub.protocols import Progress as Progress
    from samplerhub.protocols import Sampler as Sampler
    from samplerhub.protocols import ScoreModel as ScoreModel
    from samplerhub.protocols import Step as Step
    from samplerhub.protocols import Target as Target
    from samplerhub.protocols import Trainer as Trainer
    from samplerhub.registry import Registry as Registry
    from samplerhub.sampling import GridSampler as GridSampler
    from samplerhub.sampling import Leg as Leg
    from samplerhub.sampling import MultistepSampler as MultistepSampler
    from samplerhub.sampling import Run as Run
    from samplerhub.sampling import weighted_sum as weighted_sum
    from samplerhub.setup import Setup as Setup
    from samplerhub.truth import NoisedTarget as NoisedTarget
    from samplerhub.truth import PosteriorMean as PosteriorMean

_HOMES = {
    "component": ("Component", "Imported", "Part", "kebab", "summary"),
    "block": ("Block", "BlockStore"),
    "deprecation": ("Formerly", "OldName"),
    "engine": ("Engine", "Outcome"),
    "experiment": ("Experiment", "Result"),
    "files": ("read_json", "read_numbers", "read_tensors", "write_tensors"),
    "law": ("ExactLaw", "GaussianLaw", "Law", "LineLaw", "exact_law", "normal_kl"),
    "learning": ("LearnedNodes", "learn_grid"),
    "manifest": ("Manifest",),
    "model": ("cost_of", "made_for", "posterior_mean"),
    "noise": ("normal", "stream"),
    "plugin": ("ROLES", "Entry", "hookimpl"),
    "problem": ("Problem", "broadcast"),
    "process": ("alpha", "diffusion2", "drift", "log_snr", "rho", "sigma", "time_at"),
    "capabilities": (
        "AtEqualLaws",
        "Budgeted",
        "Chooses",
        "Costs",
        "Denoises",
        "Density",
        "FiniteData",
        "FitsBudget",
        "FitsData",
        "FromTarget",
        "HasDigest",
        "HasDtype",
        "HasGamma",
        "HasMoments",
        "HasShape",
        "HasSigmaData",
        "HasSteps",
        "HasTable",
        "HeldOut",
        "Inspects",
        "IsGaussian",
        "LinearFeatures",
        "LogSobolev",
        "NeedsSamples",
        "NormalPrior",
        "PriorDensity",
        "Suggests",
    ),
    "protocols": (
        "Estimate",
        "Evidence",
        "Features",
        "ForwardProcess",
        "Grid",
        "Metric",
        "Need",
        "Point",
        "Prior",
        "Progress",
        "Sampler",
        "ScoreModel",
        "Step",
        "Target",
        "Trainer",
    ),
    "checks": ("fits",),
    "measure": ("Snapshot",),
    "registry": ("Registry",),
    "setup": ("Setup",),
    "truth": ("NoisedTarget", "PosteriorMean"),
    "sampling": ("GridSampler", "Leg", "MultistepSampler", "Run", "weighted_sum"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        from samplerhub.deprecation import moved

        return moved(__name__, name)
    return getattr(import_module(f"samplerhub.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
