"""Covariances as fields: a variance, which stands for a multiple of the identity, or a matrix row by row."""

from __future__ import annotations

import torch
from torch import Tensor

Covariance = float | tuple[tuple[float, ...], ...]


def matrix(S: Covariance, d: int) -> Tensor:
    """Return the matrix, shape (d, d), float64."""
    if isinstance(S, float):
        return S * torch.eye(d, dtype=torch.float64)
    return torch.tensor(S, dtype=torch.float64)


def check_covariance(S: Covariance, d: int, what: str = "covariance") -> None:
    """Raise ValueError unless it is symmetric, positive definite and made for d dimensions."""
    if isinstance(S, float):
        if S <= 0:
            raise ValueError(f"{what} is {S:g}; a variance must be positive")
        return
    if len(S) != d or any(len(row) != d for row in S):
        lengths = [len(row) for row in S]
        raise ValueError(
            f"{what} has rows of lengths {lengths}; it must be a variance or a matrix of {d} x {d} numbers"
        )
    full = matrix(S, d)
    skew = (full - full.T).abs().max().item()
    if skew > 1e-9 * full.abs().max().item():
        raise ValueError(f"{what} differs from its transpose by {skew:g}; it must be symmetric")
    smallest = torch.linalg.eigvalsh(full)[0].item()
    if smallest <= 0:
        raise ValueError(f"{what} has the eigenvalue {smallest:g}; all of them must be positive")
