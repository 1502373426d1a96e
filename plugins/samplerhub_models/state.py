"""The state of a training: a file of its own until the training is complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from pydantic import JsonValue, ValidationError
from torch import nn

from samplerhub import read_tensors, write_tensors
from samplerhub.errors import UnusableFile
from samplerhub_models.denoiser import Design

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter."""


class TrainingState:
    """All that a training goes on from, in memory and in a file: modules by name, and the optimiser's moments.

    The optimiser is that of the module named weights.
    """

    def __init__(
        self, file: Path, design: Design, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
    ) -> None:
        self.file = file
        self.design = design
        self.modules = modules
        self.optimizer = optimizer

    def save(self, step: int) -> None:
        """Write the state after so many steps."""
        tensors = {f"{kind}/{name}": t.cpu() for kind, m in self.modules.items() for name, t in m.state_dict().items()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{i}/{name}": moments[name].cpu() for name in MOMENTS}
        write_tensors(self.file, tensors, {"design": self.design.model_dump_json(), "step": str(step)})

    def load(self) -> int:
        """Take up the state of an earlier training of the same design, and return its step; 0 where there is none.

        Raises:
            UnusableFile: The file holds the state of another training, or not all of it.
        """
        if not self.file.exists():
            return 0
        tensors, header = read_tensors(self.file)
        if header.get("design") != self.design.model_dump_json():
            raise UnusableFile(
                f"{self.file} holds the state of another training ({self._difference(header.get('design', ''))}); "
                "delete it to start anew, or choose another --out"
            )
        shapes, expected = {name: tuple(t.shape) for name, t in tensors.items()}, self._shapes()
        wrong = sorted(name for name in shapes.keys() | expected if shapes.get(name) != expected.get(name))
        if not header.get("step", "").isdecimal():
            wrong.append("step")
        if wrong:
            raise UnusableFile(
                f"{self.file} is not the whole state of a training: {wrong[0]} is missing or has another shape; "
                "delete it to start anew"
            )
        for kind, module in self.modules.items():
            module.load_state_dict({name: tensors[f"{kind}/{name}"] for name in module.state_dict()})
        count = len(list(self.modules["weights"].parameters()))
        moments = {i: {name: tensors[f"optimizer/{i}/{name}"] for name in MOMENTS} for i in range(count)}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        return int(header["step"])

    def remove(self) -> None:
        """Delete the file: the training is complete."""
        self.file.unlink(missing_ok=True)

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor in a file, by name."""
        shapes = {
            f"{kind}/{name}": tuple(t.shape) for kind, m in self.modules.items() for name, t in m.state_dict().items()
        }
        for i, theta in enumerate(self.modules["weights"].parameters()):
            shapes |= {f"optimizer/{i}/{name}": () if name == "step" else tuple(theta.shape) for name in MOMENTS}
        return shapes

    def _difference(self, there: str) -> str:
        """Name what differs between two designs."""
        try:
            old = Design.model_validate_json(there)
        except ValidationError:
            return "no design"
        before, now = (
            dict(_flat({**design.model_dump(mode="json", exclude={"recipe"}), **design.recipe}))
            for design in (old, self.design)
        )
        changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return ", ".join(f"{key} was {before.get(key)}, is {now.get(key)}" for key in changed)


def _flat(entries: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Yield values by the names that lead to them: ``target.digest``."""
    for name, value in entries.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
