"""Every field, argument and choice of hardware-aware training and of inference acts, or is refused.

The fields of products have their table in `test_every_io_field`, those of time-stepped voltage loss
in `tiles/test_ir_drop_time`, of input ranges in `tiles/test_input_range_fields`, of modifiers in
`tiles/test_weight_modifiers`, of clipping and remapping in `tiles/test_clip_and_remap`; fields that
do nothing beside others in `parameters/test_idle_fields`.
"""

import dataclasses
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mho import inference
from mho.exceptions import ConfigError
from mho.inference import (
    CustomDriftPCMLikeNoiseModel,
    CustomPairConductanceConverter,
    DualPairConductanceConverter,
    GlobalDriftCompensation,
    HermesNoiseModel,
    NPairConductanceConverter,
    PCMLikeNoiseModel,
    ReRamCMONoiseModel,
    ReRamWan2022NoiseModel,
    SingleDeviceConductanceConverter,
    SinglePairConductanceConverter,
    StateIndependentNoiseModel,
)
from mho.inference.compensation.drift import (
    GlobalDriftCompensationWithExactReference,
    PerColumnDriftCompensation,
)
from mho.inference.converter.fusion import FusionConductanceConverter
from mho.nn import AnalogLinear
from mho.simulator.configs import (
    DriftParameter,
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    MappingParameter,
    QuantizedTorchInferenceRPUConfig,
    SimpleDriftParameter,
    TorchInferenceRPUConfig,
    TorchInferenceRPUConfigIRDropT,
)
from mho.simulator.parameters.enums import (
    AnalogMVType,
    BoundManagementType,
    NoiseManagementType,
    PulseType,
    RangeEstimators,
    RPUDataType,
    WeightClipType,
    WeightModifierType,
    WeightNoiseType,
    WeightRemapType,
)
from mho.simulator.parameters.inference import (
    WeightClipParameter,
    WeightModifierParameter,
    WeightRemapParameter,
)
from mho.simulator.parameters.pre_post import (
    PeripheryQuantizationParameter,
    PrePostProcessingParameter,
    PrePostProcessingParameterQuant,
)
from mho.simulator.parameters.quantization import ActivationQuantConfig
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.raw_tiles.torch.tile import TorchSimulatorTile
from mho.simulator.raw_tiles.torch.tile_ir_drop import TorchSimulatorTileIRDropT
from mho.simulator.tiles import InferenceTile, TorchInferenceTile
from mho.simulator.tiles.array import TileModuleArray

CORE, TORCH = InferenceRPUConfig, TorchInferenceRPUConfig
STEPS, QUANT = TorchInferenceRPUConfigIRDropT, QuantizedTorchInferenceRPUConfig
WEIGHTS = torch.linspace(-0.9, 0.7, 24).reshape(4, 6)
BIAS = torch.linspace(-0.5, 0.5, 4)
INPUTS = torch.linspace(-1.0, 1.5, 18).reshape(3, 6)


def same(a: list[Any], b: list[Any]) -> bool:
    """Return whether two lives went alike, kinds of tensors included."""
    return len(a) == len(b) and all(
        torch.equal(x, y) if isinstance(x, Tensor) and isinstance(y, Tensor) else x == y
        for x, y in zip(a, b, strict=True)
    )


def life(config: Any) -> list[Any]:
    """What a layer is made of and does: a step of training, then programming, drift, a reading."""
    torch.manual_seed(7)
    layer = AnalogLinear(6, 4, rpu_config=config)
    layer.set_weights(WEIGHTS, BIAS)
    shapes = sorted((name, str(value.dtype)) for name, value in layer.named_parameters())
    found: list[Any] = [shapes, sum(1 for _ in layer.analog_tiles())]
    dtype = layer.weight.dtype
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    x = INPUTS.to(dtype, copy=True).requires_grad_()
    y = layer(x)
    y.square().sum().backward()
    optimizer.step()
    assert x.grad is not None
    found += [y.detach(), x.grad, *layer.get_weights(), layer(INPUTS.to(dtype)).detach()]
    layer.eval()
    with torch.no_grad():
        for t_inference in (0.0, 86400.0):
            layer.drift_analog_weights(t_inference)
            found.append(layer(INPUTS.to(dtype)))
    return [value for value in found if value is not None]


MAPPING: dict[str, tuple[dict[str, Any], Any]] = {
    "digital_bias": ({}, False),
    "weight_scaling_omega": ({}, 0.5),
    "weight_scaling_columnwise": ({"weight_scaling_omega": 0.5}, True),
    "weight_scaling_lr_compensation": ({"weight_scaling_omega": 0.5}, True),
    "learn_out_scaling": ({}, True),
    "out_scaling_columnwise": ({"learn_out_scaling": True}, True),
    "max_input_size": ({}, 4),
    "max_output_size": ({}, 3),
}


@pytest.mark.parametrize("cls", [CORE, TORCH])
@pytest.mark.parametrize("name", MAPPING)
def test_mapping(cls: Any, name: str) -> None:
    assert MAPPING.keys() == {field.name for field in dataclasses.fields(MappingParameter)}
    base, value = MAPPING[name]

    def run(**changes: Any) -> list[Any]:
        return life(cls(mapping=MappingParameter(**base, **changes)))

    if cls is TORCH and name == "digital_bias":
        with pytest.raises(ConfigError, match=r"mapping\.digital_bias"):
            run(digital_bias=False)
    elif cls is TORCH and name == "weight_scaling_lr_compensation":
        with warnings.catch_warnings():  # named where the tile is built
            warnings.simplefilter("ignore")
            assert same(run(), run(weight_scaling_lr_compensation=True))
    elif name == "weight_scaling_lr_compensation":
        config = cls(mapping=MappingParameter(**base, **{name: value}))
        tile = config.create_tile(4, 6)
        tile.set_weights(WEIGHTS)
        scale = float(tile.get_mapping_scales())
        assert tile.mapping_lr_scale == pytest.approx(1.0 / scale) != 1.0
        # The step of all weights is the same with one scale, so look at the recorded rate.
        assert not same(run(), run(**{name: value}))
    else:
        assert not same(run(), run(**{name: value}))


def test_compatibility_of_mappings() -> None:
    free = {"weight_scaling_omega", "weight_scaling_columnwise", "weight_scaling_lr_compensation"}
    for name, (_, value) in MAPPING.items():
        other = MappingParameter(**{name: value})
        assert MappingParameter().compatible_with(other) == (name in free)


def _config(cls: Any, **fields: Any) -> Any:
    config = cls()
    for name, value in fields.items():
        setattr(config, name, value)
    return config


def _range() -> PrePostProcessingParameter:
    params = PrePostProcessingParameter()
    params.input_range.enable = True
    return params


PARTS: dict[str, Callable[[], Any]] = {
    "forward": lambda: IOParameters(out_noise=0.5),
    "backward": lambda: IOParameters(out_noise=0.5),
    "update": lambda: UpdateParameters(pulse_type=PulseType.STOCHASTIC_COMPRESSED),
    "device": lambda: IdealDevice(lifetime=2.0),
    "noise_model": HermesNoiseModel,
    "drift_compensation": PerColumnDriftCompensation,
    "clip": lambda: WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=0.3),
    "remap": lambda: WeightRemapParameter(type=WeightRemapType.LAYERWISE_SYMMETRIC),
    "modifier": lambda: WeightModifierParameter(type=WeightModifierType.ADD_NORMAL, std_dev=0.2),
    "mapping": lambda: MappingParameter(weight_scaling_omega=0.5),
    "pre_post": _range,
}
CLASSES = {"tile_class", "tile_array_class", "simulator_tile_class"}


@pytest.mark.parametrize("cls", [CORE, TORCH])
@pytest.mark.parametrize("name", PARTS)
def test_parts_of_a_configuration(cls: Any, name: str) -> None:
    known = {field.name for field in dataclasses.fields(cls)}
    assert known == {*PARTS, "runtime", *(CLASSES & known)}
    config = _config(cls, **{name: PARTS[name]()})
    if cls is CORE and name == "update":  # ideal devices have no pulses
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert same(life(config), life(cls()))
        return
    if cls is TORCH and name in TorchSimulatorTile.ignored_fields:
        with warnings.catch_warnings():  # named where the tile is built
            warnings.simplefilter("ignore")
            assert same(life(config), life(cls()))
        return
    assert not same(life(config), life(cls()))


def test_no_compensation() -> None:
    """In evaluation the factor stays one."""
    for cls in (CORE, TORCH):
        layer = AnalogLinear(6, 4, rpu_config=cls(drift_compensation=None)).eval()
        layer.drift_analog_weights(1e6)
        assert layer.analog_module.alpha.tolist() == [1.0]


def test_classes_of_a_configuration() -> None:
    assert type(CORE().create_tile(4, 6)) is InferenceTile
    assert type(TORCH().create_tile(4, 6)) is TorchInferenceTile
    split = MappingParameter(max_input_size=4)
    assert type(AnalogLinear(6, 4, rpu_config=CORE(mapping=split)).analog_module) is TileModuleArray
    whole = CORE(mapping=split, tile_array_class=None)
    assert type(AnalogLinear(6, 4, rpu_config=whole).analog_module) is InferenceTile
    assert type(TORCH().create_tile(4, 6).tile) is TorchSimulatorTile
    assert type(STEPS().create_tile(4, 6).tile) is TorchSimulatorTileIRDropT


@pytest.mark.parametrize("kind", RPUDataType)
@pytest.mark.parametrize("cls", [CORE, TORCH, STEPS, QUANT])
def test_data_types(cls: Any, kind: RPUDataType) -> None:
    """Torch tiles compute in them; tiles of the core refuse other than float by name, or cast."""
    config = cls()
    config.runtime.data_type = kind
    if cls is CORE and kind is not RPUDataType.FLOAT:
        with pytest.raises(ConfigError, match=r"runtime\.data_type"):
            config.create_tile(4, 6)
        return
    tile = config.create_tile(4, 6)
    y = tile(INPUTS.to(kind.as_torch()))
    assert y.dtype is kind.as_torch() and torch.isfinite(y).all()


@pytest.mark.parametrize("name", ["on_the_fly_bindings", "offload_input", "offload_gradient"])
def test_options_of_memory_change_nothing(name: str) -> None:
    """Changes of configurations act at once, and what an update needs is on the host anyway."""
    config = CORE()
    setattr(config.runtime, name, True)
    assert same(life(config), life(CORE()))


QUANTISED: dict[str, tuple[dict[str, Any], Any]] = {
    "n_bits": ({}, 3),
    "symmetric": ({"n_bits": 3}, False),
    "learn_quant_params": ({"n_bits": 3}, True),
    "init_learning_after": ({"n_bits": 3, "learn_quant_params": True}, 1),
}


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_periphery(name: str) -> None:
    assert QUANTISED.keys() == {f.name for f in dataclasses.fields(PeripheryQuantizationParameter)}
    base, value = QUANTISED[name]

    def run(**changes: Any) -> list[Any]:
        params = PeripheryQuantizationParameter(**base, **changes)
        mapping = MappingParameter(
            weight_scaling_omega=0.5, weight_scaling_columnwise=True, learn_out_scaling=True
        )
        config = QUANT(
            mapping=mapping, pre_post=PrePostProcessingParameterQuant(periph_quant=params)
        )
        torch.manual_seed(3)
        layer = AnalogLinear(6, 4, rpu_config=config)
        layer.set_weights(WEIGHTS, BIAS)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        found: list[Any] = [len(optimizer.param_groups[0]["params"])]
        for _ in range(3):
            optimizer.zero_grad()
            y = layer(INPUTS)
            y.square().sum().backward()
            optimizer.step()
            found.append(y.detach())
        return found

    assert not same(run(), run(**{name: value}))


OUTPUTS: dict[str, tuple[dict[str, Any], Any]] = {
    "n_bits": ({}, 3),
    "symmetric": ({"n_bits": 3}, False),
    "range_estimator": ({"n_bits": 3}, RangeEstimators.MSE),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_quantised_outputs(name: str) -> None:
    base, value = OUTPUTS[name]

    def run(**changes: Any) -> list[Any]:
        return life(QUANT(act_quant_config=ActivationQuantConfig(**base, **changes)))

    assert not same(run(), run(**{name: value}))


@pytest.mark.parametrize("kind", RangeEstimators)
def test_estimators_of_outputs(kind: RangeEstimators) -> None:
    """Each gives a finite result, except one that is made for classes of outputs."""
    values = life(QUANT(act_quant_config=ActivationQuantConfig(4, range_estimator=kind)))
    assert all(torch.isfinite(v).all() for v in values if isinstance(v, Tensor))


CHOICES = [
    (name, member)
    for name, enum in (
        ("mv_type", AnalogMVType),
        ("bound_management", BoundManagementType),
        ("noise_management", NoiseManagementType),
        ("w_noise_type", WeightNoiseType),
    )
    for member in enum
]
# What the torch engine does not have, with the field that the message names.
NOT_IN_TORCH = {
    AnalogMVType.POS_NEG_SEPARATE,
    AnalogMVType.POS_NEG_SEPARATE_DIGITAL_SUM,
    AnalogMVType.SPLIT_MODE,
    AnalogMVType.BIT_WISE,
    AnalogMVType.IDEAL,
    BoundManagementType.SHIFT,
    BoundManagementType.ITERATIVE_WORST_CASE,
    NoiseManagementType.AVERAGE_ABS_MAX,
    NoiseManagementType.ABS_MAX_NP_SUM,
}
ONLY_IN_TIME = {AnalogMVType.SPLIT_MODE, AnalogMVType.BIT_WISE}


@pytest.mark.parametrize("cls", [TORCH, STEPS])
@pytest.mark.parametrize(("name", "member"), CHOICES, ids=str)
def test_choices_of_the_torch_engine(cls: Any, name: str, member: Any) -> None:
    """Each runs, or is refused by the name of its field when the tile is built."""
    config = cls()
    setattr(config.forward, name, member)
    refused = member in NOT_IN_TORCH and not (cls is STEPS and member in ONLY_IN_TIME)
    refused = refused or (name == "w_noise_type" and member is not WeightNoiseType.NONE)
    try:
        tile = config.create_tile(4, 6)
    except ConfigError as error:
        assert str(error).startswith(f"forward.{name}")
        assert refused
    else:
        assert torch.isfinite(tile(INPUTS)).all() and torch.isfinite(tile.eval()(INPUTS)).all()
        assert not refused or name == "w_noise_type"


# Noise models: an argument beside others with which it acts, and another value.
CUSTOM = {"g_lst": [0.0, 25.0], "nu_mean_lst": [0.1, 0.05], "nu_std_lst": [0.02, 0.01]}
OTHER = {"g_lst": [0.0, 25.0], "nu_mean_lst": [0.1, 0.1], "nu_std_lst": [0.02, 0.01]}
PAIR = SinglePairConductanceConverter(g_max=10.0)
SCALES: dict[str, Any] = {"prog_noise_scale": 2.0, "read_noise_scale": 2.0, "drift_scale": 2.0}
COMMON: dict[str, Any] = {"g_converter": PAIR, "g_max": 10.0, "keep_conductances": True}
PCM: dict[str, Any] = {
    **COMMON,
    **SCALES,
    "prog_coeff": [0.5],
    "t_read": 1e-3,
    "t_0": 10.0,
    "prog_coeff_g_max_reference": 10.0,
}
MODELS: dict[Any, dict[str, Any]] = {
    PCMLikeNoiseModel: PCM,
    CustomDriftPCMLikeNoiseModel: {**PCM, "custom_drift_model": OTHER},
    HermesNoiseModel: {**PCM, "num_devices": 1},
    StateIndependentNoiseModel: {
        **{name: PCM[name] for name in PCM if "reference" not in name},
        "drift_nu_mean": 0.2,
        "drift_nu_std": 0.1,
    },
    ReRamWan2022NoiseModel: {
        **COMMON,
        "coeff_dic": {86400.0: [0.1, 0.0, 0.0, 0.0, 0.0]},
        "noise_scale": 2.0,
        "coeff_g_max_reference": 40.0,
    },
    ReRamCMONoiseModel: {
        **SCALES,
        "g_max": 60.0,
        "g_min": 5.0,
        "coeff_dict": {0.2: [0.1, 0.1]},
        "decay_dict": {"mean": [-0.5], "std": [0.1, 0.1]},
        "read_dict": {"K": 0.5, "t_read": 1e-3},
        "acceptance_range": 2.0,
        "keep_conductances": True,
    },
}
NEEDED = {"prog_coeff_g_max_reference": {"prog_coeff": [0.5]}}
ARGUMENTS = [(cls, name) for cls, table in MODELS.items() for name in table]


@pytest.mark.parametrize(
    ("cls", "name"), ARGUMENTS, ids=[f"{cls.__name__}-{name}" for cls, name in ARGUMENTS]
)
def test_arguments_of_noise_models(cls: Any, name: str) -> None:
    """Weights after programming and after a day, all draws being the same."""
    assert set(inspect.signature(cls).parameters) == set(MODELS[cls])
    base: dict[str, Any] = dict(NEEDED.get(name, {}))
    if cls is CustomDriftPCMLikeNoiseModel:
        base["custom_drift_model"] = CUSTOM

    def run(**changes: Any) -> list[Tensor]:
        config = CORE(noise_model=cls(**{**base, **changes}))
        config.forward.is_perfect = True
        tile = config.create_tile(4, 6).eval()
        tile.set_weights(WEIGHTS)
        torch.manual_seed(5)
        tile.program_weights()
        programmed = tile.get_weights()[0]
        tile.drift_weights(86400.0)
        return [programmed, tile.get_weights()[0]]

    assert same(run(), run())
    assert not same(run(), run(**{name: MODELS[cls][name]}))


def test_every_noise_model_is_tried() -> None:
    names = [n for n in inference.__all__ if n.endswith("NoiseModel") and "Base" not in n]
    assert {cls.__name__ for cls in MODELS} == set(names)


RAMP = [[0.0, 0.0, 12.5, 25.0], [25.0, 12.5, 0.0, 0.0]]
CONVERTERS: dict[Any, tuple[dict[str, Any], dict[str, Any]]] = {
    SinglePairConductanceConverter: ({}, {"g_max": 10.0, "g_min": 1.0}),
    SingleDeviceConductanceConverter: ({}, {"g_max": 50.0, "g_min": 1.0}),
    NPairConductanceConverter: (
        {"f_lst": [1.0, 2.0, 3.0]},
        {"f_lst": [1.0, 1.0, 1.0], "g_max": 10.0, "g_min": 1.0},
    ),
    DualPairConductanceConverter: (
        {"f_lst": [1.0, 2.0]},
        {"f_lst": [1.0, 1.0], "g_max": 10.0, "g_min": 1.0},
    ),
    FusionConductanceConverter: ({}, {"g_max": 20.0}),
}


@pytest.mark.parametrize("cls", CONVERTERS, ids=lambda cls: cls.__name__)
def test_arguments_of_converters(cls: Any) -> None:
    base, changes = CONVERTERS[cls]
    assert set(inspect.signature(cls).parameters) == changes.keys()
    before, _ = cls(**base).convert_to_conductances(WEIGHTS)
    for name, value in changes.items():
        after, _ = cls(**{**base, name: value}).convert_to_conductances(WEIGHTS)
        assert not same(before, after), name


def test_arguments_of_custom_programmes() -> None:
    """Its range says what noise models refer to; tables and factors what weights become."""
    down = [[0.0, 0.0, 0.0, 5.0, 10.0], [10.0, 5.0, 0.0, 0.0, 0.0]]
    base = CustomPairConductanceConverter([1.0], down)
    assert (base.g_max, base.g_min) == (25.0, 0.0)
    other = CustomPairConductanceConverter([1.0], down, g_max=12.0, g_min=0.0)
    assert PCMLikeNoiseModel(g_converter=other).g_max == 12.0
    shifted = [[1.0, 1.0, 1.0, 6.0, 11.0], [11.0, 6.0, 1.0, 1.0, 1.0]]
    assert CustomPairConductanceConverter([1.0], shifted, g_min=1.0).g_min == 1.0
    two = CustomPairConductanceConverter([1.0, 2.0], [*down, *down])
    assert len(two.convert_to_conductances(WEIGHTS)[0]) == 4
    bent = [[0.0, 0.0, 0.0, 9.0, 10.0], [10.0, 9.0, 0.0, 0.0, 0.0]]
    with pytest.raises(ArithmeticError):
        CustomPairConductanceConverter([1.0], bent)
    CustomPairConductanceConverter([1.0], bent, invertibility_test=False)


@pytest.mark.parametrize(
    "make",
    [
        GlobalDriftCompensation,
        GlobalDriftCompensationWithExactReference,
        PerColumnDriftCompensation,
    ],
)
@pytest.mark.parametrize("cls", [CORE, TORCH])
def test_every_compensation_acts(cls: Any, make: Any) -> None:
    assert not same(life(cls(drift_compensation=make())), life(cls(drift_compensation=None)))


DRIFT = {
    "nu": ({}, 0.2),
    "t_0": ({}, 2.0),
    "reset_tol": ({}, 10.0),
    "nu_dtod": ({}, 0.5),
    "nu_std": ({}, 0.5),
    "wg_ratio": ({"g_offset": 0.1}, 2.0),
    "g_offset": ({}, 0.1),
    "w_offset": ({"g_offset": 0.5}, 0.1),
    "nu_k": ({"g_offset": 2.0}, 0.1),
    "log_g0": ({"g_offset": 2.0, "nu_k": 0.1}, 0.5),
    "w_noise_std": ({}, 0.1),
}


@pytest.mark.parametrize("name", DRIFT)
def test_drift_of_training_devices(name: str) -> None:
    from mho.simulator.configs import ConstantStepDevice, SingleRPUConfig

    assert DRIFT.keys() == {field.name for field in dataclasses.fields(DriftParameter)}
    assert {"nu", "t_0", "reset_tol"} == {f.name for f in dataclasses.fields(SimpleDriftParameter)}
    base, value = DRIFT[name]

    def run(**changes: Any) -> Tensor:
        drift = DriftParameter(**{"nu": 0.1, **base, **changes})
        config = SingleRPUConfig(device=ConstantStepDevice(drift=drift, w_max_dtod=0.0))
        torch.manual_seed(3)
        tile = config.create_tile(4, 6)
        tile.tile.set_weights(WEIGHTS.clamp(-0.5, 0.5))
        for step in range(3):
            tile.drift_weights(10.0)
            if step == 0:  # a write that restarts the clock
                tile.tile.set_weights(tile.tile.get_weights() * 1.1)
        weights: Tensor = tile.tile.get_weights().clone()
        return weights

    assert torch.equal(run(), run())
    assert not torch.equal(run(), run(**{name: value}))
