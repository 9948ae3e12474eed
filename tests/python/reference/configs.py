"""Configurations whose tiles are determined: no variability, perfect products."""

from typing import Any

from mho.simulator.configs import (
    ConstantStepDevice,
    DigitalRankUpdateRPUConfig,
    IOParameters,
    MixedPrecisionCompound,
    OneSidedUnitCell,
    UnitCellRPUConfig,
    UpdateParameters,
    VectorUnitCell,
    VectorUnitCellUpdatePolicy,
)

Policy = VectorUnitCellUpdatePolicy


def device(dw_min: float = 0.01, **fields: Any) -> ConstantStepDevice:
    """Return a device without any variability and with wide bounds."""
    spreads = [n for n in vars(ConstantStepDevice()) if n.endswith(("_dtod", "_std"))]
    given = dict.fromkeys(spreads, 0.0) | {"w_max": 1.0, "w_min": -1.0} | fields
    return ConstantStepDevice(dw_min=dw_min, **given)


def perfect() -> IOParameters:
    """Return a product without any error."""
    return IOParameters(is_perfect=True)


def unit_cell(cell: Any, **update: Any) -> UnitCellRPUConfig:
    """Return the configuration of a tile whose products are perfect."""
    return UnitCellRPUConfig(
        device=cell, forward=perfect(), backward=perfect(), update=UpdateParameters(**update)
    )


def transfer(cls: type[Any], g_fast: float = 0.002, g_slow: float = 0.01, **fields: Any) -> Any:
    """Return a chain of two devices that transfers after every sample."""
    given = {"units_in_mbatch": False, "transfer_forward": perfect()} | fields
    return unit_cell(cls(unit_cell_devices=[device(g_fast), device(g_slow)], **given))


def mixed(dw_min: float = 0.01, update: UpdateParameters | None = None, **fields: Any) -> Any:
    """Return the configuration of a tile with a digital accumulator."""
    return DigitalRankUpdateRPUConfig(
        device=MixedPrecisionCompound(device=device(dw_min), **fields),
        forward=perfect(),
        backward=perfect(),
        update=update or UpdateParameters(),
    )


def one_sided(dw_min: float = 0.01, **fields: Any) -> UnitCellRPUConfig:
    """Return the configuration of a tile of one-sided pairs that are refreshed at every sample."""
    pair = [device(dw_min, w_min=0.0), device(dw_min, w_min=0.0)]
    given = {"refresh_every": 1, "units_in_mbatch": False, "refresh_forward": perfect()} | fields
    return unit_cell(OneSidedUnitCell(unit_cell_devices=pair, **given))


def joint(policy: Policy, n: int = 3, **fields: Any) -> UnitCellRPUConfig:
    """Return the configuration of a tile of devices that are read together."""
    devices = [device() for _ in range(n)]
    return unit_cell(VectorUnitCell(unit_cell_devices=devices, update_policy=policy, **fields))
