"""The divergence between normal laws."""

from __future__ import annotations

import torch
from torch import Tensor


def normal_kl(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    r"""Return H(a | b) between normal laws a and b, in nats.

        H(a | b) = 1/2 sum_i (l_i - log(1 + l_i)) + 1/2 |L^-1 (mean_a - mean_b)|^2,    cov_b = L L^T

    l_i are the eigenvalues of L^-1 (cov_a - cov_b) L^-T, so that laws which almost agree lose no digits. Infinite where
    one law has a density and the other has none.

    Args:
        mean_a: Mean of a, shape (D,).
        cov_a: Covariance of a, shape (D, D); or, if both are diagonal, the variances, shape (D,).
        mean_b: Mean of b, shape (D,).
        cov_b: Covariance of b, of the shape of `cov_a`.
    """
    if cov_a.ndim == 1:
        if bool((cov_b <= 0).any()):
            return float("inf")
        excess, shift = (cov_a - cov_b) / cov_b, (mean_a - mean_b) / cov_b.sqrt()
    else:
        L, failed = torch.linalg.cholesky_ex(cov_b)
        if failed:
            return float("inf")
        half = torch.linalg.solve_triangular(L, cov_a - cov_b, upper=False)
        whitened = torch.linalg.solve_triangular(L, half.T, upper=False)
        excess = torch.linalg.eigvalsh((whitened + whitened.T) / 2)
        shift = torch.linalg.solve_triangular(L, (mean_a - mean_b)[:, None], upper=False)
    if bool((excess <= -1).any()):
        return float("inf")
    return float((excess - excess.log1p()).sum() + shift.square().sum()) / 2
