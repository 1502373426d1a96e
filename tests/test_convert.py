"""Checkpoints become safetensors, and no pickle is ever obeyed."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import samplerhub as sh
from samplerhub import pickles
from samplerhub.cli import main
from samplerhub.convert import HEADER, convert
from samplerhub.errors import InvalidSetting, UnusableFile

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2, dtype=torch.float16)}


class Attack:
    """An object whose pickle makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def saved(obj, file, kind):
    if kind == "pickle":
        file.write_bytes(pickle.dumps(obj))
    else:
        torch.save(obj, file, _use_new_zipfile_serialization=kind == "archive")
    return file


def header(file):
    return json.loads(sh.read_tensors(file)[1][HEADER])


@pytest.fixture
def edm(monkeypatch):
    """Classes that pickle themselves with their source, as those of EDM and StyleGAN do: rebuilt by running it."""
    package, module = types.ModuleType("torch_utils"), types.ModuleType("torch_utils.persistence")
    ran = []

    def _reconstruct_persistent_obj(meta):
        ran.append(meta["class_name"])

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    module._reconstruct_persistent_obj = _reconstruct_persistent_obj
    monkeypatch.setitem(sys.modules, "torch_utils", package)
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", module)

    class Persistent(nn.Module):
        def __init__(self, **arguments):
            super().__init__()
            self._init_args, self._init_kwargs = (), arguments

        def __reduce__(self):
            meta = {"type": "class", "version": 6, "module_src": "ran.append('source')", "class_name": self.name}
            return _reconstruct_persistent_obj, ({**meta, "state": self.__dict__},)

    class SongUNet(Persistent):
        name = "SongUNet"

        def __init__(self, **arguments):
            super().__init__(**arguments)
            self.conv = nn.Conv2d(1, 2, 3)
            self.norm = nn.BatchNorm2d(2)
            self.register_buffer("passing", torch.zeros(3), persistent=False)

    class EDMPrecond(Persistent):
        name = "EDMPrecond"

        def __init__(self, **arguments):
            super().__init__(**arguments)
            self.sigma_min, self.sigma_max, self.sigma_data = 0, float("inf"), 0.5
            self.model = SongUNet(model_channels=4, channel_mult=[1, 2])

    torch.manual_seed(0)
    network = EDMPrecond(img_resolution=8, img_channels=1, sigma_data=0.5)
    return {"ema": network, "loss_fn": Attack, "dataset_kwargs": {"path": "cifar.zip"}}, network, ran


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pickle", "archive", "old"])
def test_a_pickle_is_refused_and_nothing_of_it_is_run(tmp_path, kind, monkeypatch):
    mark = tmp_path / "mark"
    source = saved({"state_dict": STATE, "extra": Attack(mark)}, tmp_path / "net.pkl", kind)
    if kind == "pickle":
        monkeypatch.setattr(pickles, "Unpickler", None)  # not even opened
        monkeypatch.setattr(torch, "load", None)
    with pytest.raises(UnusableFile, match=r"This one asks for .*posix\.mkdir") as error:
        convert(source, tmp_path / "net.safetensors")
    assert "--trust-pickle" in str(error.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.pkl"]


@pytest.mark.parametrize("kind", ["pickle", "archive", "old"])
def test_a_trusted_pickle_calls_nothing_either(tmp_path, kind):
    mark = tmp_path / "mark"
    source = saved({"state_dict": STATE, "extra": Attack(mark)}, tmp_path / "net.pkl", kind)
    convert(source, out := tmp_path / "net.safetensors", trust_pickle=True)
    assert not mark.exists()
    torch.testing.assert_close(sh.read_tensors(out)[0], STATE, rtol=0, atol=0)
    pickle.loads(pickle.dumps(Attack(mark)))
    assert mark.exists(), "the pickle does nothing, so that nothing is shown"


def test_a_pickle_within_a_pickle_calls_nothing_either(tmp_path):
    """Storages are pickled as bytes that are unpickled in turn."""
    mark = tmp_path / "mark"

    class Nested:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (self.inner,)

    nested = Nested()
    for kind in ("pickle", "archive", "old"):
        nested.inner = saved(Attack(mark), tmp_path / "inner", kind).read_bytes()
        source = saved({"state_dict": STATE, "extra": nested}, tmp_path / "net.pkl", "pickle")
        with pytest.raises(UnusableFile, match="not a whole checkpoint"):
            convert(source, tmp_path / "net.safetensors", trust_pickle=True)
        assert not mark.exists()


def test_a_tar_archive_is_not_read_by_torch(tmp_path):
    """Before 2.6 torch read these with pickle, though it was told to read weights only."""
    mark, file = tmp_path / "mark", tmp_path / "net.pt"
    (tmp_path / "pickle").write_bytes(pickle.dumps(Attack(mark), protocol=2))
    with tarfile.open(file, "w") as archive:
        archive.add(tmp_path / "pickle", "pickle")
    for trusted in (False, True):
        with pytest.raises(UnusableFile):
            convert(file, tmp_path / "out.safetensors", trust_pickle=trusted)
    with file.open("rb") as stream, pytest.raises(pickle.UnpicklingError, match="tar"):
        pickles.load_weights(stream)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no checkpoint that is known"),
        (b"epoch,loss\n1,0.5\n", "no checkpoint that is known"),
        (b"PK\x03\x04 but no archive", "not a whole checkpoint"),
        (pickles.LEGACY, "not a whole checkpoint"),
        (pickle.dumps([1, 2, 3]), "is a pickle"),
    ],
)
def test_what_is_no_checkpoint_is_said_to_be_none(tmp_path, content, message):
    (source := tmp_path / "net.pt").write_bytes(content)
    with pytest.raises(UnusableFile, match=message):
        convert(source, tmp_path / "net.safetensors")


def test_missing_empty_and_finished_files(tmp_path):
    out = tmp_path / "out.safetensors"
    with pytest.raises(UnusableFile, match="there is no file"):
        convert(tmp_path / "net.pkl", out)
    with pytest.raises(UnusableFile, match="cannot read"):
        convert(tmp_path, out)
    with pytest.raises(UnusableFile, match="holds no tensors"):
        convert(saved({"epoch": 3}, tmp_path / "net.pt", "archive"), out)
    sh.write_tensors(tmp_path / "net.safetensors", STATE)
    with pytest.raises(UnusableFile, match="a safetensors file already"):
        convert(tmp_path / "net.safetensors", out)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(UnusableFile, match="not a whole checkpoint"):
        convert(tmp_path / "other.zip", out)
    assert not out.exists()


# --- what is converted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["archive", "old"])
def test_plain_weights_need_no_trust(tmp_path, kind):
    source, out = tmp_path / "net.pt", tmp_path / "net.safetensors"
    done = convert(saved(STATE, source, kind), out)
    torch.testing.assert_close(sh.read_tensors(out)[0], STATE, rtol=0, atol=0)
    assert (done.part, done.numbers, done.left_out) == ("", 8, ())


def test_the_part_is_chosen(tmp_path):
    source, out = tmp_path / "net.pt", tmp_path / "net.safetensors"
    other = {name: t + 1 for name, t in STATE.items()}
    saved({"epoch": 7, "model": STATE, "ema": other, "opt": {"state": {0: {"exp_avg": torch.ones(2)}}}}, source, "old")
    assert convert(source, out).part == "ema"
    torch.testing.assert_close(sh.read_tensors(out)[0], other, rtol=0, atol=0)
    done = convert(source, out, "model")
    torch.testing.assert_close(sh.read_tensors(out)[0], STATE, rtol=0, atol=0)
    assert done.left_out == ("ema", "opt.state.0")
    assert header(out)["network"] == {"checkpoint": {"epoch": 7}}
    with pytest.raises(InvalidSetting, match=r"no such part; it has model \(2 tensors\), ema \(2 tensors\)"):
        convert(source, out, "mean")
    saved({"one": STATE, "two": other}, source, "archive")
    with pytest.raises(InvalidSetting, match="choose one with --part"):
        convert(source, out)


@pytest.mark.parametrize("kind", ["pickle", "archive", "old"])
def test_a_network_of_edm(tmp_path, edm, kind):
    checkpoint, network, ran = edm
    source, out = saved(checkpoint, tmp_path / "edm.pkl", kind), tmp_path / "edm.safetensors"
    with pytest.raises(UnusableFile, match=r"torch_utils\.persistence\._reconstruct_persistent_obj"):
        convert(source, out)
    done = convert(source, out, trust_pickle=True)
    assert ran == []
    assert done.part == "ema"
    torch.testing.assert_close(sh.read_tensors(out)[0], dict(network.state_dict()), rtol=0, atol=0)

    about = header(out)
    assert about["network"]["class"] == "EDMPrecond"
    assert about["network"]["arguments"] == {"img_resolution": 8, "img_channels": 1, "sigma_data": 0.5}
    assert about["network"]["attributes"] == {"sigma_min": 0, "sigma_max": "inf", "sigma_data": 0.5}
    assert about["network"]["modules"]["model"]["arguments"] == {"model_channels": 4, "channel_mult": [1, 2]}
    assert about["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()


def test_a_whole_module(tmp_path):
    """Tied weights are written under both names, views and non-contiguous tensors as what they are."""
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    network[0].register_buffer("view", torch.arange(12.0).reshape(3, 4).T[1:])
    source, out = saved(network, tmp_path / "net.pt", "archive"), tmp_path / "net.safetensors"
    with pytest.raises(UnusableFile, match=r"torch\.nn\.modules"):
        convert(source, out)
    convert(source, out, trust_pickle=True)
    torch.testing.assert_close(sh.read_tensors(out)[0], dict(network.state_dict()), rtol=0, atol=0)
    assert header(out)["network"]["class"] == "torch.nn.modules.container.Sequential"


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command(tmp_path, capsys, edm):
    checkpoint, network, _ = edm
    source = saved(checkpoint, tmp_path / "edm.pkl", "pickle")
    assert main(["convert", str(source)]) == 2
    assert "--trust-pickle" in capsys.readouterr().err
    assert main(["convert", str(source), "--trust-pickle"]) == 0
    said = capsys.readouterr().out
    assert "EDMPrecond" in said
    assert "not converted" in said
    assert main(["convert", str(source), "--trust-pickle", "--json", "--out", str(tmp_path / "b.safetensors")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["tensors"] == len(network.state_dict())
    assert facts["network"]["attributes"]["sigma_data"] == 0.5
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "edm.safetensors").read_bytes()

    assert main(["convert", str(source), "--out", str(tmp_path / "b.pkl")]) == 2
    assert "ends in .safetensors" in capsys.readouterr().err
    assert main(["run", "--model", str(tmp_path / "b.safetensors")]) == 2
    assert "describes no denoiser" in capsys.readouterr().err


# --- strange checkpoints ----------------------------------------------------------------------------------------------


def tangled(depth, leaf):
    """Containers that share what is in them: 2^depth ways lead to the leaf."""
    for _ in range(depth):
        leaf = {"left": leaf, "right": leaf}
    return leaf


def test_containers_that_hold_themselves_or_share_what_they_hold(tmp_path):
    source, out = tmp_path / "net.pt", tmp_path / "net.safetensors"
    ring = {"w": torch.ones(2), "plain": [1, 2]}
    ring["self"] = ring
    ring["plain"].append(ring["plain"])
    assert convert(saved(ring, source, "archive"), out).left_out == ()
    assert sh.read_tensors(out)[0].keys() == {"w"}
    assert header(out)["network"] == {}
    for leaf in ({"w": torch.ones(2)}, {"n": 1}):
        saved({"net": STATE, "tangle": tangled(50, leaf), "list": [[1] * 3] * 3}, source, "archive")
        done = convert(source, out, "net")
        assert header(out)["network"] == {"checkpoint": {"list": [[1] * 3] * 3}}
        assert len(done.left_out) == (2 if "w" in leaf else 0)
    source.write_bytes(pickled_by_hand(5000))
    with pytest.raises(UnusableFile, match="nested too deeply"):
        convert(source, out, trust_pickle=True)
    many = 1
    for _ in range(60):
        many = [many, many]
    convert(saved({"net": STATE, "many": many}, source, "archive"), out)
    assert header(out)["network"] == {}


@pytest.mark.parametrize("leaf", [nn.Linear(1, 1), nn.ReLU()])
def test_modules_that_share_modules(tmp_path, leaf):
    for _ in range(40):
        outer = nn.Module()
        outer.left = outer.right = leaf
        leaf = outer
    with pytest.raises(UnusableFile, match=r"of more than 100,000 (modules|tensors): the same ones again"):
        convert(saved(leaf, tmp_path / "net.pt", "archive"), tmp_path / "net.safetensors", trust_pickle=True)


def pickled_by_hand(depth):
    """Return a pickle of dictionaries within dictionaries, deeper than pickle itself would write."""
    return b"\x80\x02" + b"}X\x01\x00\x00\x00a" * depth + b"N" + b"s" * depth + b"."


def test_what_cannot_be_written_is_said(tmp_path, capsys):
    source, out = tmp_path / "net.pt", tmp_path / "net.safetensors"
    sparse, meta = torch.eye(2).to_sparse(), torch.empty(3, device="meta")
    saved({"a": torch.ones(2), "s": sparse, "m": meta, "more": {"s": sparse}}, source, "archive")
    done = convert(source, out)
    assert done.left_out == ("s (sparse_coo)", "m (without data)", "more.s (sparse_coo)")
    assert sh.read_tensors(out)[0].keys() == {"a"}
    assert main(["convert", str(source)]) == 0
    assert "more.s (sparse_coo)" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(UnusableFile, match=r"no tensors that a safetensors file can have, only s \(sparse_coo\): it"):
        convert(saved({"s": sparse}, source, "archive"), out)


def test_names_that_clash_are_refused(tmp_path):
    source, out = tmp_path / "net.pt", tmp_path / "net.safetensors"
    with pytest.raises(UnusableFile, match="more than one tensor is called '1'"):
        convert(saved({1: torch.ones(2), "1": torch.zeros(2)}, source, "archive"), out)
    saved({"a.b": {"w": torch.ones(2)}, "a": {"b": {"w": torch.zeros(2)}}}, source, "archive")
    with pytest.raises(UnusableFile, match=r"more than one part is called 'a\.b'"):
        convert(source, out, "a.b")


def test_lists_and_single_tensors_are_networks_too(tmp_path):
    source, out = tmp_path / "net.pt", tmp_path / "net.safetensors"
    assert convert(saved(torch.arange(3.0), source, "archive"), out).part == ""
    torch.testing.assert_close(sh.read_tensors(out)[0], {"tensor": torch.arange(3.0)}, rtol=0, atol=0)
    convert(saved([torch.ones(1), torch.zeros(1)], source, "archive"), out)
    assert sh.read_tensors(out)[0].keys() == {"0", "1"}
    assert convert(saved({"nets": [STATE, STATE]}, source, "archive"), out, "nets.1").left_out == ("nets.0",)
    torch.testing.assert_close(sh.read_tensors(out)[0], STATE, rtol=0, atol=0)


def test_text_that_is_not_unicode(tmp_path, capsys):
    source = saved({"w\ud800": torch.ones(1), "note": "\udfff", "n\ud801": "x"}, tmp_path / "net.pt", "archive")
    assert main(["convert", str(source)]) == 0
    assert r"\udfff" in capsys.readouterr().out
    assert sh.read_tensors(tmp_path / "net.safetensors")[0].keys() == {r"w\ud800"}
    assert header(tmp_path / "net.safetensors")["network"] == {"note": r"\udfff", r"n\ud801": "x"}


def test_a_pickle_that_only_calls_is_told_so(tmp_path):
    source = saved(Attack(tmp_path / "mark"), tmp_path / "evil.pkl", "pickle")
    with pytest.raises(UnusableFile, match=r"holds no tensors; what it asks for, posix\.mkdir, was not called"):
        convert(source, tmp_path / "net.safetensors", trust_pickle=True)
    assert not (tmp_path / "mark").exists()
