"""The conformance kit: what holds for every component of a role, as plain functions that raise AssertionError."""

from samplerhub.testing.component import check_component as check_component
from samplerhub.testing.ends import check_grid as check_grid
from samplerhub.testing.ends import check_prior as check_prior
from samplerhub.testing.features import check_features as check_features
from samplerhub.testing.metric import check_metric as check_metric
from samplerhub.testing.metric import setup_of as setup_of
from samplerhub.testing.metric import suits as suits
from samplerhub.testing.model import check_model as check_model
from samplerhub.testing.model import check_target as check_target
from samplerhub.testing.model import made_for_each as made_for_each
from samplerhub.testing.process import check_process as check_process
from samplerhub.testing.report import Finding as Finding
from samplerhub.testing.report import check_sampler as check_sampler
from samplerhub.testing.report import holds as holds
from samplerhub.testing.sampler import check_contract as check_contract
from samplerhub.testing.sampler import check_evaluations as check_evaluations
from samplerhub.testing.sampler import flow_errors as flow_errors
from samplerhub.testing.sampler import slope as slope
from samplerhub.testing.sampler import weak_errors as weak_errors
