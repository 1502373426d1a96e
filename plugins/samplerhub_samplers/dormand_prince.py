"""The Dormand-Prince method with error control for each sample (Dormand and Prince, 1980)."""

from __future__ import annotations

from typing import ClassVar

from samplerhub_samplers.adaptive import EmbeddedPair
from samplerhub_samplers.tableaux import DORMAND_PRINCE, Tableau


class DormandPrince(EmbeddedPair):
    r"""Adaptive Runge-Kutta method of order 5 for the probability-flow ODE, each sample with steps of its own.

    A step h of a sample is accepted if the difference to its embedded solution of order 4 is small enough,

        err = rms_i( e_i / (atol + rtol max(|y_i|, |y_s,i|)) ) <= 1,

    and the next step is h times 0.9 err^(-1/5), kept between 0.2 and 5. Steps are taken in the angle
    phi = atan(rho/sigma_data), in which the flow of Gaussian data stands still, so that only what is not Gaussian has
    to be resolved; other variables are for comparison.

    References:
        A family of embedded Runge-Kutta formulae (Dormand and Prince, 1980), doi:10.1016/0771-050X(80)90013-3
        Solving Ordinary Differential Equations I: Nonstiff Problems (Hairer, Nørsett and Wanner, 1993), Springer,
            doi:10.1007/978-3-540-78862-1, sections II.4 and II.5
    """

    pair: ClassVar[Tableau] = DORMAND_PRINCE
    order: ClassVar[int] = 5
