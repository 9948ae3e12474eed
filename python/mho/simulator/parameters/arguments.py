"""Checks of the arguments of methods and constructors."""

import copy
import math
import numbers
from typing import Any

from mho.exceptions import ArgumentError, ConfigError
from mho.settings import check_backend
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.config_base import ConfigBase


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


def check_finite(name: str, value: float) -> float:
    """Return a finite number of any sign.

    Args:
        name: Name of the argument in messages.
        value: Candidate; a tensor of one element counts as a number.

    Raises:
        ArgumentError: It is no such number.
    """
    number = _as_number(value)
    if not math.isfinite(number):
        raise ArgumentError(f"{name}: expected a finite number, got {_shown(value)}")
    return number


def check_not_negative(name: str, value: float) -> float:
    """Return a finite number that is not negative.

    Args:
        name: Name of the argument in messages.
        value: Candidate; a tensor of one element counts as a number.

    Raises:
        ArgumentError: It is no such number.
    """
    number = _as_number(value)
    if not math.isfinite(number) or number < 0.0:
        raise ArgumentError(f"{name}: expected a finite number >= 0, got {_shown(value)}")
    return number


def _as_number(value: Any) -> float:
    """Return a value as a number, NaN if it is none."""
    try:
        return math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return math.nan


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


def check_flag(name: str, value: Any) -> bool:
    """Return a truth value.

    A configuration in place of a flag is a forgotten ``rpu_config=``, not a true value.

    Args:
        name: Name of the argument in messages.
        value: Candidate; 0, 1, booleans of NumPy and None count as truth values.

    Raises:
        ArgumentError: It is something else.
    """
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, ConfigBase) or (isinstance(value, type) and issubclass(value, ConfigBase)):
        what = f"the class {value.__name__}" if isinstance(value, type) else _shown(value)
        raise ArgumentError(
            f"{name}: expected True or False, got {what}; give a configuration as rpu_config="
        )
    if type(value).__name__ in ("bool", "bool_") or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise ArgumentError(f"{name}: expected True or False, got {_shown(value)}")


def check_tile_module_class(value: Any) -> Any:
    """Return what a layer makes its tile with.

    Args:
        value: Candidate: a class, or anything else that is called like one.

    Raises:
        ArgumentError: It cannot be called.
    """
    if not callable(value):
        hint = "; give a configuration as rpu_config=" if isinstance(value, ConfigBase) else ""
        raise ArgumentError(
            f"tile_module_class: expected the class of a tile, got {_shown(value)}{hint}"
        )
    return value


def checked_copy(rpu_config: RPUConfigBase) -> RPUConfigBase:
    """Return a copy of a configuration.

    Args:
        rpu_config: Candidate.

    Raises:
        ArgumentError: It is not a configuration object.
        ConfigError: Its backend is not part of this build.
    """
    backend = check_rpu_config(rpu_config).runtime.backend
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
            f" give an instance, rpu_config={rpu_config.__name__}()"
        )
    if isinstance(rpu_config, ConfigBase):
        name = type(rpu_config).__name__
        raise ArgumentError(
            f"rpu_config: {name} is only a part of a configuration; put it into one, such as"
            f" rpu_config=SingleRPUConfig(device={name}(...)) for a device"
        )
    raise ArgumentError(
        "rpu_config: must be a configuration, such as rpu_config=SingleRPUConfig(), got"
        f" {_shown(rpu_config)}"
    )


def _shown(value: Any) -> str:
    """Return a short text of a value."""
    if isinstance(value, ConfigBase):
        return f"a configuration ({type(value).__name__})"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
