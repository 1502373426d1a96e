"""Targets that read files: round trips, splits, digests, and refusals that say what to do."""

from __future__ import annotations

import gzip
import pickle
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from samplerhub import FiniteData, HasDigest, HasMoments, HeldOut, LogSobolev, Target, write_tensors
from samplerhub.cli import main
from samplerhub.errors import Mismatch, UnusableFile
from samplerhub.testing import check_target
from samplerhub_targets.array import Array
from samplerhub_targets.digits import Digits
from samplerhub_targets.fashion_mnist import FashionMnist
from samplerhub_targets.images import Images

LEVELS = np.random.default_rng(0).integers(0, 256, (11, 6, 5, 3), dtype=np.uint8)


def pixels(levels):
    """Return levels (N, h, w, c) as the targets' pixels (N, c, h, w)."""
    return torch.from_numpy(levels.astype(np.float64) / 127.5 - 1).permute(0, 3, 1, 2)


def saved(tmp_path, x, name="data.npy"):
    np.save(tmp_path / name, x)
    return tmp_path / name


def idx(images):
    return struct.pack(">4I", 0x803, *images.shape) + images.tobytes()


# --- arrays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.bool_])
def test_an_array_comes_back(tmp_path, dtype):
    x = (10 * np.random.default_rng(1).normal(size=(20, 3))).astype(dtype)
    target = Array(file=saved(tmp_path, x), split="all")
    assert target.shape == (3,)
    assert target.data().dtype == torch.float64
    np.testing.assert_array_equal(target.data().numpy(), x.astype(np.float64))
    np.testing.assert_allclose(target.moments()[0], x.astype(float).mean(0), atol=1e-12)
    np.testing.assert_allclose(target.moments()[1], np.cov(x.astype(float).T, bias=True), atol=1e-12)


def test_every_fifth_row_is_held_out(tmp_path):
    file = saved(tmp_path, np.arange(23.0))
    target = Array(file=file)
    held_out = target.held_out()
    assert held_out.data().flatten().tolist() == [4, 9, 14, 19]
    assert len(target.data()) == 19
    assert target.shape == (1,)
    assert Array(file=file, every=2).held_out().data().flatten().tolist() == list(range(1, 23, 2))
    for split in ("held-out", "all"):
        with pytest.raises(Mismatch, match=f"split = '{split}' holds no data out"):
            Array(file=file, split=split).held_out()


def test_a_split_without_data_is_said_to_be_empty(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = Array(file=saved(tmp_path, np.random.default_rng(0).normal(size=(3, 2))))
    assert len(target.data()) == 3
    with pytest.raises(Mismatch, match="one in 5, and there are only 3; give more data, or set `every` to 3 or less"):
        target.held_out()
    with pytest.raises(UnusableFile, match="no data are held out: that is one in 5, and there are only 3"):
        target.replace(split="held-out").data()
    assert len(target.replace(every=3).held_out().data()) == 1
    words = ["run", "--target", "data.npy", "--model", "empirical", "-n", "8", "--steps", "2", "--quiet"]
    for more in (["--target.split", "held-out"], ["--metric", "nearest"]):
        assert main([*words, *more]) == 2
        assert "no data are held out" in capsys.readouterr().err


def test_an_array_is_a_finite_target(tmp_path):
    target = Array(file=saved(tmp_path, np.random.default_rng(0).normal(size=(50, 2, 3))))
    for role in (Target, FiniteData, HeldOut, HasMoments, LogSobolev, HasDigest):
        assert isinstance(target, role)
    check_target(target)
    known = {row.numpy().tobytes() for row in target.data()}
    assert {row.numpy().tobytes() for row in target.sample(2000, torch.Generator().manual_seed(0))} == known
    assert target.log_sobolev(50.0) < float("inf")


def test_arrays_of_an_archive(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(2, 10, 4))
    np.savez(tmp_path / "one.npz", x)
    np.savez_compressed(tmp_path / "two.npz", x=x, y=y)
    np.testing.assert_array_equal(Array(file=tmp_path / "one.npz", split="all").data(), x)
    np.testing.assert_array_equal(Array(file=tmp_path / "two.npz", key="y", split="all").data(), y)
    with pytest.raises(UnusableFile, match="holds 2 arrays; choose by key: x, y"):
        Array(file=tmp_path / "two.npz").data()
    with pytest.raises(UnusableFile, match="no array 'z'; it has x, y"):
        Array(file=tmp_path / "two.npz", key="z").data()


class Bomb:
    """An object whose unpickling writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickles_are_refused_and_not_executed(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([Bomb(tmp_path / "bang")] * 3, dtype=object), allow_pickle=True)
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(Bomb(tmp_path / "bang")))
    np.savez(tmp_path / "objects.npz", np.array([Bomb(tmp_path / "bang")] * 3, dtype=object), allow_pickle=True)
    for name in ("objects.npy", "plain.npy", "objects.npz"):
        for target in (Array(file=tmp_path / name), Images(source=tmp_path / name)):
            with pytest.raises(UnusableFile, match="such as pickled objects, which are never read"):
                target.data()
    assert not (tmp_path / "bang").exists()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([[1.0, np.nan], [0, 1], [2, 3]]), "1 of 3 data contain NaN or infinity"),
        (np.array([[1.0, -np.inf], [np.inf, 1]]), "2 of 2 data contain"),
        (np.array(3.0), r"shape \(\)"),
        (np.zeros((1, 4)), r"shape \(1, 4\); data are rows, two or more"),
        (np.zeros((4, 0)), r"shape \(4, 0\)"),
        (np.zeros((4, 2), complex), "complex128; real numbers are needed"),
        (np.array(["a", "b"]), "real numbers are needed"),
    ],
)
def test_arrays_that_are_no_data(tmp_path, x, message):
    with pytest.raises(UnusableFile, match=message):
        Array(file=saved(tmp_path, x)).data()


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(UnusableFile, match=r"there is no file .*nothing.npy"):
        Array(file=tmp_path / "nothing.npy").data()
    with pytest.raises(UnusableFile, match=r"cannot read .*: Is a directory"):
        Array(file=tmp_path).data()
    (tmp_path / "short.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(UnusableFile, match=r"short.npz is damaged"):
        Array(file=tmp_path / "short.npz").data()
    for target, message in (
        (Array(), "'array' needs a file: give it with --target FILE.npy"),
        (Images(), "'images' needs images: give a folder or a file"),
    ):
        for use in (lambda t: t.data(), lambda t: t.shape, lambda t: t.digest, lambda t: isinstance(t, Target)):
            with pytest.raises(UnusableFile, match=message):
                use(target)


def test_digests_are_of_the_content(tmp_path):
    a, b = saved(tmp_path, np.zeros((5, 2)), "a.npy"), saved(tmp_path, np.zeros((5, 2)), "b.npy")
    assert Array(file=a).digest == Array(file=b).digest
    np.save(b, np.ones((5, 2)))
    assert Array(file=a).digest != Array(file=b).digest


def test_a_file_stands_for_its_target(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, np.random.default_rng(0).normal(size=(40, 2)))
    words = ["run", "--target", "data.npy", "--model", "empirical", "--metric", "nearest", "-n", "16", "--steps", "5"]
    assert main([*words, "--quiet", "--json"]) == 0
    assert '"nearest"' in capsys.readouterr().out
    assert main([*words[:2], "nothing.npy", *words[3:]]) == 2
    assert "there is no file nothing.npy" in capsys.readouterr().err


# --- images -----------------------------------------------------------------------------------------------------------


def written(folder, levels, ending="png"):
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(levels):
        Image.fromarray(image.squeeze()).save(folder / f"{i:03d}.{ending}")
    return folder


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_images_comes_back(tmp_path, channels):
    levels = LEVELS[..., :channels]
    target = Images(source=written(tmp_path / "images", levels), split="all")
    assert target.shape == (channels, 6, 5)
    assert torch.equal(target.data(), pixels(levels))
    assert (target.data().min().item(), target.data().max().item()) >= (-1, 0.9)
    held_out = Images(source=tmp_path / "images").held_out()
    assert torch.equal(held_out.data(), pixels(levels[[4, 9]]))
    before = target.digest
    Image.fromarray(255 - LEVELS[0].squeeze()).save(tmp_path / "images" / "000.png")
    assert Images(source=tmp_path / "images").digest != before


def test_the_order_is_that_of_the_names_below_folders_too(tmp_path):
    written(tmp_path / "b", LEVELS[2:5])
    written(tmp_path / "a", LEVELS[:2], "BMP")
    (tmp_path / "notes.txt").write_text("no image")
    assert torch.equal(Images(source=tmp_path, split="all").data(), pixels(LEVELS[:5]))


def test_images_in_files(tmp_path):
    expected = pixels(LEVELS)
    np.savez(tmp_path / "levels.npz", LEVELS)
    np.save(tmp_path / "first.npy", LEVELS.transpose(0, 3, 1, 2))
    np.save(tmp_path / "numbers.npy", expected.numpy().astype(np.float32))
    write_tensors(tmp_path / "levels.safetensors", {"x": torch.from_numpy(LEVELS), "labels": torch.zeros(11)})
    for name in ("levels.npz", "first.npy"):
        assert torch.equal(Images(source=tmp_path / name, split="all").data(), expected)
    assert torch.equal(Images(source=tmp_path / "levels.safetensors", key="x", split="all").data(), expected)
    assert torch.equal(Images(source=tmp_path / "numbers.npy", split="all").data(), expected.float().double())
    np.save(tmp_path / "grey.npy", LEVELS[..., 0])
    assert torch.equal(Images(source=tmp_path / "grey.npy", split="all").data(), expected[:, :1])
    with pytest.raises(UnusableFile, match="several tensors; choose by key: labels, x"):
        Images(source=tmp_path / "levels.safetensors").data()
    with pytest.raises(UnusableFile, match="no tensor 'y'; it has: labels, x"):
        Images(source=tmp_path / "levels.safetensors", key="y").data()
    check_target(Images(source=tmp_path / "levels.npz"))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 2, 3, 3, 3)), r"shape \(4, 2, 3, 3, 3\); images are"),
        (np.zeros((4, 5, 6, 7)), r"shape \(4, 5, 6, 7\); images are"),
        (np.full((4, 3, 3), 2.0), "float64 from 2 to 2; images are uint8, or floating-point numbers in"),
        (np.full((4, 3, 3), 2), "holds int64; images are uint8"),
        (np.full((4, 3, 3), 2, np.uint16), "images are uint8"),
        (np.full((4, 3, 3), np.nan), "4 of 4 data contain NaN"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, x, message):
    with pytest.raises(UnusableFile, match=message):
        Images(source=saved(tmp_path, x)).data()


def test_folders_that_will_not_do(tmp_path):
    with pytest.raises(UnusableFile, match=r"no images in the folder .*\.png"):
        Images(source=tmp_path).data()
    folder = written(tmp_path / "sizes", LEVELS[:2])
    Image.fromarray(LEVELS[0][:4]).save(folder / "002.png")
    with pytest.raises(UnusableFile, match=r"002.png has shape \(3, 4, 5\) and .*000.png has \(3, 6, 5\)"):
        Images(source=folder).data()
    folder = written(tmp_path / "broken", LEVELS[:2])
    (folder / "001.png").write_bytes(b"no image")
    with pytest.raises(UnusableFile, match=r"cannot read .*001.png: cannot identify image file"):
        Images(source=folder).data()
    folder = written(tmp_path / "cut", LEVELS[:2])
    (folder / "001.png").write_bytes((folder / "000.png").read_bytes()[:90])
    with pytest.raises(UnusableFile, match=r"cannot read .*001.png"):
        Images(source=folder).data()
    for name, image in (
        ("alpha", Image.fromarray(LEVELS[0]).convert("RGBA")),
        ("deep", Image.fromarray(LEVELS[0, ..., 0].astype(np.uint16))),
    ):
        folder = written(tmp_path / name, LEVELS[:1])
        image.save(folder / "001.png")
        with pytest.raises(UnusableFile, match=r"001.png is of mode .*; images are grey or RGB, with 8 bits"):
            Images(source=folder).data()


# --- damage -----------------------------------------------------------------------------------------------------------


def flipped(data, rng, n):
    """Yield a file with one byte changed, half of the time among the first hundred, and files that end early."""
    for i in range(n):
        where = int(rng.integers(min(100, len(data)) if i % 2 else len(data)))
        yield data[:where] + bytes([data[where] ^ int(rng.integers(1, 256))]) + data[where + 1 :]
    for _ in range(n // 10):
        yield data[: int(rng.integers(len(data)))]


def damageable(tmp_path):
    """Yield small files of every kind that is read, each with the target that reads it."""
    for ending in ("png", "jpg", "bmp", "gif", "tif", "webp", "ppm"):
        written(folder := tmp_path / ending, LEVELS[:2], ending)
        yield folder / f"001.{ending}", Images(source=folder)
    np.save(tmp_path / "x.npy", LEVELS / 255)
    np.savez(tmp_path / "x.npz", LEVELS / 255)
    np.savez_compressed(tmp_path / "y.npz", LEVELS / 255)
    write_tensors(tmp_path / "x.safetensors", {"x": torch.from_numpy(LEVELS)})
    for name in ("x.npy", "x.npz", "y.npz", "x.safetensors"):
        yield tmp_path / name, Images(source=tmp_path / name)
    for name in ("x.npy", "x.npz"):
        yield tmp_path / name, Array(file=tmp_path / name)
    for name, data in (("", idx(LEVELS[..., 0])), (".gz", gzip.compress(idx(LEVELS[..., 0]), mtime=0))):
        (folder := tmp_path / f"idx{name}").mkdir()
        (file := folder / f"train-images-idx3-ubyte{name}").write_bytes(data)
        yield file, FashionMnist(folder=folder)


@pytest.mark.filterwarnings("ignore")  # Pillow and numpy warn of some damage
def test_a_damaged_file_is_read_or_refused_by_name(tmp_path):
    rng, refused = np.random.default_rng(0), {}
    for file, target in damageable(tmp_path):
        whole = file.read_bytes()
        for damaged in flipped(whole, rng, 60):
            file.write_bytes(damaged)
            try:
                assert target.replace().data().isfinite().all()
            except UnusableFile as error:
                refused.setdefault(file.name, []).append(str(error))
        file.write_bytes(whole)
    assert len(refused) == 13
    for messages in refused.values():
        assert len(messages) > 5
        assert all(str(tmp_path) in message for message in messages)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("png", lambda data: data[:33] + chunk(b"IDAT", data[41:51]) + b"\0\0\0\4\xff\xff\xff\xff"),  # SyntaxError
        ("png", lambda data: data[:8] + chunk(b"IHDR", b"\0\0\0\5") + data[33:]),  # ValueError
        ("tif", lambda data: data[:2] + b"*\0\xff\xff\xff\xff" + data[8:]),
        ("ppm", lambda data: b"P6 5 x 255 " + data[-90:]),  # ValueError
    ],
)
def test_an_image_that_is_damaged(tmp_path, name, damage):
    folder = written(tmp_path / "images", LEVELS[:2], name)
    file = folder / f"001.{name}"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UnusableFile, match=rf"cannot read .*001\.{name}: ."):
        Images(source=folder).data()


def test_an_array_that_is_damaged(tmp_path):
    whole = saved(tmp_path, np.zeros((5, 2))).read_bytes()
    for header in (whole.replace(b"'descr'", b"(descr'"), whole.replace(b"}", b"(")):  # tokenize.TokenError
        (tmp_path / "data.npy").write_bytes(header)
        with pytest.raises(UnusableFile, match="is damaged, or holds something else than numbers"):
            Array(file=tmp_path / "data.npy").data()
    np.savez(tmp_path / "data.npz", np.zeros((5, 2)))
    whole = (tmp_path / "data.npz").read_bytes()
    packed = whole[:8] + b"\x63" + whole[9:]
    at = packed.index(b"PK\1\2") + 10
    (tmp_path / "data.npz").write_bytes(packed[:at] + b"\x63" + packed[at + 1 :])  # NotImplementedError
    with pytest.raises(UnusableFile, match="is damaged, or holds something else than numbers"):
        Array(file=tmp_path / "data.npz").data()


# --- Fashion-MNIST ----------------------------------------------------------------------------------------------------


def test_idx_files_come_back(tmp_path):
    train, test = LEVELS[:8, ..., 0], LEVELS[8:, ..., 1]
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(train)))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(test))
    target = FashionMnist(folder=tmp_path)
    assert target.shape == (1, 6, 5)
    assert torch.equal(target.data(), pixels(train[..., None]))
    assert torch.equal(target.held_out().data(), pixels(test[..., None]))
    assert torch.equal(
        FashionMnist(folder=tmp_path, split="all").data(), pixels(np.concatenate([train, test])[..., None])
    )
    assert target.digest != target.held_out().digest
    check_target(target)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte", b"", "is no IDX file of images"),
        (
            "train-images-idx3-ubyte",
            idx(LEVELS[..., 0])[:-1],
            "is not whole: 11 images of 6 x 5 are 346 bytes, not 345",
        ),
        ("train-images-idx3-ubyte", b"\0\0\x08\x01" + bytes(20), "is no IDX file of images"),
        ("train-images-idx3-ubyte.gz", b"no gzip at all..", "cannot read .*gz"),
        ("train-images-idx3-ubyte.gz", gzip.compress(idx(LEVELS[..., 0]))[:-20], "cannot read .*gz"),
        ("other", b"", "install the Debian package dataset-fashion-mnist"),
    ],
)
def test_files_that_are_no_idx_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnusableFile, match=message):
        FashionMnist(folder=tmp_path).data()


def test_fashion_mnist_itself():
    try:
        target = FashionMnist().held_out()
        assert len(target.data()) == 10_000
    except UnusableFile as error:
        pytest.skip(str(error))
    # The pixels' mean is published with many a pipeline: 0.2868 of 1.
    assert (target.data().mean().item() + 1) / 2 == pytest.approx(0.2868, abs=2e-3)


def test_digits_hold_out_what_they_did():
    held_out = Digits().held_out()
    assert held_out == Digits(split="held-out")
    assert len(held_out.data()) == 359
    with pytest.raises(Mismatch, match="split = 'held-out' holds no data out"):
        held_out.held_out()
