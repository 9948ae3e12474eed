"""Base of everything that can stand at a crosspoint."""

import copy
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar

from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.enums import RPUDataType
from mho.simulator.parameters.helpers import check_data_type
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.parameters.wire import fields_to_wire

if TYPE_CHECKING:
    from typing_extensions import Self


class CrosspointDevice(ConfigBase):
    """Base of single devices and unit cells."""

    wire_type: ClassVar[str]
    """Name of the device in the core; presets inherit it from the device they parametrise."""

    fits_in_cells: ClassVar[bool] = False
    """Whether it takes single pulses, so that a cell can be made of it."""

    def to_wire(self, path: str = "") -> dict[str, Any]:
        """Return the checked device as `{"type": ..., "params": {...}}`.

        Args:
            path: Prefix of the field names in messages.

        Raises:
            ConfigError: A field is unknown, has the wrong type or cannot be expressed.
        """
        self.check(path)
        # The parameters come first: bases without a type in the core refuse there with a reason.
        params = self._wire_params(path)
        return {"type": self.wire_type, "params": params}

    def as_bindings(self, data_type: RPUDataType = RPUDataType.FLOAT) -> "Self":
        """Return a checked copy that no later edit of this object reaches.

        Args:
            data_type: Floating-point type of the core.

        Raises:
            ConfigError: A field is invalid or the core does not compute in this type.
        """
        check_data_type(data_type)
        self.to_wire()
        return copy.deepcopy(self)

    def check_update(self, update: UpdateParameters) -> None:
        """Refuse an update of the tile that this device cannot take.

        Args:
            update: Parameters of the update.

        Raises:
            ConfigError: It cannot; the message names the field.
        """

    def single_devices(self) -> list["CrosspointDevice"]:
        """Return the devices that it is made of, cells within cells taken apart."""
        return [self]

    def requires_diffusion(self) -> bool:
        """Return whether weights diffuse, which the tile then does after each mini-batch."""
        return bool(getattr(self, "diffusion", 0.0) > 0.0)

    def requires_decay(self) -> bool:
        """Return whether weights decay, which the tile then does after each mini-batch."""
        return bool(getattr(self, "lifetime", 0.0) > 0.0)

    def flows(self) -> bool:
        """Return whether steps are infinitely fine: of a pulsed device, or of all of a cell."""
        return False

    def calc_weight_granularity(self) -> float:
        """Return the mean change of the weight by one pulse at weight zero, in units of the weight.

        Raises:
            NotImplementedError: The device takes no pulses.
        """
        raise NotImplementedError(f"{type(self).__name__} takes no pulses")

    def _wire_params(self, path: str) -> dict[str, Any]:
        names = [f.name for f in fields(self)]  # type: ignore[arg-type]
        return fields_to_wire(self, path, names)
