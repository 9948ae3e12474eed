"""Bounds of the weight of a device, as its configuration has them."""

from mho.exceptions import ConfigError
from mho.simulator.devices.cells.one_sided import OneSidedUnitCell
from mho.simulator.devices.cells.unit_cell import UnitCell
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.devices.soft_bounds_pmax import SoftBoundsPmaxDevice


def bounds(device: CrosspointDevice) -> tuple[float, float]:
    """Return the mean bounds of the weight of a device; those of a cell are of its first device.

    The weight of a one-sided pair is the difference of both.

    Args:
        device: Device or cell.

    Raises:
        ConfigError: It has none.
    """
    if isinstance(device, SoftBoundsPmaxDevice):
        values = device.soft_bounds_values()
        return values["w_min"], values["w_max"]
    if isinstance(device, UnitCell) and device.unit_cell_devices:
        low, high = bounds(device.unit_cell_devices[0])
        return (low - high, high - low) if isinstance(device, OneSidedUnitCell) else (low, high)
    given = getattr(device, "w_min", None), getattr(device, "w_max", None)
    if given[0] is None or given[1] is None:
        raise ConfigError(f"device: {type(device).__name__} has no bounds")
    return float(given[0]), float(given[1])
