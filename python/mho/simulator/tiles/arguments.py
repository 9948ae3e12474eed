"""Checks of the arguments of tiles."""

import copy

from mho.exceptions import ArgumentError, ConfigError
from mho.settings import check_backend
from mho.simulator.parameters.base import RPUConfigBase


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
