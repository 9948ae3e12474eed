"""Conversion of parameter objects for the core, under the names of the field's standard."""

from typing import Any

from mho import pending
from mho.exceptions import ConfigError
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.enums import RPUDataType

_PrintableMixin = ConfigBase


def get_bindings_class(params: Any, data_type: RPUDataType) -> type | None:
    """Return the type that parameters take on their way to the core, None if they stay.

    Args:
        params: Parameter object.
        data_type: Floating-point type of the core.

    Raises:
        ConfigError: The core does not compute in this type.
    """
    check_data_type(data_type)
    return dict if isinstance(params, ConfigBase) else None


def parameters_to_bindings(
    params: Any, data_type: RPUDataType, check_fields: bool = True
) -> dict[str, Any]:
    """Return a parameter object as the plain values that the core reads.

    Args:
        params: Parameter object.
        data_type: Floating-point type of the core.
        check_fields: Kept for compatibility; fields are always checked.

    Raises:
        ConfigError: A field is invalid, the object is no parameter object or the core does not
            compute in this type.
    """
    check_data_type(data_type)
    if not isinstance(params, ConfigBase):
        raise ConfigError(f"params: expected a parameter object, got {describe(params)}")
    return params.to_wire()


def tile_parameters_to_bindings(params: Any, data_type: RPUDataType) -> dict[str, Any]:
    """Return the configuration of a tile as the plain values that the core reads.

    Args:
        params: Configuration of a tile.
        data_type: Floating-point type of the core.

    Raises:
        ConfigError: A value is invalid or the core does not compute in this type.
    """
    check_data_type(data_type)
    if not isinstance(params, RPUConfigBase):
        raise ConfigError(f"params: expected a configuration of a tile, got {describe(params)}")
    return params.core_wire()


def check_data_type(data_type: RPUDataType, path: str = "data_type") -> None:
    """Refuse floating-point types that the core does not compute in.

    Args:
        data_type: Requested type.
        path: Name of the field in the message.

    Raises:
        ConfigError: The type is not `FLOAT`.
    """
    if data_type is not RPUDataType.FLOAT:
        raise ConfigError(f"{path}: the core computes in RPUDataType.FLOAT only, got {data_type}")


pending.explain(__name__)
