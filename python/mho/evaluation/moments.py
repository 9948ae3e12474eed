"""Moments of a measurement: right after programming, or some time later."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from mho.exceptions import ArgumentError
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.times import check_time

PROGRAMMED = "programmed"
DEFAULT = (PROGRAMMED, "1 s", "1 h", "1 d", "1 y")
"""Times of an evaluation unless others are asked for."""

Moment = float | None
"""Seconds since programming; None is right after it, without a drift step."""

_UNITS = (("y", 365 * 86400.0), ("d", 86400.0), ("h", 3600.0), ("min", 60.0))


def check_moments(times: Any) -> list[Moment]:
    """Return times in ascending order, right after programming first.

    Args:
        times: One or several of: seconds, text such as `"1 h"` or `"30 d"`, `"programmed"`.

    Raises:
        ArgumentError: One is no time, there are none, or two are the same.
    """
    if isinstance(times, Tensor):
        if times.is_nested or times.dim() > 1:
            raise ArgumentError(f"times: expected numbers in a row, got {describe(times)}")
        times = times.tolist()
    if isinstance(times, str) or not isinstance(times, Iterable):
        times = (times,)
    times = list(times)
    if not times:
        raise ArgumentError("times: needs at least one, such as 'programmed' or '1 d'")
    moments = [_moment(time) for time in times]
    if len(set(moments)) < len(moments):
        names = [label(moment) for moment in moments]
        twice = next(name for name in names if names.count(name) > 1)
        raise ArgumentError(f"times: {twice!r} is there twice, maybe in another unit")
    return sorted(moments, key=order)


def _moment(time: Any) -> Moment:
    if isinstance(time, str) and time.strip().lower() == PROGRAMMED:
        return None
    return check_time("times", time)


def order(moment: Moment) -> float:
    """Return what moments are sorted by.

    Args:
        moment: Moment.
    """
    return -1.0 if moment is None else moment


def label(moment: Moment) -> str:
    """Return a moment as text, in the largest unit of which it is a multiple.

    Args:
        moment: Moment.
    """
    if moment is None:
        return PROGRAMMED
    for unit, seconds in _UNITS:
        if moment >= seconds and (moment / seconds).is_integer():
            return f"{moment / seconds:.0f} {unit}"
    return f"{moment:g} s"
