"""Sweeps: many runs, each in a folder of its own, done by an engine, taken up again where they stopped."""

from samplerhub.sweep.cell import Cell as Cell
from samplerhub.sweep.cell import Skipped as Skipped
from samplerhub.sweep.conduct import Conducted as Conducted
from samplerhub.sweep.conduct import conduct as conduct
from samplerhub.sweep.estimate import seconds_of as seconds_of
from samplerhub.sweep.failure import Failure as Failure
from samplerhub.sweep.kept import Figure as Figure
from samplerhub.sweep.kept import Kept as Kept
from samplerhub.sweep.kept import chosen as chosen
from samplerhub.sweep.store import Store as Store
from samplerhub.sweep.table import Board as Board
from samplerhub.sweep.table import Group as Group
from samplerhub.sweep.table import boards as boards
from samplerhub.sweep.table import groups as groups
from samplerhub.sweep.table import ranking as ranking
from samplerhub.sweep.table import tied as tied
