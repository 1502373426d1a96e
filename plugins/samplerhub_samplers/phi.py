"""The phi functions of exponential integrators (Hochbruck and Ostermann, 2010)."""

from __future__ import annotations

import math


def phi(k: int, z: float) -> float:
    r"""Return phi_k(z) = sum_j z^j/(j + k)!, without cancellation.

    phi_0 = exp(z) and phi_k = (phi_{k-1} - 1/(k-1)!)/z: phi_1 = expm1(z)/z, phi_2 = (phi_1 - 1)/z, and so on.
    """
    if abs(z) < 1:
        term = total = 1 / math.factorial(k)
        j = 0
        while abs(term) > 1e-18 * total:
            j += 1
            term *= z / (j + k)
            total += term
        return total
    value = math.expm1(z) / z
    for j in range(1, k):
        value = (value - 1 / math.factorial(j)) / z
    return value


def phis(k: int, z: float) -> list[float]:
    """Return phi_0, ..., phi_k: the last one, and from it the others by phi_{j-1} = z phi_j + 1/(j-1)!."""
    values = [phi(k, z)]
    for j in range(k, 0, -1):
        values.append(z * values[-1] + 1 / math.factorial(j - 1))
    return values[::-1]
