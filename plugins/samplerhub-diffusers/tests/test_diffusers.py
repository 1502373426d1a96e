"""A pipeline that is trained, saved and loaded here, and sampled by diffusers and by samplerhub, in both directions."""

from __future__ import annotations

import gc
import json
import os
import shutil
import threading
import weakref
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import samplerhub as sh
from samplerhub import testing
from samplerhub.cli import main
from samplerhub.errors import InvalidSetting, Mismatch, UnusableFile
from samplerhub.registry import Registry

pytestmark = pytest.mark.filterwarnings("ignore")
diffusers = pytest.importorskip("diffusers")

from samplerhub_diffusers.model import DiffusersModel  # noqa: E402
from samplerhub_diffusers.process import DiffusersProcess  # noqa: E402
from samplerhub_diffusers.scheduler import SamplerhubScheduler  # noqa: E402
from samplerhub_diffusers.table import table_of  # noqa: E402
from samplerhub_diffusers.turns import Turns  # noqa: E402

SIZE, N = 8, 3
EXACT = {"clip_sample": False, "beta_schedule": "linear"}
REGISTRY = Registry.discover()


def sampler(name, **fields):
    return REGISTRY.load("sampler", name)(**fields)


def unet(**fields):
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        **{
            "sample_size": SIZE,
            "in_channels": 1,
            "out_channels": 1,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "down_block_types": ("DownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "UpBlock2D"),
            "add_attention": False,
            **fields,
        }
    )


def trained(prediction="epsilon", steps=30, classes=None):
    """A network that has begun to learn crosses and bars, and its scheduler."""
    network = unet(num_class_embeds=classes)
    scheduler = diffusers.DDPMScheduler(prediction_type=prediction, **EXACT)
    data = -torch.ones(2, 1, SIZE, SIZE)
    data[0, 0, 3:5] = data[1, 0, :, 3:5] = 1
    optimizer, rng = torch.optim.Adam(network.parameters(), 3e-3), torch.Generator().manual_seed(1)
    for _ in range(steps):
        which = torch.randint(2, (32,), generator=rng)
        t = torch.randint(1000, (32,), generator=rng)
        x0, eps = data[which], torch.randn(32, 1, SIZE, SIZE, generator=rng)
        x = scheduler.add_noise(x0, eps, t)
        goal = {"epsilon": eps, "sample": x0}.get(prediction, scheduler.get_velocity(x0, eps, t))
        out = network(x, t, class_labels=which if classes else None).sample
        optimizer.zero_grad()
        (out - goal).square().mean().backward()
        optimizer.step()
    return network.eval().requires_grad_(False), scheduler


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    @cache
    def folder(prediction="epsilon", classes=None):
        place = tmp_path_factory.mktemp("pipeline")
        network, scheduler = trained(prediction, classes=classes)
        diffusers.DDPMPipeline(network, scheduler).save_pretrained(place)
        return place

    return folder


def start(n=N, seed=5):
    return torch.randn(n, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def ours(folder, method, times, x=None, rng=None, **fields):
    process, model = DiffusersProcess(folder=str(folder)), DiffusersModel(folder=str(folder), **fields)
    problem = sh.Problem(process, model, shape=(1, SIZE, SIZE), span=(times[-1], times[0]))
    grid = torch.tensor(times, dtype=torch.float64)
    *_, last = method(problem, start() if x is None else x, grid, rng or torch.Generator())
    return last.x


def theirs(folder, scheduler, steps, **arguments):
    network = diffusers.UNet2DModel.from_pretrained(folder / "unet", local_files_only=True)
    scheduler.set_timesteps(steps)
    x = start()
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t).sample, t, x, **arguments).prev_sample
    return x, [float(t) for t in scheduler.timesteps]


def difference(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def loaded(folder):
    pipeline = diffusers.DDPMPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


# --- the components ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["model", "process"])
def test_the_components_are_registered_and_documented(role, pipelines, monkeypatch):
    registered = REGISTRY.find(role, "diffusers")
    assert registered.distribution == "samplerhub-diffusers"
    monkeypatch.chdir(pipelines())
    testing.check_component(REGISTRY.load(role, "diffusers"), registered.entry.summary)


def test_the_process_and_the_model_keep_the_promises_of_their_roles(pipelines):
    testing.check_process(DiffusersProcess(folder=str(pipelines())))
    for prediction in ("epsilon", "v_prediction", "sample"):
        model = DiffusersModel(folder=str(pipelines(prediction)))
        testing.check_model(model, model.shape)
    assert isinstance(model, sh.HasShape)
    assert isinstance(model, sh.HasDigest)
    assert isinstance(model, sh.HasDtype)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
def test_the_process_is_the_table_and_monotone_between(schedule):
    scheduler = diffusers.DDPMScheduler(beta_schedule=schedule)
    table = table_of(scheduler)
    t = torch.arange(1000, dtype=torch.float64)
    # Their table is in float32; where alpha-bar is near 1, the digits of 1 - alpha-bar are lost in it.
    torch.testing.assert_close(table.alpha(t) ** 2, scheduler.alphas_cumprod.double(), rtol=2e-5, atol=1e-7)
    assert bool((sh.rho(table, torch.linspace(0, 999, 20_001)).diff() > 0).all())
    between = torch.linspace(0, 999, 777, dtype=torch.float64)
    torch.testing.assert_close(table.index(sh.rho(table, between)), between, rtol=1e-9, atol=1e-9)


def test_the_continuous_process_of_the_same_name_is_another():
    table, vp = table_of(diffusers.DDPMScheduler()), REGISTRY.load("process", "vp")()
    t = torch.arange(1000, dtype=torch.float64)
    apart = (sh.alpha(table, t).log() - sh.alpha(vp, (t + 1) / 1000).log()).abs().max().item()
    assert apart == pytest.approx(0.034, abs=5e-4)


def test_a_table_that_ends_in_pure_noise_ends_before_it():
    table = table_of(diffusers.DDIMScheduler(rescale_betas_zero_snr=True))
    assert table.span == (0, 998)
    assert bool(table.levels.isfinite().all())


def test_schedulers_without_a_discrete_process_are_refused():
    with pytest.raises(Mismatch, match="no table of betas"):
        table_of(diffusers.EDMEulerScheduler())
    with pytest.raises(Mismatch, match="continuous noise level"):
        table_of(diffusers.EulerDiscreteScheduler(timestep_type="continuous", prediction_type="v_prediction"))


# --- their network under our samplers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_ddim_is_theirs(pipelines, prediction, spacing):
    scheduler = diffusers.DDIMScheduler(prediction_type=prediction, timestep_spacing=spacing, **EXACT)
    end, times = theirs(pipelines(prediction), scheduler, 20)
    assert difference(ours(pipelines(prediction), sampler("ddim", last="denoise"), times), end) < 1e-4


def test_clipped_ddim_is_theirs(pipelines):
    scheduler = diffusers.DDIMScheduler(clip_sample=True, beta_schedule="linear")
    end, times = theirs(pipelines(), scheduler, 20, use_clipped_model_output=True)
    plain = ours(pipelines(), sampler("ddim", last="denoise"), times)
    assert difference(plain, end) > 1e-2, "nothing was clipped, so that nothing is shown"
    assert difference(ours(pipelines(), sampler("ddim", last="denoise"), times, clip=1.0), end) < 1e-4


class Converted:
    """A network that says the same in another way: eps as v or as data."""

    def __init__(self, network, table, prediction):
        self.network, self.table, self.prediction = network, table, prediction

    def to(self, device):
        return self

    def __call__(self, x, t, class_labels=None):
        out = self.network(x, t, class_labels=class_labels)
        alpha, sigma = (f(t.double()).to(x).reshape(-1, 1, 1, 1) for f in (self.table.alpha, self.table.sigma))
        x0 = (x - sigma * out.sample) / alpha
        out.sample = x0 if self.prediction == "sample" else alpha * out.sample - sigma * x0
        return out


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_the_parametrisations_agree(pipelines, tmp_path, prediction):
    """The same network, whose output is turned into v or data, and a config that says so."""
    eps = DiffusersModel(folder=str(pipelines()))
    network, _ = trained()
    diffusers.DDPMPipeline(network, diffusers.DDPMScheduler(prediction_type=prediction, **EXACT)).save_pretrained(
        tmp_path
    )
    other = DiffusersModel(folder=str(tmp_path))
    other.__dict__["network"] = Converted(other.network, other.table, prediction)
    process = DiffusersProcess(folder=str(tmp_path))
    for t in (20.0, 300.5, 700.0):
        rho = sh.rho(process, t).item()
        y = start() / sh.alpha(process, t).float()
        a, b = (sh.Problem(process, model).eps(y, rho) for model in (eps, other))
        assert difference(b, a) < 2e-4


def test_labels(pipelines):
    place = pipelines(classes=2)
    times = [900.0, 600.0, 300.0, 50.0]
    bars = [ours(place, sampler("ddim"), times, label=i) for i in (0, 1)]
    assert difference(*bars) > 1e-3
    for label in (None, 2):
        with pytest.raises(Mismatch, match="choose a label from 0 to 1"):
            _ = DiffusersModel(folder=str(place), label=label).shape
    with pytest.raises(Mismatch, match="takes no label"):
        _ = DiffusersModel(folder=str(pipelines()), label=0).shape


def test_a_network_beside_its_config_and_one_in_a_pipeline_are_the_same(pipelines):
    place = pipelines()
    a, b = DiffusersModel(folder=str(place)), DiffusersModel(folder=str(place / "unet"))
    assert a.digest == b.digest
    assert a.shape == b.shape == (1, SIZE, SIZE)


def test_pickled_weights_are_read_only_where_that_is_said(tmp_path):
    network, scheduler = trained(steps=1)
    diffusers.DDPMPipeline(network, scheduler).save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(UnusableFile, match="trust-pickle"):
        _ = DiffusersModel(folder=str(tmp_path)).network
    model = DiffusersModel(folder=str(tmp_path), trust_pickle=True)
    torch.testing.assert_close(model.network.state_dict(), network.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_class_name": "UNet2DConditionModel"}, "only UNet2DModel"),
        ({"time_embedding_type": "fourier"}, "'positional'"),
        ({"class_embed_type": "identity"}, "by number"),
    ],
)
def test_networks_that_are_not_understood_are_refused(pipelines, tmp_path, change, message):
    config = json.loads((pipelines() / "unet" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(Mismatch, match=message):
        _ = DiffusersModel(folder=str(tmp_path)).shape


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UnusableFile, match="there is no folder"):
        _ = DiffusersModel(folder="no/such-pipeline").shape
    with pytest.raises(UnusableFile, match="holds no network"):
        _ = DiffusersModel(folder=str(tmp_path)).shape
    with pytest.raises(UnusableFile, match="holds no scheduler's config"):
        _ = DiffusersProcess(folder=str(tmp_path / ".")).span
    (tmp_path / "scheduler_config.json").write_text("[]")
    with pytest.raises(UnusableFile, match="no JSON object"):
        _ = DiffusersProcess(folder=str(tmp_path)).span
    (tmp_path / "scheduler_config.json").write_text('{"_class_name": "OurScheduler"}')
    with pytest.raises(Mismatch, match="OurScheduler"):
        _ = DiffusersProcess(folder=str(tmp_path)).span


def test_the_command_line(pipelines, tmp_path):
    place, out = str(pipelines()), tmp_path / "run"
    command = ["run", "--model", "diffusers", "--model.folder", place, "--process", "diffusers"]
    command += ["--process.folder", place, "--sampler", "ddim", "--grid", "uniform", "-n", "4", "--steps", "5"]
    assert main([*command, "--quiet", "--out", str(out)]) == 0
    samples, _ = sh.read_tensors(out / "samples.safetensors")
    manifest = json.loads((out / "manifest.json").read_text())
    assert next(iter(samples.values())).shape == (4, 1, SIZE, SIZE)
    assert manifest["components"]["model"]["digest"] == DiffusersModel(folder=place).digest
    assert manifest["components"]["process"]["digest"] == DiffusersProcess(folder=place).digest
    np.testing.assert_allclose(manifest["times"], np.linspace(999, 0, 6), atol=1e-9)


def copied(folder, place, **config):
    """A copy of a pipeline, with entries of the network's config changed."""
    shutil.copytree(folder, place)
    file = place / "unet" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    return place


def test_damaged_weights_are_named(pipelines, tmp_path):
    weights = "diffusion_pytorch_model"
    cut = copied(pipelines(), tmp_path / "cut")
    (file := cut / "unet" / f"{weights}.safetensors").write_bytes(file.read_bytes()[:-1000])
    other = copied(pipelines(), tmp_path / "other", block_out_channels=[16, 32])
    strange = copied(pipelines(), tmp_path / "strange", norm_num_groups=7)
    evil = copied(pipelines(), tmp_path / "evil")
    (evil / "unet" / f"{weights}.safetensors").unlink()
    torch.save({"w": Attack(tmp_path / "mark")}, evil / "unet" / f"{weights}.bin")
    for place, ending in ((cut, "safetensors"), (other, "safetensors"), (strange, "safetensors"), (evil, "bin")):
        model = DiffusersModel(folder=str(place), trust_pickle=True)
        with pytest.raises(UnusableFile, match=rf"{place.name}/unet/{weights}\.{ending} is damaged, or is not of"):
            model(start(), torch.ones(1, 1, 1, 1))
    assert not (tmp_path / "mark").exists()


class Attack:
    """An object whose pickle makes a folder when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_trust_needs_no_value_on_the_command_line(pipelines, tmp_path, monkeypatch, capsys):
    place = copied(pipelines(), tmp_path / "pickled")
    (safe,) = place.glob("unet/*.safetensors")
    torch.save(sh.read_tensors(safe)[0], safe.with_suffix(".bin"))
    safe.unlink()
    monkeypatch.chdir(place)
    words = ["run", "--model", "diffusers", "--process", "diffusers", "--grid", "uniform", "--steps", "1", "-n", "4"]
    words = [*words, "--quiet", "--out", str(tmp_path / "run")]
    for trust, code in (
        (["--model.trust-pickle"], 0),
        (["--trust-pickle"], 0),
        (["--model.trust-pickle", "false"], 2),
        ([], 2),
    ):
        assert main([*words, *trust]) == code, trust
        assert ("say --model.trust-pickle" in " ".join(capsys.readouterr().err.split())) == bool(code)


# --- our samplers in their pipelines ----------------------------------------------------------------------------------

METHODS = {
    "ddim": {"last": "denoise"},
    "deis": {"last": "denoise"},
    "heun": {"last": "denoise"},
    "unipc": {},
    "rk": {"tableau": "rk4"},
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_sampler_in_a_pipeline_is_the_sampler_itself(pipelines, name, prediction):
    place, method = pipelines(prediction), sampler(name, **METHODS[name])
    pipeline = loaded(place)
    pipeline.scheduler = scheduler = SamplerhubScheduler(method, pipeline.scheduler)
    for _ in range(2):  # a second call begins anew
        images = pipeline(
            batch_size=N, num_inference_steps=6, generator=torch.Generator().manual_seed(5), output_type="np"
        ).images
    end = ours(place, method, torch.linspace(999, 0, 7).tolist())
    expected = (end / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(images, expected, atol=1e-5)
    assert len(scheduler.timesteps) == method.evaluations(scheduler.table, torch.linspace(999, 0, 7).double())
    assert not any(thread.name == "samplerhub sampler" for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("name", "fields"),
    [("heun", {"churn": 0.5}), ("deis", {"churn": 0.5}), ("euler-maruyama", {}), ("ancestral", {})],
)
@pytest.mark.parametrize("times", [[999.0, 700.0, 400.0, 100.0, 0.0], [900.0, 500.0, 50.0]])
def test_a_stochastic_sampler_draws_from_the_pipelines_generator(pipelines, name, fields, times):
    """Below the top of the table, churn adds noise before the first evaluation: then one output is not used."""
    place, method = pipelines(), sampler(name, **fields)
    end = ours(place, method, times, rng=torch.Generator().manual_seed(3))
    network, scheduler = loaded(place).unet, SamplerhubScheduler(method, loaded(place).scheduler)
    scheduler.set_timesteps(timesteps=times)
    x, rng = start(), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(network(scheduler.scale_model_input(x, t), t).sample, t, x, rng).prev_sample
    assert difference(x, end) < 1e-5
    late = bool(fields) and times[0] < 999
    assert len(scheduler.timesteps) == late + method.evaluations(scheduler.table, torch.tensor(times).double())


def test_a_grid_and_clipping(pipelines):
    place, method = pipelines(), sampler("ddim", last="denoise")
    grid = REGISTRY.load("grid", "exponential")()
    scheduler = SamplerhubScheduler(method, loaded(place).scheduler, grid=grid, clip=1.0)
    scheduler.set_timesteps(5)
    times = grid(sh.Problem(scheduler.table, DiffusersModel(folder=str(place))), 5)
    torch.testing.assert_close(scheduler.timesteps[:5].double(), times[:5], rtol=1e-6, atol=1e-5)
    x, network = start(), loaded(place).unet
    with torch.no_grad():
        for t in scheduler.timesteps:
            (x,) = scheduler.step(network(x, t).sample, t, x, return_dict=False)
    assert difference(x, ours(place, method, times.tolist(), clip=1.0)) < 1e-4


def test_noise_is_added_as_theirs(pipelines):
    theirs = loaded(pipelines()).scheduler
    scheduler, t = SamplerhubScheduler(sampler("ddim"), theirs), torch.tensor([3, 400, 999])
    a, b = (s.add_noise(start(), start(seed=6), t) for s in (scheduler, theirs))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert len(scheduler) == len(theirs) == 1000


def test_what_the_contract_does_not_allow_is_refused(pipelines):
    theirs = loaded(pipelines()).scheduler
    with pytest.raises(Mismatch, match="chooses its steps as it goes"):
        SamplerhubScheduler(sampler("dormand-prince"), theirs)
    scheduler, x = SamplerhubScheduler(sampler("heun"), theirs), start()
    with pytest.raises(InvalidSetting, match="call set_timesteps first"):
        scheduler.step(x, 999, x)
    for wrong in ({}, {"num_inference_steps": 3, "timesteps": [3, 1]}, {"num_inference_steps": 0}):
        with pytest.raises(InvalidSetting):
            scheduler.set_timesteps(**wrong)
    for wrong in ([5], [1, 2], [1000, 0], [float("nan"), 0]):
        with pytest.raises(InvalidSetting):
            scheduler.set_timesteps(timesteps=wrong)
    scheduler.set_timesteps(3)
    with pytest.raises(InvalidSetting, match="in order"):
        scheduler.step(x, scheduler.timesteps[1], x)
    with pytest.raises(Mismatch, match="one generator"):
        scheduler.step(x, scheduler.timesteps[0], x, generator=[torch.Generator()])
    x = scheduler.step(x, scheduler.timesteps[0], x).prev_sample
    with pytest.raises(Mismatch, match="not the one that the last step returned"):
        scheduler.step(x, scheduler.timesteps[1], x + 1)
    scheduler.set_timesteps(3)
    assert not any(thread.name == "samplerhub sampler" for thread in threading.enumerate())


# --- the thread -------------------------------------------------------------------------------------------------------


def turns(method):
    table = table_of(diffusers.DDPMScheduler())
    return Turns(method, table, start(), torch.linspace(999, 0, 4).double(), torch.Generator())


def test_a_run_that_is_abandoned_ends_with_its_owner():
    run = turns(sampler("heun"))
    run.answer(start())
    thread, owner = run._thread, weakref.ref(run)
    assert thread.is_alive()
    del run
    gc.collect()
    assert owner() is None
    assert not thread.is_alive()


def test_what_the_sampler_raises_is_raised_in_the_loop():
    class Breaks:
        def __call__(self, problem, x, times, rng):
            problem.eps(x, 1.0)
            raise ZeroDivisionError("here")
            yield

    run = turns(Breaks())
    with pytest.raises(ZeroDivisionError, match="here"):
        run.answer(start())
    assert not run._thread.is_alive()
    assert not any(thread.name == "samplerhub sampler" for thread in threading.enumerate())


def test_closing_ends_the_thread():
    run = turns(sampler("heun"))
    run.close()
    assert not run._thread.is_alive()


def test_the_readme_names_what_is_there():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for name in ("--model diffusers", "--process diffusers", "SamplerhubScheduler", "pip install"):
        assert name in text
