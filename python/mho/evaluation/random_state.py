"""Random numbers of the process and of tiles: set for a purpose, and put back afterwards."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from mho.simulator.state.seeds import mixed
from mho.simulator.state.streams import streams_of

_NUMPY_SEEDS = 2**32


@contextmanager
def kept_random_state(model: nn.Module) -> Iterator[None]:
    """Put the random numbers of Python, NumPy and torch back at the end of the block.

    Args:
        model: Model, whose devices have generators of their own.
    """
    devices = {v.device for v in (*model.parameters(), *model.buffers()) if v.is_cuda}
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device.index for device in devices]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def seed_everything(number: int) -> None:
    """Seed the generators that code of users may draw from.

    Args:
        number: Seed, 0 to 2**63 - 1.
    """
    seed_torch(number)
    random.seed(number)
    np.random.seed(number % _NUMPY_SEEDS)


def seed_torch(number: int) -> None:
    """Seed the generators of torch.

    Args:
        number: Seed, 0 to 2**63 - 1.
    """
    # `torch.manual_seed` writes down the stack for each kind of device that is not in use.
    torch.default_generator.manual_seed(number)
    cuda: Any = torch.cuda
    if cuda.is_initialized():
        cuda.manual_seed_all(number)


def seed_tile(tile: nn.Module, number: int) -> None:
    """Start the random streams of a tile at the first call of a seed.

    Args:
        tile: Tile.
        number: Seed; further arrays of a tile have seeds that follow from it.
    """
    for place, (seed, calls) in enumerate(streams_of(tile)):
        seed.fill_(mixed(number, place - 1) if place else number)
        calls.zero_()
