"""Tables of which analog class replaces which digital one.

A layer enters them in its own file with a decorator, so conversion never changes when a layer is
added.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from mho.exceptions import ArgumentError
from mho.simulator.parameters.arguments import check_flag
from mho.simulator.parameters.checking import describe

AnalogT = TypeVar("AnalogT", bound=type)
DigitalClass = type[nn.Module] | str
"""A class, or the full name of one that need not be imported."""

CONVERSIONS: dict[DigitalClass, Any] = {}
"""Analog class of each digital class."""

MAPPED_CONVERSIONS: dict[DigitalClass, Any] = {}
"""The same with layers that are split over an array of tiles where there is such a layer."""

ANALOG_CLASSES: set[type] = set()
"""Classes that can be turned back with ``to_digital``."""

WITH_SUBCLASSES: set[DigitalClass] = set()
"""Digital classes whose subclasses are converted as well if they compute the same."""

_METHODS = ("from_digital", "to_digital")

# Of a torch module only how it is built, drawn and printed; with these a subclass may do as it
# likes and still compute the same.
_HARMLESS = frozenset(
    "__init__ __repr__ __doc__ __module__ __dict__ __weakref__ extra_repr reset_parameters"
    " _reset_parameters __setstate__ __getstate__ _get_name".split()
)


def register_analog(
    digital: DigitalClass, mapped: bool = False, subclasses: bool = False
) -> Callable[[AnalogT], AnalogT]:
    """Make a class the analog counterpart of a digital layer (class decorator).

    Layers of mho are used as they are, in one line: ``register_analog(MyLinear)(AnalogLinear)``.

    Args:
        digital: Exact class that is replaced, or its full name, ``"package.module.Class"``, if it
            is not to be imported.
        mapped: Whether the class splits the layer over an array of tiles.
        subclasses: Whether to replace subclasses too, unless they override more of the digital
            class than how it is built and printed.

    Returns:
        Decorator for a class with the class methods ``from_digital(module, rpu_config,
        tile_module_class)`` and ``to_digital(module)``.

    Raises:
        ArgumentError: `digital` is neither a class of modules nor a full name, another argument is
            no truth value, or what is decorated is no class with these methods.
    """
    _check_digital(digital)
    mapped, subclasses = check_flag("mapped", mapped), check_flag("subclasses", subclasses)

    def register(cls: AnalogT) -> AnalogT:
        _check_analog(cls)
        if mapped:
            MAPPED_CONVERSIONS[digital] = cls
        else:
            CONVERSIONS[digital] = cls
            MAPPED_CONVERSIONS.setdefault(digital, cls)
        ANALOG_CLASSES.add(cls)
        if subclasses:
            WITH_SUBCLASSES.add(digital)
        return cls

    return register


def _check_digital(digital: object) -> None:
    if isinstance(digital, type) and issubclass(digital, nn.Module):
        return
    parts = digital.split(".") if isinstance(digital, str) else [""]
    if not all(part.isidentifier() or part == "<locals>" for part in parts):
        raise ArgumentError(
            "digital: expected a class of modules, or its full name, 'package.module.Class'; got"
            f" {describe(digital)}"
        )
    if len(parts) == 1:
        raise ArgumentError(
            f"digital: {digital!r} is no full name; write its module too,"
            f" 'package.module.{digital}'"
        )


def _check_analog(cls: Any) -> None:
    missing = [name for name in _METHODS if not callable(getattr(cls, name, None))]
    if not isinstance(cls, type) or missing:
        raise ArgumentError(
            f"register_analog: expected a class with {' and '.join(_METHODS)}, got {describe(cls)}"
        )


def counterpart(digital: type[nn.Module], conversions: Mapping[DigitalClass, Any]) -> Any:
    """Return the analog class of a digital one, None if there is none.

    Args:
        digital: Class of a module.
        conversions: Analog class of each digital class, or of its full name.
    """
    if digital is NonDynamicallyQuantizableLinear:
        # A linear layer that differs in nothing but its name.
        digital = nn.Linear
    for key in keys_of(digital):
        if key in conversions:
            return conversions[key]
    for base in digital.__mro__[1:]:
        for key in keys_of(base):
            if key in conversions and key in WITH_SUBCLASSES and not overridden(digital, base):
                return conversions[key]
    return None


def base_in(digital: type[nn.Module], conversions: Mapping[DigitalClass, Any]) -> Any:
    """Return the nearest base of a digital class for which there is an analog one, None without.

    Args:
        digital: Class of a module.
        conversions: Analog class of each digital class, or of its full name.
    """
    for base in digital.__mro__[1:]:
        if base is not nn.Module and any(key in conversions for key in keys_of(base)):
            return base
    return None


def overridden(digital: type[nn.Module], base: type) -> list[str]:
    """Return what of its base a digital class overrides, beyond how it is built and printed.

    Args:
        digital: Class of a module.
        base: Class that it derives from.
    """
    between = digital.__mro__[: digital.__mro__.index(base)]
    # What instances have, weights among them, is only declared by the class.
    declared = {name for cls in base.__mro__ for name in getattr(cls, "__annotations__", ())}
    return [
        name
        for cls in between
        for name, value in vars(cls).items()
        if name not in _HARMLESS
        and (name in declared or hasattr(base, name))
        and (callable(value) or inspect.isdatadescriptor(value))
    ]


def keys_of(cls: type) -> tuple[Any, str]:
    """Return the class and its full name, by which tables may have it.

    Args:
        cls: Class.
    """
    return cls, f"{cls.__module__}.{cls.__qualname__}"
