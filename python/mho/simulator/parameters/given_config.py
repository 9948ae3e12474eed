"""The configuration that a user gives to a tile."""

import copy
import weakref

from mho.exceptions import ConfigError, warn_caller
from mho.settings import check_backend
from mho.simulator.parameters.arguments import check_rpu_config
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.idle import warn_of_idle
from mho.simulator.parameters.json_text import unwritable_classes
from mho.simulator.parameters.registry import registration_hint


def checked_copy(rpu_config: RPUConfigBase) -> RPUConfigBase:
    """Return a copy of a configuration; warns of settings in it that have no effect.

    Args:
        rpu_config: Candidate.

    Raises:
        ArgumentError: It is not a configuration object.
        ConfigError: A value is invalid, or its backend is not part of this build.
    """
    check_rpu_config(rpu_config).check()
    for cls in unwritable_classes(rpu_config):
        _warn_of_unwritable(cls)
    warn_of_idle(rpu_config)
    backend = rpu_config.runtime.backend
    if backend is not None:
        try:
            check_backend(backend)
        except ConfigError as error:
            raise ConfigError(f"runtime.backend: {error}") from error
    return copy.deepcopy(rpu_config)


_WARNED: "weakref.WeakSet[type]" = weakref.WeakSet()


def _warn_of_unwritable(cls: type) -> None:
    """Warn, once for a class, before hours of training end in a state that cannot be saved."""
    if cls in _WARNED:
        return
    _WARNED.add(cls)
    warn_caller(
        f"{cls.__name__}: tiles with it cannot be saved by state_dict();"
        f" {registration_hint(cls.__name__)}"
    )
