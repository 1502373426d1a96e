"""What a small classifier of handwritten digits sees."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from samplerhub import Component, Setup, read_tensors
from samplerhub.errors import UnusableFile
from samplerhub_features.images import digest

SHIPPED = Path(__file__).with_name("digits.safetensors")


class Classifier(nn.Module):
    """Two convolutions, a hidden layer of 64, ten logits; 38,282 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.ReLU(),
        )
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, 10) of images x (n, 1, 8, 8)."""
        logits: Tensor = self.head(self.body(x))
        return logits


def classifier(weights: Mapping[str, Tensor], source: Path) -> Classifier:
    """Return the classifier with these weights, for evaluation only."""
    network = Classifier()
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise UnusableFile(
            f"{source} holds no weights of the classifier of digits; python -m samplerhub_features.train_digits "
            f"--out FILE writes such a file ({error})"
        ) from error
    return network.eval().requires_grad_(False)


class Digits(Component):
    r"""What a small classifier of handwritten digits sees: its last hidden layer.

    phi(x) = relu(W conv(x) + b), 64 numbers, from which the classifier's logits are one linear map away. It was trained
    on the training split of scikit-learn's digits (image i with i mod 5 != 4), and tells the images that are held out
    with an accuracy above 98 %. `python -m samplerhub_features.train_digits --out FILE` trains it again.

    References:
        Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998), doi:10.24432/C50P49, as bundled with
            scikit-learn
    """

    weights: Path | None = None
    """A safetensors file of the same classifier trained otherwise; without one, the weights that are shipped."""

    shape: ClassVar[tuple[int, ...]] = (1, 8, 8)

    @property
    def _file(self) -> Path:
        return self.weights or SHIPPED

    @cached_property
    def classifier(self) -> Classifier:
        """The network; read when first used."""
        return classifier(read_tensors(self._file)[0], self._file)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights file."""
        return digest(self._file)

    def inspect(self, setup: Setup) -> None:
        """Return if the weights can be read, before anything is sampled."""
        _ = self.classifier

    def __call__(self, x: Tensor) -> Tensor:
        """Return the features of images x (n, 1, 8, 8) in [-1, 1], shape (n, 64), float32."""
        features: Tensor = self.classifier.to(x.device).body(x.to(torch.float32))
        return features
