"""The command line as a user meets it: options from components, one JSON object, and errors that say what to do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from distributions import write_distribution

from samplerhub.cli import main
from samplerhub.cli.command import Line, command
from samplerhub.cli.fields import described, value_of
from samplerhub.cli.options import FieldOptions, scan, tidy
from samplerhub.cli.render import measured
from samplerhub.cli.settings import Quiet, run_without
from samplerhub.component import Component
from samplerhub.files import read_tensors
from samplerhub.plugin import ROLES
from samplerhub.registry import Registry

RUN = ["run", "--target", "mixture", "-n", "64", "--steps", "4", "--quiet"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("SAMPLERHUB_PLUGINS", "samplerhub")


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    return captured.err.strip()


# --- looking around ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["list"], ["list", "--json"], ["plugins"], ["run", "--help"], ["train", "--help"], ["--version"]],
    ids=" ".join,
)
def test_looking_around_imports_no_torch(arguments: list[str]) -> None:
    code = (
        f"import sys; from samplerhub.cli import main; assert main({arguments}) == 0; "
        "assert not {'torch', 'numpy', 'matplotlib', 'sklearn'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout


def test_list_names_every_component(capsys: pytest.CaptureFixture[str]) -> None:
    listed = json.loads(output(capsys, "list", "--json"))
    about = {"role", "name", "summary", "aliases", "default", "distribution", "version", "plugin"}
    assert set(listed[0]) == about
    assert {(one["role"], one["name"]) for one in listed} >= {("process", "edm"), ("sampler", "deis"), ("metric", "kl")}
    assert all(one["role"] == "sampler" for one in json.loads(output(capsys, "list", "sampler", "--json")))
    text = output(capsys, "list", "sampler")
    assert "deis" in text
    assert "edm-stochastic" in text


def test_show_explains_a_component(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "show", "sampler", "deis")
    for part in (
        "Exponential integrator", "y_s = y_t + sum_j", "arXiv:2204.13902", "--sampler.order INT", "default: 3; 1 to 4",
        "Number of evaluations", "samplerhub run --sampler deis",
    ):  # fmt: skip
        assert part in text
    facts = json.loads(output(capsys, "show", "sampler", "deis", "--json"))
    assert facts["schema"]["properties"]["order"]["maximum"] == 4
    assert facts["references"][0].endswith("arXiv:2204.13902")
    assert "References" not in facts["documentation"]


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["a few", "all"])
def test_every_component_can_be_shown(every: bool, capsys: pytest.CaptureFixture[str]) -> None:
    for one in json.loads(output(capsys, "list", "--json"))[:: 1 if every else 6]:
        assert one["summary"] in output(capsys, "show", one["role"], one["name"]).replace("\n", " ")
        json.loads(output(capsys, "show", one["role"], one["name"], "--json"))


def test_every_type_of_number_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    from samplerhub.experiment import DTYPES

    text = re.sub(r"[\s│]+", " ", output(capsys, "run", "--help"))
    assert f"{', '.join(DTYPES).replace('float32', 'float32 (default)')}." in text


@pytest.mark.parametrize("arguments", [["list"], ["plugins"], ["show", "sampler", "deis"]], ids=" ".join)
def test_no_line_ends_in_blanks(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for width in ("40", "100"):
        monkeypatch.setenv("COLUMNS", width)
        assert not re.search(r" $", output(capsys, *arguments), re.M)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not re.search(r" (\x1b\[[\d;]*m)*$", output(capsys, *arguments), re.M)


def test_plugins_says_where_components_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    plugins = json.loads(output(capsys, "plugins", "--json"))
    assert {plugin["error"] for plugin in plugins} == {None}
    assert {"name": "deis", "role": "sampler"} in [one for plugin in plugins for one in plugin["components"]]
    assert "samplers" in output(capsys, "plugins")


def test_help_has_a_panel_for_each_component_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    plain = output(capsys, "run", "--help")
    assert "--sampler " in plain
    assert "--sampler.order" not in plain
    text = output(capsys, "run", "--sampler", "deis", "--metric", "kl-histogram", "--help")
    for part in ("sampler deis", "--sampler.order", "default: 3; 1 to 4", "--metric.bins", "--sampler.churn"):
        assert part in text
    assert "--grid.exponent" not in text


# --- running ----------------------------------------------------------------------------------------------------------


def test_a_run_shows_its_figures_and_its_files(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, *RUN, "--churn", "0.3", "--metric", "kl")
    assert re.search(r"sampler +deis +churn 0.3\n", text)
    assert re.search(r"steps +4\nNFE +7\nseconds +\d+\.\d\d\nkl +\S+ ± \S+ +histograms\n", text)
    files = text.split()[-3:]
    assert [Path(file).name for file in files] == ["samples.safetensors", "samples.png", "manifest.json"]
    assert all(Path(file).stat().st_size > 100 for file in files)


def test_json_is_one_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(output(capsys, *RUN, "--metric", "kl", "--json", "--out", "here"))
    assert set(report) == {"manifest", "nfe", "seconds", "metrics", "files"}
    assert set(report["metrics"]["kl"]) == {"value", "stderr", "quantity"}
    assert report["files"] == {
        "manifest": "here/manifest.json", "samples": "here/samples.safetensors", "picture": "here/samples.png",
    }  # fmt: skip
    assert json.loads(Path("here/manifest.json").read_text()) == report["manifest"]
    assert report["manifest"]["components"]["sampler"]["name"] == "deis"
    assert report["nfe"] == 4


def test_a_file_a_manifest_and_options_on_top(capsys: pytest.CaptureFixture[str]) -> None:
    Path("experiment.toml").write_text('target = "mixture"\nsamples = 30\nmetric = []\n[sampler]\norder = 2\n')
    first = json.loads(output(capsys, "run", "experiment.toml", "--json", "--steps", "5", "--sampler.churn", "0.2"))
    fields = first["manifest"]["components"]["sampler"]["fields"]
    assert (fields["order"], fields["churn"]) == (2, 0.2)
    assert first["manifest"]["settings"]["samples"] == 30

    again = json.loads(output(capsys, "run", "--from", first["files"]["manifest"], "--json", "--out", "again"))
    samples = [Path(report["files"]["samples"]).read_bytes() for report in (first, again)]
    assert samples[0] == samples[1]

    other = json.loads(output(capsys, "run", "--from", "again/manifest.json", "--json", "--seed", "1", "--nfe", "8"))
    assert other["nfe"] <= 8
    assert other["manifest"]["settings"]["seed"] == 1
    assert other["manifest"]["components"]["sampler"]["fields"]["order"] == 2
    swapped = json.loads(output(capsys, "run", "--from", "again/manifest.json", "--json", "--sampler", "heun"))
    assert swapped["manifest"]["components"]["sampler"]["name"] == "heun"


def test_options_reach_their_component(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        *RUN, "--json", "--churn_window", "0.1,5", "--order=2", "--grid.exponent", "3", "--target.means", "-1,2",
        "--target.covariances", "[0.1, 0.2]", "--metric", "kl-histogram", "--metric", "fd",
        "--metric.kl-histogram.bins", "30",
    ]  # fmt: skip
    manifest = json.loads(output(capsys, *arguments))["manifest"]
    fields = {role: record["fields"] for role, record in manifest["components"].items()}
    assert fields["sampler"]["churn_window"] == [0.1, 5]
    assert fields["sampler"]["order"] == 2
    assert fields["grid"]["exponent"] == 3
    assert fields["target"]["means"] == [[-1.0], [2.0]]
    assert manifest["metrics"]["kl-histogram"]["fields"]["bins"] == 30


def test_training_writes_weights_that_a_run_reads(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--target", "mixture", "--steps", "3", "--batch_size", "8", "--out", "some/w.safetensors"]
    assert output(capsys, *command) == "some/w.safetensors\n"
    text = output(capsys, *RUN, "--model", "network", "--model.weights", "some/w.safetensors")
    assert re.search("model +network +weights some/w.safetensors", text)
    assert "--trainer.rate: 0 is not allowed: more than 0" in refusal(capsys, "train", "--rate", "0")
    assert "no trainer named 'denoise'; did you mean 'denoising'?" in refusal(capsys, "train", "--trainer", "denoise")


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sampler", "huen"], "no sampler named 'huen'; did you mean 'heun'? known: "),
        (["--order", "9"], "--sampler.order: 9 is not allowed: at most 4"),
        (["--churn", "-1"], "--sampler.churn: -1 is not allowed: at least 0"),
        (["--churn=-1"], "--sampler.churn: -1 is not allowed: at least 0"),
        (["--steps", "0"], "steps = 0: it must be at least 1"),
        (["-n", "0"], "samples = 0: it must be at least 1"),
        (["--batch", "0"], "batch = 0: it must be at least 1"),
        (["--steps", "5", "--nfe", "10"], "give exactly one of them"),
        (["--dtype", "float12"], "dtype = 'float12': choose one of float32"),
        (["--device", "gpu"], "device = 'gpu' cannot be used"),
        (["--ordr", "2"], "no option --ordr; did you mean '--order'?"),
        (["--sampler.ordr", "2"], "no option --sampler.ordr; did you mean '--sampler.order'?"),
        (["--grid.power", "2"], "no option --grid.power; did you mean '--grid.exponent'? there are --grid.exponent"),
        (["--model", "network", "--weights", "1"], "--weights is ambiguous: write --target.weights or --model.weights"),
        (
            ["--metric", "kl", "--metric", "kl-histogram", "--metric.direction", "reverse"],
            "--metric.direction is ambiguous: write --metric.kl.direction or --metric.kl-histogram.direction",
        ),
        (
            ["--metric", "kl", "--metric", "fd", "--kl.direktion", "reverse"],
            "no option --kl.direktion; did you mean '--kl.direction'? there are --kl.direction",
        ),
        (
            ["--metric", "kl", "--metric", "fd", "--metric.bins", "9"],
            "no option --metric.bins; there are --metric.kl.dir",
        ),
        (["--heun.churn", "1"], "no option --heun.churn; did you mean '--deis.churn'? options depend on "),
        (["--deis.order", "9"], "--sampler.order: 9 is not allowed: at most 4"),
        (["--deis.order"], "--deis.order needs a value"),
        (["--quite", "--seed", "1"], "no option --quite; did you mean '--quiet'?"),
        (["--means", "x"], "--target.means"),
        (["--rtol", "1e-3"], "no option --rtol; options depend on the chosen components; with options are process edm"),
        (["--steps", "many"], "Invalid value for '--steps'"),
        (["--target", "gaussian", "--target.mean", "0,0", "--target.covariance", "[[1]]"], "a matrix of 2 x 2 numbers"),
        (["--from", "there.json"], "cannot read there.json"),
        (["--from"], "--from needs a value"),
        (["--from="], "--from needs a value"),
        (["--sampler", "--seed", "3"], "--sampler needs a value"),
        (["--sampler="], "--sampler needs a value"),
        (["--order", "--seed", "3"], "--order needs a value"),
        (["--model", "network", "--model.weights", "."], "cannot read .: Is a directory"),
        (["there.toml"], "cannot read there.toml"),
        (["--metric", "kl-gaussian", "--target", "mixture"], "metric 'kl-gaussian' needs a Gaussian target"),
        (["--sampler", "dormand-prince", "--nfe", "6"], "needs at least 7"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_message_before_anything_is_sampled(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    start = RUN if "--steps" not in arguments and "--nfe" not in arguments else [*RUN[:5], "--quiet"]
    assert message in refusal(capsys, *start, *arguments)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("broken.toml", "x = = 3", "broken.toml is not TOML"),
        ("typo.toml", 'smpler = "deis"', "'smpler' is no key; did you mean 'sampler'?"),
        ("other.json", '{"a": 1}', "other.json is not the manifest of a run"),
    ],
)
def test_a_file_that_is_something_else(name: str, text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(name).write_text(text)
    assert message in refusal(capsys, "run", *(["--from"] if name.endswith("json") else []), name)


def test_a_folder_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    Path("occupied").write_text("a file, not a folder")
    assert "cannot write to the folder occupied/run" in refusal(capsys, *RUN, "--out", "occupied/run")


@pytest.mark.parametrize(("arguments", "message"), [
    (["rnu"], "No such command 'rnu'"),
    (["list", "samplr"], "no role named 'samplr'; did you mean 'sampler'?"),
    (["show", "sampler", "huen"], "did you mean 'heun'?"),
    (["show", "sampler"], "Missing argument 'NAME': `samplerhub list sampler` lists them"),
    (["show", "deis"], "Missing argument 'ROLE': did you mean `samplerhub show sampler deis`?"),
    (["check", "exact"], "did you mean `samplerhub check model exact` or `samplerhub check prior exact`?"),
    (["show", "smpler"], "Missing argument 'ROLE'; did you mean 'sampler'? known: process, "),
    (["list", "foo"], "no role named 'foo'; known: process, "),
    (["train", "--out"], "--out needs a value"),
    (["train", "--trainer"], "--trainer needs a value"),
    (["train", "--target", "mixture", "--sizes", '{"foo": 3}'], "sizes: mlp has no 'foo'; it has width, depth, emb"),
    (["train", "--target", "mixture", "--sizes", '{"width": -1}'], "--trainer.sizes: -1 is not allowed: at least 1"),
    (["train", "--sizes", '{"groups": 7}'], "with sizes = {'groups': 7}: num_channels (32) must be"),
    (["train", "--train-device", "hpu"], "train_device = 'hpu' cannot be used"),
    (["train", "--train-device", "meta"], "train_device = 'meta' cannot be used"),
])  # fmt: skip
def test_mistakes_of_the_other_commands(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refusal(capsys, *arguments)


def test_the_exit_code_and_the_streams_of_the_real_command() -> None:
    command = [sys.executable, "-m", "samplerhub", *RUN]
    good = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert (good.returncode, good.stderr) == (0, "")
    assert json.loads(good.stdout)["nfe"] == 4
    bad = subprocess.run([*command, "--order", "9"], capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "error: --sampler.order: 9 is not allowed: at most 4\n"


def test_an_interrupted_training_is_taken_up_where_it_was() -> None:
    command = [sys.executable, "-c", TRAIN, "train", "--target", "mixture", "--steps", "100000", "--batch-size", "2"]
    process = subprocess.Popen([*command, "--out", "w.safetensors"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said) == (
        130,
        "interrupted; the same command takes the training up where it was saved last\n",
    )
    _, header = read_tensors(Path("w.partial.safetensors"))
    assert int(header["step"]) > 0


TRAIN = """
import sys
from samplerhub.cli import main, render
from contextlib import contextmanager

@contextmanager
def progress(title, quiet):
    yield lambda now: now.done == 1 and print("begun", file=sys.stderr, flush=True)

render.progress = progress
sys.exit(main())
"""


def test_an_interrupt_while_modules_are_imported_is_no_traceback() -> None:
    code = """
import sys
from samplerhub.cli import main

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
sys.exit(main(["list"]))
"""
    for module in ("typer", "samplerhub.registry", "rich"):
        done = subprocess.run([sys.executable, "-c", code, module], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (130, "interrupted\n"), module


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["list"], [*RUN, "--json"]], ids=" ".join)
def test_output_that_cannot_be_written(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "samplerhub", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: cannot write the output: No space left on device\n")


def test_output_that_nobody_reads() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "samplerhub", "list", "--json"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_interrupted_run_is_taken_up_by_the_same_command(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "--target", "mixture", "-n", "200", "--block", "10", "--steps", "200"]
    process = subprocess.Popen(
        [sys.executable, "-m", "samplerhub", *command, "--out", "run"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while len(list(Path("run/blocks").glob("0*.safetensors"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert re.fullmatch(r"interrupted; \d+ finished blocks kept in run/blocks for the same command\n", said)
    assert not list(Path("run").glob("**/.*"))
    assert not Path("run/manifest.json").exists()

    assert main([*command, "--out", "run"]) == 0
    assert re.fullmatch(r"taking up \d+ finished blocks in run/blocks\n", capsys.readouterr().err)
    assert sorted(os.listdir("run")) == ["manifest.json", "samples.png", "samples.safetensors"]
    output(capsys, *command, "--out", "at-once")
    assert Path("run/samples.safetensors").read_bytes() == Path("at-once/samples.safetensors").read_bytes()


# --- another plugin that uses the same names --------------------------------------------------------------------------


@pytest.fixture
def crowded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a distribution that offers components of the names of samplerhub's own."""
    registry = Registry.discover()
    names = {(one.entry.role, one.entry.name) for role in ROLES for one in registry.entries(role)}
    entries = ", ".join(f"Entry({role!r}, {name!r}, 'acme_crowd:C', 'C.', default=True)" for role, name in names)
    head = "from samplerhub.plugin import Entry, hookimpl\n@hookimpl\ndef samplerhub_entries(): "
    write_distribution(tmp_path, "acme-crowd", f"{head}return [{entries}]")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("SAMPLERHUB_PLUGINS")


def test_a_plugin_that_reuses_names_changes_no_run(
    crowded: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["run", "--target", "samplerhub:mixture", "-n", "64", "--steps", "4", "--json"]
    report = json.loads(output(capsys, *arguments, "--out", "crowded"))
    components = report["manifest"]["components"]
    assert {role: record["name"] for role, record in components.items()} == {
        "process": "samplerhub:edm", "target": "samplerhub:mixture", "model": "samplerhub:exact",
        "sampler": "samplerhub:deis", "grid": "samplerhub:edm", "prior": "samplerhub:gaussian",
        "features": "samplerhub:identity",
    }  # fmt: skip
    assert report["manifest"]["metrics"]["kl"]["name"] == "samplerhub:kl"
    assert "'mixture' is offered by 2 plugins: write acme-crowd:mixture or samplerhub:mixture" in refusal(
        capsys, "run", "--target", "mixture"
    )
    again = json.loads(output(capsys, "run", "--from", "crowded/manifest.json", "--order", "2", "--json"))
    assert again["manifest"]["components"]["sampler"]["fields"]["order"] == 2
    assert "samplerhub run --sampler samplerhub:deis" in output(capsys, "show", "sampler", "samplerhub:deis")
    assert "(default: samplerhub:deis)" in re.sub(r"[\s│]+", " ", output(capsys, "run", "--help"))
    train = ["train", "--target", "samplerhub:mixture", "--steps", "1", "--batch-size", "2"]
    assert output(capsys, *train) == "mixture.safetensors\n"

    monkeypatch.setenv("SAMPLERHUB_PLUGINS", "samplerhub")
    plain = json.loads(output(capsys, *arguments, "--out", "plain"))
    assert plain["manifest"]["components"]["sampler"]["name"] == "deis"
    monkeypatch.delenv("SAMPLERHUB_PLUGINS")
    assert main(["run", "--from", "plain/manifest.json", "--out", "again"]) == 0
    assert "warning" not in capsys.readouterr().err
    samples = [Path(folder, "samples.safetensors").read_bytes() for folder in ("crowded", "plain", "again")]
    assert samples[0] == samples[1] == samples[2]


# --- the parts --------------------------------------------------------------------------------------------------------


class Sample(Component):
    """A component with every kind of field."""

    pair: tuple[float, float] | None = None
    """A pair."""
    points: tuple[tuple[float, ...], ...] = ((0.0,),)
    """Points."""
    both: float | tuple[float, ...] = 1.0
    """A number or several."""
    word: str
    """A word [in brackets]."""


def test_text_becomes_the_value_of_a_field() -> None:
    value = lambda name, text: value_of(text, Sample.model_fields[name])  # noqa: E731
    assert value("pair", "none") is None
    assert value("pair", "0.1,2") == [0.1, 2]
    assert value("pair", "a,2") == ["a", "2"]
    assert value("points", "[[1,2],[3,4]]") == [[1, 2], [3, 4]]
    assert value("points", "-1,2") == [-1, 2]
    assert value("points", "0.5") == [0.5]
    assert value("both", "2.5") == "2.5"
    assert value("both", "1,2") == [1, 2]
    assert value("word", "none") == "none"
    assert value("word", "a,b") == "a,b"
    texts = described(Sample)
    assert [text.type for text in texts.values()] == ["FLOAT,FLOAT|none", "JSON", "FLOAT|FLOAT,...", "TEXT"]
    assert [text.default for text in texts.values()] == ["none", "[[0.0]]", "1", None]


def test_the_scan_is_pure_and_knows_flags() -> None:
    given = scan(tidy(["--json", "--a_b", "-1", "e_f.toml", "--c=x_y", "-n5", "--metric", "kl", "--metric", "fd"]))
    assert given.options == (("--a-b", "-1"), ("--c", "x_y"), ("-n", "5"), ("--metric", "kl"), ("--metric", "fd"))
    assert given.positional == ("e_f.toml",)
    assert given.values("--metric") == ["kl", "fd"]
    assert given.last("--metric") == "fd"
    assert scan(["--from", "--json", "-n"]).options == (("--from", None), ("-n", None))
    assert not given.help
    assert scan(["--help"]).help


def test_a_bare_option_that_two_components_have_is_ambiguous() -> None:
    from samplerhub.cli.options import Chosen
    from samplerhub.errors import InvalidSetting

    chosen = [Chosen(role, "sample", Sample, role) for role in ("grid", "sampler")]
    options = FieldOptions(chosen, reserved=["--steps"])
    with pytest.raises(InvalidSetting, match=r"--word is ambiguous: write --grid\.word or --sampler\.word"):
        options.check(scan(["--word", "x"]))
    options.check(scan(["--grid.word", "x", "--steps", "3"]))
    given = scan(["--grid.word", "y", "--steps", "3", "--grid.word", "x"])
    assert options.choice(options.texts(given), "grid").fields == {"word": "x"}
    assert options.choice(options.texts(given), "sampler").fields == {}


@pytest.mark.parametrize(
    ("metrics", "spelling"),
    [
        (["kl-histogram"], "--metric.bins"),
        (["kl-histogram"], "--metric.kl-histogram.bins"),
        (["kl-histogram"], "--kl-histogram.bins"),
        (["kl-histogram"], "--bins"),
        (["kl", "kl-histogram"], "--metric.kl-histogram.bins"),
        (["kl", "kl-histogram"], "--kl_histogram.bins"),
        (["kl", "kl-histogram"], "--metric.bins"),
        (["kl", "kl-histogram"], "--bins"),
        (["samplerhub:kl-histogram", "kl"], "--kl-histogram.bins"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_a_metric_is_meant_by_role_or_name_or_both(
    metrics: list[str], spelling: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [word for name in metrics for word in ("--metric", name)]
    manifest = json.loads(output(capsys, *RUN, "--json", *chosen, spelling, "30"))["manifest"]
    assert manifest["metrics"]["kl-histogram"]["fields"]["bins"] == 30


def test_any_component_is_meant_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--mixture.means", "-1,2", "--sampler", "deis", "--deis.order", "2", "--sampler.deis.churn=0.1"]
    components = json.loads(output(capsys, *RUN, "--json", *arguments))["manifest"]["components"]
    assert (components["sampler"]["fields"]["order"], components["sampler"]["fields"]["churn"]) == (2, 0.1)
    assert components["target"]["fields"]["means"] == [[-1.0], [2.0]]

    arguments = ["--model", "perturbed", "--perturbed.noise", "0.2", "--perturbed.base", "mixed", "--mixed.level", "3"]
    model = json.loads(output(capsys, *RUN, "--json", *arguments))["manifest"]["components"]["model"]
    assert (model["fields"]["noise"], model["parts"]["base"]["fields"]["level"]) == (0.2, 3)


def test_the_spelling_that_stands_last_counts(capsys: pytest.CaptureFixture[str]) -> None:
    for last in (["--order", "1", "--deis.order", "2"], ["--deis.order", "1", "--sampler.order", "2"]):
        arguments = [*RUN, "--sampler", "deis", "--json", *last]
        assert json.loads(output(capsys, *arguments))["manifest"]["components"]["sampler"]["fields"]["order"] == 2
        other = [*arguments[:-4], *last[2:], *last[:2]]
        assert json.loads(output(capsys, *other))["manifest"]["components"]["sampler"]["fields"]["order"] == 1


def test_metrics_of_one_kind_are_told_apart_by_their_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    twice = [*RUN, "--json", "--metric", "kl", "--metric", "kl"]
    metrics = json.loads(output(capsys, *twice, "--kl-2.direction", "reverse"))["manifest"]["metrics"]
    assert [metric["fields"]["direction"] for metric in metrics.values()] == ["forward", "reverse"]
    metrics = json.loads(output(capsys, *twice, "--kl.direction", "reverse"))["manifest"]["metrics"]
    assert [metric["fields"]["direction"] for metric in metrics.values()] == ["reverse", "forward"]


def test_a_name_that_two_metrics_share_means_both(capsys: pytest.CaptureFixture[str]) -> None:
    def figures(*arguments: str) -> dict[str, int]:
        metrics = json.loads(output(capsys, *RUN, "--json", *arguments))["manifest"]["metrics"]
        return {name: record["fields"]["k"] for name, record in metrics.items()}

    assert figures("--metric", "precision-recall") == {"precision": 3, "recall": 3}
    assert figures("--metric", "density-coverage-pca", "--target", "digits", "--model", "empirical") == {
        "coverage-pca": 5, "density-pca": 5,
    }  # fmt: skip
    assert figures("--metric", "precision-recall", "--recall.k", "4") == {"precision": 3, "recall": 4}
    assert figures("--metric", "precision-recall", "--precision-recall.k", "4") == {"precision": 4, "recall": 4}
    Path("both.toml").write_text('metric = {name = "precision-recall", k = 2}\n')
    assert figures("both.toml") == {"precision": 2, "recall": 2}
    assert (
        "--k is ambiguous: write --metric.precision.k or --metric.recall.k or --metric.precision-recall.k for all "
        in (refusal(capsys, *RUN, "--metric", "precision-recall", "--k", "4"))
    )
    assert "write precision or recall" in refusal(capsys, "show", "metric", "precision-recall")


def test_the_help_shows_one_spelling_of_each_field(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "run", "--sampler", "deis", "--metric", "kl", "--metric", "kl-histogram", "--help")
    assert text.count("--sampler.order") == text.count("--metric.kl-histogram.bins") == 1
    for hidden in ("--deis.order", "--kl-histogram.bins", "--metric.bins", "--order"):
        assert f" {hidden} " not in text


def test_a_command_with_the_options_of_a_run_is_a_function_of_a_line() -> None:
    seen = []

    def sweep(line: Line, quiet: Quiet = False) -> None:
        seen.append((line.config, quiet))

    arguments = ["--target", "mixture", "--steps", "7", "--deis.order", "2", "--quiet"]
    app = typer.Typer()
    app.command()(command(sweep, arguments, Registry.discover(), shared=run_without("nfe")))
    app(arguments, standalone_mode=False)
    ((config, quiet),) = seen
    assert (config.steps, config.components["sampler"].fields, quiet) == (7, {"order": "2"}, True)
    with pytest.raises(typer.TyperException, match="No such option: --nfe"):
        app([*arguments, "--nfe", "3"], standalone_mode=False)


@pytest.mark.parametrize(("value", "stderr", "text"), [
    (0.012341, 0.000432, "0.01234 ± 0.00043"),
    (1234.5, 12.3, "1234 ± 12"),
    (3.0, None, "3.000"),
    (1.5, 0.0, "1.5 ± 0"),
    (float("nan"), 0.1, "nan ± 0.1"),
    (1.2341e-9, 1e-11, "1.234e-09 ± 1.0e-11"),
    (12345.0, 1234.0, "1.234e+04 ± 1.2e+03"),
])  # fmt: skip
def test_a_figure_has_the_digits_that_its_error_allows(value: float, stderr: float | None, text: str) -> None:
    assert measured(value, stderr) == text
