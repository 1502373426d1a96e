"""The trained network: its file, its promises, and the quality of what it generates."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import samplerhub as sh
from samplerhub.errors import InvalidSetting, Mismatch, UnusableFile
from samplerhub_grids.edm import EDMGrid
from samplerhub_models.denoiser import read_denoiser
from samplerhub_models.network import Network
from samplerhub_models.training import DenoisingScoreMatching
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_samplers.deis import DEIS
from samplerhub_samplers.heun import Heun
from samplerhub_targets.digits import Digits
from samplerhub_targets.mixture import Mixture


def digits(**changes: object) -> sh.Experiment:
    defaults: dict[str, object] = {
        "process": EDM(),
        "target": Digits(),
        "model": Network(),
        "sampler": DEIS(churn=0.3),
        "grid": EDMGrid(),
        "prior": GaussianPrior(),
        "samples": 21,
        "steps": 5,
    }
    return sh.Experiment(**{**defaults, **changes})  # type: ignore[arg-type]


def test_generated_digits_are_recognised() -> None:
    """Judge 1,000 digits of Heun's method in 40 steps by a classifier trained on the training split.

    The share that it is sure of (probability above 0.9) is at least 92 % of the share on held-out real digits, and no
    class is missing or takes over.
    """
    pixels, labels = load_digits(return_X_y=True)
    held_out = torch.arange(len(labels)).numpy() % 5 == 4
    classifier = CalibratedClassifierCV(SVC(C=10), ensemble=False).fit(pixels[~held_out] / 8 - 1, labels[~held_out])
    assert classifier.score(pixels[held_out] / 8 - 1, labels[held_out]) > 0.97
    real = (classifier.predict_proba(pixels[held_out] / 8 - 1).max(1) > 0.9).mean()

    generated = digits(sampler=Heun(), samples=1000, steps=40).run().samples.flatten(1).double().numpy()
    probabilities = classifier.predict_proba(generated)
    sure = (probabilities.max(1) > 0.9).mean()
    assert sure >= 0.92 * real, (sure, real)
    shares = (torch.from_numpy(probabilities.argmax(1)).bincount(minlength=10) / 1000).tolist()
    assert all(0.05 <= share <= 0.2 for share in shares), shares


def test_generated_digits_are_not_copies() -> None:
    """None is close to a training image, and the nearest one is not much nearer than a held-out digit's."""
    x, pool = digits(samples=256, steps=20).run().samples.flatten(1), Digits().images.flatten(1).to(torch.float32)
    held_out = Digits(split="held-out").images.flatten(1).to(torch.float32)
    nearest, nearest_real = (torch.cdist(a, pool).min(1).values for a in (x, held_out))
    assert nearest.min() > 0.4, nearest.min()
    assert nearest.median() > 0.7 * nearest_real.median(), (nearest.median(), nearest_real.median())


@pytest.mark.parametrize("samples", [1, 21])
def test_same_bits_for_every_batch_size(samples: int) -> None:
    runs = [digits(samples=samples, batch=batch).run().samples for batch in (1, 7, None)]
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2])


def test_double_precision_states_meet_a_single_precision_network() -> None:
    """The paths stay together to the rounding of single precision, amplified along the way."""
    double, single = (digits(dtype=dtype, sampler=DEIS()).run().samples for dtype in ("float64", "float32"))
    assert double.dtype == torch.float64
    assert torch.allclose(double, single.double(), atol=1e-3)


def test_header_says_how_it_was_trained() -> None:
    design = Network().denoiser.design
    assert design.shape == (1, 8, 8)
    assert design.recipe["target"] == "Digits"
    assert design.recipe["seed"] == 0
    assert design.sigma_data == pytest.approx(float(Digits().images.std()), rel=0.02)


def shipped(folder: Path) -> Path:
    from importlib import resources

    file = folder / "weights.safetensors"
    file.write_bytes((resources.files("samplerhub_models") / "digits.safetensors").read_bytes())
    return file


def test_truncated_file(tmp_path: Path) -> None:
    file = shipped(tmp_path)
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(UnusableFile, match="is not a whole safetensors file"):
        digits(model=Network(weights=str(file)))


def test_pickle_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    torch.save({"w": torch.zeros(2)}, file)
    with pytest.raises(UnusableFile, match="never pickles"):
        digits(model=Network(weights=str(file)))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match=r"there is no weights file .*; shipped: digits"):
        digits(model=Network(weights=str(tmp_path / "no.safetensors")))


def test_other_tensors(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"w": torch.zeros(2)}, file)
    with pytest.raises(UnusableFile, match="describes no denoiser"):
        digits(model=Network(weights=str(file)))


def test_missing_tensor(tmp_path: Path) -> None:
    source = shipped(tmp_path)
    header = sh.read_tensors(source)[1]
    tensors = load_file(source)
    del tensors["conv_out.weight"]
    file = tmp_path / "less.safetensors"
    save_file(tensors, file, header)
    with pytest.raises(UnusableFile, match=r"do not fit the network .*conv_out\.weight"):
        digits(model=Network(weights=str(file)))


def test_other_shape() -> None:
    with pytest.raises(Mismatch, match=r"target Mixture has shape \(1,\) but model Network is made for \(1, 8, 8\)"):
        digits(target=Mixture())


@pytest.fixture(scope="module")
def mixture_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "mixture.safetensors"
    trainer = DenoisingScoreMatching(steps=400, sizes={"width": 64, "depth": 2}, save_every=150)
    for progress in trainer(Mixture(), file, seed=0):
        last = progress
    assert (last.done, last.total) == (400, 400)
    assert "loss" in last.note
    return file


def test_training_learns_the_posterior_mean(mixture_network: Path) -> None:
    """Against the exact posterior mean at several noise levels, relative to the spread of that mean."""
    target, denoiser = Mixture(), read_denoiser(mixture_network)
    rng = torch.Generator().manual_seed(1)
    for level in (0.2, 0.5, 1.0):
        rho = torch.tensor([[level]])
        y = (target.sample(4000, rng) + level * torch.randn(4000, 1, generator=rng)).float()
        exact = target.denoise(y, rho)
        error = (denoiser(y, rho) - exact).square().mean().sqrt() / exact.std()
        assert error < 0.25, (level, error)


def test_interrupted_training_ends_with_the_same_weights(mixture_network: Path, tmp_path: Path) -> None:
    trainer = DenoisingScoreMatching(steps=400, sizes={"width": 64, "depth": 2}, save_every=150)
    file = tmp_path / "mixture.safetensors"
    for stop in (200, 310):  # killed twice, the second time after it was taken up at 150
        run = trainer(Mixture(), file, seed=0)
        first = next(run).done
        assert first == (1 if stop == 200 else 151)
        for progress in run:
            if progress.done == stop:
                break
        run.close()
        assert not file.exists()
    assert next(trainer(Mixture(), file, seed=0)).done == 301
    list(trainer(Mixture(), file, seed=0))
    for name, tensor in load_file(mixture_network).items():
        assert torch.equal(tensor, load_file(file)[name]), name
    assert [path.name for path in tmp_path.iterdir()] == ["mixture.safetensors"]


def test_another_training_is_not_taken_up(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    run = DenoisingScoreMatching(steps=10, save_every=2)(Mixture(), file, seed=0)
    assert [next(run).done for _ in range(4)] == [1, 2, 3, 4]
    run.close()
    with pytest.raises(UnusableFile, match="steps was 10, is 20"):
        next(iter(DenoisingScoreMatching(steps=20)(Mixture(), file, seed=0)))


def test_a_network_trained_here_samples(mixture_network: Path) -> None:
    result = digits(target=Mixture(), model=Network(weights=str(mixture_network)), samples=64).run()
    assert result.samples.shape == (64, 1)
    assert math.isfinite(result.samples.sum())


def test_architecture_for_another_shape() -> None:
    with pytest.raises(InvalidSetting, match=r"'unet' is not for data of shape \(1,\)"):
        next(iter(DenoisingScoreMatching(architecture="unet")(Mixture(), Path("w.safetensors"), seed=0)))
