"""The conformance kit: what holds for every component of a role, as plain functions that raise AssertionError."""

from samplerhub.testing.process import check_process as check_process
from samplerhub.testing.sampler import check_contract as check_contract
from samplerhub.testing.sampler import flow_errors as flow_errors
from samplerhub.testing.sampler import slope as slope
from samplerhub.testing.sampler import weak_errors as weak_errors
