"""Grids learned through the sampler: the nodes that make its own error smallest, for a given model and steps."""

from samplerhub.learning.nodes import LearnedNodes as LearnedNodes
from samplerhub.learning.search import learn_grid as learn_grid
