"""What is generated for each role: the summary of the example, where its mathematics is, and how to try it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Example:
    """The component that is generated for a role."""

    summary: str
    """First line of its docstring."""
    mathematics: str
    """Where in its file the mathematics is."""
    promises: str
    """What its test measures."""
    command: str
    """Arguments of samplerhub that use it, with {name} for its name."""


EXAMPLES: Final[dict[str, Example]] = {
    "process": Example(
        "Variance preserving with a log-SNR that falls linearly in time.",
        "`alpha` and `sigma` are the process; drift, diffusion and noise level are derived from them",
        "alpha and sigma are positive, the noise level rises, and has an inverse and derivatives.",
        "run --process {name}",
    ),
    "target": Example(
        "The uniform law on a circle in the plane, score and density in closed form.",
        "`sample` is the law; `denoise`, `log_prob` and `moments` are optional: this law knows them",
        "Samples have their shape and come from their generator; moments, density and posterior mean agree with them.",
        "run --target {name}",
    ),
    "model": Example(
        "The best linear denoiser of data with a given mean and standard deviation.",
        "`__call__` is the model, and `predicts` says what it returns: x0, eps or score",
        "Shape and type are kept, the output is finite, and each sample is treated by itself.",
        "run --target mixture --model {name}",
    ),
    "sampler": Example(
        "Two-stage Runge-Kutta methods of order 2 in the noise level, one for each theta.",
        "`step` is the method; `order` and `stages` are what it promises, and what is checked",
        "Order of convergence, evaluations, randomness, and the law under churn.",
        "run --sampler {name}",
    ),
    "grid": Example(
        "Uniform in asinh(rho/center): equal steps of low noise levels, equal ratios of high ones.",
        "`__call__` makes the times, from the first to the last",
        "As many times as are asked for, falling strictly from the first to the last.",
        "run --grid {name}",
    ),
    "prior": Example(
        "Noise as wide as the noised data, whose standard deviation is given.",
        "`sample` is the law of the starting state",
        "Shape and scale of the start, and that it comes from its generator alone.",
        "run --prior {name}",
    ),
    "features": Example(
        "Random Fourier features, whose inner products approximate a Gaussian kernel.",
        "`__call__` maps samples to vectors",
        "One vector for each sample, finite, the same for the same sample.",
        "run --metric fd --features {name}",
    ),
    "metric": Example(
        "Relative excess of the variance of the samples over that of the target.",
        "`__call__` is the figure with its standard error, `needs` what it may read of a run",
        "Equal laws give 0 within the standard error, and nothing is read that was not declared.",
        "run --target mixture --metric {name}",
    ),
    "trainer": Example(
        "Fits mean and variance of each coordinate by denoising score matching.",
        "`__call__` is the training; the model of the same name reads the file that it writes",
        "The weights are there in the end, and the same seed gives the same.",
        "train --target mixture --trainer {name} --out {name}.safetensors",
    ),
    "engine": Example(
        "One job after the other, and one that raises is begun again.",
        "`map` has the jobs done, and yields their outcomes in whatever order",
        "Each job has its value or its own error, and jobs are taken as they are needed.",
        "check engine {name}",
    ),
}
"""By role."""
