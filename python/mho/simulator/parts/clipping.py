"""Which of the weights that were written are beyond the bounds of their devices."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.exceptions import warn_caller
from mho.simulator.state.names import PERSISTENT

# Rounding of float32, in which devices hold weights, with a factor to spare.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Clipping:
    """What became of the weights of one tile."""

    clipped: int
    """Number of weights that the devices do not hold."""

    total: int
    """Number of all weights."""

    is_scaled: bool
    """Whether the weights were scaled to `mapping.weight_scaling_omega` before."""


# By identity of the tile: only what is written last counts.
_WATCHED: ContextVar[dict[int, Clipping] | None] = ContextVar("watched", default=None)


def note(tile: Any, asked: Tensor, is_scaled: bool) -> None:
    """Compare raw weights with those that a tile holds after they were written.

    Nothing happens outside of `warning_of_clipping`, since writing weights is also a step of
    procedures that know what they do.

    Args:
        tile: Tile.
        asked: Raw weights that were written, shape `[out, x_size]`.
        is_scaled: Whether they had been scaled.
    """
    watched = _WATCHED.get()
    if watched is None or tile.tile.moves:  # torch tiles have no devices
        return
    raw = tile.tile
    held = raw.get_weights(as_ref=True)
    if PERSISTENT in raw.get_hidden_parameter_names():
        held = raw.get_named_hidden_parameters()[PERSISTENT]  # without write noise
    if torch.equal(held, asked):
        watched[id(tile)] = Clipping(0, asked.numel(), is_scaled)
        return
    far = (held - asked.to(held)).abs() > _ROUNDING * asked.abs().to(held)
    watched[id(tile)] = Clipping(int(far.sum()), asked.numel(), is_scaled)


@contextmanager
def unwatched() -> Iterator[None]:
    """Do not count what is written inside the block, such as initial weights."""
    token = _WATCHED.set(None)
    try:
        yield
    finally:
        _WATCHED.reset(token)


@contextmanager
def warning_of_clipping() -> Iterator[None]:
    """Warn once, at the end of the outermost block, if weights written inside it were clipped."""
    if _WATCHED.get() is not None:
        yield
        return
    found: dict[int, Clipping] = {}
    token = _WATCHED.set(found)
    try:
        yield
    finally:
        _WATCHED.reset(token)
    clipped = sum(one.clipped for one in found.values())
    if clipped:
        total = sum(one.total for one in found.values())
        scaled = any(one.is_scaled for one in found.values() if one.clipped)
        warn_caller(
            f"{clipped} of {total} weights ({_percent(clipped, total)} %) are beyond the bounds of"
            f" their devices and were clipped; set{' a smaller' if scaled else ''}"
            " mapping.weight_scaling_omega, the largest absolute weight in the array, to scale the"
            " weights of a layer into the bounds"
        )


def _percent(part: int, total: int) -> str:
    """Return a share with two digits, and 100 where two digits would make an exponent."""
    share = 100.0 * part / total
    return f"{share:.2g}" if share < 99.5 else "100"
