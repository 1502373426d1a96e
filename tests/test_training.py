"""Training: weightings, activations, the curve of the loss, images, and being killed in between."""

from __future__ import annotations

import itertools
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import samplerhub as sh
from samplerhub.cli import learning_curve, main
from samplerhub.errors import InvalidSetting, UnusableFile
from samplerhub_grids.edm import EDMGrid
from samplerhub_models.denoiser import Denoiser, Design, read_denoiser
from samplerhub_models.history import LossCurve, loss_by_level
from samplerhub_models.network import Network
from samplerhub_models.training import DenoisingScoreMatching
from samplerhub_models.weighting import EqualisingWeighting, FixedWeighting, weighting_of
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_samplers.heun import Heun
from samplerhub_targets.array import Array
from samplerhub_targets.digits import Digits
from samplerhub_targets.fashion_mnist import FashionMnist
from samplerhub_targets.mixture import Mixture

SMALL = {"width": 16, "depth": 1}


def train(file: Path, target: sh.Target | None = None, **fields: object) -> dict[str, torch.Tensor]:
    """Train and return the weights."""
    for _ in DenoisingScoreMatching(**fields)(target or Mixture(), file, 0):
        pass
    return sh.read_tensors(file)[0]


# --- weightings -------------------------------------------------------------------------------------------------------


def levels(n: int = 64, dims: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    rho = torch.exp(-0.4 + torch.randn(n, 1, generator=rng, dtype=torch.float64))
    return rho, torch.rand(n, dims, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("edm", lambda rho, s: 1 / s**2 + 1 / rho**2),
        ("inverse-variance", lambda rho, s: 1 / rho**2),
        ("uniform", lambda rho, s: 1.0),
    ],
)
def test_fixed_weights(name: str, weight: object) -> None:
    rho, error = levels()
    expected = sum(weight(r.item(), 0.7) * e.mean().item() for r, e in zip(rho, error)) / len(rho)  # type: ignore[operator]
    assert weighting_of(name, 0.7, -0.4, 1.0)(rho, error).item() == pytest.approx(expected, rel=1e-12)  # type: ignore[arg-type]


def test_equalising_weights_follow_their_formula() -> None:
    """Three steps by hand: beta_j = clip(l_j^-1/mean_k l_k^-1), l_j a running mean of |D - x_0|^2/(rho^2 d)."""
    weighting = EqualisingWeighting(-0.4, 1.0)
    edges = [-math.inf, *(-0.4 + torch.special.ndtri(torch.tensor(j / 16, dtype=torch.float64)) for j in range(1, 16))]
    seen: dict[int, list[float]] = {}
    for scale in (1.0, 0.3, 5.0):
        rho, error = levels(n=200)
        error = error * scale
        losses = {j: sum(means) / len(means) for j, means in seen.items()}
        expected, fresh = 0.0, []
        for r, e in zip(rho, error):
            j = sum(math.log(r.item()) >= float(edge) for edge in edges) - 1
            inverse = sum(1 / value for value in losses.values()) / max(len(losses), 1)
            beta = min(10.0, max(0.1, 1 / losses[j] / inverse)) if j in losses else 1.0
            expected += beta * e.mean().item() / r.item() ** 2 / len(rho)
            fresh.append((j, e.mean().item() / r.item() ** 2))
        assert weighting(rho, error).item() == pytest.approx(expected, rel=1e-9)
        for j, value in fresh:
            seen.setdefault(j, []).append(value)
    assert weighting.loss.dtype == torch.float64
    assert max(len(values) for values in seen.values()) < EqualisingWeighting.WINDOW


def test_equalising_weights_give_every_level_its_share_and_forget() -> None:
    """With l = rho^-1 known exactly, beta_j l_j is the same in every bin that is not clipped; then l changes."""
    weighting = EqualisingWeighting(-0.4, 0.5)
    rho = torch.exp(-0.4 + 0.5 * torch.special.ndtri((torch.arange(1600, dtype=torch.float64) + 0.5) / 1600))[:, None]
    for power in (-1.0, 0.5):
        for _ in range(100):
            weighting(rho, rho ** (2 + power))
        loss = torch.stack([(rho**power)[weighting.bin(rho) == j].mean() for j in range(16)])
        assert ((weighting.beta() > 0.1) & (weighting.beta() < 10)).all()
        share = weighting.beta() * loss
        torch.testing.assert_close(share, share.mean().expand(16), rtol=1e-3, atol=0)


def test_equalising_weights_are_clipped_and_let_no_gradient_through() -> None:
    weighting = EqualisingWeighting(0.0, 1.0)
    rho = torch.exp(torch.linspace(-3, 3, 500, dtype=torch.float64))[:, None]
    weighting(rho, 1e-3 + 0 * rho)  # l_j = 1e-3/rho^2 spans five decades
    beta = weighting.beta()
    assert (beta.min(), beta.max()) == (0.1, beta[-1])
    weighting.loss[0] = 1e-12
    assert weighting.beta()[0] == 10
    error = torch.ones_like(rho).requires_grad_()
    beta = weighting.beta()[weighting.bin(rho)]
    weighting(rho, error).backward()
    torch.testing.assert_close(error.grad, beta / rho**2 / 500)


@pytest.mark.parametrize("name", ["inverse-variance", "uniform", "equalising"])
def test_every_weighting_trains(name: str, tmp_path: Path) -> None:
    """All weightings have the same minimiser: each comes near the exact posterior mean, from different weights."""
    file = tmp_path / "w.safetensors"
    train(file, steps=300, sizes={"width": 64, "depth": 2}, weighting=name)
    target, denoiser = Mixture(), read_denoiser(file)
    rho, rng = torch.tensor([[0.7]]), torch.Generator().manual_seed(1)
    y = (target.sample(4000, rng) + 0.7 * torch.randn(4000, 1, generator=rng)).float()
    exact = target.denoise(y, rho)
    error = (denoiser(y, rho) - exact).square().mean().sqrt() / exact.std()
    assert error < 0.25, error
    assert denoiser.design.recipe["weighting"] == name


# --- activations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "f"), [("relu", torch.relu), ("softplus", lambda x: (1 + x.exp()).log())])
def test_the_activation_is_everywhere(name: str, f: object, tmp_path: Path) -> None:
    """The file's design has it, and the network is that of a perceptron written out here."""
    file = tmp_path / "w.safetensors"
    w = {key: t.double() for key, t in train(file, steps=5, sizes=SMALL, activation=name, warmup=0, rate=0.1).items()}
    denoiser = read_denoiser(file)
    assert denoiser.design.activation == name
    x, c = torch.linspace(-2, 2, 7, dtype=torch.float64)[:, None], torch.tensor([0.3], dtype=torch.float64)

    def linear(h: torch.Tensor, layer: str) -> torch.Tensor:
        return functional.linear(h, w[f"{layer}.weight"], w[f"{layer}.bias"])

    phase = c[:, None] * torch.logspace(-0.3, 1.2, 16, dtype=torch.float64)
    e = f(linear(f(linear(torch.cat([phase.cos(), phase.sin()], 1), "embed.hidden")), "embed.out"))  # type: ignore[operator]
    h = linear(x, "linear_in")
    scale, shift = linear(e, "blocks.0.modulation").chunk(2, 1)
    h = h + linear(f(linear(f(h * (1 + scale) + shift), "blocks.0.linear1")), "blocks.0.linear2")  # type: ignore[operator]
    expected = linear(f(h), "linear_out")  # type: ignore[operator]
    torch.testing.assert_close(denoiser.network(x.float(), c.float()).double(), expected, rtol=1e-4, atol=1e-5)


def test_the_unet_has_the_activation_too() -> None:
    """Outputs differ between activations at the same weights, and only by the activation."""
    outputs = []
    for name in ("silu", "relu", "softplus"):
        torch.manual_seed(0)
        unet = Denoiser(Design(architecture="unet", shape=(1, 8, 8), sigma_data=1.0, activation=name)).network
        torch.nn.init.ones_(unet.conv_out.weight)
        outputs.append(unet(torch.ones(1, 1, 8, 8), torch.zeros(1)))
    assert len({round(out.sum().item(), 2) for out in outputs}) == 3
    assert FixedWeighting("edm", 1.0).state_dict() == {}


def test_a_size_is_no_activation(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="mlp has no 'activation'; it has width, depth, embedding"):
        train(tmp_path / "w.safetensors", steps=1, sizes={"activation": 1})


# --- what the training leaves behind ----------------------------------------------------------------------------------


def history(file: Path) -> dict[str, Any]:
    return json.loads(sh.read_tensors(file)[1]["samplerhub.training"])  # type: ignore[no-any-return]


def test_the_curve_is_the_mean_loss_of_each_stretch() -> None:
    curve, loss = LossCurve(470), torch.rand(470, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for k, value in enumerate(loss.tolist()):
        curve.add(k, value)
    ends = [0, *curve.as_json()["steps"]]
    assert (len(ends), ends[-1]) == (201, 470)
    assert {b - a for a, b in itertools.pairwise(ends)} == {2, 3}
    expected = [loss[a:b].mean().item() for a, b in itertools.pairwise(ends)]
    assert curve.as_json()["loss"] == pytest.approx(expected, rel=1e-12)


class Spread:
    """N(0, 0.6^2) in three dimensions, without a closed form."""

    shape = (3,)

    def sample(self, n: int, rng: torch.Generator) -> torch.Tensor:
        return 0.6 * torch.randn(n, 3, generator=rng)


@pytest.mark.parametrize("s", [0.6, 0.3])
def test_the_loss_by_level_of_a_known_denoiser(s: float) -> None:
    """F = 0, so D = c_skip y, of a normal law: E |D - x_0|^2/d = c_skip^2 rho^2 + (1 - c_skip)^2 0.6^2."""
    denoiser = Denoiser(Design(architecture="mlp", shape=(3,), sigma_data=s))
    torch.nn.init.zeros_(denoiser.network.linear_out.bias)
    found = loss_by_level(denoiser, Spread(), levels := [0.05, 0.6, 9.0], 20_000, seed=0)
    assert found["data"] == "fresh"
    assert found["rho"] == levels
    for rho, loss, stderr in zip(levels, found["loss"], found["stderr"]):
        skip = s**2 / (rho**2 + s**2)
        truth = (rho**2 + s**2) / (rho * s) ** 2 * (skip**2 * rho**2 + (1 - skip) ** 2 * 0.36)
        assert abs(loss - truth) < 4 * stderr, (rho, loss, truth)
        assert stderr == pytest.approx(truth * math.sqrt(2 / 3 / 20_000), rel=0.1)  # chi^2_3


def test_the_loss_by_level_is_measured_on_held_out_data() -> None:
    """The denoiser returns a constant, the mean of the held-out digits: the loss is their variance at any level."""
    denoiser = Denoiser(Design(architecture="mlp", shape=(64,), sigma_data=1.0))
    mean = Digits(split="held-out").data().mean(0).float()
    denoiser.forward = lambda y, rho: mean.expand_as(y)  # type: ignore[method-assign]
    for split, where in (("train", "held-out"), ("all", "training")):
        found = loss_by_level(denoiser, Digits(split=split), [1.0], 4000, seed=0)
        data = Digits(split="held-out" if where == "held-out" else split).data().float()
        assert found["data"] == where
        assert abs(found["loss"][0] - 2 * (data - mean).square().mean().item()) < 4 * found["stderr"][0]


def test_the_header_and_the_picture(tmp_path: Path) -> None:
    """`samplerhub train` draws what the header says; levels lie within three p_std of p_mean."""
    file = tmp_path / "w.safetensors"
    command = ["train", "--target", "mixture", "--steps", "60", "--batch-size", "64", "--quiet", "--out", str(file)]
    assert main(command) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.safetensors", "w.safetensors.png"]
    assert (tmp_path / "w.safetensors.png").read_bytes().startswith(b"\x89PNG")
    training = history(file)
    assert training["steps"] == list(range(1, 61))
    levels = training["levels"]
    assert (levels["rho"][0], levels["rho"][-1]) == pytest.approx((math.exp(-3.4), math.exp(2.6)))
    assert levels == loss_by_level(read_denoiser(file), Mixture(), levels["rho"], 2**14, seed=0)
    along, by_level = learning_curve.figure(training).axes
    assert along.lines[0].get_ydata().tolist() == training["loss"]
    assert along.lines[1].get_ydata().tolist() == learning_curve.smoothed(training["loss"])
    assert by_level.lines[0].get_xydata().T.tolist() == [levels["rho"], levels["loss"]]


def test_a_file_of_data_is_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("data.npy", np.random.default_rng(0).normal(size=(20, 2)))
    assert main(["train", "--target", "data.npy", "--target.every", "4", "--steps", "3", "--quiet"]) == 0
    recipe = read_denoiser(Path("array.safetensors")).design.recipe
    assert recipe["target"]["fields"] == {"file": "data.npy", "every": 4, "key": None, "split": "train"}  # type: ignore[call-overload, index]


@pytest.mark.parametrize("out", ["m", "m.pt", "m.safetensors.bak"])
def test_a_file_that_no_short_form_could_name_is_not_written(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--target", "mixture", "--steps", "3", "--quiet", "--out", out]) == 2
    assert f"--out {out}: give a file that ends in .safetensors" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_a_file_without_a_history_has_no_picture(tmp_path: Path) -> None:
    sh.write_tensors(file := tmp_path / "w.safetensors", {"w": torch.zeros(1)})
    assert learning_curve.draw(file) is None
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_smoothing() -> None:
    """Weights 0.75^(i - j) over the past, normalised; a constant stays what it is."""
    loss = [float(i % 7) for i in range(200)]
    w = [0.75**j for j in range(51)]
    expected = sum(a * loss[50 - j] for j, a in enumerate(w)) / sum(w)
    assert learning_curve.smoothed(loss)[50] == pytest.approx(expected)
    assert learning_curve.smoothed([2.0] * 300) == pytest.approx([2.0] * 300)


# --- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 16, 16), (2, 6, 10)])
def test_images_of_any_even_size(shape: tuple[int, int, int], tmp_path: Path) -> None:
    """A few steps on images whose halves have opposite signs lower the loss; the file samples in a run."""
    images = np.random.default_rng(0).choice([-1.0, 1.0], (40, 1, 1, 1)) * np.ones(shape)
    images[..., shape[2] // 2 :] *= -1
    np.save(tmp_path / "images.npy", images)
    file, target = tmp_path / "w.safetensors", Array(file=tmp_path / "images.npy")
    sizes = {"channels": 8, "inner_channels": 8, "inner_blocks": 1, "embedding": 16, "groups": 2}
    train(file, target, steps=60, batch_size=16, sizes=sizes, rate=0.02, warmup=0)
    training, design = history(file), read_denoiser(file).design
    assert (design.architecture, design.shape) == ("unet", shape)
    assert training["levels"]["data"] == "held-out"
    assert np.mean(training["loss"][-5:]) < 0.6 * np.mean(training["loss"][:2]), training["loss"]
    result = sh.Experiment(
        process=EDM(), target=target, model=Network(weights=str(file)), sampler=Heun(), grid=EDMGrid(),
        prior=GaussianPrior(), samples=3, steps=3,
    ).run()  # fmt: skip
    assert result.samples.shape == (3, *shape)
    assert result.samples.isfinite().all()


def test_images_with_an_odd_side_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.random.default_rng(0).normal(size=(10, 1, 7, 8)))
    with pytest.raises(InvalidSetting, match="the sides of an image must be even, and these are 7 and 8"):
        train(tmp_path / "w.safetensors", Array(file=tmp_path / "images.npy"), steps=1)


# --- few data, and other data -----------------------------------------------------------------------------------------


def test_data_too_few_to_hold_any_out_are_trained_on(tmp_path: Path) -> None:
    np.save(tmp_path / "three.npy", np.random.default_rng(0).normal(size=(3, 2)))
    file = tmp_path / "w.safetensors"
    command = ["train", "--target", "array", "--target.file", str(tmp_path / "three.npy"), "--steps", "5", "--quiet"]
    assert main([*command, "--out", str(file)]) == 0
    assert history(file)["levels"]["data"] == "training"


def test_held_out_data_that_cannot_be_read_are_missed_before_the_training(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (4, 6, 6), dtype=np.uint8)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, *levels.shape) + levels.tobytes())
    with pytest.raises(UnusableFile, match="there is no t10k-images-idx3-ubyte"):
        next(DenoisingScoreMatching()(FashionMnist(folder=tmp_path), tmp_path / "w.safetensors", 0))


def test_the_recipe_says_what_was_trained_on(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20, 2)))
    array, ring = Array(file=tmp_path / "x.npy", every=4), Mixture(means=((-1.0,), (2.0,)), weights=(0.5, 0.5))
    file = tmp_path / "w.safetensors"
    train(file, array, steps=1, sizes=SMALL)
    assert read_denoiser(file).design.recipe["target"] == {
        "class": "samplerhub_targets.array:Array",
        "fields": array.model_dump(mode="json"),
        "digest": array.digest,
    }
    train(file, ring, steps=1, sizes=SMALL)
    assert read_denoiser(file).design.recipe["target"] == {
        "class": "samplerhub_targets.mixture:Mixture", "fields": ring.model_dump(mode="json")
    }  # fmt: skip
    train(file, Spread(), steps=1, sizes=SMALL)
    assert read_denoiser(file).design.recipe["target"] == {"class": f"{__name__}:Spread"}


def test_a_training_on_other_data_is_not_taken_up(tmp_path: Path) -> None:
    """Data of the same spread: their negatives, another number of them held out."""
    x, trainer, file = (
        np.random.default_rng(0).normal(size=(20, 2)),
        DenoisingScoreMatching(sizes=SMALL),
        tmp_path / "w",
    )
    np.save(tmp_path / "x.npy", x)
    run = trainer(Array(file=tmp_path / "x.npy"), file, 0)
    next(run)
    run.close()
    with pytest.raises(UnusableFile, match=r"another training \(.*target\.fields\.every was 5, is 4"):
        next(trainer(Array(file=tmp_path / "x.npy", every=4), file, 0))
    assert next(trainer(Array(file=tmp_path / "x.npy"), file, 0)).done == 2
    np.save(tmp_path / "x.npy", -x)
    with pytest.raises(UnusableFile, match=r"another training \(target\.digest was \w{64}, is \w{64}\)"):
        next(trainer(Array(file=tmp_path / "x.npy"), file, 0))


# --- precision --------------------------------------------------------------------------------------------------------


def test_a_cpu_knows_no_mixed_precision(tmp_path: Path) -> None:
    off, auto = (train(tmp_path / f"{p}.safetensors", steps=5, sizes=SMALL, mixed_precision=p) for p in ("off", "auto"))
    assert all(torch.equal(off[name], auto[name]) for name in off)
    assert {t.dtype for t in auto.values()} == {torch.float32}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_mixed_precision_on_a_gpu(tmp_path: Path) -> None:
    """bfloat16 changes the loss a little, the weights stay float32, and both learn."""
    last = {}
    for p in ("off", "auto"):
        file = tmp_path / f"{p}.safetensors"
        fields = {"steps": 200, "batch_size": 64, "train_device": "cuda", "mixed_precision": p}
        assert {t.dtype for t in train(file, Digits(), **fields).values()} == {torch.float32}
        last[p] = np.mean(history(file)["loss"][-20:])
    assert 0 < abs(last["auto"] / last["off"] - 1) < 0.05


# --- being killed -----------------------------------------------------------------------------------------------------


def test_killed_between_saves_ends_with_the_same_weights_and_curve(tmp_path: Path) -> None:
    """The equalising weights and the curve are part of the state; what came after the last save is done again."""
    trainer = DenoisingScoreMatching(steps=300, batch_size=32, sizes=SMALL, weighting="equalising", save_every=40)
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    partial = tmp_path / "cut.partial.safetensors"
    list(trainer(Mixture(), whole, 0))
    for first, last in ((1, 57), (41, 199)):
        run = trainer(Mixture(), cut, 0)
        assert next(run).done == first
        while next(run).done < last:
            pass
        saved = partial.read_bytes()
        run.close()  # saves its state; a kill would not have
        partial.write_bytes(saved)
    tensors, _ = sh.read_tensors(partial)
    assert tensors["weighting/loss"].dtype == tensors["curve/loss"].dtype == torch.float64
    assert tensors["weighting/count"].sum() == 160 * 32
    run = trainer(Mixture(), cut, 0)
    assert next(run).done == 161
    list(run)
    (weights, header), (expected, wanted) = sh.read_tensors(cut), sh.read_tensors(whole)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert header == wanted
    edm = train(tmp_path / "edm.safetensors", steps=300, batch_size=32, sizes=SMALL)
    assert not torch.equal(edm["linear_out.weight"], weights["linear_out.weight"])


@pytest.mark.parametrize("missing", ["weighting/loss", "weighting/count", "curve/loss"])
def test_a_state_without_its_weighting_or_curve_is_refused(missing: str, tmp_path: Path) -> None:
    trainer, file = DenoisingScoreMatching(steps=9, sizes=SMALL, weighting="equalising"), tmp_path / "w.safetensors"
    run = trainer(Mixture(), file, 0)
    next(run)
    run.close()
    partial = tmp_path / "w.partial.safetensors"
    tensors, header = sh.read_tensors(partial)
    del tensors[missing]
    sh.write_tensors(partial, tensors, header)
    with pytest.raises(UnusableFile, match=f"not the whole state of a training: {missing} is missing"):
        next(trainer(Mixture(), file, 0))
