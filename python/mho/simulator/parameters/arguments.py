"""Checks of the arguments of methods and constructors."""

import math
import numbers
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.config_base import ConfigBase

_INT_BITS = 63


def check_index(name: str, value: int) -> int:
    """Return an integer of any sign that fits into 64 bits.

    Args:
        name: Name of the argument in messages.
        value: Candidate.

    Raises:
        ArgumentError: It is no such integer.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ArgumentError(f"{name}: expected an integer, got {describe(value)}")
    if int(value).bit_length() > _INT_BITS:
        raise ArgumentError(f"{name}: does not fit into 64 bits, got {describe(value)}")
    return int(value)


def check_number(name: str, value: object) -> float:
    """Return a finite number.

    Args:
        name: Name of the argument in messages.
        value: Candidate; a tensor of one element counts as a number.

    Raises:
        ArgumentError: It is no such number.
    """
    number = as_number(value)
    if not math.isfinite(number):
        raise ArgumentError(f"{name}: expected a finite number, got {describe(value)}")
    return number


def check_not_negative(name: str, value: object) -> float:
    """Return a finite number that is not negative.

    Args:
        name: Name of the argument in messages.
        value: Candidate; a tensor of one element counts as a number.

    Raises:
        ArgumentError: It is no such number.
    """
    number = as_number(value)
    if not math.isfinite(number) or number < 0.0:
        raise ArgumentError(f"{name}: expected a finite number >= 0, got {describe(value)}")
    return number


def check_probability(name: str, value: object) -> float:
    """Return a number between 0 and 1.

    Args:
        name: Name of the argument in messages.
        value: Candidate; a tensor of one element counts as a number.

    Raises:
        ArgumentError: It is no such number.
    """
    number = as_number(value)
    if not 0.0 <= number <= 1.0:
        raise ArgumentError(f"{name}: expected a probability, got {describe(value)}")
    return number


def is_dense(value: Tensor) -> bool:
    """Return whether a tensor has one value for each of its elements.

    Args:
        value: Tensor; sparse, nested and meta tensors have not.
    """
    return value.layout is torch.strided and not (value.is_meta or value.is_nested)


def as_number(value: Any) -> float:
    """Return a number as Python's, NaN if it is none.

    Args:
        value: Candidate; a tensor of one element counts as a number, truth values and text do not.
    """
    if isinstance(value, (bool, str, bytes)):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last is torch's
        return math.nan


def check_parameters(name: str, value: object, cls: type[ConfigBase]) -> None:
    """Check an object of parameters and everything in it.

    Args:
        name: Name of the argument in messages.
        value: Candidate.
        cls: Its class.

    Raises:
        ArgumentError: It is something else.
        ConfigError: A value in it is invalid; the message names the field.
    """
    if not isinstance(value, cls):
        raise ArgumentError(f"{name}: expected an object of {cls.__name__}, got {describe(value)}")
    value.check(name)


def check_mapping(name: str, value: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return a dictionary, or what behaves as one.

    Args:
        name: Name of the argument in messages.
        value: Candidate.

    Raises:
        ArgumentError: It is not one.
    """
    if not isinstance(value, Mapping):
        raise ArgumentError(f"{name}: expected a dictionary, got {describe(value)}")
    return value


def check_size(name: str, value: int) -> int:
    """Return a size.

    Args:
        name: Name of the argument in messages.
        value: Candidate.

    Raises:
        ArgumentError: It is not a positive integer.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ArgumentError(f"{name}: expected a positive integer, got {describe(value)}")
    if int(value).bit_length() > _INT_BITS:
        raise ArgumentError(f"{name}: does not fit into 64 bits, got {describe(value)}")
    return int(value)


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
        what = f"the class {value.__name__}" if isinstance(value, type) else describe(value)
        raise ArgumentError(
            f"{name}: expected True or False, got {what}; give a configuration as rpu_config="
        )
    if type(value).__name__ in ("bool", "bool_") or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise ArgumentError(f"{name}: expected True or False, got {describe(value)}")


def check_flags(**values: Any) -> list[bool]:
    """Return truth values.

    Args:
        values: Candidates by the name of the argument, as for `check_flag`.

    Raises:
        ArgumentError: One is something else.
    """
    return [check_flag(name, value) for name, value in values.items()]


def check_tile_module_class(value: Any) -> Any:
    """Return what a layer makes its tile with.

    Args:
        value: Candidate: a class of modules, or a function that is called like one.

    Raises:
        ArgumentError: It is something else.
    """
    is_module_class = isinstance(value, type) and issubclass(value, nn.Module)
    is_function = callable(value) and not isinstance(value, (type, nn.Module))
    if not is_module_class and not is_function:
        hint = "; give a configuration as rpu_config=" if isinstance(value, ConfigBase) else ""
        raise ArgumentError(
            f"tile_module_class: expected the class of a tile, got {describe(value)}{hint}"
        )
    return value


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
        f" {describe(rpu_config)}"
    )


def check_function(name: str, value: object) -> None:
    """Check that a value can be called.

    Args:
        name: Name of the argument.
        value: Candidate.

    Raises:
        ArgumentError: It cannot.
    """
    if not callable(value):
        raise ArgumentError(f"{name}: expected a function, got {describe(value)}")


def check_instance(name: str, value: object, kind: type) -> None:
    """Check that a value is of a class.

    Args:
        name: Name of the argument.
        value: Candidate.
        kind: Class.

    Raises:
        ArgumentError: It is not.
    """
    if not isinstance(value, kind):
        raise ArgumentError(f"{name}: expected {kind.__name__}, got {describe(value)}")
