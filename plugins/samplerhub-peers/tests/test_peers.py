"""Each adapter beside the peer itself: the same states, counted evaluations, and nobody else's random numbers."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
import textwrap
from contextlib import nullcontext
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import samplerhub_peers
import torch
from samplerhub_peers.noise import Increments, Noise

import samplerhub as sh
from samplerhub import testing
from samplerhub.citation import reference
from samplerhub.cli import main
from samplerhub.cli.listing import documentation
from samplerhub.errors import BrokenPlugin, Mismatch
from samplerhub.registry import Registry
from samplerhub_processes.edm import EDM
from samplerhub_processes.vp import VP
from samplerhub_targets.mixture import Mixture

pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).parents[3]
TARGET = Mixture(weights=(0.5, 0.3, 0.2), means=((1.0, 0.5), (-1.0, 0.0), (0.2, -1.2)), covariances=(0.3, 0.2, 0.25))
LEVELS = torch.logspace(1, -1.3, 13, dtype=torch.float64)
REGISTRY = Registry.discover()
NAMES = [
    f"{prefix}-{name}" for prefix, samplers in samplerhub_peers.LIBRARIES.values() for name, *_ in samplers
]  # all of them, so that one whose library is not there is reported as skipped
MODULES = {prefix: module for module, (prefix, _) in samplerhub_peers.LIBRARIES.items()}


def made(name, **fields):
    if find_spec(MODULES[name.partition("-")[0]]) is None:
        pytest.skip(f"{MODULES[name.partition('-')[0]]} is not installed")
    return REGISTRY.load("sampler", name)(**fields)


class Model:
    """The exact model, which counts its calls."""

    predicts = "x0"

    def __init__(self):
        self.calls = 0

    def __call__(self, y, rho):
        self.calls += 1
        return TARGET.denoise(y, rho)


def start(n=16):
    return 10 * torch.randn(n, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def ours(sampler, process=None, seed=5, levels=LEVELS):
    process = process or EDM()
    model, rng = Model(), torch.Generator().manual_seed(seed)
    problem = sh.Problem(process, model, shape=(2,))
    times = sh.time_at(process, levels)
    scale = sh.alpha(process, times).tolist()
    steps = list(sampler(problem, start() * scale[0], times, rng))
    assert [step.t for step in steps] == times.tolist()[1:]
    return steps[-1].x / scale[-1], model.calls, problem


def denoise(y, rho):
    return TARGET.denoise(y, rho.reshape(1, 1).to(y))


# --- the peers, called as their own documentation calls them, with the same draws of noise ----------------------------


def azula_itself(name, **options):
    from azula import denoise as azula_denoise
    from azula import noise, sample

    class Levels(noise.Schedule):
        def __call__(self, t):
            return torch.ones_like(t), t

    class Exact(azula_denoise.Denoiser):
        def __init__(self):
            super().__init__()
            self.schedule = Levels()

        def forward(self, x_t, t):
            return azula_denoise.DiracPosterior(mean=denoise(x_t, t))

    class Given(getattr(sample, name)):
        timesteps = LEVELS

    torch.manual_seed(5)
    return Given(Exact(), silent=True, **options)(start())


def kdiffusion_itself(name, **options):
    """With a manual seed, the global numbers are those of a generator with that seed."""
    from samplerhub_peers.kdiffusion.source import sampling

    torch.manual_seed(5)
    return getattr(sampling(), name)(lambda y, sigma: denoise(y, sigma[0]), start(), LEVELS, disable=True, **options)


def diffusers_itself(name, scaled=False, stages=1, step=None, **options):
    import diffusers

    scheduler = getattr(diffusers, name)(**options)
    scheduler.set_timesteps(len(LEVELS) - 1)
    each = LEVELS if stages == 1 else LEVELS.repeat_interleave(2)[1:-1]
    scheduler.sigmas = each.clone()
    scheduler.is_scale_input_called = True
    nodes = torch.arange(1000.0, 1000 - len(LEVELS), -1)
    scheduler.timesteps = nodes[:-1] if stages == 1 else nodes.repeat_interleave(2)[1:-1]
    names = scheduler.timesteps
    x = start() / (1 + LEVELS[0] ** 2).sqrt() if scaled else start()
    for t, rho in zip(names, each):
        y = x * (1 + rho**2).sqrt() if scaled else x
        x = scheduler.step((y - denoise(y, rho)) / rho, t, x, **(step or {})).prev_sample
    return x * (1 + LEVELS[-1] ** 2).sqrt() if scaled else x


ENDS = {"final_sigmas_type": "sigma_min"}
ITSELF = [
    ("azula-ddpm", {}, lambda: azula_itself("DDPMSampler")),
    ("azula-ddim", {"eta": 0.5}, lambda: azula_itself("DDIMSampler", eta=0.5)),
    ("azula-euler", {}, lambda: azula_itself("EulerSampler")),
    ("azula-heun", {}, lambda: azula_itself("HeunSampler")),
    ("azula-ito", {"temperature": 0.9}, lambda: azula_itself("ItoSampler", temperature=0.9)),
    ("azula-pc", {"corrections": 2}, lambda: azula_itself("PCSampler", corrections=2)),
    *[
        (f"azula-{name.lower()}", {"order": k}, lambda name=name, k=k: azula_itself(f"{name}Sampler", order=k))
        for name in ("zAB", "vAB", "zEAB", "xEAB", "REAB")
        for k in (2, 4)
    ],
    ("kdiffusion-euler", {}, lambda: kdiffusion_itself("sample_euler")),
    *[
        (name, {"s_churn": 4, "s_tmax": 3}, lambda f=f: kdiffusion_itself(f, s_churn=4, s_tmax=3))
        for name, f in {"kdiffusion-heun": "sample_heun", "kdiffusion-dpm-2": "sample_dpm_2"}.items()
    ],
    *[
        (f"kdiffusion-{f.replace('_', '-')}", {"eta": 0.7}, lambda f=f: kdiffusion_itself(f"sample_{f}", eta=0.7))
        for f in ("euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral")
    ],
    *[
        (
            f"kdiffusion-{f.replace('_', '-')}",
            {"eta": 0.7},
            lambda f=f: kdiffusion_itself(
                f"sample_{f}", eta=0.7, noise_sampler=lambda a, b: torch.randn(16, 2, dtype=torch.float64)
            ),
        )
        for f in ("dpmpp_2m_sde", "dpmpp_3m_sde")
    ],
    (
        "kdiffusion-dpmpp-sde",
        {},
        lambda: kdiffusion_itself(
            "sample_dpmpp_sde", noise_sampler=Increments(lambda: torch.randn(16, 2, dtype=torch.float64))
        ),
    ),
    ("kdiffusion-lms", {"order": 3}, lambda: kdiffusion_itself("sample_lms", order=3)),
    ("kdiffusion-dpmpp-2m", {}, lambda: kdiffusion_itself("sample_dpmpp_2m")),
    *[
        (
            "diffusers-euler",
            {"s_churn": s},
            lambda s=s: diffusers_itself(
                "EulerDiscreteScheduler", step={"s_churn": s, "generator": torch.Generator().manual_seed(5)}
            ),
        )
        for s in (0.0, 3.0)
    ],
    (
        "diffusers-euler-ancestral",
        {},
        lambda: diffusers_itself(
            "EulerAncestralDiscreteScheduler", step={"generator": torch.Generator().manual_seed(5)}
        ),
    ),
    ("diffusers-heun", {}, lambda: diffusers_itself("HeunDiscreteScheduler", stages=2)),
    ("diffusers-lms", {"order": 3}, lambda: diffusers_itself("LMSDiscreteScheduler", step={"order": 3})),
    *[
        (
            "diffusers-dpm",
            {"solver_order": k, "algorithm_type": kind},
            lambda k=k, kind=kind: diffusers_itself(
                "DPMSolverMultistepScheduler",
                scaled=True,
                solver_order=k,
                algorithm_type=kind,
                step={"generator": torch.Generator().manual_seed(5)},
                **ENDS,
            ),
        )
        for k, kind in ((2, "dpmsolver++"), (3, "dpmsolver"))
    ],
    (
        "diffusers-dpm-single",
        {"solver_order": 3},
        lambda: diffusers_itself("DPMSolverSinglestepScheduler", scaled=True, solver_order=3, **ENDS),
    ),
    ("diffusers-deis", {"solver_order": 3}, lambda: diffusers_itself("DEISMultistepScheduler", True, solver_order=3)),
    (
        "diffusers-unipc",
        {"solver_order": 3, "solver_type": "bh1"},
        lambda: diffusers_itself("UniPCMultistepScheduler", True, solver_order=3, solver_type="bh1", **ENDS),
    ),
    (
        "diffusers-sa",
        {"tau": 0.5},
        lambda: diffusers_itself(
            "SASolverScheduler",
            True,
            tau_func=lambda t: 0.5,
            step={"generator": torch.Generator().manual_seed(5)},
        ),
    ),
]


@pytest.mark.parametrize(("name", "fields", "itself"), ITSELF, ids=lambda v: v if isinstance(v, str) else None)
@pytest.mark.parametrize("process", [EDM(), VP()], ids=["edm", "vp"])
def test_the_adapter_is_the_peer(name, fields, itself, process):
    """On any process: a peer is given y = x/alpha and the noise levels."""
    end, _, _ = ours(made(name, **fields), process)
    with torch.no_grad():
        truth = itself()
    # 1e-6: the process's time is inverted, and diffusers' DPM-Solver++ carries float32
    assert ((end - truth).abs().max() / truth.abs().max()).item() < 1e-6


RELATIVES = {
    "diffusers-kdpm2": "kdiffusion-dpm-2",
    "diffusers-kdpm2-ancestral": "kdiffusion-dpm-2-ancestral",
    "diffusers-dpm-sde": "kdiffusion-dpmpp-sde",
    "diffusers-edm-euler": "kdiffusion-euler",
    "diffusers-edm-dpm": "kdiffusion-dpmpp-2m",
    "diffusers-ddim": "azula-ddim",
    "diffusers-ddpm": "azula-ddpm",
    "diffusers-flow-euler": "azula-vab",
}


@pytest.mark.parametrize("name", RELATIVES)
def test_two_peers_have_the_same_method(name):
    """Where a scheduler has more tables than its noise levels: the method of another peer, with the same noise."""
    fields = {"order": 1} if RELATIVES[name] == "azula-vab" else {}
    one, _, _ = ours(made(name, **({"lower_order_final": False} if name == "diffusers-edm-dpm" else {})))
    other, _, _ = ours(made(RELATIVES[name], **fields))
    assert ((one - other).abs().max() / other.abs().max()).item() < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_contract(name):
    """Evaluations as declared and as called, the same bits for the same seed, the global random numbers left alone."""
    sampler = made(name)
    entry = REGISTRY.find("sampler", name).entry
    testing.check_component(type(sampler), entry.summary)
    testing.check_contract(sampler, VP())
    before = torch.get_rng_state()
    end, calls, problem = ours(sampler)
    assert problem.nfe == calls == sampler.evaluations(EDM(), sh.time_at(EDM(), LEVELS))
    assert torch.equal(torch.get_rng_state(), before)
    assert end.equal(ours(sampler)[0])
    assert end.equal(ours(sampler, seed=6)[0]) != sampler.draws


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_are_the_peers(name):
    sampler = made(name)
    if name.startswith("azula"):
        original = [getattr(importlib.import_module("azula.sample"), sampler.sampler).__init__]
    elif name.startswith("kdiffusion"):
        source = importlib.import_module("samplerhub_peers.kdiffusion.source")
        original = [getattr(source.sampling(), sampler.function)]
    else:
        scheduler = getattr(importlib.import_module("diffusers"), sampler.scheduler)
        original = [scheduler.__init__, scheduler.step]
    defaults = {k: p.default for f in original for k, p in inspect.signature(f).parameters.items()}
    # tau is a function of the network's time there; infinity is written as none here
    fields = {k: v for k, v in sampler.model_dump().items() if k not in ("tau", "s_tmax")}
    assert fields == {k: defaults[k] for k in fields}


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_says_what_it_follows(name):
    texts = documentation(type(made(name)))[1]
    assert texts
    for text in texts:
        assert reference(text).arxiv or reference(text).doi or reference(text).url


def test_every_sampler_is_in_the_report():
    from samplerhub_peers.settings import SETTINGS

    assert sorted(SETTINGS) == sorted(NAMES)


def test_the_page_has_a_row_for_each_setting():
    settings = importlib.import_module("samplerhub_peers.settings").SETTINGS
    page = (ROOT / "docs" / "peers.md").read_text()
    for name, all_fields in settings.items():
        for fields in all_fields:
            said = ", ".join(f"{key} {value}" for key, value in fields.items())
            assert f"| {name} | {said} |" in page
    for name, fields, _ in importlib.import_module("samplerhub_peers.verification").WARM:
        said = ", ".join(f"{key} {value}" for key, value in fields.items())
        assert f"| {name} | {said} |" in page.partition("started cold and warm")[2]


@pytest.mark.parametrize("trial", range(8))
def test_one_change_restores_the_order(trial):
    from samplerhub_peers.measured import errors_of
    from samplerhub_peers.verification import TRIALS

    chosen, steps = TRIALS[trial], (24, 48, 96)
    sampler = made(chosen.sampler, **chosen.fields)
    declared = min(sampler.order, 2) if sampler.draws else sampler.order
    assert testing.slope(steps, errors_of(sampler, EDM(), steps)) < declared - 0.8
    with chosen.change.applied():
        assert testing.slope(steps, errors_of(sampler, EDM(), steps)) > declared - 0.25
    assert testing.slope(steps, errors_of(sampler, EDM(), steps)) < declared - 0.8


@pytest.mark.parametrize("row", range(3))
def test_a_warm_start_does_not_restore_the_order_of_the_law(row):
    from samplerhub_peers.measured import errors_of, warm_errors
    from samplerhub_peers.verification import WARM, WARMTHS

    (name, fields, change), steps = WARM[row], (24, 48, 96)
    sampler = made(name, **fields)
    assert sampler.order == 3
    with change.applied() if change else nullcontext():
        for errors in (errors_of(sampler, EDM(), steps), *(warm_errors(sampler, EDM(), k, steps) for k in WARMTHS)):
            assert 1.75 < testing.slope(steps, errors) < 2.5
        still = {"tau": 0.0} if "tau" in fields else {"eta": 0.0}
        order = testing.slope(steps, errors_of(made(name, **fields | still), EDM(), steps))
    assert (order > 2.75) == (change is not None or name == "diffusers-sa")


@pytest.mark.parametrize("order", [3, 4])
@pytest.mark.parametrize(("a", "c"), [(0.0, -1.0), (0.7, -1.5), (-1.0, 0.4)])
def test_one_draw_a_step_leaves_a_term_of_order_2_in_the_law(order, a, c):
    """What docs/peers.md has of exponential Adams on dx = (a + c) x dt + dW: the response to a draw, long after it."""
    for h in (0.002, 0.001):
        nodes, shares = np.polynomial.legendre.leggauss(20)
        s = (nodes + 1) / 2
        bases = [np.prod([(s + i) / (i - j) for i in range(order) if i != j], axis=0) for j in range(order)]
        weights = [float(shares / 2 @ (np.exp(a * h * (1 - s)) * base)) for base in bases]
        x = [0.0] * (order - 1) + [1.0]
        for _ in range(20):
            x.append(np.exp(a * h) * x[-1] + c * h * sum(w * past for w, past in zip(weights, reversed(x))))
        u = (a + c) * h
        drawn = np.expm1(2 * a * h) / (2 * a * h) if a else 1.0
        had = drawn * (x[-1] / np.exp(20 * u)) ** 2
        gap = 1 - had / (np.expm1(2 * u) / (2 * u))
        assert gap / h**2 == pytest.approx(c * (4 * a + 3 * c) / 12, rel=0.03)


def test_noise_comes_from_the_generator():
    before = torch.get_rng_state()
    noise = Noise(torch.Generator().manual_seed(1))
    with noise:
        a, b = torch.randn_like(torch.empty(3, 2)), torch.randn(3, 2, dtype=torch.float64)
    rng = torch.Generator().manual_seed(1)
    assert a.equal(torch.randn(3, 2, generator=rng))
    assert b.equal(torch.randn(3, 2, generator=rng, dtype=torch.float64))
    assert noise.strays == 2
    assert torch.equal(torch.get_rng_state(), before)


def test_increments_are_those_of_one_path():
    rng = torch.Generator().manual_seed(1)
    increments = Increments(lambda: torch.randn(200_000, generator=rng, dtype=torch.float64))
    half, whole, after = increments(4.0, 3.0), increments(4.0, 1.0), increments(1.0, 0.5)
    for draw in (half, whole, after):
        assert abs(draw.var().item() - 1) < 0.02  # standard error 0.003
    assert abs((half * whole).mean().item() - (1 / 3) ** 0.5) < 0.02
    assert abs((after * whole).mean().item()) < 0.02
    with pytest.raises(Mismatch, match="drawn down to"):
        increments(4.0, 3.0)


HARD = """
    import sys, warnings
    warnings.simplefilter("ignore")
    import torch
    import samplerhub as sh
    from samplerhub.registry import Registry
    from samplerhub_processes.edm import EDM

    class Model:
        predicts = "x0"
        def __call__(self, y, rho):
            return y / (1 + rho * rho)

    registry = Registry.discover()
    (plugin,) = (p for p in registry.plugins if p.name == "peers")
    assert plugin.error is None and plugin.components, plugin
    assert not {"azula", "diffusers", "k_diffusion"} & set(sys.modules)
    for entry in plugin.components:
        sampler = registry.load("sampler", entry.entry.name)()
        list(sampler(sh.Problem(EDM(), Model(), shape=(2,)), torch.ones(2, 2), torch.tensor([4.0, 2.0, 1.0]),
                     torch.Generator()))
    assert "torchvision" not in sys.modules, "torchvision was imported"
    print(len(plugin.components))
"""


def test_nothing_brings_torchvision_in(tmp_path):
    """Also where it is installed: one that cannot be imported stands in its place."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("raise RuntimeError('torchvision was imported')\n")
    command = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n" + textwrap.dedent(HARD)
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here = sum(len(samplers) for m, (_, samplers) in samplerhub_peers.LIBRARIES.items() if find_spec(m))
    assert int(done.stdout) == here


def test_a_library_that_is_not_there_offers_nothing(monkeypatch):
    monkeypatch.setattr(samplerhub_peers, "find_spec", lambda name: None if name == "azula" else object())
    prefixes = {entry.name.partition("-")[0] for entry in samplerhub_peers.samplerhub_entries()}
    assert prefixes == {"kdiffusion", "diffusers"}


def test_a_library_that_cannot_be_imported_says_so(monkeypatch):
    sampler = made("azula-ddim")
    monkeypatch.setitem(sys.modules, "azula.denoise", None)
    with pytest.raises(BrokenPlugin, match=r"azula 0\S+ is there, but cannot be imported: ModuleNotFoundError"):
        ours(sampler)


def test_kdiffusion_says_what_it_lacks(monkeypatch):
    sampler = made("kdiffusion-heun")
    source = importlib.import_module("samplerhub_peers.kdiffusion.source")
    source.sampling.cache_clear()
    monkeypatch.setitem(sys.modules, "torchsde", None)
    try:
        with pytest.raises(BrokenPlugin, match="torchsde"):
            ours(sampler)
    finally:
        source.sampling.cache_clear()


def test_methods_that_are_not_there_are_refused():
    for name in ("diffusers-dpm", "diffusers-edm-dpm"):
        kind = "sde-dpmsolver" if name == "diffusers-dpm" else "sde-dpmsolver++"
        with pytest.raises(ValueError, match="solver_order 3 is not there"):
            made(name, solver_order=3, algorithm_type=kind)


def test_run(tmp_path, capsys):
    made("azula-reab")
    command = ["run", "--sampler", "azula-reab", "--target", "mixture", "-n", "64", "--nfe", "8", "--json"]
    with pytest.raises(SystemExit) as end:
        sys.exit(main([*command, "--out", str(tmp_path / "run")]))
    assert end.value.code in (0, None)
    said = json.loads(capsys.readouterr().out)
    assert said["nfe"] == 8
    assert "samplerhub-peers" in json.dumps(said["manifest"])


def test_steps_of_a_step_function_are_yielded_one_by_one():
    sampler, model = made("azula-heun"), Model()
    times = sh.time_at(EDM(), LEVELS)
    steps = sampler(sh.Problem(EDM(), model, shape=(2,)), start(), times, torch.Generator())
    for taken, (_, s) in enumerate(pairwise(times.tolist()), 1):
        assert next(steps).t == s
        assert model.calls == 2 * taken
