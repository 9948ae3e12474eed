"""What happens when a layer makes its tiles."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from mho.simulator.state.transaction import nobody_sees

_weights_follow: ContextVar[bool] = ContextVar("weights_follow", default=False)
"""Whether layers that are built get their weights at once, so that none need be drawn."""


@contextmanager
def weights_follow() -> Iterator[None]:
    """Leave out the first weights of layers that are built inside the block."""
    token = _weights_follow.set(True)
    try:
        yield
    finally:
        _weights_follow.reset(token)


def build(make_tiles: Callable[[], None], reset_parameters: Callable[[], None]) -> None:
    """Make the tiles of a layer, and draw its first weights unless others follow.

    Args:
        make_tiles: Makes the tiles.
        reset_parameters: Draws weights and writes them.
    """
    if _weights_follow.get():
        # The seed is the only draw, and the next layer has to have another one.
        make_tiles()
        return
    # Tiles draw their seeds from torch's generator; the layer must not consume these draws.
    with torch.random.fork_rng(devices=[]):
        make_tiles()
    with nobody_sees():
        reset_parameters()
