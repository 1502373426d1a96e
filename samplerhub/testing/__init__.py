"""The conformance kit: what holds for every component of a role, measured.

``check_sampler(sampler)`` and its like return the findings of an object, or raise `NotKept`, an AssertionError, with
all that failed; ``Kit(Registry.discover()).check("sampler", "heun")`` returns the report of a component by its name, as
``samplerhub check`` shows it, and raises for nothing that the component does.
"""

from typing import TYPE_CHECKING

from samplerhub.deprecation import moved
from samplerhub.testing.catalogue import CHECKS as CHECKS
from samplerhub.testing.catalogue import EVERY as EVERY
from samplerhub.testing.catalogue import reference as reference
from samplerhub.testing.check import VERSION as VERSION
from samplerhub.testing.check import Case as Case
from samplerhub.testing.check import Check as Check
from samplerhub.testing.check import Finding as Finding
from samplerhub.testing.check import NotKept as NotKept
from samplerhub.testing.check import examine as examine
from samplerhub.testing.component import check_component as check_component
from samplerhub.testing.convergence import check_sampler as check_sampler
from samplerhub.testing.convergence import flow_errors as flow_errors
from samplerhub.testing.convergence import slope as slope
from samplerhub.testing.convergence import weak_errors as weak_errors
from samplerhub.testing.engine import check_engine as check_engine
from samplerhub.testing.features import check_features as check_features
from samplerhub.testing.grid import check_grid as check_grid
from samplerhub.testing.kit import Kit as Kit
from samplerhub.testing.metric import check_metric as check_metric
from samplerhub.testing.metric import setup_of as setup_of
from samplerhub.testing.metric import suits as suits
from samplerhub.testing.model import check_model as check_model
from samplerhub.testing.model import made_for_each as made_for_each
from samplerhub.testing.prior import check_prior as check_prior
from samplerhub.testing.process import check_process as check_process
from samplerhub.testing.report import Report as Report
from samplerhub.testing.sampler import check_contract as check_contract
from samplerhub.testing.sampler import check_evaluations as check_evaluations
from samplerhub.testing.target import check_target as check_target
from samplerhub.testing.trainer import check_trainer as check_trainer

if not TYPE_CHECKING:  # mypy would take any name for one of the module's

    def __getattr__(name: str) -> object:
        return moved(__name__, name)
