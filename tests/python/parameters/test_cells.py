"""Cells of several devices: what is refused when a tile is built, and what they consist of."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from mho.exceptions import ConfigError
from mho.simulator.configs import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    ConstantStepDevice,
    DigitalRankUpdateRPUConfig,
    DynamicTransferCompound,
    ExpStepDevice,
    FloatingPointDevice,
    IdealDevice,
    MixedPrecisionCompound,
    OneSidedUnitCell,
    PiecewiseStepDevice,
    PulseType,
    ReferenceUnitCell,
    SingleRPUConfig,
    SoftBoundsDevice,
    TransferCompound,
    UnitCellRPUConfig,
    UpdateParameters,
    VectorUnitCell,
    VectorUnitCellUpdatePolicy,
)
from mho.simulator.configs.compounds import DigitalRankUpdateCell, UnitCell
from mho.simulator.presets import PCMPresetUnitCell
from mho.simulator.tiles import AnalogTile

CHAINS = [
    TransferCompound,
    BufferedTransferCompound,
    ChoppedTransferCompound,
    DynamicTransferCompound,
]
JOINT = [VectorUnitCell, ReferenceUnitCell, OneSidedUnitCell]


def devices(number: int = 2) -> list[Any]:
    return [ConstantStepDevice() for _ in range(number)]


def cell(cls: type[Any], number: int = 2, **fields: Any) -> Any:
    return cls(unit_cell_devices=devices(number), **fields)


def mixed(**fields: Any) -> Any:
    return MixedPrecisionCompound(**{"device": ConstantStepDevice()} | fields)


def config_of(device: Any, **update: Any) -> Any:
    is_mixed = isinstance(device, MixedPrecisionCompound)
    cls = DigitalRankUpdateRPUConfig if is_mixed else UnitCellRPUConfig
    return cls(device=device, update=UpdateParameters(**update))


REFUSED: list[tuple[str, Callable[[], Any]]] = [
    *(("unit_cell_devices", lambda c=c: c()) for c in [*CHAINS, *JOINT]),
    ("device.unit_cell_devices", lambda: MixedPrecisionCompound()),
    # Numbers of devices.
    *(("unit_cell_devices", lambda c=c: cell(c, 1)) for c in CHAINS),
    ("unit_cell_devices", lambda: cell(ChoppedTransferCompound, 3)),
    ("unit_cell_devices", lambda: cell(DynamicTransferCompound, 3)),
    ("unit_cell_devices", lambda: cell(OneSidedUnitCell, 3)),
    # Lists with one value per device.
    ("gamma_vec", lambda: cell(VectorUnitCell, gamma_vec=[1.0])),
    ("gamma_vec", lambda: cell(VectorUnitCell, gamma_vec=[1.0, 1.0, 1.0])),
    ("gamma_vec", lambda: cell(VectorUnitCell, gamma_vec=[0.0, 0.0])),
    *(("gamma_vec", lambda c=c: cell(c, gamma_vec=[1.0])) for c in CHAINS),
    *(("gamma_vec", lambda c=c: cell(c, gamma_vec=[1.0, 0.0])) for c in CHAINS),
    *(("transfer_every_vec", lambda c=c: cell(c, transfer_every_vec=[1.0])) for c in CHAINS),
    *(("transfer_lr_vec", lambda c=c: cell(c, transfer_lr_vec=[1.0, 1.0, 1.0])) for c in CHAINS),
    # The order of devices.
    ("first_update_idx", lambda: cell(VectorUnitCell, first_update_idx=2)),
    ("first_update_idx", lambda: cell(VectorUnitCell, first_update_idx=-1)),
    ("first_update_idx", lambda: cell(ReferenceUnitCell, first_update_idx=1)),
    ("gamma_vec", lambda: cell(ReferenceUnitCell, gamma_vec=[1.0, -0.5])),
    (
        "update_policy",
        lambda: cell(ReferenceUnitCell, update_policy=VectorUnitCellUpdatePolicy.ALL),
    ),
    # One-sided pairs.
    (
        "unit_cell_devices",
        lambda: OneSidedUnitCell(unit_cell_devices=[ConstantStepDevice(), ExpStepDevice()]),
    ),
    (
        r"unit_cell_devices\[0\]",
        lambda: OneSidedUnitCell(unit_cell_devices=[cell(VectorUnitCell)]),
    ),
    (
        "unit_cell_devices",
        lambda: OneSidedUnitCell(
            unit_cell_devices=[ConstantStepDevice(), ConstantStepDevice(w_max=1.0)],
            copy_inverted=True,
        ),
    ),
    ("refresh_every", lambda: cell(OneSidedUnitCell, refresh_every=-1)),
    # Transfers.
    *(("n_reads_per_transfer", lambda c=c: cell(c, n_reads_per_transfer=0)) for c in CHAINS),
    *(("with_reset_prob", lambda c=c: cell(c, with_reset_prob=-0.1)) for c in CHAINS),
    ("with_reset_prob", lambda: cell(TransferCompound, with_reset_prob=1.1)),
    (
        "with_reset_prob",
        lambda: cell(TransferCompound, with_reset_prob=0.1, transfer_columns=False),
    ),
    # Only chopped cells know an automatic period; there would be no transfer at all.
    *(("transfer_every", lambda c=c: cell(c, transfer_every=-1.0)) for c in CHAINS[:2]),
    *(
        ("transfer_every_vec", lambda c=c: cell(c, transfer_every_vec=[1.0, -1.0]))
        for c in CHAINS[:2]
    ),
    ("thres_scale", lambda: cell(BufferedTransferCompound, thres_scale=0.0)),
    *(("n_reads_per_transfer", lambda c=c: cell(c, n_reads_per_transfer=2)) for c in CHAINS[2:]),
    *(("random_selection", lambda c=c: cell(c, random_selection=True)) for c in CHAINS[2:]),
    *(("with_reset_prob", lambda c=c: cell(c, with_reset_prob=0.1)) for c in CHAINS[2:]),
    *(("in_chop_prob", lambda c=c: cell(c, in_chop_prob=1.5)) for c in CHAINS[2:]),
    *(("in_chop_prob", lambda c=c: cell(c, in_chop_prob=-0.5)) for c in CHAINS[2:]),
    *(("out_chop_prob", lambda c=c: cell(c, out_chop_prob=1.5)) for c in CHAINS[2:]),
    *(("auto_momentum", lambda c=c: cell(c, auto_momentum=-1.0)) for c in CHAINS[2:]),
    # A buffer that grows by itself is infinite after some hundred writes.
    *(("momentum", lambda c=c: cell(c, momentum=1.5)) for c in CHAINS[1:]),
    *(("momentum", lambda c=c: cell(c, momentum=-0.1)) for c in CHAINS[1:]),
    ("in_chop_prob", lambda: cell(DynamicTransferCompound, in_chop_prob=0.0)),
    ("tail_weightening", lambda: cell(DynamicTransferCompound, tail_weightening=-1.0)),
    (
        "transfer_every",
        lambda: ChoppedTransferCompound(
            unit_cell_devices=[cell(VectorUnitCell), ConstantStepDevice()], transfer_every=-1.0
        ),
    ),
    # Mixed precision.
    ("n_x_bins", lambda: mixed(n_x_bins=1)),
    ("n_d_bins", lambda: mixed(n_d_bins=1)),
    ("n_d_bins", lambda: mixed(n_d_bins=-2)),
    ("granularity", lambda: mixed(granularity=-0.1)),
    ("transfer_every", lambda: mixed(transfer_every=-1)),
]


@pytest.mark.parametrize(("name", "make"), REFUSED)
def test_impossible_values_are_refused_by_name(name: str, make: Callable[[], Any]) -> None:
    config = config_of(make())
    before = copy.deepcopy(config)
    with pytest.raises(ConfigError, match=rf"^device\.{name}: "):
        AnalogTile(2, 2, config)
    assert config == before


# Of what cells cannot be made, because no pulse of theirs could reach it.
STRANGERS: dict[str, Callable[[], Any]] = {
    "IdealDevice": IdealDevice,
    "FloatingPointDevice": FloatingPointDevice,
    "UnitCell": UnitCell,
    "DigitalRankUpdateCell": DigitalRankUpdateCell,
    "MixedPrecisionCompound": mixed,
    **{c.__name__: lambda c=c: cell(c) for c in CHAINS},
}


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("cls", [VectorUnitCell, ReferenceUnitCell, TransferCompound])
def test_cells_are_made_of_pulsed_devices(cls: type[Any], stranger: str) -> None:
    config = config_of(cls(unit_cell_devices=[ConstantStepDevice(), STRANGERS[stranger]()]))
    with pytest.raises(ConfigError, match=rf"^device\.unit_cell_devices\[1\]: {stranger} cannot"):
        AnalogTile(2, 2, config)


@pytest.mark.parametrize("stranger", STRANGERS)
def test_mixed_precision_needs_a_pulsed_device(stranger: str) -> None:
    config = config_of(MixedPrecisionCompound(device=STRANGERS[stranger]()))
    with pytest.raises(ConfigError, match=rf"^device\.device: {stranger} cannot stand"):
        AnalogTile(2, 2, config)


@pytest.mark.parametrize("cls", JOINT)
def test_cells_of_one_weight_can_stand_in_others(cls: type[Any]) -> None:
    inner = cell(cls)
    for outer in (
        VectorUnitCell(unit_cell_devices=[inner]),
        TransferCompound(unit_cell_devices=[inner, ConstantStepDevice()]),
        MixedPrecisionCompound(device=inner),
    ):
        assert config_of(outer).core_json()


@pytest.mark.parametrize("cls", [*JOINT, *CHAINS])
def test_steps_of_zero_are_refused(cls: type[Any]) -> None:
    flat = {"piecewise_up": [1.0, 0.0, 1.0], "piecewise_down": [1.0, 1.0, 1.0]}
    pair = [PiecewiseStepDevice(), PiecewiseStepDevice(**flat)]
    with pytest.raises(
        ConfigError, match=r"^device\.unit_cell_devices\[1\]: .*change by one pulse"
    ):
        config_of(cls(unit_cell_devices=pair)).core_json()


def test_the_accumulator_of_mixed_precision_needs_a_step() -> None:
    flat = {"piecewise_up": [1.0, 0.0, 1.0], "piecewise_down": [1.0, 1.0, 1.0]}
    with pytest.raises(ConfigError, match=r"^device\.device: .*change by one pulse"):
        config_of(mixed(device=PiecewiseStepDevice(**flat))).core_json()


@pytest.mark.parametrize("cls", [*JOINT, *CHAINS])
def test_updates_that_would_be_lost_are_refused(cls: type[Any]) -> None:
    exact = {"pulse_type": PulseType.NONE_WITH_DEVICE}
    with pytest.raises(ConfigError, match=rf"^update\.pulse_type: {cls.__name__}"):
        AnalogTile(2, 2, config_of(cell(cls), **exact))
    config_of(cell(cls), pulse_type=PulseType.NONE).core_json()


def test_exact_writes_of_mixed_precision() -> None:
    exact = {"pulse_type": PulseType.NONE_WITH_DEVICE}
    config_of(mixed(), **exact).core_json()
    with pytest.raises(ConfigError, match=r"^update\.pulse_type: VectorUnitCell"):
        config_of(mixed(device=cell(VectorUnitCell)), **exact).core_json()
    SingleRPUConfig(update=UpdateParameters(**exact)).core_json()


ACCEPTED: list[Callable[[], Any]] = [
    lambda: cell(VectorUnitCell, 1),
    lambda: cell(VectorUnitCell, 3, gamma_vec=[1, 0, -1], first_update_idx=2),
    lambda: cell(ReferenceUnitCell, 1),
    lambda: cell(ReferenceUnitCell, 3),
    lambda: cell(OneSidedUnitCell, 1, copy_inverted=True),
    lambda: cell(OneSidedUnitCell, 2, copy_inverted=True),
    PCMPresetUnitCell,
    lambda: cell(TransferCompound, 4, gamma_vec=[0.0, 0.0, 0.0, 2.0], transfer_every=0.0),
    lambda: cell(TransferCompound, n_reads_per_transfer=100, random_selection=True),
    lambda: cell(TransferCompound, with_reset_prob=1.0),
    lambda: cell(BufferedTransferCompound, 3, transfer_lr_vec=[1.0, 0.5, 0.0]),
    lambda: cell(ChoppedTransferCompound, in_chop_prob=0.0, transfer_every=-0.5),
    lambda: cell(ChoppedTransferCompound, buffer_granularity=-1.0, auto_granularity=-1.0),
    lambda: cell(DynamicTransferCompound, in_chop_prob=1.0, in_chop_random=True),
    lambda: mixed(n_x_bins=2, n_d_bins=0, transfer_every=0, n_rows_per_transfer=0),
]


@pytest.mark.parametrize("make", ACCEPTED)
def test_possible_values(make: Callable[[], Any]) -> None:
    config = config_of(make())
    before = copy.deepcopy(config)
    assert config.core_json()
    assert config == before


def test_granularity() -> None:
    steps = [ConstantStepDevice(dw_min=value) for value in (0.01, 0.03, 0.2)]
    assert VectorUnitCell(steps).calc_weight_granularity() == pytest.approx(0.08)
    assert ReferenceUnitCell(steps).calc_weight_granularity() == pytest.approx(0.02)
    assert OneSidedUnitCell(steps[:2]).calc_weight_granularity() == pytest.approx(0.02)
    for cls in CHAINS:
        assert cls(steps[:2]).calc_weight_granularity() == 0.01
    assert mixed(device=steps[0]).calc_weight_granularity() == 0.01


def test_only_devices_in_use_decay() -> None:
    last = [*devices(2), SoftBoundsDevice(lifetime=10.0, diffusion=0.1)]
    for cls in (ReferenceUnitCell, TransferCompound):
        assert not cls(last).requires_decay() and not cls(last).requires_diffusion()
        assert cls(last[1:]).requires_decay() and cls(last[1:]).requires_diffusion()
    assert VectorUnitCell(last).requires_decay()
    assert mixed(device=VectorUnitCell(last)).requires_diffusion()


def test_a_tile_leaves_the_configuration_of_a_user_alone() -> None:
    for number in (1, 2, 3):
        config = config_of(cell(ReferenceUnitCell, number))
        before, inner = copy.deepcopy(config), list(config.device.unit_cell_devices)
        config.device.to_wire()
        config.device.as_bindings()
        config.core_json()
        assert config == before
        assert all(a is b for a, b in zip(config.device.unit_cell_devices, inner, strict=True))
