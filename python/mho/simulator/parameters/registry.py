"""Tables of the classes that JSON text may name: tile classes and configuration classes.

Classes enter themselves when their module is imported. Reading a text imports nothing but modules
of this package that have announced their classes.
"""

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from mho import pending
from mho.documented import documented
from mho.exceptions import ConfigError

ClassT = TypeVar("ClassT", bound=type)

_TILES: dict[str, type] = {}
_CONFIGS: dict[str, type] = {}
_ANNOUNCED: dict[str, str] = {}
"""Modules by the names of configuration classes that enter themselves when they are imported."""


def register_tile_class(cls: ClassT) -> ClassT:
    """Make a tile class readable from the JSON text of a configuration (class decorator).

    Args:
        cls: Tile module, simulator tile or tile array.

    Returns:
        The class, unchanged.

    Raises:
        ConfigError: Another class with this name is registered.
    """
    return _register(_TILES, cls, "tile class")


def register_config_class(cls: ClassT) -> ClassT:
    """Make a class readable from the JSON text of a configuration (class decorator).

    Own noise models, converters, drift compensations and presets need it before a checkpoint that
    contains them can be loaded. Instances are rebuilt from their fields or their `__dict__` without
    running any code.

    Args:
        cls: Dataclass based on `ConfigBase`, or a plain class whose state is its `__dict__`.

    Returns:
        The class; its `help()` tells the texts below its fields.

    Raises:
        ConfigError: Another class with this name is registered.
    """
    return documented(_register(_CONFIGS, cls, "configuration class"))


def announce_config_classes(modules: Mapping[str, str]) -> None:
    """Tell of configuration classes whose modules are imported when somebody names one.

    Args:
        modules: Names of modules by names of the classes in them, which they register.
    """
    _ANNOUNCED.update(modules)


def tile_class(name: str) -> type:
    """Return the tile class of a name.

    Args:
        name: Name of the class, such as `"AnalogTile"`.

    Raises:
        ConfigError: No tile class of this name is available.
    """
    if name not in _TILES and pending.is_pending(name):
        raise ConfigError(pending.message(name))
    if name not in _TILES:
        raise ConfigError(
            f"tile class {name!r} is not available; known: {', '.join(sorted(_TILES)) or 'none'}."
            " Register an own class with mho.simulator.parameters.registry.register_tile_class"
        )
    return _TILES[name]


def config_class(name: str) -> type:
    """Return the configuration class of a name.

    Args:
        name: Name of the class, such as `"SingleRPUConfig"`.

    Raises:
        ConfigError: No configuration class of this name is registered.
    """
    _import_announced(name)
    if name not in _CONFIGS and pending.is_pending(name):
        raise ConfigError(pending.message(name))
    if name not in _CONFIGS:
        raise ConfigError(
            f"configuration class {name!r} is unknown; {registration_hint(name)} before loading"
        )
    return _CONFIGS[name]


def registered_tile_classes() -> Mapping[str, type]:
    """Return a read-only view of the tile classes registered so far."""
    return MappingProxyType(_TILES)


def registered_config_classes() -> Mapping[str, type]:
    """Return a read-only view of the configuration classes registered so far."""
    for name in _ANNOUNCED:
        _import_announced(name)
    return MappingProxyType(_CONFIGS)


def is_config_class(cls: type) -> bool:
    """Return whether a class can be read from the JSON text of a configuration.

    Args:
        cls: Any class.
    """
    return _CONFIGS.get(cls.__name__) is cls


def registration_hint(name: str) -> str:
    """Return the half sentence that tells how to register a configuration class."""
    return (
        f"decorate class {name} with"
        " @mho.simulator.parameters.registry.register_config_class and import its module"
    )


def _register(table: dict[str, type], cls: ClassT, what: str) -> ClassT:
    if table is _CONFIGS and _ANNOUNCED.get(cls.__name__) != cls.__module__:
        _import_announced(cls.__name__)
    known = table.get(cls.__name__)
    # A reloaded module or a notebook cell run twice defines the same class again; the newer one
    # counts.
    if known is not None and _origin(known) != _origin(cls):
        raise ConfigError(
            f"{what} {cls.__name__!r} of module {cls.__module__} cannot be registered:"
            f" module {known.__module__} has one of that name; rename one of them"
        )
    table[cls.__name__] = cls
    return cls


def _import_announced(name: str) -> None:
    if name in _ANNOUNCED and name not in _CONFIGS:
        importlib.import_module(_ANNOUNCED[name])


def _origin(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__
