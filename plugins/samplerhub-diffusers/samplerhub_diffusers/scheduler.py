"""Any sampler of fixed steps as the scheduler of a diffusers pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from diffusers import SchedulerMixin
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from torch import Tensor

from samplerhub import Budgeted, Grid, Problem, Sampler, stream
from samplerhub.errors import InvalidSetting, Mismatch
from samplerhub_diffusers.prediction import checked, data, noise, scale
from samplerhub_diffusers.table import Table, table_of
from samplerhub_diffusers.turns import End, Question, Turns

TRIAL = 2
"""Samples of the trial run that finds where a sampler asks its model."""


class SamplerhubScheduler:
    """Any sampler of fixed steps as the scheduler of a diffusers pipeline.

        pipeline.scheduler = SamplerhubScheduler(Heun(last="denoise"), pipeline.scheduler)
        pipeline(num_inference_steps=10)

    `num_inference_steps` counts the steps of the grid. `timesteps` has one entry for each evaluation of the network,
    in the order in which the sampler asks (Heun: two a step), so that the pipeline's loop is the sampler's model. What
    the pipeline hands to `step` is the sampler's answer; what it gets back is the state at which the sampler asks next.
    Where a sampler adds noise before it asks for the first time, the first entry's evaluation is not used.

    What the contract of schedulers does not allow is refused: samplers that choose their steps as they go, pipelines
    that start in the middle (image to image) or change the state between two steps (inpainting). A sampler ends where
    its grid ends, at index 0 with a little noise left; with ``last="denoise"`` it ends with the data, as the schedulers
    of diffusers do.

    Noise is drawn from the pipeline's `generator`, or from torch's default one. States are carried in float32 or
    float64, whatever the pipeline computes in.

    Args:
        sampler: The sampler.
        scheduler: The pipeline's own, by whose table and config the network was trained.
        grid: Where the steps are; by default they are uniform in the index, from the last to 0.
        clip: Clip the predicted data to [-clip, clip], as a scheduler with clip_sample does.

    Raises:
        Mismatch: The sampler or the scheduler is not of a kind that is understood.
    """

    order = 1
    """Entries of `timesteps` that a pipeline counts as a step, for its progress bar."""
    init_noise_sigma = 1.0
    """Standard deviation of the starting state."""

    def __init__(
        self, sampler: Sampler, scheduler: SchedulerMixin, grid: Grid | None = None, clip: float | None = None
    ) -> None:
        if not isinstance(sampler, Budgeted):
            raise Mismatch(
                f"{type(sampler).__name__} chooses its steps as it goes, and a scheduler has to name all of them "
                "beforehand; choose a sampler of fixed steps"
            )
        self.sampler = sampler
        self.grid = grid
        self.clip = clip
        self.config = scheduler.config
        self.table: Table = table_of(scheduler)
        self.prediction = checked(scheduler.config.get("prediction_type", "epsilon"))
        self.num_inference_steps: int | None = None
        self.timesteps = torch.empty(0)
        self._times = torch.empty(0, dtype=torch.float64)
        self._plan = Plan((), False)
        self._run: Turns | None = None
        self._done = 0
        self._given: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of indices in the table."""
        return int(self.table.span[1]) + 1

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[float] | Tensor | None = None,
    ) -> None:
        """Choose the grid: so many steps, or the indices themselves, decreasing; and find where the sampler asks.

        Raises:
            InvalidSetting: Neither or both are given, or the indices do not decrease within the table.
        """
        if (num_inference_steps is None) == (timesteps is None):
            raise InvalidSetting("give either num_inference_steps or timesteps")
        times = self._uniform(num_inference_steps) if timesteps is None else torch.as_tensor(timesteps)
        times = times.double().cpu()
        first, last = self.table.span
        if times.ndim != 1 or len(times) < 2 or not bool((times.diff() < 0).all()):
            raise InvalidSetting(f"timesteps = {times.tolist()}: give at least two indices that decrease")
        if times[0] > last or times[-1] < first:
            raise InvalidSetting(
                f"timesteps go from {times[0]:g} to {times[-1]:g}, the table from {last:g} to {first:g}"
            )
        self._abandon()
        self._times = times
        self._plan = plan(self.sampler, self.table, times)
        asked = self.table.index(torch.tensor(self._plan.levels, dtype=torch.float64))
        if self._plan.late:
            asked = torch.cat([times[:1], asked])
        self.num_inference_steps = len(times) - 1
        self.timesteps = asked.to(device or "cpu", torch.float32)

    def scale_model_input(self, sample: Tensor, timestep: Tensor | float | None = None) -> Tensor:
        """Return the state as it is: it is what the network expects."""
        return sample

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return alpha_t x_0 + sigma_t eps for indices of shape (n,)."""
        t = timesteps.to(original_samples.device, torch.float64).reshape(-1, *(1,) * (original_samples.ndim - 1))
        alpha, sigma = self.table.alpha(t).to(original_samples), self.table.sigma(t).to(original_samples)
        return alpha * original_samples + sigma * noise

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor | float,
        sample: Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput | tuple[Tensor]:
        """Take the network's output at a state, and return the state at which it is wanted next, or the end.

        Raises:
            InvalidSetting: `set_timesteps` comes first, or the time is not the next of `timesteps`.
            Mismatch: The state is not the one that was returned last.
        """
        self._check(timestep, sample)
        if self._run is None:
            self._start(sample, generator)
        if self._done or not self._plan.late:
            self._answer(model_output)
        self._done += 1

        assert self._run is not None
        now = self._run.now
        x = now.x if isinstance(now, End) else scale(now.rho) * now.y
        self._given = x.to(sample.dtype)
        given = self._given
        if isinstance(now, End):
            self._abandon()
        return SchedulerOutput(prev_sample=given) if return_dict else (given,)

    def _uniform(self, steps: int | None) -> Tensor:
        """Return the grid of so many steps."""
        if steps is None or steps < 1:
            raise InvalidSetting(f"num_inference_steps = {steps}: it must be at least 1")
        if self.grid is not None:
            return self.grid(Problem(self.table, Still()), steps)
        first, last = self.table.span
        return torch.linspace(last, first, steps + 1, dtype=torch.float64)

    def _check(self, timestep: Tensor | float, sample: Tensor) -> None:
        if not len(self.timesteps):
            raise InvalidSetting("there are no timesteps yet: call set_timesteps first")
        expected = self.timesteps[self._done].item()
        if float(timestep) != expected:
            raise InvalidSetting(
                f"step {self._done + 1} is at index {expected:g}, not {float(timestep):g}: a sampler goes through all "
                "of `timesteps`, in order; set_timesteps starts anew"
            )
        if self._given is not None and sample is not self._given and not torch.equal(sample, self._given):
            raise Mismatch(
                "the state is not the one that the last step returned: between its steps a sampler's state is its own; "
                "take one of diffusers' schedulers for a pipeline that changes it"
            )

    def _start(self, sample: Tensor, generator: torch.Generator | None) -> None:
        if isinstance(generator, list):
            raise Mismatch("give one generator, not one for each sample: a run has one stream of noise")
        x = sample.detach().to(torch.promote_types(sample.dtype, torch.float32))
        rng = torch.default_generator if generator is None else generator
        self._run = Turns(self.sampler, self.table, x, self._times, rng)

    def _answer(self, output: Tensor) -> None:
        """Hand the network's output to the sampler, as noise."""
        assert self._run is not None
        asked = self._run.now
        assert isinstance(asked, Question)
        answer = output.detach()[:, : asked.y.shape[1]].to(asked.y)
        eps = noise(self.prediction, answer, asked.y, asked.rho)
        if self.clip is not None:
            x0 = data(self.prediction, answer, asked.y, asked.rho).clamp(-self.clip, self.clip)
            eps = (asked.y - x0) / asked.rho
        i = self._done - self._plan.late
        now = self._run.answer(eps)
        ended, last = isinstance(now, End), i + 1 == len(self._plan.levels)
        level = self._plan.levels[i] if last else self._plan.levels[i + 1]
        if ended != last or (isinstance(now, Question) and not torch.allclose(now.rho, now.rho.new_tensor(level))):
            self._abandon()
            raise Mismatch(
                f"{type(self.sampler).__name__} asked its model elsewhere than in its trial run: its evaluations "
                "depend on the state, so that they cannot be named beforehand"
            )

    def _abandon(self) -> None:
        """Forget the run, whether or not it has ended."""
        if self._run is not None:
            self._run.close()
        self._run = None
        self._done = 0
        self._given = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a sampler asks its model."""

    levels: tuple[float, ...]
    """Noise levels of its evaluations, in order."""
    late: bool
    """Whether it first asks at another state than that which it starts from."""


class Still:
    """The exact noise of standard normal data, rho y/(1 + rho^2), which notes where it is asked."""

    predicts: Literal["eps"] = "eps"

    def __init__(self) -> None:
        self.asked: list[Question] = []

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return the noise, shape of y."""
        self.asked.append(Question(y, rho))
        return rho * y / (1 + rho**2)


def plan(sampler: Sampler, table: Table, times: Tensor) -> Plan:
    """Return where a sampler of fixed steps asks its model, by a trial run on standard normal data."""
    model, rng = Still(), stream(0, "trial")
    x = torch.randn(TRIAL, 4, generator=rng, dtype=torch.float64)
    problem = Problem(table, model, shape=(4,), span=(times[-1].item(), times[0].item()))
    for _ in sampler(problem, x, times, rng):
        pass
    start = x / table.alpha(times[0])
    return Plan(
        levels=tuple(question.rho.flatten()[0].item() for question in model.asked),
        late=not torch.allclose(model.asked[0].y[:TRIAL], start, rtol=1e-12),
    )
