"""Copying, comparing and printing of configurations, and their JSON text."""

import copy
import dataclasses
import math
import pickle
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mho.exceptions import ConfigError
from mho.inference import DualPairConductanceConverter, PCMLikeNoiseModel
from mho.simulator import configs
from mho.simulator.configs import (
    ChoppedTransferCompound,
    ConstantStepDevice,
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    IOParameters,
    IOParametersIRDropT,
    MappingParameter,
    NoiseManagementType,
    PiecewiseStepDevice,
    PulseType,
    QuantizedTorchInferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    SoftBoundsPmaxDevice,
    TorchInferenceRPUConfig,
    TorchInferenceRPUConfigIRDropT,
    UnitCellRPUConfig,
    UpdateParameters,
    VectorUnitCell,
    WeightModifierParameter,
)
from mho.simulator.parameters.base import ConfigBase, RPUConfigBase
from mho.simulator.parameters.enums import RangeEstimators
from mho.simulator.parameters.quantization import ActivationQuantConfig, QuantizationConfig
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.tiles.custom import CustomRPUConfig

MAKERS = [
    FloatingPointRPUConfig,
    SingleRPUConfig,
    UnitCellRPUConfig,
    InferenceRPUConfig,
    TorchInferenceRPUConfig,
    TorchInferenceRPUConfigIRDropT,
    QuantizedTorchInferenceRPUConfig,
    CustomRPUConfig,
    QuantizationConfig,
    IOParametersIRDropT,
    lambda: UnitCellRPUConfig(
        device=ChoppedTransferCompound(
            unit_cell_devices=[SoftBoundsDevice(), SoftBoundsPmaxDevice()]
        )
    ),
    lambda: InferenceRPUConfig(
        noise_model=PCMLikeNoiseModel(g_converter=DualPairConductanceConverter([1.0, 4.0])),
        drift_compensation=None,
    ),
    lambda: QuantizedTorchInferenceRPUConfig(
        act_quant_config=ActivationQuantConfig(8, range_estimator=RangeEstimators.MSE)
    ),
    lambda: SingleRPUConfig(forward=IOParameters(out_bound=math.inf)),
]


@pytest.mark.parametrize("make", MAKERS)
def test_copies_are_equal_and_independent(make: Any) -> None:
    original = make()
    for duplicate in (
        copy.deepcopy(original),
        pickle.loads(pickle.dumps(original)),
        type(original).from_json(original.to_json()),
    ):
        assert type(duplicate) is type(original)
        assert duplicate == original
        assert repr(duplicate) == repr(original)
        for field in dataclasses.fields(original):
            value = getattr(original, field.name)
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                assert getattr(duplicate, field.name) is not value


@pytest.mark.parametrize("make", MAKERS)
def test_two_defaults_are_equal_and_unhashable(make: Any) -> None:
    assert make() == make()
    with pytest.raises(TypeError):
        hash(make())


def test_runtime_does_not_count_for_equality() -> None:
    changed = SingleRPUConfig()
    changed.runtime.offload_input = True
    assert changed == SingleRPUConfig()
    changed.update.desired_bl = 5
    assert changed != SingleRPUConfig()


def test_different_classes_are_unequal() -> None:
    assert SingleRPUConfig() != UnitCellRPUConfig()
    assert InferenceRPUConfig() != TorchInferenceRPUConfig()


def test_fields_that_are_no_constructor_arguments_can_be_assigned() -> None:
    for name in ("device", "backward", "update"):
        with pytest.raises(TypeError, match=name):
            InferenceRPUConfig(**{name: None})
    config = InferenceRPUConfig()
    config.update = UpdateParameters(desired_bl=3)
    assert InferenceRPUConfig.from_json(config.to_json()).update.desired_bl == 3


def test_pickle_from_before_runtime_existed() -> None:
    config = SingleRPUConfig()
    state = dict(vars(config))
    del state["runtime"]
    old = SingleRPUConfig.__new__(SingleRPUConfig)
    old.__setstate__(state)
    assert old.runtime == SingleRPUConfig().runtime


def test_prints_only_what_differs() -> None:
    assert str(IOParameters()) == "IOParameters()"
    assert str(IOParameters(out_noise=0.5, is_perfect=True)) == "IOParameters(is_perfect=True)"
    text = str(UpdateParameters(desired_bl=5, pulse_type=PulseType.NONE))
    assert text == "UpdateParameters(desired_bl=5, pulse_type=PulseType.NONE)"


def test_prints_hidden_and_always_shown_fields() -> None:
    assert str(WeightModifierParameter()) == "WeightModifierParameter(type=WeightModifierType.NONE)"
    assert str(ConstantStepDevice()) == "ConstantStepDevice()"
    device = ConstantStepDevice()
    device.drift.nu = 0.1
    assert str(device) == "ConstantStepDevice(drift=DriftParameter(nu=0.1))"
    assert str(SoftBoundsPmaxDevice()) == "SoftBoundsPmaxDevice()"


def test_prints_long_values_on_lines_of_their_own() -> None:
    io = IOParameters(inp_res=0.1, out_res=0.2, out_noise=0.3)
    assert str(io) == "IOParameters(inp_res=0.1, out_noise=0.3, out_res=0.2)"
    io.out_bound = 4.0
    assert str(io) == (
        "IOParameters(\n    inp_res=0.1,\n    out_bound=4.0,\n"
        "    out_noise=0.3,\n    out_res=0.2\n)"
    )
    cell = VectorUnitCell(unit_cell_devices=[ConstantStepDevice(), ConstantStepDevice(w_max=1.0)])
    assert str(cell) == (
        "VectorUnitCell(\n    unit_cell_devices=[\n        ConstantStepDevice(),\n"
        "        ConstantStepDevice(w_max=1.0)\n    ]\n)"
    )


def test_printed_device_is_code() -> None:
    device = PiecewiseStepDevice(
        piecewise_up=[1.0, 0.5], piecewise_down=[0.5, 1.0], w_max=0.3, w_min=-0.2, up_down=0.1
    )
    assert eval(str(device), vars(configs)) == device


def test_repr_shows_every_field() -> None:
    text = repr(IOParameters())
    assert all(f"{field.name}=" in text for field in dataclasses.fields(IOParameters))


def _strategy(value: Any) -> Any:
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.integers(-(2**63), 2**63 - 1)
    if isinstance(value, float):
        return st.floats(allow_nan=False)
    return st.sampled_from(list(type(value)))


@given(
    st.fixed_dictionaries({f.name: _strategy(f.default) for f in dataclasses.fields(IOParameters)})
)
def test_json_keeps_every_value(values: dict[str, Any]) -> None:
    io = IOParameters(**values)
    assert IOParameters.from_json(io.to_json()) == io


@given(st.lists(st.floats(allow_nan=False)), st.text())
def test_json_keeps_lists_and_text(numbers: list[float], text: str) -> None:
    config = InferenceRPUConfig(modifier=WeightModifierParameter(coeffs=numbers))
    config.pre_post.input_range.calibration_info = text
    assert InferenceRPUConfig.from_json(config.to_json()) == config


def test_json_of_a_base_class_restores_the_subclass() -> None:
    text = SingleRPUConfig(device=SoftBoundsDevice()).to_json()
    assert isinstance(RPUConfigBase.from_json(text), SingleRPUConfig)
    with pytest.raises(ConfigError, match="InferenceRPUConfig"):
        InferenceRPUConfig.from_json(text)


def test_json_without_a_newer_field_takes_its_default() -> None:
    text = IOParameters(out_noise=0.5).to_json().replace(',"nm_decay":0.001', "")
    assert "nm_decay" not in text
    assert IOParameters.from_json(text) == IOParameters(out_noise=0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[1]", "expected ConfigBase"),
        ('{"type":"IOParameters","params":{"nope":1}}', "nope"),
        ('{"type":"NoSuchConfig","params":{}}', "register_config_class"),
        ('{"type":"IOParameters","params":[1]}', "cannot be read"),
        ('{"strange":1}', "strange"),
        ('{"enum":["PulseType","NOPE"]}', "NOPE"),
        ('{"enum":["ConfigError","NOPE"]}', "ConfigError"),
        ('{"tile":"NoSuchTile"}', "NoSuchTile"),
        ('{"tensor":[1],"dtype":"nn"}', "nn"),
        ('{"tensor":[1]}', "cannot be read"),
        ('{"tensor":[1e300],"dtype":"int8"}', "cannot be read"),
        ('{"array":[[1],[1,2]],"dtype":"float32"}', "cannot be read"),
        ('{"float":"many"}', "cannot be read"),
        ('{"type":"MappableRPU","params":{}}', "MappableRPU"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_bad_json(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ConfigBase.from_json(text)


def test_values_without_json_form() -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        IOParameters(max_bm_factor=10**5000).to_json()
    config = SingleRPUConfig()
    config.mapping = config  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="cannot be written"):
        config.to_json()


def test_unregistered_classes_are_refused_with_a_hint() -> None:
    @dataclass
    class OwnDevice(ConstantStepDevice):
        dw_min: float = 0.1

    with pytest.raises(ConfigError, match=r"device.*OwnDevice.*register_config_class"):
        SingleRPUConfig(device=OwnDevice()).to_json()

    class OwnTile:
        pass

    with pytest.raises(ConfigError, match=r"tile_class.*OwnTile.*register_tile_class"):
        SingleRPUConfig(tile_class=OwnTile).to_json()


def test_registered_class_of_a_user() -> None:
    @register_config_class
    @dataclass
    class OwnMapping(MappingParameter):
        max_input_size: int = 7

    config = SingleRPUConfig(mapping=OwnMapping(max_output_size=3))
    assert SingleRPUConfig.from_json(config.to_json()) == config


def test_name_of_another_class_cannot_be_taken() -> None:
    with pytest.raises(ConfigError, match="IOParameters"):
        register_config_class(type("IOParameters", (), {"__module__": "elsewhere"}))


def test_assigned_enum_survives() -> None:
    io = IOParameters(noise_management=NoiseManagementType.CONSTANT)
    assert IOParameters.from_json(io.to_json()).noise_management is NoiseManagementType.CONSTANT
