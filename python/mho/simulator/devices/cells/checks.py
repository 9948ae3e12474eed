"""Checks of values of cells that depend on each other or on the number of devices."""

from collections.abc import Sequence

from mho.exceptions import ConfigError, warn_caller
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.checking import describe, join
from mho.simulator.parameters.io import IOParameters

_warned: set[str] = set()


def require(holds: bool, path: str, name: str, why: str) -> None:
    """Refuse a value unless something holds.

    Args:
        holds: Whether it is fine.
        path: Path of the object that has the field.
        name: Name of the field.
        why: What is wrong and what to do.

    Raises:
        ConfigError: It does not hold.
    """
    if not holds:
        raise ConfigError(f"{join(path, name)}: {why}")


def require_one_each(values: Sequence[float], number: int, path: str, name: str) -> None:
    """Refuse a list that is neither empty nor has one value per device.

    Args:
        values: List.
        number: Number of devices.
        path: Path of the object that has the field.
        name: Name of the field.

    Raises:
        ConfigError: It has another length.
    """
    why = f"has {len(values)} values for {number} devices; give one each, or none"
    require(not values or len(values) == number, path, name, why)


def require_probability(value: float, path: str, name: str) -> None:
    """Refuse what is no probability.

    Args:
        value: Value.
        path: Path of the object that has the field.
        name: Name of the field.

    Raises:
        ConfigError: It is not between zero and one.
    """
    require(0.0 <= value <= 1.0, path, name, f"must be in 0..1, got {describe(value)}")


def require_momentum(value: float, path: str) -> None:
    """Refuse a buffer that grows by itself: after some hundred writes it would be infinite.

    Args:
        value: Fraction of the buffer that stays after a write.
        path: Path of the cell.

    Raises:
        ConfigError: It is no fraction.
    """
    why = f"is the fraction of the buffer that stays, in 0..1, got {describe(value)}"
    require(0.0 <= value <= 1.0, path, "momentum", why)


def require_pulsed(device: CrosspointDevice, path: str) -> None:
    """Refuse a device that pulses of a cell cannot reach.

    Args:
        device: Device of a cell.
        path: Its path.

    Raises:
        ConfigError: It takes no pulses from outside.
    """
    if not device.fits_in_cells:
        raise ConfigError(
            f"{path}: {type(device).__name__} cannot stand in a cell; use a pulsed device,"
            " VectorUnitCell, ReferenceUnitCell or OneSidedUnitCell"
        )


def require_steps(device: CrosspointDevice, path: str) -> None:
    """Refuse a device without a step from which the number of pulses could follow.

    Infinitely fine steps are none that could be wrong; which cells can take them the core says.

    Args:
        device: Device of a cell, valid otherwise.
        path: Its path.

    Raises:
        ConfigError: Its mean change by one pulse is not positive.
    """
    step = device.calc_weight_granularity()
    if not (step > 0.0 or device.flows()):
        raise ConfigError(
            f"{path}: its change by one pulse must be positive, got {step:g}; check dw_min and the"
            " shape of the steps"
        )


def require_write(step: float, path: str) -> None:
    """Refuse writes of no size: transfers would be taken from the buffer and lost.

    Args:
        step: Size of a write in steps of the target.
        path: Path of the cell.

    Raises:
        ConfigError: It is zero.
    """
    why = "must not be 0, for nothing would be written; use transfer_every=0 for no transfer"
    require(step != 0.0, path, "step", why)


def warn_once(path: str, why: str) -> None:
    """Warn of a setting, the first time that it is met.

    Args:
        path: Path of the field.
        why: What is the matter and what to do.
    """
    if path not in _warned:
        warn_caller(f"{path}: {why}")
        _warned.add(path)


def warn_of_management(read: IOParameters, path: str) -> None:
    """Warn, once, of noise or bound management that was chosen for reads of single lines.

    They have none: their inputs are ones and zeros. The defaults of a product are no choice.

    Args:
        read: How lines are read.
        path: Its path.
    """
    usual = IOParameters()
    for name in ("noise_management", "bound_management"):
        given = getattr(read, name)
        if given is not getattr(usual, name) and given.name != "NONE":
            warn_once(
                join(path, name), f"{given} does not act on reads of columns and rows; use NONE"
            )
