"""Times that a user gives, in seconds or as text."""

import math
import re

from mho.exceptions import ArgumentError
from mho.simulator.parameters.arguments import check_not_negative

_DAY = 86400.0
_SECONDS = {
    "s": 1.0, "sec": 1.0, "second": 1.0,
    "min": 60.0, "minute": 60.0,
    "h": 3600.0, "hour": 3600.0,
    "d": _DAY, "day": _DAY,
    "week": 7 * _DAY,
    "month": 365 * _DAY / 12,
    "y": 365 * _DAY, "year": 365 * _DAY,
}  # fmt: skip
_TEXT = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z]*)\s*", re.IGNORECASE)


def check_time(name: str, value: float | str) -> float:
    """Return a time in seconds.

    Args:
        name: Name of the argument in messages.
        value: Seconds, or text with a unit, such as `"90 s"`, `"1 h"`, `"25 days"`, `"1 year"` (of
            365 days).

    Raises:
        ArgumentError: It is negative, not finite, or no time.
    """
    if not isinstance(value, str):
        return check_not_negative(name, value)
    match = _TEXT.fullmatch(value)
    if match is not None:
        try:
            number = float(match[1])
        except ValueError:
            number = math.nan
        unit = match[2].lower() or "s"
        factor = _SECONDS.get(unit, _SECONDS.get(unit.removesuffix("s")))
        if factor is not None and math.isfinite(number * factor):
            return number * factor
    raise ArgumentError(
        f"{name}: expected seconds >= 0, or text such as '90 s', '1 h', '25 days', got {value!r}"
    )
