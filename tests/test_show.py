"""The command show: what a component looks like, with the options that a run has."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from samplerhub import ROLES, Registry
from samplerhub.assembly import assemble
from samplerhub.cli import main
from samplerhub.cli.app import build_app
from samplerhub.cli.listing import list_plugins
from samplerhub.cli.options import scan
from samplerhub.cli.selection import select_for_run
from samplerhub.config import RUN_ROLES
from samplerhub.registry import PluginRecord

NODES = ["show", "grid", "edm", "--exponent", "3", "--steps", "5", "--process", "vp"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("SAMPLERHUB_PLUGINS", "samplerhub")


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def facts(capsys: pytest.CaptureFixture[str], *arguments: str):
    return json.loads(output(capsys, *arguments, "--json"))


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.strip()


def test_the_nodes_of_a_grid_are_those_of_the_run_that_its_example_is(capsys):
    shown = facts(capsys, *NODES)
    command = shlex.split(shown["example"])
    assert command == ["samplerhub", "run", "--grid", *NODES[2:]]
    run = facts(capsys, *command[1:], "--target", "mixture", "-n", "8", "--quiet")
    assert [node["t"] for node in shown["nodes"]] == run["manifest"]["times"]
    assert [node["t"] for node in shown["nodes"]][:: len(shown["nodes"]) - 1] == [1, 0.001]


def test_the_nodes_are_printed_with_noise_level_and_log_snr(capsys):
    lines = output(capsys, *NODES).split("Nodes of 5 steps on process vp:\n")[1].splitlines()
    assert lines[0].split() == ["t", "rho", "log-SNR"]
    assert lines[1].split()[:3] == ["1", "152.2", "-10.05"]
    rho = [float(line.split()[1]) for line in lines[1:7]]
    roots = [level ** (1 / 3) for level in rho]
    assert [a - b for a, b in pairwise(roots)] == pytest.approx([(roots[0] - roots[-1]) / 5] * 5, rel=3e-3)


def test_a_grid_is_shown_in_a_shorter_run(capsys):
    nodes = facts(capsys, "show", "grid", "exponential", "--steps", "2", "--rho-max", "4", "--rho-min", "1")["nodes"]
    assert [node["rho"] for node in nodes] == pytest.approx([4, 2, 1])
    assert [node["log_snr"] for node in nodes] == pytest.approx([-2.772588722239781, -1.3862943611198906, 0])


def test_a_file_stands_for_the_grid_that_reads_it(capsys):
    Path("three.json").write_text("[80, 3, 0.002]")
    shown = facts(capsys, "show", "grid", "three.json", "--steps", "2")
    assert shown["name"] == "explicit"
    assert [node["t"] for node in shown["nodes"]] == [80, 3, 0.002]
    assert shown["example"] == "samplerhub run --grid three.json --steps 2"


def test_log_snr_is_exponential(capsys):
    one, other = (facts(capsys, "show", "grid", name) for name in ("log-snr", "exponential"))
    assert one["name"] == "exponential"
    assert one["nodes"] == other["nodes"]


def test_a_process_shows_its_coefficients(capsys):
    levels = facts(capsys, "show", "process", "flow", "--t-max", "0.9")["levels"]
    assert [set(level) for level in levels] == [{"t", "alpha", "sigma", "rho", "log_snr"}] * 11
    assert (levels[0]["t"], levels[-1]["t"]) == (0.001, 0.9)
    for level in levels:
        assert level["alpha"] == pytest.approx(1 - level["t"])
        assert level["rho"] == pytest.approx(level["t"] / (1 - level["t"]))
    assert "From t = 0.001 to 0.9 in equal steps of log-SNR:" in output(
        capsys, "show", "process", "flow", "--t-max", "0.9"
    )


def test_a_targets_own_fields_change_what_it_shows(capsys):
    C = [
        {row["rho"]: row["C"] for row in facts(capsys, "show", "target", "gaussian", *fields)["log_sobolev"]}
        for fields in ([], ["--mean", "0", "--covariance", "[[9]]"])
    ]
    assert C[1] == pytest.approx({rho: 9 + rho**2 for rho in C[1]})
    assert C[0] != C[1]


def test_other_components_take_their_fields_into_the_example(capsys):
    assert "samplerhub run --sampler deis --sampler.order 2" in output(
        capsys, "show", "sampler", "deis", "--order", "2"
    )


@pytest.mark.parametrize("subject", [["grid", "cosine"], ["process", "vp-cosine"], ["target", "mixture"]], ids=" ".join)
def test_pictures(subject, capsys):
    assert "it.png" in output(capsys, "show", *subject, "--picture", "it.png")
    assert Path("it.png").read_bytes()[:4] == b"\x89PNG"


def test_help_has_the_options_of_the_component(capsys):
    text = output(capsys, "show", "grid", "edm", "--help")
    for part in ("--grid.exponent", "--steps", "--process", "--picture"):
        assert part in text
    assert "--grid.exponent" not in output(capsys, "show", "--help")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sampler", "deis", "--order", "9"], "--sampler.order: 9 is not allowed: at most 4"),
        (["grid", "edm", "--steps", "0"], "steps = 0: it must be at least 1"),
        (["grid", "edm", "--exponent", "-1"], "--grid.exponent: -1 is not allowed: more than 0"),
        (["grid", "edm", "--process", "vq"], "no process named 'vq'"),
        (["grid", "edm", "--exponnt", "3"], "no option --exponnt; did you mean '--exponent'?"),
        (["process", "vp", "--steps", "3"], "no option --steps"),
        (["process", "vp", "--t-max", "0"], "--process.t-max: 0 is not allowed: more than 0"),
        (["process", "discrete", "--t-max", "2000"], "they must be in this order, and from 1 to 1000"),
        (["sampler", "deis", "--picture", "it.png"], "there is nothing to draw of sampler 'deis'"),
        (["grid", "there.npy"], "there.npy"),
        (["grid", "explicit", "--nodes", "70,1,0.002"], "begin and end at the nodes, with --t-max 70 --t-min 0.002"),
        (["grid", "explicit", "--nodes", "80,1,1,0.002"], "must be two or more"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_mistakes(arguments, message, capsys):
    assert message in refusal(capsys, "show", *arguments)
    assert not Path("it.png").exists()


REGISTRY = Registry.discover({"SAMPLERHUB_PLUGINS": "samplerhub"})
COMPONENTS = [(role, one.entry.name) for role in ROLES for one in REGISTRY.entries(role)]


LENGTHY = ("equidistributed", "uniform")
EVERY = [
    pytest.param(*one, marks=pytest.mark.slow if one[1] in LENGTHY else (), id=" ".join(one)) for one in COMPONENTS
]


@pytest.mark.parametrize(("role", "name"), EVERY)
def test_the_example_of_every_component_parses(role, name, capsys):
    shown = facts(capsys, "show", role, name)
    program, *arguments = shlex.split(shown["example"])
    assert program == "samplerhub"
    assert {f"--{role}", name} <= set(arguments) or role == "engine"
    slow = role == "prior" or name == "equidistributed"  # a run of theirs begins with what takes long
    if shown["example_needs"] is None:
        build_app(arguments, REGISTRY)
        if role in (*RUN_ROLES, "metric") and not slow:
            assemble(select_for_run(scan(arguments[1:]), REGISTRY).config, REGISTRY)
    else:
        assert main([*arguments, "--quiet"]) == 2
        assert shown["example_needs"] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("role", "name"), [("sampler", "deis"), ("metric", "kl-histogram"), ("model", "exact"), ("prior", "matched")]
)
def test_an_example_runs(role, name, capsys):
    shown = facts(capsys, "show", role, name)
    assert shown["example_needs"] is None
    run = facts(capsys, *shlex.split(shown["example"])[1:], "--steps", "2", "--quiet")
    used = run["manifest"]["components"].get(role) or run["manifest"]["metrics"][name]
    assert used["name"] == name


def test_what_only_the_user_has_is_said(capsys):
    assert "target FILE.npy" in facts(capsys, "show", "target", "array")["example_needs"]
    assert "As it stands this does not run: --model.function" in output(capsys, "show", "model", "callable")


def test_the_schema_alone(capsys):
    schema = json.loads(output(capsys, "show", "sampler", "deis", "--schema", "--order", "2"))
    assert schema == facts(capsys, "show", "sampler", "deis")["schema"]
    assert schema["properties"]["order"]["maximum"] == 4


def test_references_are_shown_as_bibtex(capsys):
    text = output(capsys, "show", "sampler", "deis")
    assert "    @misc{zhang-2023-fast,\n" in text
    (entry,) = facts(capsys, "show", "sampler", "deis")["bibtex"]
    assert "\n".join(f"    {line}" for line in entry.splitlines()) in text
    assert facts(capsys, "show", "target", "moons")["bibtex"] == []
    assert "BibTeX" not in output(capsys, "show", "target", "moons")


def test_what_is_installed_says_where_it_comes_from(capsys):
    (grid,) = (one for one in json.loads(output(capsys, "list", "grid", "--json")) if one["name"] == "exponential")
    assert (grid["aliases"], grid["default"], grid["distribution"], grid["plugin"]) == (
        ["log-snr"],
        False,
        "samplerhub",
        "grids",
    )
    assert "also log-snr" in output(capsys, "list", "grid").replace("\n", " ")


def test_a_plugin_that_is_slow_or_prints_is_told_of(capsys):
    record = PluginRecord("acme", "acme-plugin", "1.2", seconds=3.21, note="printed on import")
    list_plugins(Registry((record, replace(record, note=None, seconds=0.1, error="fails on import: OSError"))), False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split(maxsplit=4)[1:] == ["acme-plugin", "1.2", "0", "ok; printed on import; takes 3.2 s to import"]
    assert lines[2].endswith("failed: fails on import: OSError")
