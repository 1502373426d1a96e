"""The Bogacki-Shampine method with error control for each sample (Bogacki and Shampine, 1989)."""

from __future__ import annotations

from typing import ClassVar

from samplerhub_samplers.adaptive import EmbeddedPair
from samplerhub_samplers.tableaux import BOGACKI_SHAMPINE, Tableau


class BogackiShampine(EmbeddedPair):
    r"""Adaptive Runge-Kutta method of order 3 for the probability-flow ODE, each sample with steps of its own.

    The difference to the embedded solution of order 2 controls the step, as in the Dormand-Prince method; with three
    evaluations a step it is the cheaper one at loose tolerances.

    References:
        A 3(2) pair of Runge-Kutta formulas (Bogacki and Shampine, 1989), doi:10.1016/0893-9659(89)90079-7
    """

    pair: ClassVar[Tableau] = BOGACKI_SHAMPINE
    order: ClassVar[int] = 3
