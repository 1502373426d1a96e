"""What holds for all features."""

from __future__ import annotations

import torch

from samplerhub.capabilities import FitsData, HasMoments, HasShape, LinearFeatures
from samplerhub.errors import Mismatch
from samplerhub.noise import stream
from samplerhub.protocols import Features, Target


def check_features(features: Features | FitsData, target: Target) -> None:
    """Assert that features are vectors, one a row, that depend on that row alone and not on chance.

    Linear features must carry the moments over as they carry the samples.

    Raises:
        Mismatch: They are made for data of another shape.
    """
    if isinstance(features, HasShape) and features.shape is not None and tuple(features.shape) != tuple(target.shape):
        raise Mismatch(f"{type(features).__name__} is made for shape {features.shape}, the target has {target.shape}")
    x = target.sample(200, stream(0, "check")).double()
    phi = features.fit(x) if isinstance(features, FitsData) else features
    with torch.no_grad():
        f, some = phi(x), phi(x[50:70])
        assert f.ndim == 2, f"features have shape {tuple(f.shape)}, not (n, D)"
        assert len(f) == len(x), f"there are {len(f)} features of {len(x)} samples"
        assert bool(f.isfinite().all()), "features are not finite"
        assert torch.equal(f, phi(x)), "the same samples give other features"
        assert torch.allclose(f[50:70], some, rtol=1e-4, atol=1e-5), "features depend on the other samples of the batch"
    if isinstance(phi, LinearFeatures) and isinstance(target, HasMoments):
        mean, covariance = x.flatten(1).mean(0), torch.cov(x.flatten(1).T)
        m, C = phi.push(mean, covariance)
        f = f.double()
        assert torch.allclose(m, f.mean(0), atol=1e-6), "push gives another mean than the features have"
        assert torch.allclose(C, torch.cov(f.T).reshape(C.shape), atol=1e-6), "push gives another covariance"
