"""Components made of components: in Python, on the command line, in experiment files and in manifests."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import pytest
import torch
from pydantic import ValidationError

import samplerhub as sh
from samplerhub import testing
from samplerhub.assembly import assemble, complete, named
from samplerhub.cli import main
from samplerhub.config import Choice, RunConfig, read_manifest
from samplerhub.errors import InvalidSetting, Mismatch, UnknownComponent
from samplerhub.folder import RunFolder
from samplerhub.manifest import record
from samplerhub.nesting import with_parts
from samplerhub.registry import Registry
from samplerhub_models.exact import Exact
from samplerhub_models.gaussian import GaussianScore
from samplerhub_models.guided import Guided
from samplerhub_models.network import Network
from samplerhub_models.perturbed import Perturbed
from samplerhub_targets.gaussian import Gaussian

RUN = ["run", "--target", "gaussian", "-n", "64", "--steps", "4", "--quiet"]
NESTED = [
    "--model", "guided", "--model.unconditional", "perturbed", "--model.unconditional.base", "gaussian",
    "--model.unconditional.base.shift", "0.3", "--model.unconditional.bias", "0.1", "--weight", "1.5",
]  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def run(*arguments: str, out: str = "out") -> tuple[dict, bytes]:
    assert main([*arguments, "--out", out]) == 0
    manifest = json.loads(Path(out, "manifest.json").read_text())
    return manifest, Path(out, "samples.safetensors").read_bytes()


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_a_part_is_an_object_in_python() -> None:
    model = Guided(unconditional=Perturbed(base=GaussianScore(shift=0.3), bias=0.1), weight=1.5)
    assert model.unconditional.base.shift == 0.3  # type: ignore[union-attr]
    assert model.replace(weight=2.0).unconditional is model.unconditional
    assert model == Guided(unconditional=Perturbed(base=GaussianScore(shift=0.3), bias=0.1), weight=1.5)
    with pytest.raises(ValidationError, match="ScoreModel or FromTarget is expected, not int"):
        Perturbed(base=3)
    with pytest.raises(ValidationError, match="ScoreModel or FromTarget is expected, not ModelMetaclass"):
        Perturbed(base=Exact)


def test_parts_are_made_for_the_target_however_deep() -> None:
    target = Gaussian(mean=(0.5,), covariance=2.0)
    y, rho = torch.randn(8, 1, dtype=torch.float64), torch.full((1, 1), 0.7, dtype=torch.float64)
    deep = Perturbed(base=Perturbed(base=Exact(), bias=0.1), bias=0.2)
    expected = target.denoise(y, rho) + 0.7 * 0.3
    torch.testing.assert_close(sh.made_for(deep, target)(y, rho), expected)
    with pytest.raises(Mismatch, match="Exact is made from a target, but the experiment has none"):
        sh.made_for(deep, None)
    with pytest.raises(Mismatch, match=r"call what `samplerhub\.made_for` returns"):
        deep(y, rho)
    network = Perturbed(base=Network())
    assert sh.made_for(network, None) is network


def test_options_files_and_manifests_make_the_same_run_to_the_bit(capsys: pytest.CaptureFixture[str]) -> None:
    manifest, bits = run(*RUN, *NESTED)
    part = manifest["components"]["model"]["parts"]["unconditional"]
    assert part["name"] == "perturbed"
    assert part["target"] == "samplerhub_models.perturbed:Perturbed"
    assert part["distribution"] == "samplerhub"
    assert part["fields"]["bias"] == 0.1
    assert part["parts"]["base"]["name"] == "gaussian"
    assert part["parts"]["base"]["fields"] == {"shift": 0.3, "factor": 1.0}
    assert manifest["components"]["model"]["parts"]["conditional"]["name"] == "exact"

    again, same = run("run", "--from", "out/manifest.json", "--quiet", out="again")
    assert same == bits
    assert again["components"] == manifest["components"]

    Path("e.toml").write_text(
        'target = "gaussian"\nsamples = 64\nsteps = 4\n[model]\nname = "guided"\nweight = 1.5\n'
        '[model.unconditional]\nname = "perturbed"\nbias = 0.1\nbase = {name = "gaussian", shift = 0.3}\n'
    )
    of_file, from_file = run("run", "e.toml", "--quiet", out="file")
    assert from_file == bits
    assert of_file["components"] == manifest["components"]
    text = capsys.readouterr().out
    assert "conditional exact, unconditional perturbed (base gaussian (shift 0.3), bias 0.1)" in " ".join(text.split())

    changed, others = run("run", "e.toml", "--quiet", "--model.unconditional.base.shift", "0.4", out="changed")
    assert others != bits
    part = changed["components"]["model"]["parts"]["unconditional"]
    assert (part["fields"]["bias"], part["parts"]["base"]["fields"]["shift"]) == (0.1, 0.4)


def test_naming_another_part_drops_the_fields_of_the_first() -> None:
    run(*RUN, *NESTED)
    manifest, _ = run("run", "--from", "out/manifest.json", "--quiet", "--model.unconditional", "exact", out="again")
    part = manifest["components"]["model"]["parts"]["unconditional"]
    assert (part["name"], part["fields"], part["parts"]) == ("exact", {"target": None}, {})


def test_a_file_may_stand_for_a_part() -> None:
    weights = Path(__file__).parent.parent / "plugins" / "samplerhub_models" / "digits.safetensors"
    Path("net.safetensors").write_bytes(weights.read_bytes())
    arguments = ["run", "--target", "digits", "-n", "4", "--steps", "2", "--quiet", "--model", "perturbed"]
    manifest, bits = run(*arguments, "--model.base", "net.safetensors")
    part = manifest["components"]["model"]["parts"]["base"]
    assert (part["name"], part["fields"]) == ("network", {"weights": "net.safetensors"})
    assert part["digest"] == Network().digest
    long, same = run(*arguments, "--base", "network", "--weights", "net.safetensors", out="long")
    assert same == bits
    assert long["components"] == manifest["components"]


def test_a_part_may_be_none_or_optional() -> None:
    two, _ = run(*RUN, "--model", "exact", "--model.target", "gaussian", "--model.target.mean", "3")
    part = two["components"]["model"]["parts"]["target"]
    assert part["fields"] == {"mean": [3.0], "covariance": 1.0}
    none, _ = run("run", "--from", "out/manifest.json", "--quiet", "--model.target", "none", out="none")
    assert none["components"]["model"]["parts"] == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.base", "netwrk"], "no model named 'netwrk'; did you mean 'network'?"),
        (["--model.base", "gaussian", "--model.base.shfit", "1"], "did you mean '--model.base.shift'?"),
        (
            ["--model.base", "gaussian", "--model.base.factor", "0"],
            "--model.base.factor: 0 is not allowed: more than 0",
        ),
        (["--model.bse", "gaussian"], "did you mean '--model.base'?"),
        (["--model.base"], "--model.base needs a value"),
        (
            ["--base", "perturbed", "--base", "perturbed"],
            "--base is ambiguous: write --model.base or --model.base.base",
        ),
    ],
)
def test_mistakes_in_parts_are_explained_as_any_other(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error(capsys, *RUN, "--model", "perturbed", *arguments)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("3", r"model\.base = 3: expected a name, or a table with a name and fields"),
        (
            '{name = "gaussian", shfit = 1}',
            r"--model\.base\.shfit: model 'gaussian' has no field 'shfit'; did you mean",
        ),
        ('{name = "nothing"}', "no model named 'nothing'"),
        ('{name = "exact", target = {name = "edm"}}', "no target named 'edm'"),
    ],
)
def test_a_file_with_a_bad_part_is_refused(base: str, message: str, registry: Registry) -> None:
    Path("e.toml").write_text(f'target = "gaussian"\nmodel = {{name = "perturbed", base = {base}}}\n')
    with pytest.raises((InvalidSetting, UnknownComponent), match=message):
        assemble(RunConfig.from_toml(Path("e.toml")), registry)


def test_help_and_show_know_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--model", "perturbed", "--model.base", "network", "--help"]) == 0
    text = capsys.readouterr().out
    assert "model network" in text
    assert "--model.base.weights" in text
    assert main(["run", "--model", "perturbed", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--model.base " in text
    assert "--model.base.weights" not in text
    assert main(["show", "model", "mixed"]) == 0
    assert "--model.above NAME  default: gaussian" in capsys.readouterr().out


def test_a_config_names_every_part_and_completing_it_again_changes_nothing(registry: Registry) -> None:
    data = {"target": "gaussian", "model": {"name": "mixed", "above": "perturbed"}}
    config = complete(RunConfig.parse(data, where="here"), registry)
    model = config.components["model"]
    assert model.parts["below"] == Choice(name="exact")
    assert model.parts["above"] == Choice(name="perturbed", parts={"base": Choice(name="exact")})
    assert complete(config, registry) == config
    assert with_parts("model", model, registry) == model


def test_parts_and_their_files_decide_the_fingerprint(registry: Registry, tmp_path: Path) -> None:
    weights = Path(__file__).parent.parent / "plugins" / "samplerhub_models" / "digits.safetensors"
    file = tmp_path / "net.safetensors"
    prints = []
    for content, bias in ((weights.read_bytes(), 0.0), (weights.read_bytes(), 0.1), (weights.read_bytes(), 0.0)):
        file.write_bytes(content)
        model = Perturbed(base=Perturbed(base=Network(weights=str(file)), bias=bias))
        prints.append(record(model).model_dump_json())
    assert prints[0] == prints[2] != prints[1]
    assert Network().digest in prints[0]


def test_a_part_that_is_no_record_is_refused_by_a_store(registry: Registry, tmp_path: Path) -> None:
    class Zero:
        predicts = "x0"

        def __call__(self, y: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(y)

    run = assemble(RunConfig.parse({"target": "gaussian", "samples": 8}, where="here"), registry)
    run = sh.Experiment(**{
        **{role: getattr(run, role) for role in ("process", "sampler", "grid", "prior", "target")},
        "model": Perturbed(base=Zero()), "samples": 8, "steps": 2,
    })  # fmt: skip
    result = run.run()
    with pytest.raises(Mismatch, match="records, which Zero is not"):
        run.run(store=RunFolder(tmp_path / "store"))
    manifest = named(
        result.manifest, RunConfig(components={role: Choice(name=role) for role in result.manifest.components})
    )
    part = manifest.components["model"].parts["base"]
    assert part.name is None
    with pytest.raises(
        UnknownComponent, match=r"model\.base .*Zero was made in Python .* choose another with --model\.base"
    ):
        RunConfig.from_manifest(
            manifest.model_copy(update={"components": {
                role: one.model_copy(update={"name": registry.name_of(role, type(player))})
                for role, one in manifest.components.items()
                if (player := getattr(run, role)) is not None
            }}),
            registry,
            chosen=["metric"],
        )  # fmt: skip


class Pair(sh.Component):
    """A target made of a target."""

    of_what: Annotated[sh.Target, sh.Part("target")] = Gaussian()
    """The target."""


def test_the_kit_and_the_schema_take_parts_for_what_they_are() -> None:
    testing.check_component(Pair, "A target made of a target.")
    made = Pair()
    assert json.loads(made.model_dump_json())["of_what"]["target"] == "samplerhub_targets.gaussian:Gaussian"
    schema = Pair.model_json_schema()["properties"]["of_what"]
    assert schema["role"] == "target"
    assert [one["type"] for one in schema["anyOf"]] == ["string", "object"]


# --- functions: imported on the command line's word alone -------------------------------------------------------------

MINE = """
from pathlib import Path
Path("imported").touch()
def denoise(x, t):
    return x / (1 + t.reshape(-1, 1) ** 2)
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a module that tells when it is imported, and return its name."""
    name = f"mine_{tmp_path.name.replace('-', '_')}"
    Path(f"{name}.py").write_text(MINE)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


CALLABLE = [*RUN, "--model", "callable", "--model.output", "x0"]


def test_a_function_is_imported_when_the_command_line_names_it(mine: str) -> None:
    manifest, _ = run(*CALLABLE, "--model.function", f"{mine}:denoise")
    assert Path("imported").exists()
    assert manifest["components"]["model"]["fields"]["function"] == f"{mine}:denoise"
    run(*RUN, "--model", "exact", out="exact")
    ours, theirs = (sh.read_tensors(Path(out, "samples.safetensors"))[0]["samples"] for out in ("out", "exact"))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_no_file_has_code_imported(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, bits = run(*CALLABLE, "--function", f"{mine}:denoise")
    Path("imported").unlink()
    del sys.modules[mine]
    text = error(capsys, "run", "--from", "out/manifest.json", "--quiet")
    assert "--model.function" in text
    assert "the command line's word alone" in text
    for line in (
        f'model = {{name = "callable", function = "{mine}:denoise"}}',
        f'model = {{name = "callable", imports = {{function = "{mine}:denoise"}}}}',
        f'model = {{name = "perturbed", base = {{name = "callable", function = "{mine}:denoise"}}}}',
        f'model = {{name = "perturbed", base = {{name = "callable", imports = {{function = "{mine}:denoise"}}}}}}',
    ):
        Path("e.toml").write_text(f'target = "gaussian"\n{line}\n')
        assert "function" in error(capsys, "run", "e.toml", "--quiet")
    assert not Path("imported").exists()
    _, again = run("run", "--from", "out/manifest.json", "--quiet", "--model.function", f"{mine}:denoise", out="again")
    assert again == bits


def test_a_function_inside_a_part(mine: str) -> None:
    manifest, _ = run(
        *RUN, "--model", "perturbed", "--model.base", "callable", "--function", f"{mine}:denoise", "--output", "x0",
        "--model.base.process", "vp", "--model.base.input", "y", "--model.base.time", "rho", "--process", "vp",
    )  # fmt: skip
    assert manifest["components"]["model"]["parts"]["base"]["parts"]["process"]["name"] == "vp"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module:f", "cannot be imported: No module named 'no_such_module'"),
        ("math:no_such_function", "cannot be imported: module 'math' has no attribute 'no_such_function'"),
        ("math", "package.module:attribute is expected"),
        ("math:pi", "is not allowed: a function is expected"),
    ],
)
def test_what_cannot_be_imported_is_explained(path: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in error(capsys, *CALLABLE, "--model.function", path)


def test_a_function_that_was_changed_is_another_run(mine: str) -> None:
    before, _ = run(*CALLABLE, "--model.function", f"{mine}:denoise")
    Path(f"{mine}.py").write_text(MINE.replace("1 +", "2 +"))
    del sys.modules[mine]
    after, _ = run(*CALLABLE, "--model.function", f"{mine}:denoise", out="after")
    assert before["components"]["model"]["digest"] != after["components"]["model"]["digest"]


def test_read_manifest_keeps_parts() -> None:
    run(*RUN, *NESTED)
    manifest = read_manifest(Path("out/manifest.json"))
    assert manifest.components["model"].parts["unconditional"].parts["base"].fields["shift"] == 0.3
