"""Tables of which analog class replaces which digital one.

A layer enters them in its own file with a decorator, so conversion never changes when a layer is
added.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

AnalogT = TypeVar("AnalogT", bound=type)

CONVERSIONS: dict[type[nn.Module], Any] = {}
"""Analog class of each digital class."""

MAPPED_CONVERSIONS: dict[type[nn.Module], Any] = {}
"""The same with layers that are split over an array of tiles where there is such a layer."""

ANALOG_CLASSES: set[type] = set()
"""Classes that can be turned back with ``to_digital``."""


def register_analog(digital: type[nn.Module], mapped: bool = False) -> Callable[[AnalogT], AnalogT]:
    """Make a class the analog counterpart of a digital layer (class decorator).

    Args:
        digital: Exact class that is replaced; its subclasses are not.
        mapped: Whether the class splits the layer over an array of tiles.

    Returns:
        Decorator for a class with the class methods ``from_digital(module, rpu_config,
        tile_module_class)`` and ``to_digital(module)``.
    """

    def register(cls: AnalogT) -> AnalogT:
        if mapped:
            MAPPED_CONVERSIONS[digital] = cls
        else:
            CONVERSIONS[digital] = cls
            MAPPED_CONVERSIONS.setdefault(digital, cls)
        ANALOG_CLASSES.add(cls)
        return cls

    return register
