"""The report of a sweep: what was run, what came out and how sure that is, as one HTML file that needs nothing else."""

from samplerhub.report.page import LIMIT as LIMIT
from samplerhub.report.page import References as References
from samplerhub.report.page import page as page
