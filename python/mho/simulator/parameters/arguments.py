"""Checks of the arguments of methods and constructors."""

import copy
import math
import numbers
from typing import Any

from mho.exceptions import ArgumentError, ConfigError
from mho.settings import check_backend
from mho.simulator.parameters.base import RPUConfigBase


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


def check_size(name: str, value: int) -> int:
    """Return a size.

    Args:
        name: Name of the argument in messages.
        value: Candidate.

    Raises:
        ArgumentError: It is not a positive integer.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(f"{name}: expected a positive integer, got {value!r}")
    return value


def checked_copy(rpu_config: RPUConfigBase) -> RPUConfigBase:
    """Return a copy of a configuration.

    Args:
        rpu_config: Candidate.

    Raises:
        ArgumentError: It is not a configuration object.
        ConfigError: Its backend is not part of this build.
    """
    if isinstance(rpu_config, type) or not isinstance(rpu_config, RPUConfigBase):
        what = (
            f"the class {rpu_config.__name__}" if isinstance(rpu_config, type) else repr(rpu_config)
        )
        raise ArgumentError(
            f"rpu_config: expected a configuration object, got {what}; create an instance"
        )
    backend = rpu_config.runtime.backend
    if backend is not None:
        try:
            check_backend(backend)
        except ConfigError as error:
            raise ConfigError(f"runtime.backend: {error}") from error
    return copy.deepcopy(rpu_config)


def check_rpu_config(rpu_config: Any) -> RPUConfigBase:
    """Return the configuration if it is one.

    Args:
        rpu_config: What the user gave as configuration.

    Raises:
        ArgumentError: It is a class or something else.
    """
    if isinstance(rpu_config, RPUConfigBase):
        return rpu_config
    if isinstance(rpu_config, type):
        raise ArgumentError(
            f"rpu_config: got the class {rpu_config.__name__};"
            f" give an instance, {rpu_config.__name__}()"
        )
    raise ArgumentError(
        f"rpu_config: must be a configuration such as SingleRPUConfig(), got {rpu_config!r}"
    )
