"""What the shipped digits network is worth: how many of its digits a classifier is sure of, how near copies they are.

A support vector machine with calibrated probabilities, trained on the training split, judges 1,000 digits of Heun's
method in 40 steps and the held-out real digits. Distances are Euclidean, to the nearest image of the training split.

    python tests/benchmarks/digits.py
"""

from __future__ import annotations

import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import samplerhub as sh
from samplerhub_grids.edm import EDMGrid
from samplerhub_models.network import Network
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_samplers.heun import Heun
from samplerhub_targets.digits import Digits

SURE = 0.9


def generated(seed: int) -> torch.Tensor:
    run = sh.Experiment(
        process=EDM(),
        target=Digits(),
        model=Network(),
        sampler=Heun(),
        grid=EDMGrid(),
        prior=GaussianPrior(),
        samples=1000,
        steps=40,
        seed=seed,
    )
    return run.run().samples.flatten(1).double()


def main() -> None:
    torch.set_num_threads(1)
    pixels, labels = load_digits(return_X_y=True)
    pixels, held_out = pixels / 8 - 1, torch.arange(len(labels)).numpy() % 5 == 4
    judge = CalibratedClassifierCV(SVC(C=10), ensemble=False).fit(pixels[~held_out], labels[~held_out])
    pool = torch.from_numpy(pixels[~held_out])

    def nearest(x: torch.Tensor) -> torch.Tensor:
        return torch.cdist(x, pool).min(1).values

    real = (judge.predict_proba(pixels[held_out]).max(1) > SURE).mean()
    distance = nearest(torch.from_numpy(pixels[held_out])).median()
    print(
        f"held-out digits: sure of {real:.3f}, accuracy {judge.score(pixels[held_out], labels[held_out]):.3f}, ", end=""
    )
    print(f"median distance {distance:.2f}")
    for seed in range(3):
        x = generated(seed)
        p = judge.predict_proba(x.numpy())
        share = (p.max(1) > SURE).mean()
        classes = torch.from_numpy(p.argmax(1)).bincount(minlength=10) / len(x)
        print(f"seed {seed}: sure of {share:.3f}, {share / real:.2f} of the real share; ", end="")
        print(f"classes {classes.min():.3f} to {classes.max():.3f}; ", end="")
        print(f"distance median {nearest(x).median():.2f}, smallest {nearest(x).min():.2f}")


if __name__ == "__main__":
    main()
