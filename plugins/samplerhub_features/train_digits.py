"""Trains the classifier of digits whose last hidden layer the features `digits` are.

    OMP_NUM_THREADS=1 python -m samplerhub_features.train_digits --out FILE

writes, on one machine, the same bits each time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from samplerhub import stream, write_tensors
from samplerhub_features.digits import Classifier

EPOCHS = 40
BATCH = 64
RATE = 2e-3
SMOOTHING = 0.1
"""Share of each label that is spread over all classes, so that the features do not collapse onto ten points."""


def images(held_out: bool) -> tuple[Tensor, Tensor]:
    """Return images (n, 1, 8, 8) in [-1, 1] and labels (n,) of those with i mod 5 = 4, or of the others."""
    pixels, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(pixels).to(torch.float32).reshape(-1, 1, 8, 8) / 8 - 1
    some = (torch.arange(len(x)) % 5 == 4) == held_out
    return x[some], torch.from_numpy(labels)[some]


def initial(seed: int) -> Classifier:
    """Return the classifier before training: He's normal weights, drawn from a stream of their own."""
    network, rng = Classifier(), stream(seed, "classifier")
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.normal_(0, (2 / weight[0].numel()) ** 0.5, generator=rng)
            else:
                weight.zero_()
    return network


def train(epochs: int = EPOCHS, seed: int = 0) -> Classifier:
    """Return the classifier trained by Adam with a cosine decay, on images that are shifted by up to one pixel."""
    (x, labels), network, rng = images(held_out=False), initial(seed), stream(seed, "training")
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    steps = epochs * (len(x) // BATCH)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    loss = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=rng)
        for i in torch.split(order[: len(x) // BATCH * BATCH], BATCH):
            down, right = (int(shift) - 1 for shift in torch.randint(3, (2,), generator=rng))
            shifted = nn.functional.pad(x[i], (1, 1, 1, 1), value=-1)[:, :, 1 - down : 9 - down, 1 - right : 9 - right]
            optimiser.zero_grad()
            loss(network(shifted), labels[i]).backward()
            optimiser.step()
            decay.step()
    return network.eval().requires_grad_(False)


def accuracy(network: Classifier) -> float:
    """Return the share of the held-out images that are told rightly."""
    x, labels = images(held_out=True)
    with torch.no_grad():
        right = network(x).argmax(1) == labels
    return float(right.double().mean())


def main() -> None:
    """Train, write and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = train(arguments.epochs)
    write_tensors(arguments.out, network.state_dict())
    print(f"{arguments.out}: {accuracy(network):.4f} of the held-out digits are told rightly")


if __name__ == "__main__":
    main()
