"""Numbers with a unit, a span and a source."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mho.documented import documented
from mho.exceptions import ConfigError

PREFIXES = {
    "a": -18, "f": -15, "p": -12, "n": -9, "u": -6, "µ": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9,
    "T": 12, "P": 15,
}  # fmt: skip
"""Powers of ten by prefix."""

UNITS = ("J", "s", "m2", "W", "Hz", "V", "S", "B/s", "")
"""Units that a number may have, without prefixes; the last one is that of plain numbers."""

KINDS = ("measured", "derived", "modelled", "digitised", "assumed", "user")
"""Where a number may come from, the most certain ones first; what a user writes is `user`."""

_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*")
_KEYS = ("value", "low", "high", "unit", "source", "kind")


@documented
@dataclass(frozen=True)
class Quantity:
    """A number of 0 or more with its span, in units of the SI without prefix.

    Sums and products of quantities are monotone in each of them, so their spans are exact for
    extremes that have nothing to do with each other. A span is no confidence interval.
    """

    value: float
    """Best estimate."""

    low: float
    """Smallest value that is plausible."""

    high: float
    """Largest value that is plausible."""

    unit: str = ""
    """One of `UNITS`."""

    source: str = ""
    """Publication, or where else it is from."""

    kind: str = "user"
    """One of `KINDS`."""

    def __add__(self, other: "Quantity") -> "Quantity":
        return Quantity(
            self.value + other.value, self.low + other.low, self.high + other.high, self.unit
        )

    def __mul__(self, factor: float) -> "Quantity":
        return Quantity(self.value * factor, self.low * factor, self.high * factor, self.unit)

    __rmul__ = __mul__

    def times(self, other: "Quantity", unit: str) -> "Quantity":
        """Return the product with another quantity.

        Args:
            other: Other factor.
            unit: Unit of the product.
        """
        value, low, high = self.value * other.value, self.low * other.low, self.high * other.high
        return Quantity(value, low, high, unit)

    def under(self, number: float, unit: str) -> "Quantity":
        """Return a number over the quantity; infinite where that is 0, 0 if both are.

        Args:
            number: Numerator, 0 or more.
            unit: Unit of the quotient.
        """
        value, low, high = (_over(number, v) for v in (self.value, self.high, self.low))
        return Quantity(value, low, high, unit)

    def __str__(self) -> str:
        return with_prefix(self.value, self.unit)

    def span(self) -> str:
        """Return `low - high` with a common prefix, one number if they print alike."""
        prefix = _prefix_of(self.high, self.unit)
        low, high = (_digits(v, self.unit, prefix) for v in (self.low, self.high))
        return f"{high if low == high else f'{low} - {high}'} {prefix}{_printed(self.unit)}".strip()


def exactly(value: float, unit: str = "") -> Quantity:
    """Return a quantity without a span.

    Args:
        value: Value.
        unit: One of `UNITS`.
    """
    return Quantity(value, value, value, unit)


def total(quantities: list[Quantity], unit: str) -> Quantity:
    """Return a sum.

    Args:
        quantities: Any number of them.
        unit: Their unit.
    """
    result = exactly(0.0, unit)
    for quantity in quantities:
        result = result + quantity
    return result


def read_quantity(given: Any, unit: str, key: str) -> Quantity:
    """Return what a table says of a number.

    Args:
        given: A number in units of the SI, text such as `"0.8 pJ"`, a quantity, or a mapping with
            `value` and some of `low`, `high`, `unit`, `source`, `kind`. Without a span low and high
            are the value.
        unit: Unit that the number has to have, one of `UNITS`.
        key: File and key in messages.

    Raises:
        ConfigError: It is none of these, has another unit, is negative or not finite, or the span
            does not enclose the value.
    """
    if isinstance(given, Quantity):
        given = {name: getattr(given, name) for name in _KEYS}
    if not isinstance(given, Mapping):
        given = {"value": given}
    unknown = [name for name in given if name not in _KEYS]
    if unknown:
        raise ConfigError(f"{key}.{unknown[0]}: unknown; a number has {', '.join(_KEYS)}")
    if "value" not in given:
        raise ConfigError(f"{key}.value: missing")
    value = _number(given["value"], given.get("unit"), unit, f"{key}.value")
    low, high = (
        _number(given[name], given.get("unit"), unit, f"{key}.{name}") if name in given else value
        for name in ("low", "high")
    )
    if not low <= value <= high:
        raise ConfigError(f"{key}: expected low <= value <= high, got {low}, {value}, {high}")
    kind, source = given.get("kind", "user"), given.get("source", "")
    if kind not in KINDS:
        raise ConfigError(f"{key}.kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    if not isinstance(source, str):
        raise ConfigError(f"{key}.source: expected text, got {source!r}")
    return Quantity(value, low, high, unit, source, kind)


def _number(given: Any, given_unit: Any, unit: str, key: str) -> float:
    """Return a number in units of the SI."""
    if isinstance(given, str):
        match = _NUMBER.fullmatch(given)
        if match is None:
            raise ConfigError(f"{key}: expected a number with a unit, got {given!r}")
        number, own = float(match[1]), match[2]
        if own and given_unit is not None:
            raise ConfigError(f"{key}: has a unit of its own beside unit = {given_unit!r}")
        given_unit = own or given_unit
    elif isinstance(given, bool) or not isinstance(given, int | float):
        raise ConfigError(f"{key}: expected a number, got {given!r}")
    else:
        number = float(given)
    if given_unit is not None and math.isfinite(number):
        # As a decimal number, so that 100 ns are the number nearest to 1e-7.
        number = float(Decimal(repr(number)).scaleb(_exponent(given_unit, unit, key)))
    if not math.isfinite(number) or number < 0.0:
        raise ConfigError(f"{key}: must be finite and not negative, got {given!r}")
    return number


def _exponent(given: Any, unit: str, key: str) -> int:
    """Return the power of ten by which a unit with a prefix is one of the SI."""
    text = given.replace("²", "2") if isinstance(given, str) else None
    if text == unit:
        return 0
    if text is not None and unit and text.endswith(unit):
        prefix = PREFIXES.get(text.removesuffix(unit))
        if prefix is not None:
            return 2 * prefix if unit == "m2" else prefix
    expected = f"{unit} with a prefix" if unit else "a number without a unit"
    raise ConfigError(f"{key}: expected {expected}, got the unit {given!r}")


def with_prefix(value: float, unit: str = "") -> str:
    """Return a number of three digits with a prefix of the SI and its unit.

    Args:
        value: Number of 0 or more.
        unit: Its unit, without prefix.
    """
    prefix = _prefix_of(value, unit)
    return f"{_digits(value, unit, prefix)} {prefix}{_printed(unit)}".strip()


def _over(number: float, value: float) -> float:
    if value > 0.0:
        return number / value
    return math.inf if number > 0.0 else 0.0


def _printed(unit: str) -> str:
    return "m²" if unit == "m2" else unit


def _size(prefix: str, unit: str) -> float:
    return 10.0 ** (2 * PREFIXES[prefix] if unit == "m2" else PREFIXES[prefix])


def _prefix_of(value: float, unit: str) -> str:
    """Return the prefix with which a number is between 1 and 1000; areas are in mm²."""
    if unit == "m2":
        return "m"
    if value == 0.0 or not math.isfinite(value):
        return ""
    known = [p for p in PREFIXES if p != "µ" and (unit or PREFIXES[p] >= 0)]
    # 999.6 has three digits only with the next prefix.
    fitting = [p for p in known if value >= 0.9995 * _size(p, unit)]
    return fitting[-1] if fitting else known[0]


def _digits(value: float, unit: str, prefix: str) -> str:
    if not math.isfinite(value):
        return str(value)
    scaled = value / _size(prefix, unit)
    if scaled == 0.0 or scaled >= 100.0:
        return f"{scaled:.0f}"
    return f"{scaled:.3g}"
