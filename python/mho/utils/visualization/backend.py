"""The plotting library, loaded when the first figure is drawn, and what it can draw."""

import importlib
from typing import Any

from mho.exceptions import ArgumentError

MAX_COUNT = 10_000_000
"""Most pulses, bins or devices of a figure: beyond, memory runs out before anything is drawn."""


def pyplot() -> Any:
    """Return `matplotlib.pyplot`.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        return importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        raise ImportError(
            "figures need matplotlib; install it with `pip install mho[visualization]`"
        ) from error


def check_axes(name: str, axes: Any) -> Any:
    """Return the axes to draw into, by default the current ones.

    Args:
        name: Name of the argument in messages.
        axes: Candidate, or None.

    Raises:
        ArgumentError: It is something else.
        ImportError: matplotlib is not installed.
    """
    if axes is None:
        return pyplot().gca()
    if not isinstance(axes, importlib.import_module("matplotlib.axes").Axes):
        raise ArgumentError(f"{name}: expected axes of matplotlib, got {type(axes).__name__}")
    return axes


def check_count(name: str, value: int, least: int = 1) -> int:
    """Return a number of things to draw.

    Args:
        name: Name of the argument in messages.
        value: Candidate, an integer.
        least: Smallest number that makes a figure.

    Raises:
        ArgumentError: It is smaller, or beyond `MAX_COUNT`.
    """
    if not least <= value <= MAX_COUNT:
        raise ArgumentError(f"{name}: expected between {least} and {MAX_COUNT}, got {value}")
    return value
