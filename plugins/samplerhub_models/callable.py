"""Any Python function or module as a model, once it is said what it takes and what it returns."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator
from torch import Tensor, nn

from samplerhub import Component, ForwardProcess, Imported, Part, alpha, diffusion2, drift, rho, time_at
from samplerhub.errors import InvalidSetting, Mismatch

ROUNDING = 1e-5
"""A level that is outside the span by less, relatively, was rounded in the type of the run."""
Function = Callable[[Tensor, Tensor], Tensor]


def evaluating(function: Function) -> Function:
    """Return what is a function of a state and a time: no class, no module that may draw random numbers (training)."""
    if isinstance(function, type):
        raise ValueError(
            f"{_name(function)} is a class: give an object of it, such as net = {_name(function)}().eval()"
        )
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        raise ValueError(f"{_name(function)} is called with a state and a time: {error}") from error
    except ValueError:  # written in C: it does not say what it takes
        pass
    if isinstance(function, nn.Module) and function.training:
        raise ValueError("the module is in training mode: call its eval() first")
    return function


class CallableModel(Component):
    r"""Any Python function or torch module, with what it takes and what it returns said in words.

    The function lives in a process of its own, x_t = alpha x_0 + sigma eps; without one, alpha = 1 and sigma = t. It is
    called as function(x, time) or function(y, time), the state of shape (n, *d) and time of shape (n,), and returns
    a tensor of the shape of the state:

        x0,  eps,  v = alpha eps - sigma x0,  velocity = dx/dt = alpha' x0 + sigma' eps,  score = grad log p(input)

    Given (y, rho), t is the time at which the function's process has this rho, and E[x_0 | y] follows from the output:

        x0:        out
        eps:       y - rho out
        v:         (alpha^2 y - sigma out)/(alpha^2 + sigma^2), for any alpha and sigma
        velocity:  y - (out - alpha' y)/(alpha d log(rho)/dt)
        score:     y + rho^2 out, or y + alpha rho^2 out where the input is x

    The run may have any other process: what connects the two is rho. Three lines make a model:

        net = MyNetwork().eval()
        model = CallableModel(function=net, output="v", input="x", time="t", process=VP())
        result = Experiment(model=model, shape=(3, 32, 32), ...).run()

    On the command line `--model.function package.module:attribute` is imported, because the user says so; an experiment
    file or a manifest that names a function is refused unless the command line names it again. A module computes in the
    type of its parameters. The hash of a function covers the file that it is written in and the parameters of a module,
    not what else it may call: after a change there, choose a new --out.

    References:
        Progressive Distillation for Fast Sampling of Diffusion Models (Salimans and Ho, 2022), arXiv:2202.00512, app. D
        Flow Matching for Generative Modeling (Lipman et al., 2023), arXiv:2210.02747
    """

    function: Annotated[Function, Imported(), AfterValidator(evaluating)]
    """The function; on the command line package.module:attribute."""
    output: Literal["x0", "eps", "v", "velocity", "score"] = "eps"
    """What it returns."""
    input: Literal["x", "y"] = "x"
    """State that it takes: x of its process, or y = x/alpha."""
    time: Literal["t", "rho", "sigma", "log-rho", "log-snr"] = "t"
    """What it takes for the time: t, rho or sigma of its process, log(rho), or -2 log(rho)."""
    factor: float = 1.0
    """Factor on the time: 1000 for steps of a thousand, 0.25 with log-rho for a network under EDM's preconditioning."""
    process: Annotated[ForwardProcess | None, Part("process")] = None
    """The process that it was made for; none: alpha = 1, sigma = t."""
    shape: tuple[int, ...] | None = None
    """Shape of the samples that it was made for; none: as the target's."""

    predicts: ClassVar[Literal["x0"]] = "x0"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file that the function, or the class of the module, is written in, and of its parameters."""
        digest = hashlib.sha256()
        function = self.function
        written = function if inspect.isroutine(function) else type(function)
        try:
            digest.update(Path(inspect.getfile(written)).read_bytes())
        except (TypeError, OSError):  # typed in, or compiled: no file
            digest.update(repr(getattr(written, "__code__", written)).encode())
        if isinstance(function, nn.Module):
            for name, tensor in function.state_dict().items():
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def __call__(self, y: Tensor, rho: Tensor) -> Tensor:
        """Return E[x_0 | y], shape (n, *d).

        Raises:
            InvalidSetting: The function's process does not have that noise level.
            Mismatch: The function returns something else than a tensor of the shape of the state.
        """
        t = self.at(rho)
        alpha_t = torch.ones_like(rho) if self.process is None else alpha(self.process, t).to(rho)
        out = self._asked(alpha_t * y if self.input == "x" else y, t, rho, alpha_t)
        if self.output == "x0":
            return out
        if self.output == "eps":
            return y - rho * out
        if self.output == "score":
            return y + rho**2 * (alpha_t * out if self.input == "x" else out)
        sigma_t = rho * alpha_t
        if self.output == "v":
            return (alpha_t**2 * y - sigma_t * out) / (alpha_t**2 + sigma_t**2)
        if self.process is None:  # alpha' = 0, d log(rho)/dt = 1/rho
            return y - rho * out
        slope = alpha_t * drift(self.process, t).to(rho)
        growth = (diffusion2(self.process, t) / 2).to(rho) / sigma_t**2
        return y - (out - slope * y) / (alpha_t * growth)

    def at(self, level: Tensor) -> Tensor:
        """Return the time of its process at noise levels, float64; levels on the ends of the span may be rounded."""
        exact = level.detach().double()
        if self.process is None:
            return exact
        low, high = rho(self.process, list(self.process.span)).tolist()
        within = exact.clamp(low, high)
        try:
            return time_at(self.process, torch.where((within / exact - 1).abs() < ROUNDING, within, exact))
        except InvalidSetting as error:
            raise InvalidSetting(
                f"the function was made for a process of other noise levels: {error}: keep the run inside with "
                "--rho-max and --rho-min"
            ) from error

    def _asked(self, state: Tensor, t: Tensor, rho: Tensor, alpha_t: Tensor) -> Tensor:
        """Return the function's output, of the type of the state."""
        times = {"t": t, "rho": rho, "sigma": rho * alpha_t, "log-rho": rho.log(), "log-snr": -2 * rho.log()}
        time = (self.factor * times[self.time]).to(state).flatten().expand(len(state))
        if not isinstance(self.function, nn.Module):
            return self._checked(self.function(state, time), state)
        module = self.function.to(state.device)
        dtype = next((p.dtype for p in module.parameters()), state.dtype)
        return self._checked(module(state.to(dtype), time.to(dtype)), state)

    def _checked(self, out: object, state: Tensor) -> Tensor:
        """Return an output, of the type of the state, if it is a tensor of its shape."""
        if isinstance(out, Tensor) and out.shape == state.shape:
            return out.to(state)
        found = (
            f"a tensor of shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"an object {type(out).__name__}"
        )
        raise Mismatch(
            f"the function {_name(self.function)} returned {found} for a state of shape {tuple(state.shape)}; a tensor "
            f"of the shape of the state is needed. The time has shape ({len(state)},): beside the state, write "
            f"time[{', '.join([':', *['None'] * (state.ndim - 1)])}]"
        )


def _name(function: object) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))
