"""Methods of the configurations of tiles, `build_config`, and where names are importable."""

import importlib
from typing import Any

import pytest

from mho import _core
from mho.exceptions import ArgumentError, ConfigError
from mho.simulator import configs
from mho.simulator.configs import (
    BoundManagementType,
    ChoppedTransferCompound,
    ConstantStepDevice,
    DigitalRankUpdateRPUConfig,
    DynamicTransferCompound,
    InferenceRPUConfig,
    InputRangeParameter,
    IOParameters,
    MappingParameter,
    MixedPrecisionCompound,
    NoiseManagementType,
    SingleRPUConfig,
    SoftBoundsReferenceDevice,
    TorchInferenceRPUConfig,
    TransferCompound,
    UnitCellRPUConfig,
    UpdateParameters,
    VectorUnitCell,
    VectorUnitCellUpdatePolicy,
    build_config,
)
from mho.simulator.parameters.registry import register_tile_class, tile_class


def test_tile_classes_are_looked_up() -> None:
    assert SingleRPUConfig().tile_class is tile_class("AnalogTile")
    assert InferenceRPUConfig().tile_class is tile_class("InferenceTile")
    assert InferenceRPUConfig().tile_array_class is tile_class("TileModuleArray")
    module = importlib.import_module("mho.simulator.configs.configs")
    assert module.AnalogTile is tile_class("AnalogTile")
    with pytest.raises(AttributeError, match="NoTile"):
        _ = module.NoTile


def test_missing_tile_class() -> None:
    with pytest.raises(ConfigError, match=r"NoTile.*not available"):
        tile_class("NoTile")


def test_create_tile_passes_the_configuration_on() -> None:
    class Tile:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.args, self.kwargs = args, kwargs

    config = SingleRPUConfig(tile_class=Tile)
    tile = config.create_tile(3, 4, bias=True)
    assert tile.args == (3, 4)
    assert tile.kwargs == {"rpu_config": config, "bias": True}


def test_same_tile_class_may_be_registered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = type("AgainTile", (), {"__module__": "m"})
    again = type("AgainTile", (), {"__module__": "m"})
    other = type("AgainTile", (), {"__module__": "n"})
    register_tile_class(first)
    register_tile_class(again)
    assert tile_class("AgainTile") is again
    with pytest.raises(ConfigError, match="AgainTile"):
        register_tile_class(other)


@pytest.mark.parametrize(
    ("max_in", "max_out", "size_in", "size_out", "is_array"),
    [
        (512, 512, 512, 512, False),
        (512, 512, 513, 1, True),
        (512, 512, 1, 513, True),
        (0, 0, 10_000, 10_000, False),
        # One limit of zero always gives an array, which decides the names in saved states.
        (512, 0, 1, 1, True),
        (0, 512, 1, 1, True),
    ],
)
def test_choice_of_the_array(
    max_in: int, max_out: int, size_in: int, size_out: int, is_array: bool
) -> None:
    mapping = MappingParameter(max_input_size=max_in, max_output_size=max_out)
    config = SingleRPUConfig(mapping=mapping)
    expected = config.tile_array_class if is_array else config.tile_class
    assert config.get_default_tile_module_class(size_out, size_in) is expected
    config.tile_array_class = None
    assert config.get_default_tile_module_class(size_out, size_in) is config.tile_class


def test_compatible_states() -> None:
    assert SingleRPUConfig().compatible_with("AnalogTile")
    assert not SingleRPUConfig().compatible_with("InferenceTile")
    for config in (InferenceRPUConfig(), TorchInferenceRPUConfig()):
        assert config.compatible_with("TorchInferenceTile")
        assert not config.compatible_with("AnalogTile")
    assert InferenceRPUConfig().compatible_with("InferenceTile")


def test_compatible_mappings() -> None:
    scaled = MappingParameter(
        weight_scaling_omega=0.6,
        weight_scaling_columnwise=True,
        weight_scaling_lr_compensation=True,
    )
    assert MappingParameter().compatible_with(scaled)
    for name, value in (
        ("digital_bias", False),
        ("learn_out_scaling", True),
        ("out_scaling_columnwise", True),
        ("max_input_size", 3),
        ("max_output_size", 3),
    ):
        assert not MappingParameter().compatible_with(MappingParameter(**{name: value})), name
    assert not MappingParameter().compatible_with(None)


def test_output_clipping_needs_an_unmanaged_product() -> None:
    unmanaged = {
        "noise_management": NoiseManagementType.NONE,
        "bound_management": BoundManagementType.NONE,
    }
    supports = InputRangeParameter().supports_manage_output_clipping
    assert supports(SingleRPUConfig(forward=IOParameters(**unmanaged)))
    assert not supports(SingleRPUConfig())
    assert not supports(SingleRPUConfig(forward=IOParameters(is_perfect=True, **unmanaged)))
    for name in unmanaged:
        assert not supports(SingleRPUConfig(forward=IOParameters(**{name: unmanaged[name]})))


EXACT = ("FloatingPoint", "Ideal")
UNMANAGED = IOParameters(
    bound_management=BoundManagementType.NONE, noise_management=NoiseManagementType.NONE
)
ONE_PULSE = UpdateParameters(desired_bl=1, update_bl_management=False, update_management=False)


PULSED = [getattr(configs, f"{name}Device") for name in _core.device_names() if name not in EXACT]


def _pair() -> list[Any]:
    return [SoftBoundsReferenceDevice(), SoftBoundsReferenceDevice()]


EXPECTED = {
    "sgd": lambda: SingleRPUConfig(device=SoftBoundsReferenceDevice(construction_seed=7)),
    "ttv1": lambda: UnitCellRPUConfig(
        device=TransferCompound(_pair(), construction_seed=7, transfer_forward=UNMANAGED)
    ),
    "ttv2": lambda: UnitCellRPUConfig(
        update=UpdateParameters(desired_bl=5),
        device=ChoppedTransferCompound(
            _pair(),
            construction_seed=7,
            transfer_forward=UNMANAGED,
            transfer_update=ONE_PULSE,
            in_chop_prob=0.0,
        ),
    ),
    "ttv3": lambda: UnitCellRPUConfig(
        update=UpdateParameters(desired_bl=5),
        device=ChoppedTransferCompound(
            _pair(),
            construction_seed=7,
            fast_lr=0.1,
            transfer_forward=UNMANAGED,
            transfer_update=ONE_PULSE,
            auto_scale=True,
        ),
    ),
    "ttv4": lambda: UnitCellRPUConfig(
        update=UpdateParameters(desired_bl=5),
        device=DynamicTransferCompound(
            _pair(),
            construction_seed=7,
            fast_lr=0.1,
            # The standard leaves the management on here although transfers ignore it.
            transfer_forward=UNMANAGED,
            transfer_update=UpdateParameters(desired_bl=1),
            auto_scale=True,
        ),
    ),
    # The standard sets the seed on the inner device, where it has no effect.
    "mp": lambda: DigitalRankUpdateRPUConfig(
        device=MixedPrecisionCompound(device=SoftBoundsReferenceDevice(), construction_seed=7)
    ),
}
ALIASES = {
    "ttv1": ["tiki-taka", "tt", "TTv1"],
    "ttv3": ["chopped-ttv2", "c-ttv2"],
    "ttv4": ["agad", "AGAD"],
    "mp": ["mixed-precision"],
    "sgd": ["SGD"],
    "ttv2": [],
}


@pytest.mark.parametrize("algorithm", EXPECTED)
def test_build_config(algorithm: str) -> None:
    for name in [algorithm, *ALIASES[algorithm]]:
        built = build_config(name, SoftBoundsReferenceDevice(), construction_seed=7)
        assert built == EXPECTED[algorithm]()


def test_build_config_with_several_devices() -> None:
    built = build_config("sgd", SoftBoundsReferenceDevice, n_devices=2, construction_seed=7)
    cell = VectorUnitCell(
        _pair(), construction_seed=7, update_policy=VectorUnitCellUpdatePolicy.SINGLE_RANDOM
    )
    assert built == UnitCellRPUConfig(device=cell)


def test_build_config_copies_instances() -> None:
    device, io = ConstantStepDevice(), IOParameters(out_noise=0.5)
    built = build_config("tt", device, io, lambda: UpdateParameters(desired_bl=9))
    assert built.forward == io == built.backward
    assert built.forward is not io and built.forward is not built.backward
    first, second = built.device.unit_cell_devices
    assert first is not device and first is not second
    assert built.device.transfer_forward.out_noise == 0.5
    assert built.update.desired_bl == 9
    assert io.noise_management is NoiseManagementType.ABS_MAX


@pytest.mark.parametrize("device", PULSED)
@pytest.mark.parametrize("algorithm", EXPECTED)
def test_build_config_for_every_device(algorithm: str, device: type[Any]) -> None:
    given = device(construction_seed=3)
    for n_devices in (1, 2) if algorithm == "sgd" else (1,):
        built = build_config(algorithm, given, construction_seed=7, n_devices=n_devices)
        assert built.core_json()
        assert built.device.construction_seed == 7
        assert type(built).from_json(built.to_json()) == built
    assert given == device(construction_seed=3)


def test_build_config_passes_fields_on() -> None:
    mapping = MappingParameter(max_input_size=3)
    assert build_config("sgd", ConstantStepDevice, mapping=mapping).mapping == mapping


@pytest.mark.parametrize("bad", ["adam", "", None])
def test_build_config_refuses_unknown_algorithms(bad: Any) -> None:
    with pytest.raises(ArgumentError, match="algorithm"):
        build_config(bad, ConstantStepDevice)


def test_build_config_refuses_what_is_no_device() -> None:
    with pytest.raises(ArgumentError, match="device"):
        build_config("sgd", IOParameters())
    with pytest.raises(ArgumentError, match="io_parameters"):
        build_config("sgd", ConstantStepDevice, UpdateParameters)


PARAMETERS = (
    "IOParameters UpdateParameters WeightModifierParameter WeightClipParameter"
    " WeightRemapParameter SimpleDriftParameter DriftParameter MappingParameter"
    " InputRangeParameter PrePostProcessingParameter"
).split()
ENUMS = (
    "BoundManagementType NoiseManagementType WeightNoiseType PulseType WeightModifierType"
    " WeightClipType WeightRemapType VectorUnitCellUpdatePolicy AnalogMVType"
).split()
DEVICES = (
    "FloatingPointDevice IdealDevice ConstantStepDevice LinearStepDevice SoftBoundsDevice"
    " SoftBoundsPmaxDevice SoftBoundsReferenceDevice ExpStepDevice PowStepDevice"
    " PowStepReferenceDevice PiecewiseStepDevice"
).split()
COMPOUNDS = (
    "VectorUnitCell ReferenceUnitCell OneSidedUnitCell DifferenceUnitCell TransferCompound"
    " BufferedTransferCompound ChoppedTransferCompound DynamicTransferCompound"
    " MixedPrecisionCompound"
).split()
CONFIGS = (
    "FloatingPointRPUConfig SingleRPUConfig UnitCellRPUConfig DigitalRankUpdateRPUConfig"
    " InferenceRPUConfig TorchInferenceRPUConfig TorchInferenceRPUConfigIRDropT"
    " QuantizedTorchInferenceRPUConfig"
).split()
NAMES = {
    "simulator.configs": [
        *PARAMETERS,
        *ENUMS,
        *DEVICES,
        *COMPOUNDS,
        *CONFIGS,
        *"IOParametersIRDropT RPUDataType CountLRFeedbackPolicy build_config".split(),
    ],
    "simulator.configs.configs": [
        *CONFIGS,
        *"IOManagedRPUConfig MappableRPU PrePostProcessingRPU BaseNoiseModel".split(),
        *"BaseDriftCompensation AnalogTile TileModuleArray InferenceTile".split(),
    ],
    "simulator.configs.devices": [*DEVICES, *COMPOUNDS, "PulsedDevice"],
    "simulator.configs.compounds": [*COMPOUNDS, "UnitCell", "DigitalRankUpdateCell"],
    "simulator.configs.helpers": ["build_config"],
    "simulator.configs.utils": [*PARAMETERS, *ENUMS],
    "simulator.parameters": [
        *PARAMETERS,
        *ENUMS,
        *"IOParametersIRDropT RPUDataType AnalogContextDataViewMode".split(),
        "PrePostProcessingParameterQuant",
    ],
    "simulator.parameters.base": ["RPUConfigBase", "RPUConfigGeneric", "ConfigBase"],
    "simulator.parameters.enums": [*ENUMS, "CountLRFeedbackPolicy", "AnalogContextDataViewMode"],
    "simulator.parameters.mapping": ["MappableRPU", "MappingParameter"],
    "simulator.parameters.pre_post": (
        "PrePostProcessingRPU PrePostProcessingParameter PrePostProcessingParameterQuant"
        " InputRangeParameter PeripheryQuantizationParameter"
    ).split(),
    "simulator.parameters.runtime": ["RuntimeParameter"],
    "simulator.parameters.training": ["UpdateParameters"],
    "simulator.parameters.io": ["IOParameters", "IOParametersIRDropT"],
    "simulator.parameters.inference": (
        "WeightClipParameter WeightModifierParameter WeightRemapParameter DriftParameter"
    ).split(),
    "simulator.parameters.quantization": (
        "BaseQuantConfig ActivationQuantConfig WeightQuantConfig QuantizationConfig"
        " QuantizedModuleConfig QuantizationMap RangeEstimators"
    ).split(),
    "simulator.parameters.helpers": (
        "parameters_to_bindings tile_parameters_to_bindings get_bindings_class _PrintableMixin"
    ).split(),
    "simulator.presets": "PresetIOParameters StandardIOParameters PresetUpdateParameters".split(),
    "exceptions": (
        "AihwkitException MhoException ModuleError TileError TileModuleError ArgumentError"
        " CudaError ConfigError AnalogBiasConfigError TorchTileConfigError CloudError"
        " FusionExportError"
    ).split(),
}


@pytest.mark.parametrize("module", NAMES)
def test_names_are_importable(module: str) -> None:
    loaded = importlib.import_module("mho." + module)
    for name in NAMES[module]:
        assert getattr(loaded, name).__name__ in (
            name,
            "ConfigBase",
            "AihwkitException",
            "RPUConfigBase",
        )
