"""One thread: the states here are small, and timings and bits do not depend on the machine's cores."""

import torch

torch.set_num_threads(1)
