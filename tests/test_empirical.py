"""The exact model of finitely many data against a brute-force softmax, autograd and the metric of memorisation."""

from __future__ import annotations

import math

import pytest
import torch

import samplerhub as sh
from samplerhub import Problem
from samplerhub.errors import Mismatch
from samplerhub_grids.edm import EDMGrid
from samplerhub_metrics.nearest import Nearest
from samplerhub_models.empirical import Empirical, Memory
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_samplers.heun import Heun
from samplerhub_targets.digits import Digits
from samplerhub_targets.mixture import Mixture

F64 = torch.float64
LEVELS = (1e-4, 0.002, 0.3, 1.0, 5.0, 150.0, 1e6)


def noised(target, n, level, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x = target.sample(n, rng)
    return x + level * torch.randn(x.shape, generator=rng, dtype=F64)


def by_force(data, y, level):
    """Return posterior mean and log-density, distance by distance."""
    q = (y[:, None] - data[None]).flatten(2).square().sum(2) / (2 * level**2)
    D = data[0].numel()
    log_p = (-q).logsumexp(1) - D / 2 * math.log(2 * math.pi * level**2) - math.log(len(data))
    return torch.einsum("ni,i...->n...", (-q).softmax(1), data), log_p


@pytest.mark.parametrize("level", LEVELS)
def test_it_is_the_softmax(level):
    target = Digits()
    model, y = Empirical().of(target), noised(target, 40, level)
    mean, log_p = by_force(target.data(), y, level)
    rho = torch.full((1, 1, 1, 1), level, dtype=F64)
    torch.testing.assert_close(model(y, rho), mean, rtol=0, atol=1e-9)
    # Distances are rounded numbers of the size of |y|^2, and are divided by 2 rho^2.
    tolerance = 1e-14 * max(1, float(y.flatten(1).square().sum(1).max()) / level**2)
    torch.testing.assert_close(model.log_prob(y, rho), log_p, rtol=1e-12, atol=tolerance)


@pytest.mark.parametrize("level", LEVELS)
def test_its_score_is_the_gradient_of_its_log_prob(level):
    target = Digits(split="held-out")
    model, y = Empirical().of(target), noised(target, 40, level).requires_grad_()
    rho = torch.full((1, 1, 1, 1), level, dtype=F64)
    (score,) = torch.autograd.grad(model.log_prob(y, rho).sum(), y)
    error = (model(y, rho) - (y + level**2 * score)).abs().max().item()
    assert error < 1e-10 * (1 + y.abs().max().item())


def test_data_far_from_the_origin_survive_float32():
    data = 100 + 0.01 * torch.randn(300, 16, generator=torch.Generator().manual_seed(0), dtype=F64)
    model = Memory.of(data)
    y = data[:50] + 0.01 * torch.randn(50, 16, generator=torch.Generator().manual_seed(1), dtype=F64)
    y32 = y.float()
    expected, _ = by_force(data, y32.double(), 0.01)
    found = model(y32, torch.tensor(0.01))
    assert found.dtype == torch.float32
    assert (found - expected).abs().max().item() < 2e-5


def test_each_row_has_its_noise_level():
    model, y = Empirical().of(Digits()), noised(Digits(), 3, 1.0)
    levels = torch.tensor([0.1, 1.0, 10.0], dtype=F64)
    rows = torch.cat([model(y[i : i + 1], levels[i]) for i in range(3)])
    torch.testing.assert_close(model(y, levels), rows)
    torch.testing.assert_close(model(y, levels.reshape(3, 1, 1, 1)), rows)
    rows = torch.cat([model.log_prob(y[i : i + 1], levels[i]) for i in range(3)])
    torch.testing.assert_close(model.log_prob(y, levels), rows)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_bits_do_not_depend_on_the_batch(dtype):
    y = noised(Digits(), 500, 1.0).to(dtype)
    whole, parts = (Problem(EDM(), Empirical().of(Digits()), batch=batch) for batch in (None, 48))
    for rho in (0.3, torch.rand(500, 1, 1, 1, generator=torch.Generator().manual_seed(1)).to(dtype)):
        assert torch.equal(whole.x0(y, rho), parts.x0(y, rho))


def test_samples_are_copies_and_the_metric_says_so():
    run = sh.Experiment(
        process=EDM(),
        target=Digits(),
        model=Empirical(),
        sampler=Heun(),
        grid=EDMGrid(),
        prior=GaussianPrior(),
        metrics=[Nearest()],
        samples=64,
        steps=20,
    )
    distance = torch.cdist(run.run().samples.flatten(1).double(), Digits().data().flatten(1)).min(1).values
    assert distance.median().item() < 0.05  # noise of 0.002 in 64 dimensions is 0.016
    estimate = run.evaluate()["nearest"]
    assert estimate.value < 0.1
    assert estimate.details["copies"] > 0.9 > 0.3 > estimate.details["copies there"]


def test_other_targets_are_refused():
    with pytest.raises(Mismatch, match="Mixture has no method 'data'"):
        Empirical().of(Mixture())
