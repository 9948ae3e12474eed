"""Bad values in configurations are refused by name before anything is built."""

import math
from dataclasses import dataclass
from typing import Any

import pytest

from mho.exceptions import ConfigError
from mho.simulator import configs
from mho.simulator.configs import (
    ConstantStepDevice,
    DigitalRankUpdateRPUConfig,
    FloatingPointDevice,
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    PiecewiseStepDevice,
    RPUDataType,
    SingleRPUConfig,
    SoftBoundsPmaxDevice,
    TransferCompound,
    UnitCellRPUConfig,
    VectorUnitCell,
)


def assign(config: Any, path: str, value: Any) -> Any:
    *parents, name = path.split(".")
    target = config
    for parent in parents:
        target = getattr(target, parent)
    setattr(target, name, value)
    return config


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("forward.out_nois", 1.0),
        ("forward.out_noise", True),
        ("forward.out_noise", "0.1"),
        ("forward.out_noise", None),
        ("forward.out_noise", math.nan),
        ("forward.out_bound", -math.inf),
        pytest.param("forward.out_bound", 10**400, id="beyond-float"),
        ("forward.max_bm_factor", 1.0),
        ("forward.max_bm_factor", 2**63),
        pytest.param("forward.max_bm_factor", 10**5000, id="huge"),
        ("forward.is_perfect", 1),
        ("forward.noise_management", "AbsMax"),
        ("forward", None),
        ("forward", IOParameters),
        ("backward.nm_thres", [1.0]),
        ("update.desired_bl", True),
        ("update.pulse_typ", 1),
        ("device.dw_min", "x"),
        ("device.drift.nu", math.nan),
        ("device.drift.mu", 0.1),
        ("device", ConstantStepDevice),
        ("device", "ConstantStep"),
        ("device", FloatingPointDevice()),
        ("mapping.max_input_size", 1.5),
        ("mapping.digital_bia", True),
        ("pre_post.input_range.enable", 1),
        ("pre_post.input_range.enabled", True),
        ("runtime.data_type", RPUDataType.DOUBLE),
        ("tile_class", "AnalogTile"),
        ("forwrad", IOParameters()),
    ],
)
def test_bad_value_is_named(path: str, value: Any) -> None:
    config = assign(SingleRPUConfig(), path, value)
    with pytest.raises(ConfigError) as error:
        config.core_json()
    assert str(error.value).startswith(path + ":")


def test_typo_gets_a_suggestion() -> None:
    config = assign(SingleRPUConfig(), "forward.out_nois", 1.0)
    with pytest.raises(ConfigError, match=r"IOParameters has no field 'out_nois'.*'out_noise'"):
        config.check()


def test_class_instead_of_instance_says_how_to_create_one() -> None:
    config = SingleRPUConfig(device=ConstantStepDevice)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"ConstantStepDevice\(\)"):
        config.core_wire()


@pytest.mark.parametrize(
    ("piecewise_up", "path"),
    [
        ((1.0, 2.0), "device.piecewise_up"),
        ([1.0, True], r"device.piecewise_up\[1\]"),
        ([math.nan], r"device.piecewise_up\[0\]"),
        ([-math.inf], r"device.piecewise_up\[0\]"),
        ([], "device.piecewise_up"),
        ([1.0, 1.0], "device.piecewise_up"),
    ],
)
def test_lists_are_checked_by_element(piecewise_up: Any, path: str) -> None:
    device = PiecewiseStepDevice(piecewise_up=piecewise_up, piecewise_down=[1.0])
    with pytest.raises(ConfigError, match=f"^{path}:"):
        SingleRPUConfig(device=device).core_wire()


def test_integer_stands_for_float() -> None:
    wire = SingleRPUConfig(forward=IOParameters(out_noise=1)).core_wire()
    assert type(wire["forward"]["out_noise"]) is float


@pytest.mark.parametrize("config", [UnitCellRPUConfig, DigitalRankUpdateRPUConfig])
def test_default_cells_are_refused(config: Any) -> None:
    with pytest.raises(ConfigError, match=r"^device: .*only a base"):
        config().core_wire()


@pytest.mark.parametrize("cell", [VectorUnitCell, TransferCompound])
def test_cells_need_devices(cell: Any) -> None:
    with pytest.raises(ConfigError, match=r"^device\.unit_cell_devices:"):
        UnitCellRPUConfig(device=cell()).core_wire()


def test_bad_value_in_a_cell_is_named_with_its_position() -> None:
    cell = VectorUnitCell(unit_cell_devices=[ConstantStepDevice(), ConstantStepDevice(dw_min="a")])
    with pytest.raises(ConfigError, match=r"^device\.unit_cell_devices\[1\]\.dw_min:"):
        UnitCellRPUConfig(device=cell).core_wire()


def test_parameters_of_the_wrong_class() -> None:
    config = assign(InferenceRPUConfig(), "noise_model", IdealDevice())
    with pytest.raises(ConfigError, match=r"^noise_model: expected BaseNoiseModel"):
        config.check()
    with pytest.raises(ConfigError, match=r"^device:"):
        FloatingPointRPUConfig(device=IdealDevice()).core_wire()  # type: ignore[arg-type]


def test_checking_changes_nothing() -> None:
    config = SingleRPUConfig(device=SoftBoundsPmaxDevice())
    before = repr(config)
    config.core_wire()
    assert repr(config) == before


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"p_max": 0}, "p_max"),
        ({"p_max": 2**70}, "p_max"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": -1.0}, "alpha"),
        ({"range_min": 1.0}, "range_min"),
        ({"range_min": -100.0, "range_max": -99.0}, "range_min"),
        ({"dw_min": 0.5}, "dw_min"),
    ],
)
def test_impossible_pulse_response(values: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=rf"^device\.{field}:"):
        SingleRPUConfig(device=SoftBoundsPmaxDevice(**values)).core_wire()


def test_every_default_is_accepted() -> None:
    for name in configs.__all__:
        cls = getattr(configs, name)
        if isinstance(cls, type) and hasattr(cls, "check"):
            cls().check()


def test_annotation_that_cannot_be_evaluated() -> None:
    @dataclass
    class OwnDevice(ConstantStepDevice):
        extra: "Missing" = 0  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigError, match=r"OwnDevice.*Missing"):
        OwnDevice().check()
