"""One of each kind of unit cell, as tests that walk over cells need them."""

from collections.abc import Callable
from typing import Any

from mho.simulator.configs import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    ConstantStepDevice,
    DigitalRankUpdateRPUConfig,
    DriftParameter,
    DynamicTransferCompound,
    ExpStepDevice,
    IOParameters,
    MixedPrecisionCompound,
    OneSidedUnitCell,
    PulseType,
    ReferenceUnitCell,
    SoftBoundsDevice,
    SoftBoundsReferenceDevice,
    TransferCompound,
    UnitCellRPUConfig,
    UpdateParameters,
    VectorUnitCell,
    VectorUnitCellUpdatePolicy,
)
from mho.simulator.parameters.enums import NoiseManagementType

Config = UnitCellRPUConfig | DigitalRankUpdateRPUConfig


def soft(**fields: Any) -> SoftBoundsDevice:
    """Return a device whose steps are large enough to see a few of them."""
    return SoftBoundsDevice(dw_min=0.01, **fields)


def noisy() -> IOParameters:
    """Return a read with frozen values per line and noise."""
    return IOParameters(
        noise_management=NoiseManagementType.NONE, out_noise_std=0.1, v_offset_std=0.05
    )


def busy(**fields: Any) -> SoftBoundsDevice:
    """Return a device that does all that devices can do by themselves."""
    rates = {"lifetime": 50.0, "diffusion": 0.003, "reset_dtod": 0.05, "write_noise_std": 0.2}
    return soft(**rates, drift=DriftParameter(nu=0.1), **fields)


def pair(cls: type[Any], **fields: Any) -> UnitCellRPUConfig:
    """Return a cell of two devices of different kinds."""
    return UnitCellRPUConfig(device=cls(unit_cell_devices=[soft(), ExpStepDevice()], **fields))


def vector(policy: VectorUnitCellUpdatePolicy, **fields: Any) -> UnitCellRPUConfig:
    """Return three devices that are read together."""
    devices = [soft(), ConstantStepDevice(), ExpStepDevice()]
    return UnitCellRPUConfig(device=VectorUnitCell(devices, update_policy=policy, **fields))


def one_sided(**fields: Any) -> UnitCellRPUConfig:
    """Return a pair that is pulsed upwards only, and refreshed all the time."""
    devices = [soft(w_min=0.0, reset_dtod=0.01) for _ in range(2)]
    given: dict[str, Any] = {
        "refresh_every": 2,
        "refresh_upper_thres": 0.05,
        "refresh_lower_thres": 0.01,
    }
    return UnitCellRPUConfig(device=OneSidedUnitCell(devices, **given | fields))


def chain(**fields: Any) -> UnitCellRPUConfig:
    """Return a chain of three devices."""
    devices = [soft(), ExpStepDevice(), ExpStepDevice()]
    return UnitCellRPUConfig(device=TransferCompound(devices, **fields))


def mixed(**fields: Any) -> DigitalRankUpdateRPUConfig:
    """Return a device whose updates are collected digitally."""
    return DigitalRankUpdateRPUConfig(device=MixedPrecisionCompound(device=soft(), **fields))


def nested() -> UnitCellRPUConfig:
    """Return a chain whose devices are cells themselves."""
    fast = ReferenceUnitCell([SoftBoundsReferenceDevice(dw_min=0.01), soft()])
    slow = VectorUnitCell(
        [soft(), soft()], update_policy=VectorUnitCellUpdatePolicy.SINGLE_SEQUENTIAL
    )
    return UnitCellRPUConfig(device=ChoppedTransferCompound([fast, slow], in_chop_prob=0.3))


def all_at_once() -> UnitCellRPUConfig:
    """Return a cell whose devices do all that devices can, with noisy reads."""
    cell = ChoppedTransferCompound(
        [busy(), busy()], gamma=0.3, out_chop_prob=0.5, in_chop_prob=0.4, transfer_forward=noisy()
    )
    return UnitCellRPUConfig(device=cell)


def exact_transfer() -> DigitalRankUpdateRPUConfig:
    """Return digital collection whose writes are exact."""
    config = mixed()
    config.update = UpdateParameters(pulse_type=PulseType.NONE_WITH_DEVICE)
    return config


_POLICIES = VectorUnitCellUpdatePolicy

CELLS: dict[str, Callable[[], Config]] = {
    "vector": lambda: vector(_POLICIES.ALL),
    "vector_fixed": lambda: vector(_POLICIES.SINGLE_FIXED, first_update_idx=1),
    "vector_sequential": lambda: vector(_POLICIES.SINGLE_SEQUENTIAL),
    "vector_random": lambda: vector(_POLICIES.SINGLE_RANDOM, gamma_vec=[1.0, 0.5, -0.25]),
    "reference": lambda: UnitCellRPUConfig(device=ReferenceUnitCell([soft(), soft()])),
    "one_sided": one_sided,
    "one_sided_mirrored": lambda: one_sided(copy_inverted=True),
    "transfer": lambda: pair(TransferCompound),
    "transfer_rows": lambda: pair(TransferCompound, transfer_columns=False, gamma=0.5),
    "transfer_reset": lambda: pair(
        TransferCompound, with_reset_prob=0.5, random_selection=True, n_reads_per_transfer=2
    ),
    "transfer_chain": lambda: chain(gamma=0.3, units_in_mbatch=False),
    "buffered": lambda: pair(BufferedTransferCompound, units_in_mbatch=False),
    "chopped": lambda: pair(ChoppedTransferCompound, auto_scale=True),
    "chopped_rows": lambda: pair(
        ChoppedTransferCompound, transfer_columns=False, in_chop_random=False, no_buffer=True
    ),
    "dynamic": lambda: pair(DynamicTransferCompound, auto_scale=True, in_chop_prob=0.4),
    "mixed": mixed,
    "mixed_rows": lambda: mixed(n_x_bins=5, n_d_bins=5, n_rows_per_transfer=2, random_row=True),
    "mixed_exact": exact_transfer,
    "nested": nested,
    "all_at_once": all_at_once,
}
"""Configurations by name."""
