"""From names to objects, and back again from a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import samplerhub as sh
from samplerhub.assembly import assemble, build, complete, differences, metric_keys, named
from samplerhub.config import Choice, RunConfig, read_manifest
from samplerhub.errors import BrokenPlugin, InvalidSetting, SamplerhubError, UnknownComponent, UnusableFile
from samplerhub.files import whole
from samplerhub.folder import RunFolder
from samplerhub.manifest import MetricRecord
from samplerhub.picture import draw
from samplerhub.plugin import Entry
from samplerhub.registry import PluginRecord, Registered, Registry

SMALL: dict[str, Any] = {"target": "mixture", "metric": [], "samples": 40, "steps": 4}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover({"SAMPLERHUB_PLUGINS": "samplerhub"})


def parsed(**data: Any) -> RunConfig:
    return RunConfig.parse(SMALL | data, where="here")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_file_is_read_as_names_fields_and_settings(tmp_path: Path) -> None:
    text = 'metric = ["kl", {name = "fd"}]\ntarget = "mixture"\nseed = 3\n[sampler]\nname = "deis"\norder = 2\n'
    config = RunConfig.from_toml(write(tmp_path / "experiment.toml", text))
    assert config.components == {"target": Choice(name="mixture"), "sampler": Choice(name="deis", fields={"order": 2})}
    assert config.metrics == (Choice(name="kl"), Choice(name="fd"))
    assert (config.seed, config.steps) == (3, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = = 3", "is not TOML"),
        ('smpler = "deis"', "'smpler' is no key; did you mean 'sampler'"),
        ("sampler = 3", "sampler = 3: expected a name"),
        ("sampler = {name = 3}", "expected a name"),
        ('steps = "5"', "steps = '5' is not an integer"),
        ("steps = true", "steps = True is not an integer"),
        ("dtype = 32", "dtype = 32 is not text"),
        ("[sampler]\norder = 2020-01-01", "sampler.order: 2020-01-01 is not allowed: a number, a text"),
        ("[[metric]]\nname = 'kl'\nbins = [1, 12:00:00]", "metric.bins: 12:00:00 is not allowed"),
        ("qqq = 3", "'qqq' is no key; known: process"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SamplerhubError, match=message):
        RunConfig.from_toml(write(tmp_path / "experiment.toml", text))


def test_what_is_laid_over_wins_and_fields_stay_with_their_name() -> None:
    base = parsed(sampler={"name": "deis", "order": 2}, grid="uniform", metric=[{"name": "kl", "bins": 30}, "fd"])
    over = RunConfig(components={"sampler": Choice(fields={"churn": 1})}, metrics=(Choice(name="kl"),), nfe=9).over(
        base
    )
    assert over.components["sampler"] == Choice(name="deis", fields={"order": 2, "churn": 1})
    assert over.components["grid"] == Choice(name="uniform")
    assert over.metrics == (Choice(name="kl", fields={"bins": 30}),)
    assert (over.steps, over.nfe, over.samples) == (None, 9, 40)
    assert RunConfig(components={"sampler": Choice(name="heun")}).over(base).components["sampler"].fields == {}


def test_what_is_open_is_filled_in_by_the_target_and_the_defaults(registry: Registry) -> None:
    config = complete(RunConfig.parse({"target": "mixture"}, where="here"), registry)
    names = {role: choice.name for role, choice in config.components.items()}
    assert names == {
        "process": "edm", "target": "mixture", "model": "exact", "sampler": "deis", "grid": "edm", "prior": "gaussian",
        "features": "identity",
    }  # fmt: skip
    assert config.metrics == (Choice(name="kl"),)
    assert (config.samples, config.steps, config.seed) == (100_000, 10, 0)
    assert complete(config, registry) == config
    assert complete(parsed(nfe=20, steps=7), registry).steps == 7
    assert complete(RunConfig(nfe=20), registry).steps is None
    assert complete(RunConfig(), registry).components["target"].name == "digits"


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ({"order": 9}, "--sampler.order: 9 is not allowed: at most 4"),
        ({"order": "x"}, "--sampler.order: x is not allowed: an integer is expected"),
        ({"churn": -0.5}, "--sampler.churn: -0.5 is not allowed: at least 0"),
        ({"churn": "nan"}, "--sampler.churn: nan is not allowed: a finite number is expected"),
        ({"variable": "y"}, "--sampler.variable: y is not allowed: choose 'rho', 'log-rho' or 't'"),
        ({"churn_window": [2, 1]}, "--sampler deis: churn_window"),
        ({"churn_window": [1, "b"]}, r"--sampler.churn-window\[1\]: b is not allowed: a number is expected"),
        ({"churn_window": 1}, "--sampler.churn-window: 1 is not allowed: values with commas"),
        ({"ordr": 1}, "sampler 'deis' has no field 'ordr'; did you mean 'order'"),
        ({"order": 9, "churn": -1}, "(?s)churn: -1 .*\n--sampler.order: 9"),
    ],
)
def test_a_bad_field_names_its_option_its_value_and_what_is_allowed(
    sampler: dict[str, Any], message: str, registry: Registry
) -> None:
    with pytest.raises(InvalidSetting, match=message):
        assemble(parsed(sampler={"name": "deis", **sampler}), registry)


def test_a_component_in_the_wrong_role_is_refused() -> None:
    entry = Entry("sampler", "edm", "samplerhub_processes.edm:EDM", "A process.")
    registry = Registry((PluginRecord("acme", "acme", "1", (Registered(entry, "acme", "acme", "1"),)),))
    with pytest.raises(BrokenPlugin, match="sampler 'edm' of acme 1 is no Sampler"):
        build("sampler", Choice(name="edm"), registry)


def test_a_second_metric_of_a_name_is_numbered() -> None:
    assert metric_keys(parsed(metric=["kl", "fd", "kl", "acme:kl"])) == ["kl", "fd", "kl-2", "kl-3"]


def test_a_manifest_reproduces_its_run_bit_for_bit(registry: Registry, tmp_path: Path) -> None:
    config = complete(parsed(sampler={"name": "deis", "churn": 0.3}, process="vp", metric="kl", nfe=11), registry)
    config = config.model_copy(update={"steps": None})
    first = assemble(config, registry)
    result = first.run()
    files = RunFolder(tmp_path).write(first, result, named(result.manifest, config))

    manifest = read_manifest(files["manifest"])
    again = complete(RunConfig.from_manifest(manifest, registry), registry)
    assert {role: choice.name for role, choice in again.components.items()}["sampler"] == "deis"
    second = assemble(again, registry)
    assert differences(manifest, again, second) == []
    assert second.fingerprint() == first.fingerprint()
    rerun = second.run()
    assert torch.equal(rerun.samples, result.samples)
    assert rerun.metrics == result.metrics
    before = files["samples"].read_bytes()
    RunFolder(tmp_path).write(second, rerun, rerun.manifest)
    assert files["samples"].read_bytes() == before


def test_a_manifest_keeps_figures_that_are_not_finite(registry: Registry, tmp_path: Path) -> None:
    manifest = assemble(parsed(), registry).run().manifest
    estimate = MetricRecord(value=float("nan"), stderr=float("inf"), details={"bias": float("nan")})
    text = manifest.model_copy(update={"estimates": {"kl": estimate}}).model_dump_json()
    json.loads(text, parse_constant=pytest.fail)
    again = read_manifest(write(tmp_path / "manifest.json", text)).estimates["kl"]
    assert str(again.value) == "nan"
    assert again.stderr == float("inf")


def test_what_may_change_a_rerun_is_said(registry: Registry) -> None:
    config = complete(parsed(), registry)
    experiment = assemble(config, registry)
    manifest = named(experiment.run().manifest, config)
    sampler = manifest.components["sampler"].model_copy(update={"version": "0.0.1"})
    other = manifest.model_copy(
        update={
            "components": {**manifest.components, "sampler": sampler},
            "times": [2 * t for t in manifest.times],
            "environment": {**manifest.environment, "torch": "0.1"},
        }
    )
    lines = "\n".join(differences(other, config, experiment))
    assert "sampler 'deis': version is" in lines
    assert "the manifest has 0.0.1" in lines
    assert "torch is" in lines
    assert "grid 'edm' gives other times" in lines


def test_an_unregistered_component_of_a_manifest_is_refused_unless_replaced(registry: Registry) -> None:
    manifest = assemble(parsed(), registry).run().manifest  # made in Python: no names
    with pytest.raises(UnknownComponent, match="has no name in the registry, and nothing is imported"):
        RunConfig.from_manifest(manifest, registry)
    config = RunConfig.from_manifest(
        manifest, registry, chosen=("process", "target", "model", "sampler", "grid", "prior", "features")
    )
    assert config.components == {}
    assert config.samples == 40


@pytest.mark.parametrize(("text", "message"), [("[]", "not the manifest"), ("{}", "components"), ("{", "is not JSON")])
def test_what_is_no_manifest_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match=message):
        read_manifest(write(tmp_path / "manifest.json", text))


def removed(data: dict[str, Any]) -> None:
    del data["components"]["sampler"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (removed, "the manifest has no sampler, and a run needs one: choose it with --sampler"),
        (
            lambda data: data["components"].update(smpler=data["components"]["sampler"]),
            "'smpler'; did you mean 'sampler'",
        ),
        (lambda data: data["components"].update(metric=data["components"]["sampler"]), "no role 'metric'"),
        (lambda data: data["times"].pop(), "was changed: it has 4 times, but 4 steps have 5"),
        (lambda data: data["settings"].update(steps=7), "was changed: it has 5 times, but 7 steps have 8"),
        (lambda data: data["components"]["sampler"].update(name=""), "no sampler named ''; known"),
    ],
)
def test_a_manifest_that_was_edited_is_refused(
    edit: Callable[[dict[str, Any]], object], message: str, registry: Registry, tmp_path: Path
) -> None:
    config = complete(parsed(), registry)
    manifest = named(assemble(config, registry).run().manifest, config)
    data = json.loads(manifest.model_dump_json())
    edit(data)
    file = write(tmp_path / "manifest.json", json.dumps(data))
    with pytest.raises(SamplerhubError, match=message):
        RunConfig.from_manifest(read_manifest(file), registry)


# --- names that several plugins offer ---------------------------------------------------------------------------------


def offering(distribution: str, *entries: tuple[str, str, str]) -> PluginRecord:
    made = (Entry(role, name, target, "X.") for role, name, target in entries)
    return PluginRecord(
        distribution, distribution, "1", tuple(Registered(e, distribution, distribution, "1") for e in made)
    )


def test_a_target_suggests_components_of_its_own_distribution_first(registry: Registry) -> None:
    mixture, exact = "samplerhub_targets.mixture:Mixture", "samplerhub_models.exact:Exact"
    acme = offering("acme", ("target", "mixture", mixture), ("model", "exact", exact))
    other = offering("other", ("metric", "kl", "samplerhub_metrics.kl:KL"), ("model", "exact", exact))
    crowded = Registry((*registry.plugins, acme, other))
    theirs = complete(RunConfig.parse({"target": "acme:mixture"}, where="here"), crowded)
    assert theirs.components["model"].name == "acme:exact"
    assert theirs.metrics == (Choice(name="samplerhub:kl"),)
    ours = complete(RunConfig.parse({"target": "samplerhub:mixture"}, where="here"), crowded)
    assert ours.components["model"].name == "samplerhub:exact"
    with pytest.raises(UnknownComponent, match="3 plugins: write acme:exact or samplerhub:exact or other:exact"):
        assemble(parsed(target="acme:mixture", model="exact"), crowded)


def test_a_name_of_a_manifest_means_what_its_distribution_offers(registry: Registry) -> None:
    config = complete(parsed(metric="kl"), registry)
    experiment = assemble(config, registry)
    manifest = named(experiment.run().manifest, config)
    assert manifest.components["sampler"].name == "deis"
    acme = offering("acme", ("sampler", "deis", "samplerhub_samplers.deis:DEIS"), ("metric", "kl", "acme:KL"))
    crowded = Registry((*registry.plugins, acme))
    again = complete(RunConfig.from_manifest(manifest, crowded), crowded)
    assert again.components["sampler"].name == "samplerhub:deis"
    assert again.metrics[0].name == "samplerhub:kl"
    second = assemble(again, crowded)
    assert second.fingerprint() == experiment.fingerprint()
    assert differences(manifest, again, second) == []

    older = manifest.components["sampler"].model_copy(update={"name": "an-alias", "version": "0.0.1"})
    aliased = manifest.model_copy(update={"components": {**manifest.components, "sampler": older}})
    assert len(differences(aliased, again, second)) == 1

    sampler = manifest.components["sampler"].model_copy(update={"distribution": "acme", "fields": {}})
    foreign = manifest.model_copy(update={"components": {**manifest.components, "sampler": sampler}})
    assert RunConfig.from_manifest(foreign, crowded).components["sampler"].name == "acme:deis"
    instead = complete(RunConfig.from_manifest(foreign, registry), registry)
    (line,) = differences(foreign, instead, assemble(instead, registry))
    assert line == "sampler 'deis': distribution is samplerhub, the manifest has acme"


# --- the folder -------------------------------------------------------------------------------------------------------


def test_finished_blocks_are_taken_up_and_change_nothing(registry: Registry, tmp_path: Path) -> None:
    experiment = assemble(parsed(block=10, seed=5), registry)
    folder = RunFolder(tmp_path)
    whole = experiment.run()
    for index in (0, 1, 2):
        folder.save(experiment.fingerprint(), index, experiment.run_block(index))
    (folder.blocks / "00001.safetensors").write_bytes(b"cut off")
    folder.save("another experiment", 2, experiment.run_block(0))
    (folder.blocks / "mine.txt").touch()
    assert folder.finished(experiment) == 1

    class Watched:
        asked: list[int] = []

        def load(self, fingerprint: str, index: int) -> sh.Block | None:
            return folder.load(fingerprint, index)

        def save(self, fingerprint: str, index: int, block: sh.Block) -> None:
            self.asked.append(index)
            folder.save(fingerprint, index, block)

    result = experiment.run(store=Watched())
    assert Watched.asked == [1, 2, 3]
    assert torch.equal(result.samples, whole.samples)
    assert result.nfe == whole.nfe
    folder.write(experiment, result, result.manifest)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "blocks", "manifest.json", "samples.png", "samples.safetensors",
    ]  # fmt: skip
    assert [path.name for path in folder.blocks.iterdir()] == ["mine.txt"]


def test_looking_for_finished_blocks_takes_no_longer_for_more_samples(registry: Registry, tmp_path: Path) -> None:
    experiment, folder = assemble(parsed(samples=10**12, block=1), registry), RunFolder(tmp_path)
    assert folder.finished(experiment) == 0
    folder.save(experiment.fingerprint(), 3, sh.Block(torch.zeros(1, 1), 0.1, 4))
    assert folder.finished(experiment) == 1
    assert folder.finished(assemble(parsed(samples=3, block=1), registry)) == 0


def test_a_file_where_blocks_should_be(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "blocks").touch()
    experiment, folder = assemble(parsed(block=10), registry), RunFolder(tmp_path)
    assert folder.finished(experiment) == 0
    with pytest.raises(UnusableFile, match=r"cannot write to the folder .*blocks: File exists"):
        experiment.run(store=folder)


def test_a_folder_that_goes_away_while_a_file_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()

    def write() -> None:
        with whole(folder / "a.txt"):
            folder.rmdir()
            folder.touch()  # now a file is where the folder was

    with pytest.raises(UnusableFile, match=r"cannot write .*a\.txt: Not a directory"):
        write()


def test_the_same_experiment_has_the_same_folder(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = lambda **data: RunFolder.of(assemble(parsed(**data), registry)).path  # noqa: E731
    assert path() == path(batch=3)
    assert path().parent == Path("runs")
    assert len({path(), path(seed=1), path(metric="kl"), path(sampler="heun"), path(steps=5)}) == 5


@pytest.mark.parametrize(
    ("target", "axes"),
    [
        ("mixture", ["x"]),
        ({"name": "gaussian", "mean": [0, 1], "covariance": [[2, 1], [1, 2]]}, ["$x_1$"]),
    ],
)
def test_a_picture_is_drawn_for_each_kind_of_sample(target: object, axes: list[str], registry: Registry) -> None:
    experiment = assemble(parsed(target=target, samples=50), registry)
    figure = draw(experiment, experiment.run())
    assert [axis.get_xlabel() for axis in figure.axes] == axes


class Zero:
    predicts = "x0"

    def __call__(self, y: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(y)


def test_images_are_drawn_as_a_sheet(registry: Registry) -> None:
    roles = {role: build(role, Choice(), registry) for role in ("process", "sampler", "grid", "prior")}
    experiment = sh.Experiment(**roles, model=Zero(), shape=(1, 8, 8), samples=7, steps=2)
    (axes,) = draw(experiment, experiment.run()).axes
    (image,) = axes.get_images()
    assert image.get_array().shape == (3 * 9 + 1, 3 * 9 + 1, 3)  # three rows of three, a pixel between and around them
