"""What transfer tiles in Python do not do, refused with the field and the remedy."""

from typing import Any

from mho.exceptions import AnalogBiasConfigError, ConfigError
from mho.simulator.devices.cells.chopped_transfer import ChoppedTransferCompound
from mho.simulator.devices.cells.dynamic_transfer import DynamicTransferCompound
from mho.simulator.parameters.enums import PulseType
from mho.simulator.raw_tiles.core.parsed import ParsedConfig
from mho.simulator.raw_tiles.transfer.algorithm import nominal_period

NAME = "TorchTransferTile"
_NATIVE = "use tile_class=AnalogTile"


def check_config(config: Any) -> None:
    """Check a configuration, and refuse what the algorithm in Python does not do.

    Args:
        config: Configuration of the tile.

    Raises:
        ConfigError: A value is invalid or not supported; the message names the field.
    """
    cell = getattr(config, "device", None)
    if not isinstance(cell, ChoppedTransferCompound):
        raise ConfigError(
            f"device: {NAME} needs a ChoppedTransferCompound or DynamicTransferCompound, got"
            f" {type(cell).__name__}; {_NATIVE} for other devices"
        )
    config.core_wire()  # checks all values, and what the cell itself asks of them
    if any(device.flows() for device in cell.used_devices()):
        why = "counts pulses, and with dw_min = 0 there are none; give both devices a step"
        raise ConfigError(f"device.unit_cell_devices: {NAME} {why}")
    if nominal_period(cell) < 0.0:
        name = "transfer_every_vec" if cell.transfer_every_vec else "transfer_every"
        _refuse(f"device.{name}", "has no automatic period; give a positive one", _NATIVE)
    if isinstance(cell, DynamicTransferCompound) and cell.experimental_correct_accumulation:
        name = "device.experimental_correct_accumulation"
        _refuse(name, "does not correct accumulation; set it to False", _NATIVE)
    if cell.step < 0.0:
        _refuse("device.step", "writes steps that are not negative; use a positive one", _NATIVE)
    if config.update.pulse_type is PulseType.NONE:
        why = "has nothing to transfer without pulses; use another type of pulses"
        _refuse("update.pulse_type", why, f"{_NATIVE}, whose weight is exact then")
    if cell.transfer_update.pulse_type is PulseType.NONE:
        why = "writes to devices; use another type of pulses, such as PulseType.NONE_WITH_DEVICE"
        _refuse("device.transfer_update.pulse_type", why, _NATIVE)
    ParsedConfig(config.core_json(), 1, 1, False)  # the core knows the limits of all numbers


def check_layout(analog_bias: bool, in_trans: bool, out_trans: bool) -> None:
    """Refuse a bias in the array, and features on the first axis.

    Args:
        analog_bias: Whether the last column is a bias.
        in_trans: Whether features are first in inputs.
        out_trans: Whether features are first in outputs.

    Raises:
        AnalogBiasConfigError: There is an analog bias.
        ConfigError: Another layout is asked for.
    """
    if analog_bias:
        raise AnalogBiasConfigError(
            f"mapping.digital_bias: {NAME} has no analog bias; set it to True, or {_NATIVE}"
        )
    for name, value in (("in_trans", in_trans), ("out_trans", out_trans)):
        if value:
            _refuse(name, "has its features on the last axis; set it to False", _NATIVE)


def _refuse(field: str, why: str, instead: str) -> None:
    raise ConfigError(f"{field}: {NAME} {why}, or {instead}")
