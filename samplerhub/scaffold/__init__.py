"""A plugin to start from: a whole distribution with one component, its test and its papers, for any role."""

from samplerhub.scaffold.examples import EXAMPLES as EXAMPLES
from samplerhub.scaffold.naming import Names as Names
from samplerhub.scaffold.naming import named as named
from samplerhub.scaffold.rendering import render as render
from samplerhub.scaffold.rendering import write as write
