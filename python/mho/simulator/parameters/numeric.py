"""Checks of numbers given to methods."""

import math
import numbers

from mho.exceptions import ArgumentError


def check_index(name: str, value: int) -> int:
    """Return an integer of any sign.

    Args:
        name: Name of the argument in messages.
        value: Candidate.

    Raises:
        ArgumentError: It is not an integer.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ArgumentError(f"{name}: expected an integer, got {value!r}")
    return int(value)


def check_not_negative(name: str, value: float) -> float:
    """Return a finite number that is not negative.

    Args:
        name: Name of the argument in messages.
        value: Candidate; a tensor of one element counts as a number.

    Raises:
        ArgumentError: It is no such number.
    """
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < 0.0:
        raise ArgumentError(f"{name}: expected a finite number >= 0, got {value!r}")
    return number
