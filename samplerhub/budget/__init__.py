"""The error budget: which of start, score and discretisation a run's error comes from, and what to do about it."""

from samplerhub.budget.advice import advise as advise
from samplerhub.budget.shares import GIVEN as GIVEN
from samplerhub.budget.shares import PARTS as PARTS
from samplerhub.budget.shares import Budget as Budget
from samplerhub.budget.shares import Figure as Figure
from samplerhub.budget.shares import measure_budget as measure_budget
