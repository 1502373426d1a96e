"""What is derived from alpha and sigma, against the textbook."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import samplerhub as sh
from samplerhub import testing
from samplerhub.cli import main
from samplerhub.errors import InvalidSetting, NotFinite, UnusableFile
from samplerhub_grids.edm import EDMGrid
from samplerhub_models.exact import Exact
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_priors.matched import MatchedPrior
from samplerhub_priors.student_t import StudentT
from samplerhub_processes.cosine import VPCosine
from samplerhub_processes.discrete import Discrete
from samplerhub_processes.edm import EDM
from samplerhub_processes.flow import Flow
from samplerhub_processes.iddpm import IDDPM
from samplerhub_processes.ou import OU
from samplerhub_processes.sub_vp import SubVP
from samplerhub_processes.ve import VE
from samplerhub_processes.vp import VP
from samplerhub_samplers.heun import Heun
from samplerhub_targets.mixture import Mixture

T = torch.logspace(-3, 0, 200, dtype=torch.float64)


def test_vp_is_the_textbook_sde() -> None:
    beta = 19.9 * T + 0.1
    assert torch.allclose(sh.drift(VP(), T), -beta / 2, rtol=1e-12)
    assert torch.allclose(sh.diffusion2(VP(), T), beta, rtol=1e-10)
    assert torch.allclose(sh.alpha(VP(), T) ** 2 + sh.sigma(VP(), T) ** 2, torch.ones_like(T), rtol=1e-14)


def test_vp_keeps_its_digits_near_zero() -> None:
    """sigma^2 = 1 - exp(-B) by expm1: at t = 1e-9 all digits, where 1 - exp(-B) has six."""
    B = (19.9 / 2 * 1e-9 + 0.1) * 1e-9
    assert sh.sigma(VP(t_min=1e-12), 1e-9).item() == pytest.approx(math.sqrt(B - B**2 / 2), rel=1e-14, abs=0)


def test_edm_is_the_textbook_sde() -> None:
    assert torch.equal(sh.drift(EDM(), T), torch.zeros_like(T))
    assert torch.allclose(sh.diffusion2(EDM(), T), 2 * T, rtol=1e-14)
    assert torch.allclose(sh.log_snr(EDM(), T), -2 * T.log(), rtol=1e-14)


def test_numbers_lists_and_tensors_are_times() -> None:
    assert sh.rho(VP(), 0.5).item() == sh.rho(VP(), [0.5])[0] == sh.rho(VP(), torch.tensor([0.5]))[0]


@pytest.mark.parametrize("level", [1e-3, 81.0, float("nan")])
def test_levels_outside_the_span(level: float) -> None:
    with pytest.raises(InvalidSetting, match=r"outside the process's range: rho goes from 0\.002 at t = 0\.002 to 80"):
        sh.time_at(EDM(), level)


@pytest.mark.parametrize("process", [EDM(), VP(), SubVP(), OU(), Flow()], ids=lambda p: type(p).__name__)
def test_moments_of_x_t(process: sh.ForwardProcess) -> None:
    """x_t simulated from the SDE dx = f x dt + g dW in small steps has mean alpha x_0 and standard deviation sigma."""
    n, steps, x_0 = 20_000, 2000, 0.7
    end = 0.3
    rng = torch.Generator().manual_seed(0)
    t = torch.linspace(process.span[0], end, steps + 1, dtype=torch.float64)
    f, g = sh.drift(process, t[:-1]).tolist(), sh.diffusion2(process, (t[:-1] + t[1:]) / 2).sqrt().tolist()
    h = (t[1] - t[0]).item()
    alpha, sigma = sh.alpha(process, t), sh.sigma(process, t)
    x = alpha[0] * x_0 + sigma[0] * torch.randn(n, generator=rng, dtype=torch.float64)
    for f_t, g_t in zip(f, g):
        x = x + h * f_t * x + math.sqrt(h) * g_t * torch.randn(n, generator=rng, dtype=torch.float64)
    assert x.mean().item() == pytest.approx((alpha[-1] * x_0).item(), abs=5 * sigma[-1].item() / math.sqrt(n))
    # 5 standard errors of the standard deviation, and the scheme's own error of order h.
    assert x.std().item() == pytest.approx(sigma[-1].item(), rel=5 / math.sqrt(2 * n) + 10 * h)


def test_span_is_ordered() -> None:
    with pytest.raises(ValueError, match="t_min 3 must be below t_max 2"):
        EDM(t_min=3, t_max=2)


# --- the textbook forms -----------------------------------------------------------------------------------------------


def test_sub_vp_is_the_textbook_sde() -> None:
    """dx = -beta/2 x dt + sqrt(beta (1 - exp(-2B))) dW, and rho = 2 sinh(B/2), whose inverse is in closed form."""
    process, beta, B = SubVP(), 19.9 * T + 0.1, (19.9 / 2 * T + 0.1) * T
    assert torch.allclose(sh.drift(process, T), -beta / 2, rtol=1e-12)
    assert torch.allclose(sh.diffusion2(process, T), -beta * torch.expm1(-2 * B), rtol=1e-10)
    assert torch.allclose(2 * torch.asinh(sh.rho(process, T) / 2), B, rtol=1e-12)
    assert torch.allclose(sh.sigma(process, T), sh.sigma(VP(), T) ** 2, rtol=1e-12)


def test_ou_is_the_textbook_sde() -> None:
    assert torch.allclose(sh.drift(OU(), T), -torch.ones_like(T), rtol=1e-12)
    assert torch.allclose(sh.diffusion2(OU(), T), torch.full_like(T, 2), rtol=1e-9)
    assert torch.allclose(sh.rho(OU(), T), torch.expm1(2 * T).sqrt(), rtol=1e-12)


def test_flow_is_a_straight_path() -> None:
    t = torch.linspace(0.001, 0.999, 200, dtype=torch.float64)
    assert torch.allclose(sh.drift(Flow(), t), -1 / (1 - t), rtol=1e-12)
    assert torch.allclose(sh.diffusion2(Flow(), t), 2 * t / (1 - t), rtol=1e-10)
    assert torch.allclose(sh.time_at(Flow(), t / (1 - t)), t, rtol=1e-12)


def test_cosine_is_the_published_alpha_bar() -> None:
    """alpha-bar = f(t)/f(0), f(t) = cos^2(pi/2 (t + s)/(1 + s)): alpha(0) is 1, and sigma keeps its digits near 0."""
    process, t = VPCosine(t_min=1e-9), T * 0.99
    f = torch.cos(torch.pi / 2 * (t + 0.008) / 1.008) ** 2 / math.cos(math.pi / 2 * 0.008 / 1.008) ** 2
    assert torch.allclose(sh.alpha(process, t) ** 2, f, rtol=1e-12)
    assert torch.allclose(sh.alpha(process, t) ** 2 + sh.sigma(process, t) ** 2, torch.ones_like(t), rtol=1e-13)
    slope = math.pi / 2 / 1.008
    small = 2 * slope * 1e-9 * math.tan(slope * 0.008) * (1 + slope * 1e-9 / math.tan(2 * slope * 0.008))
    assert sh.sigma(process, 1e-9).item() == pytest.approx(math.sqrt(small), rel=1e-8)
    assert sh.rho(VPCosine(), 0.9946).item() == pytest.approx(118.82, abs=0.01)


# --- tables -----------------------------------------------------------------------------------------------------------


def test_iddpm_has_the_rows_of_edms_table() -> None:
    """u_(j-1) = sqrt((u_j^2 + 1)/max(abar_(j-1)/abar_j, C_1) - 1), in numpy, at t = M - j."""
    M, C_1, C_2 = 1000, 0.001, 0.008
    abar = np.sin(np.pi / 2 * np.arange(M + 1) / (M * (C_2 + 1))) ** 2
    u = np.zeros(M + 1)
    for j in range(M, 0, -1):
        u[j - 1] = np.sqrt((u[j] ** 2 + 1) / max(abar[j - 1] / abar[j], C_1) - 1)
    process = IDDPM(t_max=None)
    assert torch.equal(process.table, torch.arange(1, 1001, dtype=torch.float64))
    assert torch.allclose(sh.rho(process, process.table), torch.from_numpy(u[M - 1 :: -1].copy()), rtol=1e-10)
    assert IDDPM().span == (1, 992)
    # The recursion telescopes: but for the floor of the last row it is the continuous schedule, divided by f(0).
    t = process.table[:-1]
    assert torch.allclose(sh.rho(process, t), sh.rho(VPCosine(t_max=0.9999), t / M), rtol=1e-9)
    half = torch.arange(1, 992, dtype=torch.float64) + 0.5
    away = (sh.rho(process, half) / sh.rho(VPCosine(), half / M)).log().abs()
    assert away.max() < 3e-4, "between the rows"
    assert away[1:].median() < 1e-7


def test_discrete_is_ddpms_table() -> None:
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    process = Discrete()
    assert torch.allclose(sh.alpha(process, process.table) ** 2, torch.from_numpy(abar), rtol=1e-11)
    assert process.span == (1, 1000)


def test_discrete_and_continuous_ddpm_differ_by_0_034_in_log_alpha() -> None:
    """1 - beta is not exp(-beta): half the sum of beta^2/2 + beta^3/3 and of the linear rule's excess, at the end."""
    t = Discrete().table
    difference = (sh.alpha(Discrete(), t).log() - sh.alpha(VP(), t / 1000).log()).abs()
    assert difference.max().item() == pytest.approx(0.034, abs=5e-4)
    assert difference.argmax() == 999


SCHEDULERS = {
    # alpha-bar of diffusers 0.42.1's DDIMScheduler(**config) at timesteps 0, 99, 499, 998 (float32), which are t - 1.
    "linear": ({"beta_schedule": "linear"}, (0.9999, 0.897018, 0.07858723, 4.118194e-05)),
    "scaled": (
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        (0.99915, 0.8954625, 0.2776694, 0.004716696),
    ),
    "cosine": ({"beta_schedule": "squaredcos_cap_v2"}, (0.9999587, 0.9720927, 0.4938435, 2.428766e-06)),
    "zero-snr": (
        {"num_train_timesteps": 1000, "rescale_betas_zero_snr": True},
        (0.9999, 0.8963782, 0.07602873, 4.213273e-09),
    ),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedulers_config_gives_its_table(name: str, tmp_path: Path) -> None:
    config, abar = SCHEDULERS[name]
    file = tmp_path / "scheduler_config.json"
    file.write_text(json.dumps({"_class_name": "DDIMScheduler", "clip_sample": False, **config}))
    process = Discrete(file=file)
    alpha2 = sh.alpha(process, [1, 100, 500, 999]) ** 2
    # In float32 a product of T factors is off by about T/2 units in the last place, 6e-8 each; the last row of zero-snr
    # is a difference of numbers of that kind, 0.0064 - 0.0063.
    assert alpha2.tolist() == pytest.approx(list(abar), rel=1e-3 if name == "zero-snr" else 5e-5)
    assert process.span == (1, 999 if name == "zero-snr" else 1000)


@pytest.mark.parametrize("suffix", [".json", ".npy", ".txt"])
def test_a_table_from_a_file(suffix: str, tmp_path: Path) -> None:
    betas = np.linspace(1e-3, 0.05, 60)
    abar = np.cumprod(1 - betas)
    processes = []
    for holds, numbers in (("betas", betas), ("alpha-bars", abar)):
        file = tmp_path / f"{holds}{suffix}"
        if suffix == ".npy":
            np.save(file, numbers)
        else:
            text = json.dumps(numbers.tolist()) if suffix == ".json" else "\n".join(map(repr, numbers.tolist()))
            file.write_text(text)
        processes.append(Discrete(file=file, holds=holds))
        testing.check_process(processes[-1])
        assert torch.allclose(sh.alpha(processes[-1], range(1, 61)) ** 2, torch.from_numpy(abar), rtol=1e-12)
    digests = {process.digest for process in processes}
    assert len(digests) == 2
    assert all(len(digest) == 64 for digest in digests)


def test_rows_without_noise_or_data_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "abar.txt"
    file.write_text("1 0.9 0.5 0.1 0")
    process = Discrete(file=file, holds="alpha-bars")
    assert process.span == (2, 4)
    assert sh.rho(process, 3.0).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        ("[0.9, 0.5, 0.1]", {}, "as alpha-bars do and betas do not: say --process.holds alpha-bars"),
        ("[0.1, 0.5, 0.9]", {"holds": "alpha-bars"}, "alpha-bar must fall from row to row"),
        ("[0.1, 1.5]", {}, "betas are between 0 and 1, and 1.5 is not"),
        ("[0.1, 0]", {"holds": "alpha-bars"}, "alpha-bar must fall"),
        ("[0.1]", {}, "two rows or more, and this one has 1"),
        ("[]", {}, "two rows or more, and this one has 0"),
        ('{"trained_betas": []}', {}, "trained_betas: []: List should have at least 2 items"),
        ('{"trained_betas": [0.1], "rescale_betas_zero_snr": true}', {}, "should have at least 2 items"),
        ("123", {}, "holds no list of numbers: what is in it is no list"),
        ("[0.1, true]", {}, "holds no list of numbers: true is no number"),
        ('["0.1", "0.2"]', {}, 'holds no list of numbers: "0.1" is no number'),
        ('["a"]', {}, "holds no list of numbers"),
        ("{", {}, "is not JSON"),
        ('{"width": 3}', {}, "is no scheduler's config"),
        ('{"beta_schedule": "sigmoid"}', {}, "beta_schedule: 'sigmoid'"),
        ('{"_class_name": "FlowMatchEuler", "num_train_timesteps": 1000}', {}, "whose process is `flow`"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_table_that_is_none(text: str, fields: dict[str, str], message: str, tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    file.write_text(text)
    with pytest.raises(UnusableFile, match=re.escape(message)):
        _ = Discrete(file=file, **fields).span


@pytest.mark.parametrize("text", ["", "0.1", "0.1 0.2 [", "nan nan"])
def test_a_text_that_is_no_table(text: str, tmp_path: Path) -> None:
    file = tmp_path / "table.txt"
    file.write_text(text)
    with pytest.raises(UnusableFile, match=re.escape(str(file))):
        _ = Discrete(file=file).span


def test_an_empty_vector_is_no_interruption(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("e.npy", "e.txt"):
        (tmp_path / name).touch()
        assert main(["show", "process", "discrete", "--file", str(tmp_path / name)]) == 2
        assert f"error: {tmp_path / name}" in capsys.readouterr().err.replace("\n", "")


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"\x93NUMPY", np.array([True, False]), np.zeros((2, 2)), np.array(["a"]), np.array([1j])],
    ids=["empty", "zip", "cut off", "bools", "a matrix", "words", "complex"],
)
def test_a_npy_file_that_holds_no_vector(content: bytes | np.ndarray, tmp_path: Path) -> None:
    file = tmp_path / "table.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        np.save(file, content)
    with pytest.raises(UnusableFile, match="holds no vector of numbers"):
        sh.read_numbers(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"80": 1, "0.002": 2}', "what is in it is no list"),
        ('"80 1"', "what is in it is no list"),
        ("[[80], 1]", r"\[80\] is no number"),
        ("[false]", "false is no number"),
        ("[1" + "0" * 400 + "]", "too large"),
        ("[" * 100_000, "is not JSON"),
    ],
    ids=["object", "string", "nested", "bool", "huge", "deep"],
)  # fmt: skip
def test_json_that_is_no_list_of_numbers(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(UnusableFile, match=message):
        sh.read_numbers(tmp_path / "table.json")


def test_a_pickle_in_a_npy_file_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UnusableFile, match="holds no vector of numbers"):
        _ = Discrete(file=tmp_path / "table.npy").span


def test_a_rough_table_stays_monotone(tmp_path: Path) -> None:
    """Betas that jump up and down by factors of 1000: rho increases strictly, and the inverse is good to 1e-9."""
    betas = 10 ** np.random.default_rng(0).uniform(-4, -1, 50)
    np.save(tmp_path / "rough.npy", betas)
    process = Discrete(file=tmp_path / "rough.npy")
    t = torch.linspace(1, 50, 20_001, dtype=torch.float64)
    rho = sh.rho(process, t)
    assert bool((rho.diff() > 0).all())
    assert (sh.time_at(process, rho) - t).abs().max() < 1e-7
    assert (sh.rho(process, sh.time_at(process, rho)) / rho - 1).abs().max() < 1e-12


def test_the_span_of_a_table_is_inside_it() -> None:
    assert Discrete(t_min=2.5, t_max=900).span == (2.5, 900)
    with pytest.raises(InvalidSetting, match="from 1 to 1000"):
        _ = Discrete(t_max=1001).span


# --- the largest noise level of a run ---------------------------------------------------------------------------------


def run_of(process: sh.ForwardProcess, **settings: Any) -> sh.Experiment:
    return sh.Experiment(
        process=process, target=Mixture(), model=Exact(), sampler=Heun(), grid=EDMGrid(),
        prior=settings.pop("prior", GaussianPrior()), samples=10, steps=4, **settings,
    )  # fmt: skip


@pytest.mark.parametrize("process", [OU(t_max=100), VE(t_max=1e308), VE(t_max=1e80)], ids=repr)
def test_a_noise_level_that_the_type_of_the_run_cannot_hold(process: sh.ForwardProcess) -> None:
    with pytest.raises(InvalidSetting, match=r"where sampling starts; float32 ends at 3\.4e\+38: .* dtype float64"):
        run_of(process)
    assert bool(run_of(process, t_max=4.0).run().samples.isfinite().all())
    run_of(process, dtype="float64")


def test_float16_ends_sooner() -> None:
    with pytest.raises(InvalidSetting, match=r"noise level 1e\+05 at .* float16 ends at 6\.55e\+04"):
        run_of(VE(t_max=1e10), dtype="float16")


def test_a_start_whose_square_overflows_is_not_blamed_on_the_model() -> None:
    with pytest.raises(
        NotFinite, match=r"prior GaussianPrior starts at x/alpha = .*e\+26, whose square float32 cannot"
    ):
        run_of(OU(t_max=60)).run()


@pytest.mark.parametrize("prior", [StudentT(df=0.01, samples=1000), MatchedPrior(factor=1e300)], ids=repr)
def test_draws_of_a_prior_that_overflow_name_the_prior(prior: sh.Prior) -> None:
    with pytest.raises(NotFinite, match=f"prior {type(prior).__name__} draws starting states that float32 cannot hold"):
        run_of(EDM(), prior=prior, rho_max=2.0).run()
