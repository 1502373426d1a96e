"""One thread: the states here are small, and timings and bits do not depend on the machine's cores."""

from pathlib import Path

import pytest
import torch
from wheels import ROOT, wheel_of

torch.set_num_threads(1)

collect_ignore = ["thirdparty"]
"""A distribution of its own, whose tests are run where it is installed."""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of samplerhub."""
    return wheel_of(ROOT, tmp_path_factory.mktemp("wheel"))
