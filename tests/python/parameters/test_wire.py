"""What configurations hand to the core."""

import json
import math
from dataclasses import dataclass, fields
from typing import Any

import pytest

from mho.exceptions import ConfigError
from mho.simulator.configs import (
    BufferedTransferCompound,
    ConstantStepDevice,
    DifferenceUnitCell,
    DriftParameter,
    ExpStepDevice,
    FloatingPointDevice,
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    IOParametersIRDropT,
    LinearStepDevice,
    MixedPrecisionCompound,
    PiecewiseStepDevice,
    PowStepDevice,
    PowStepReferenceDevice,
    PulseType,
    RPUDataType,
    SingleRPUConfig,
    SoftBoundsDevice,
    SoftBoundsPmaxDevice,
    SoftBoundsReferenceDevice,
    TransferCompound,
    UnitCellRPUConfig,
    VectorUnitCell,
    WeightClipParameter,
    WeightClipType,
)
from mho.simulator.configs.devices import PulsedDevice
from mho.simulator.parameters.helpers import (
    get_bindings_class,
    parameters_to_bindings,
    tile_parameters_to_bindings,
)

PULSED = [
    ConstantStepDevice,
    LinearStepDevice,
    SoftBoundsDevice,
    SoftBoundsReferenceDevice,
    ExpStepDevice,
    PowStepDevice,
    PowStepReferenceDevice,
    PiecewiseStepDevice,
]


@pytest.mark.parametrize("device", PULSED)
def test_pulsed_devices_group_the_shared_fields(device: Any) -> None:
    wire = device().to_wire()
    assert wire["type"] == device.__name__.removesuffix("Device")
    shared = {field.name for field in fields(PulsedDevice)}
    own = {field.name for field in fields(device)} - shared
    assert set(wire["params"]) == own | {"pulsed"}
    assert set(wire["params"]["pulsed"]) == shared
    assert set(wire["params"]["pulsed"]["drift"]) == {f.name for f in fields(DriftParameter)}


def test_devices_without_pulses_are_flat() -> None:
    assert IdealDevice().to_wire()["params"]["reset_std"] == 0.01
    wire = FloatingPointDevice().to_wire()
    assert wire["type"] == "FloatingPoint"
    assert set(wire["params"]) == {"diffusion", "lifetime", "drift"}


def test_subclasses_keep_the_type_of_their_device() -> None:
    @dataclass
    class FastDevice(SoftBoundsDevice):
        dw_min: float = 0.1

    assert FastDevice().to_wire()["type"] == "SoftBounds"
    assert FastDevice().to_wire()["params"]["pulsed"]["dw_min"] == 0.1


def test_cells_nest() -> None:
    cell = TransferCompound(unit_cell_devices=[SoftBoundsDevice(), ConstantStepDevice()])
    params = cell.to_wire()["params"]
    assert [device["type"] for device in params["unit_cell_devices"]] == [
        "SoftBounds",
        "ConstantStep",
    ]
    assert params["transfer_update"]["pulse_type"] == "StochasticCompressed"
    pair = DifferenceUnitCell(unit_cell_devices=[ConstantStepDevice()])
    assert pair.to_wire()["type"] == "OneSidedUnitCell"
    wire = MixedPrecisionCompound(device=pair).to_wire()
    assert wire["type"] == "MixedPrecisionCompound"
    assert wire["params"]["device"]["type"] == "OneSidedUnitCell"


def test_parts_of_a_tile() -> None:
    wire = json.loads(SingleRPUConfig(forward=IOParameters(out_bound=math.inf)).core_json())
    assert set(wire) == {"device", "forward", "backward", "update"}
    assert wire["forward"]["out_bound"] is None
    assert wire["backward"]["noise_management"] == "AbsMax"
    assert wire["update"]["res"] == 0.0


def test_floating_point_tile_is_perfect() -> None:
    wire = FloatingPointRPUConfig().core_wire()
    assert wire["forward"]["is_perfect"] and wire["backward"]["is_perfect"]
    assert wire["update"]["pulse_type"] == PulseType.NONE.value


def test_inference_tile_keeps_its_device() -> None:
    wire = InferenceRPUConfig().core_wire()
    assert wire["device"]["type"] == "Ideal"
    assert wire["update"]["pulse_type"] == "None"
    assert not wire["forward"]["is_perfect"] and wire["backward"]["is_perfect"]


def test_time_dependent_fields_stay_in_python() -> None:
    wire = InferenceRPUConfig(forward=IOParametersIRDropT(out_noise=0.5)).core_wire()
    assert set(wire["forward"]) == {field.name for field in fields(IOParameters)}
    assert wire["forward"]["out_noise"] == 0.5


def test_other_parameters_are_plain_dictionaries() -> None:
    wire = WeightClipParameter(type=WeightClipType.FIXED_VALUE).to_wire()
    assert wire == {"fixed_value": -1.0, "sigma": 2.5, "type": "FixedValue"}


def test_pmax_device_meets_its_response_in_both_directions() -> None:
    """Noise-free pulses through the soft-bounds rule end where the class says.

    The mapping is exact to second order in alpha: after n pulses the error is at most
    scale * n * alpha**2 / 2 = 5.1 * 1000 * 1.25e-7 = 6.4e-4.
    """
    device = SoftBoundsPmaxDevice()
    pulsed = device.to_wire()["params"]["pulsed"]
    up = pulsed["dw_min"] * (1 + min(pulsed["up_down"], 0))
    down = pulsed["dw_min"] * (1 - max(pulsed["up_down"], 0))
    w = device.range_min
    for _ in range(device.p_max):
        w += up * (1 - w / pulsed["w_max"])
    assert w == pytest.approx(device.range_max, abs=6.4e-4)
    for _ in range(device.p_max):
        w -= down * (1 - w / pulsed["w_min"])
    assert w == pytest.approx(device.range_min, abs=2 * 6.4e-4)


def test_pmax_device_accepts_the_values_that_follow() -> None:
    values = SoftBoundsPmaxDevice(range_max=0.5).soft_bounds_values()
    given = SoftBoundsPmaxDevice(range_max=0.5, **values)
    assert given.to_wire() == SoftBoundsPmaxDevice(range_max=0.5).to_wire()


@pytest.mark.parametrize(
    ("device", "granularity"),
    [
        (ConstantStepDevice(dw_min=0.1), 0.1),
        (PowStepDevice(dw_min=0.1, pow_gamma=2.0), 0.025),
        (PowStepReferenceDevice(dw_min=0.1, pow_gamma=1.0), 0.05),
        (ExpStepDevice(), 0.98342e-3),
        (ExpStepDevice(A_up=1e9, A_down=1e9, dw_min=0.1), 0.1),
        (PiecewiseStepDevice(piecewise_up=[1, 2, 3], piecewise_down=[1, 1, 1]), 0.002),
        (SoftBoundsPmaxDevice(), SoftBoundsPmaxDevice().soft_bounds_values()["dw_min"]),
        (VectorUnitCell([ConstantStepDevice(dw_min=0.1), ConstantStepDevice(dw_min=0.3)]), 0.2),
        (
            BufferedTransferCompound(
                [ConstantStepDevice(dw_min=0.1), ConstantStepDevice(dw_min=0.3)]
            ),
            0.1,
        ),
        (MixedPrecisionCompound(device=ConstantStepDevice(dw_min=0.1)), 0.1),
    ],
)
def test_granularity(device: Any, granularity: float) -> None:
    # 1e-5 relative: the reference value of the exponential device is given with five digits.
    assert device.calc_weight_granularity() == pytest.approx(granularity, rel=1e-5)


def test_number_of_states() -> None:
    assert ConstantStepDevice().calc_num_states() == pytest.approx(1200)


def test_maintenance_is_requested_by_the_devices() -> None:
    quiet, busy = ConstantStepDevice(), ConstantStepDevice(diffusion=0.1, lifetime=10.0)
    assert not quiet.requires_diffusion() and not quiet.requires_decay()
    cell = VectorUnitCell([quiet, busy])
    assert cell.requires_diffusion() and cell.requires_decay()
    assert MixedPrecisionCompound(device=busy).requires_decay()
    assert not IdealDevice().requires_decay()


def test_bindings_are_independent_copies() -> None:
    device = ConstantStepDevice()
    bindings = device.as_bindings(RPUDataType.FLOAT)
    device.dw_min = 0.5
    assert bindings.dw_min == 0.001
    with pytest.raises(ConfigError, match="HALF"):
        device.as_bindings(RPUDataType.HALF)


def test_conversion_functions() -> None:
    config = SingleRPUConfig()
    assert tile_parameters_to_bindings(config, RPUDataType.FLOAT) == config.as_bindings()
    assert parameters_to_bindings(config.forward, RPUDataType.FLOAT) == config.forward.to_wire()
    assert get_bindings_class(config.forward, RPUDataType.FLOAT) is dict
    assert get_bindings_class(3, RPUDataType.FLOAT) is None
    for convert in (parameters_to_bindings, tile_parameters_to_bindings):
        with pytest.raises(ConfigError, match="DOUBLE"):
            convert(config, RPUDataType.DOUBLE)
        with pytest.raises(ConfigError, match="params"):
            convert(3, RPUDataType.FLOAT)


def test_unit_cell_with_one_kind_of_device_travels() -> None:
    cell = VectorUnitCell(unit_cell_devices=[ConstantStepDevice()] * 2)
    wire = UnitCellRPUConfig(device=cell).core_wire()
    assert wire["device"]["params"]["update_policy"] == "All"
