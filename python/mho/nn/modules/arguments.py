"""Checks of arguments shared by layers and conversion."""

from typing import Any

from mho.exceptions import ArgumentError
from mho.simulator.parameters.base import RPUConfigBase


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
