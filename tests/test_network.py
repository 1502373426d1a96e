"""The trained network: its file, its promises, and the quality of what it generates."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import samplerhub as sh
from samplerhub import normal, stream
from samplerhub.errors import InvalidSetting, Mismatch, UnusableFile
from samplerhub_grids.edm import EDMGrid
from samplerhub_models.denoiser import Denoiser, Design, read_denoiser
from samplerhub_models.network import Network
from samplerhub_models.training import DenoisingScoreMatching
from samplerhub_models.weighting import FixedWeighting
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
    x, pool = digits(samples=256, steps=20).run().samples.flatten(1), Digits().data().flatten(1).to(torch.float32)
    held_out = Digits(split="held-out").data().flatten(1).to(torch.float32)
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
    assert design.sigma_data == pytest.approx(float(Digits().data().std()), rel=0.02)


class Constant:
    """A target without spread."""

    shape = (1,)

    def sample(self, n: int, rng: torch.Generator) -> torch.Tensor:
        return torch.ones(n, 1)


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "mlp"}, r"describes a network that cannot be built: mlp for data of shape \(1, 8, 8\)"),
        ({"sizes": {"groups": 7}}, "cannot be built: .* must be divisible by num_groups"),
        ({"sizes": {"depth": 2}}, "cannot be built: sizes: unet has no 'depth'; it has channels, "),
        ({"sizes": {"channels": 64}}, "do not fit the network"),
        ({"shape": [1, 7, 7]}, "cannot be built: .* must be even, and these are 7 and 7"),
        ({"shape": [1, 0, 8]}, "describes no denoiser"),
        ({"sizes": {"groups": 0}}, "describes no denoiser"),
        ({"sigma_data": 0.0}, "describes no denoiser"),
        ({"sigma_data": math.nan}, "describes no denoiser"),
        ({"architecture": "transformer"}, "describes no denoiser"),
    ],
)
def test_a_header_that_was_edited(change: dict[str, object], message: str, tmp_path: Path) -> None:
    tensors, header = sh.read_tensors(shipped(tmp_path))
    design = json.loads(header["samplerhub"]) | change
    file = tmp_path / "edited.safetensors"
    save_file(tensors, file, {"samplerhub": json.dumps(design)})
    with pytest.raises(UnusableFile, match=message):
        digits(model=Network(weights=str(file)))


def test_a_folder_is_no_weights_file(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match=r"cannot read .*: Is a directory"):
        digits(model=Network(weights=str(tmp_path)))


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


# --- the formulas -----------------------------------------------------------------------------------------------------


class Recorded(torch.nn.Module):
    """A network that keeps what it is given and returns what it is told."""

    def __init__(self, F: torch.Tensor) -> None:
        super().__init__()
        self.F = F

    def forward(self, x: torch.Tensor, c_noise: torch.Tensor) -> torch.Tensor:
        self.given = x, c_noise
        return self.F


def test_preconditioning_is_edms() -> None:
    """Karras et al. (2022), table 1, last column, and equation 7."""
    rng = torch.Generator().manual_seed(0)
    y, F = torch.randn(2, 4, 3, generator=rng, dtype=torch.float64)
    sigma, s = torch.tensor([[0.01], [0.3], [2.0], [70.0]], dtype=torch.float64), 0.6
    denoiser = Denoiser(Design(architecture="mlp", shape=(3,), sigma_data=s))
    denoiser.network = Recorded(F)
    c_skip, c_out = s**2 / (sigma**2 + s**2), sigma * s / (s**2 + sigma**2).sqrt()
    torch.testing.assert_close(denoiser(y, sigma), c_skip * y + c_out * F)
    x, c_noise = denoiser.network.given
    torch.testing.assert_close(x, y / (sigma**2 + s**2).sqrt())
    torch.testing.assert_close(c_noise, sigma[:, 0].log() / 4)


def test_the_shipped_network_returns_what_it_did() -> None:
    """Provenance: digits.safetensors as shipped, float32 on a CPU; five pixels of D(y, rho) for a ramp y."""
    ramp = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
    for level, pixels in STORED.items():
        D = Network()(ramp * (1 + level), torch.full((1, 1, 1, 1), level))
        torch.testing.assert_close(D.flatten()[[2, 19, 36, 53, 60]], torch.tensor(pixels), rtol=0, atol=1e-3)


STORED = {
    0.1: [-0.9743, -0.2114, 0.4583, 0.4274, 0.6373],
    0.5: [-0.8728, 0.2375, 0.6018, 0.1762, 0.581],
    2.0: [-0.6411, 0.3367, 0.3479, 0.3662, 0.8741],
    20.0: [-0.347, -0.0403, 0.2859, 0.125, 0.5038],
}


def test_the_loss_is_edms() -> None:
    """Karras et al. (2022), equation 8, with the weight lambda = 1/c_out^2: the network is fitted to unit targets."""
    trainer, target = DenoisingScoreMatching(batch_size=32, p_mean=-0.7, p_std=1.3), Mixture()
    denoiser = Denoiser(Design(architecture="mlp", shape=(1,), sigma_data=0.4))
    torch.nn.init.normal_(denoiser.network.linear_out.weight)
    rng = stream(0, "train", 0)
    x0 = target.sample(32, rng).float()
    sigma = (torch.randn(32, 1, generator=rng) * 1.3 - 0.7).exp()
    n = normal(x0, rng) * sigma
    c_skip, c_out = 0.16 / (sigma**2 + 0.16), sigma * 0.4 / (sigma**2 + 0.16).sqrt()
    F = denoiser.network((x0 + n) / (sigma**2 + 0.16).sqrt(), sigma[:, 0].log() / 4)
    expected = (F - (x0 - c_skip * (x0 + n)) / c_out).square().mean()
    assert expected > 0.5
    torch.testing.assert_close(
        trainer._loss(denoiser, FixedWeighting("edm", 0.4), target, stream(0, "train", 0)), expected
    )


def test_the_average_of_the_weights_follows_its_recursion(tmp_path: Path) -> None:
    """mean_k = mean_{k-1} + (theta_k - mean_{k-1}) (1 - exp(-1/(average max(k, 10))))."""
    trainer = DenoisingScoreMatching(steps=14, batch_size=4, average=0.3, save_every=1, rate=0.1, warmup=0)
    file, partial = tmp_path / "w.safetensors", tmp_path / "w.partial.safetensors"
    mean: dict[str, torch.Tensor] = {}
    for k, _ in enumerate(trainer(Mixture(), file, seed=0)):
        tensors, _ = sh.read_tensors(partial)
        theta, now = (
            {name.removeprefix(kind): t for name, t in tensors.items() if name.startswith(kind)}
            for kind in ("weights/network.", "mean/network.")
        )
        if k:
            share = 1 - math.exp(-1 / (0.3 * max(k, 10)))
            for name in theta:
                torch.testing.assert_close(now[name], mean[name] + share * (theta[name] - mean[name]))
            assert any((now[name] - theta[name]).abs().max() > 0.01 for name in theta)
        mean = now
    written, _ = sh.read_tensors(file)
    assert all(torch.equal(written[name], mean[name]) for name in mean)
    assert written.keys() == mean.keys()


# --- training ---------------------------------------------------------------------------------------------------------


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
    partial, killed = tmp_path / "mixture.partial.safetensors", b""
    for first, stop in ((1, 20), (21, 200), (151, 310)):  # stopped before anything was saved, killed, stopped
        run = trainer(Mixture(), file, seed=0)
        assert next(run).done == first
        for progress in run:
            if progress.done == 150:
                killed = partial.read_bytes()
            if progress.done == stop:
                break
        run.close()
        if stop == 200:
            partial.write_bytes(killed)
        assert not file.exists()
    run = trainer(Mixture(), file, seed=0)
    assert next(run).done == 311
    list(run)
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


@pytest.mark.parametrize(
    "missing", ["weights/network.linear_in.bias", "mean/network.linear_out.weight", "optimizer/3/exp_avg", "step"]
)
def test_a_state_that_is_not_whole_is_refused(missing: str, tmp_path: Path) -> None:
    file, partial = tmp_path / "w.safetensors", tmp_path / "w.partial.safetensors"
    trainer = DenoisingScoreMatching(steps=10)
    run = trainer(Mixture(), file, seed=0)
    next(run)
    run.close()
    tensors, header = sh.read_tensors(partial)
    for part in (tensors, header):
        part.pop(missing, None)
    save_file(tensors, partial, header)
    with pytest.raises(UnusableFile, match=f"is not the whole state of a training: {re.escape(missing)} is missing"):
        next(trainer(Mixture(), file, seed=0))
    save_file(tensors, partial, {"design": "[]"})
    with pytest.raises(UnusableFile, match=r"another training \(no design\)"):
        next(trainer(Mixture(), file, seed=0))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Constant(), "standard deviation 0; there is nothing to learn"),
        (Digits(), "train_device = 'nowhere' cannot be used"),
    ],
)
def test_what_cannot_be_trained(target: sh.Target, message: str, tmp_path: Path) -> None:
    trainer = DenoisingScoreMatching(train_device="nowhere")
    with pytest.raises(InvalidSetting, match=message):
        next(trainer(target, tmp_path / "w.safetensors", seed=0))


def test_a_network_trained_here_samples(mixture_network: Path) -> None:
    result = digits(target=Mixture(), model=Network(weights=str(mixture_network)), samples=64).run()
    assert result.samples.shape == (64, 1)
    assert math.isfinite(result.samples.sum())


def test_architecture_for_another_shape() -> None:
    with pytest.raises(InvalidSetting, match=r"'unet' is not for data of shape \(1,\)"):
        next(iter(DenoisingScoreMatching(architecture="unet")(Mixture(), Path("w.safetensors"), seed=0)))


# --- the bytes of a file ----------------------------------------------------------------------------------------------


def test_the_same_training_writes_the_same_bytes(tmp_path: Path) -> None:
    """The library writes the strings of a header in any order; a digest of the file must not depend on it."""
    trainer, files = DenoisingScoreMatching(steps=2, sizes={"width": 8}), [tmp_path / f"{i}" for i in range(6)]
    for file in files:
        list(trainer(Mixture(), file, seed=0))
    assert len({file.read_bytes() for file in files}) == 1
    assert len(sh.read_tensors(files[0])[1]) == 2
    assert len({Network(weights=str(file)).digest for file in files}) == 1


def test_files_with_any_header_come_back(tmp_path: Path) -> None:
    """Against the library itself: what it wrote reads the same, and what is written here it reads the same."""
    tensors = {"é": torch.arange(3, dtype=torch.float16), "b": torch.ones(2, 0), "a": torch.tensor(True)}
    for header in ({}, {"one": "1"}, {f"k{i}": "\u2028 \"'\\\n\x00\x7f é" * i for i in range(9)}):
        sh.write_tensors(tmp_path / "ours", tensors, header)
        save_file(tensors, tmp_path / "theirs", header)
        for file in (tmp_path / "ours", tmp_path / "theirs"):
            back, found = sh.read_tensors(file)
            torch.testing.assert_close(back, tensors, rtol=0, atol=0)
            assert found == header
        assert (tmp_path / "ours").stat().st_size == (tmp_path / "theirs").stat().st_size


def test_the_shipped_file_is_what_it_was() -> None:
    """Written before the recipe said more of a target than the name of its class."""
    assert Network().digest == "9d5782ef5fdb565720733aeebd57651803552fe912d8b44f191f1a0f9d694f4d"
    assert Network().denoiser.design.recipe["target"] == "Digits"
