"""Base of the configurations of tiles."""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from mho.exceptions import ConfigError
from mho.simulator.parameters import wire
from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.runtime import RuntimeParameter

__all__ = ["ConfigBase", "RPUConfigBase", "RPUConfigGeneric", "RuntimeParameter"]


@dataclass
class RPUConfigBase(ConfigBase):
    """What every configuration of a tile has: the class of the tile and run options."""

    tile_class: type
    """Class of the tile."""

    runtime: RuntimeParameter = field(default_factory=RuntimeParameter, compare=False)
    """Options that do not change results; ignored when configurations are compared."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled configuration, also one from before `runtime` existed."""
        vars(self).update(state)
        vars(self).setdefault("runtime", RuntimeParameter())

    def core_wire(self) -> dict[str, Any]:
        """Return what the core needs to know of the configuration, checked.

        Returns:
            Plain values under the keys `device`, `forward`, `backward` and `update`.

        Raises:
            ConfigError: A value is invalid, or tiles of this configuration do not run in the core.
        """
        raise ConfigError(f"tile_class: {type(self).__name__} does not describe a tile of the core")

    def core_json(self) -> str:
        """Return `core_wire` as JSON text.

        Raises:
            ConfigError: As `core_wire`.
        """
        return wire.dumps(self.core_wire())

    def to_wire(self, path: str = "") -> dict[str, Any]:
        """Return `core_wire`; digital parts of the configuration stay in Python.

        Args:
            path: Unused; configurations of tiles are at the top.

        Raises:
            ConfigError: As `core_wire`.
        """
        return self.core_wire()

    def as_bindings(self) -> dict[str, Any]:
        """Return the object handed to the core.

        Raises:
            ConfigError: As `core_wire`.
        """
        return self.core_wire()

    def compatible_with(self, tile_class_name: str) -> bool:
        """Return whether the saved state of a tile may be loaded with this configuration.

        Args:
            tile_class_name: Name of the class of the saved tile.
        """
        return tile_class_name == self.tile_class.__name__

    def get_default_tile_module_class(self, out_size: int = 0, in_size: int = 0) -> type:
        """Return the class that serves a layer.

        Args:
            out_size: Number of outputs of the layer.
            in_size: Number of inputs of the layer.

        Raises:
            ConfigError: A value is invalid; the message names the field.
        """
        self.check()
        return self.tile_class

    def for_tile(self, out_size: int, in_size: int) -> "RPUConfigBase":
        """Return the configuration as a tile of a given size is to have it.

        Args:
            out_size: Number of rows of the tile.
            in_size: Number of columns of the tile, that of an analog bias included.

        Raises:
            ConfigError: Something cannot be derived for this size; the message names the field.
        """
        return self

    def create_tile(self, *args: Any, **kwargs: Any) -> Any:
        """Build a tile of `tile_class` with this configuration.

        Args:
            args: Passed on; usually the number of outputs and of inputs.
            kwargs: Passed on.
        """
        return self.tile_class(*args, rpu_config=self, **kwargs)


RPUConfigGeneric: TypeAlias = RPUConfigBase
"""Any configuration of a tile, for annotations."""
