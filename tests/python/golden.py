"""Models whose saved state must never change by itself: one of each kind of tile and option.

The scripts `data/make_golden_state.py` and `data/make_checkpoints.py` wrote down what they were;
tests compare with that. Inputs are fractions with few bits that no torch version draws otherwise.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cells_for_tests import CELLS
from mho.inference import (
    HermesNoiseModel,
    PCMLikeNoiseModel,
    ReRamWan2022NoiseModel,
)
from mho.inference.utils import drift_analog_weights, program_analog_weights
from mho.nn import (
    AnalogLinear,
    AnalogLinearMapped,
    AnalogSequential,
    AnalogWrapper,
)
from mho.nn.conversion import convert_to_analog
from mho.optim import AnalogSGD
from mho.simulator import configs, presets
from mho.simulator.configs import (
    ConstantStepDevice,
    CustomPulsedDevice,
    DriftParameter,
    ExpStepDevice,
    FloatingPointDevice,
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    MappingParameter,
    QuantizedTorchInferenceRPUConfig,
    SimpleDriftParameter,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
    TorchInferenceRPUConfigIRDropT,
)
from mho.simulator.configs.devices import PulsedDevice
from mho.simulator.parameters.enums import (
    NoiseManagementType,
    PulseType,
    RPUDataType,
    WeightClipType,
    WeightModifierType,
    WeightRemapType,
)
from mho.simulator.parameters.inference import WeightModifierParameter
from mho.simulator.parameters.quantization import ActivationQuantConfig
from mho.simulator.parameters.registry import register_config_class, register_tile_class
from mho.simulator.tiles import AnalogTile, CustomSimulatorTile, InferenceTile
from mho.simulator.tiles.custom import CustomRPUConfig

RATE = 0.07  # not that of a fresh tile

DEVICES: dict[str, Callable[[], Any]] = {
    name: getattr(configs, name)
    for name in (
        "ConstantStepDevice",
        "ExpStepDevice",
        "IdealDevice",
        "LinearStepDevice",
        "PiecewiseStepDevice",
        "PowStepDevice",
        "PowStepReferenceDevice",
        "SoftBoundsDevice",
        "SoftBoundsPmaxDevice",
        "SoftBoundsReferenceDevice",
    )
}
PRESETS: dict[str, Callable[[], Any]] = {
    name: getattr(presets, name)
    for name in (
        "CapacitorPresetDevice",
        "EcRamMOPresetDevice",
        "EcRamPresetDevice",
        "GokmenVlasovPresetDevice",
        "IdealizedPresetDevice",
        "PCMPresetDevice",
        "ReRamArrayHfO2PresetDevice",
        "ReRamArrayOMPresetDevice",
        "ReRamESPresetDevice",
        "ReRamSBPresetDevice",
    )
}


@register_config_class
@dataclass
class GoldenDevice(CustomPulsedDevice):
    """Device in Python with steps that shrink by a factor of its own at each crosspoint."""

    plane_names: ClassVar[tuple[str, ...]] = ("shrink",)

    def draw_planes(
        self, planes: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        # Uniform draws: those of torch that are the same for any size and instruction set.
        return {"shrink": torch.rand(planes["max_bound"].shape, generator=generator)}

    def step(
        self, weight: Tensor, up: Tensor, planes: Mapping[str, Tensor], noise: Tensor | None
    ) -> Tensor:
        size = torch.where(up, planes["dwmin_up"], -planes["dwmin_down"]) * planes["shrink"]
        return weight + (size if noise is None else size * (1.0 + self.dw_min_std * noise))


@register_tile_class
class GoldenRawTile(CustomSimulatorTile):
    """Raw tile in Python that counts its updates in a buffer of its own."""

    def __init__(self, x_size: int, d_size: int, rpu_config: Any, bias: bool = False) -> None:
        super().__init__(x_size, d_size, rpu_config, bias)
        self.register_buffer("updates", torch.zeros(1, dtype=torch.int64))

    def update(self, x_input: Tensor, d_input: Tensor, *args: bool, **kwargs: bool) -> None:
        super().update(x_input, d_input, *args, **kwargs)
        self.updates += 1


@register_config_class
@dataclass
class GoldenConfig(CustomRPUConfig):
    """Configuration of that raw tile."""

    simulator_tile_class: type = GoldenRawTile


class GoldenModel(nn.Module):
    """A model as users write them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.norm = nn.LayerNorm(3)
        self.body = nn.Sequential(nn.Sigmoid(), nn.Linear(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.body(self.norm(self.first(x)))
        return result


@dataclass(frozen=True)
class Case:
    """A kind of model, and what it went through before it was saved."""

    build: Callable[[], nn.Module]
    """Returns a fresh model with 4 inputs and 3 outputs."""

    history: tuple[Callable[[nn.Module], None], ...]
    """What is done with it, in this order."""

    pulsed: bool = False
    """Whether weights move by pulses, so that no rounding of a product is in them."""

    computes: bool = True
    """Whether products are free of draws from torch's generator."""


def numbers(rows: int, columns: int, shift: int = 0) -> Tensor:
    """Return odd multiples of 1/64 between -1 and 1, exact in float32.

    Quotients of them times an even number of levels are never halfway between two levels, so that
    no rounding error of a product decides about a level of a DAC.
    """
    index = torch.arange(rows * columns, dtype=torch.int64) + shift
    return ((2 * (index * 29 % 64) - 63).to(torch.float32) / 64.0).reshape(rows, columns)


def analog_tiles(model: nn.Module) -> Iterator[Any]:
    """Yield the tiles of a model in their order."""
    yield from (m for m in model.modules() if hasattr(m, "analog_ctx"))


def input_size(model: nn.Module) -> int:
    """Return the number of inputs of a model of this file."""
    return 7 if "LinearMapped" in type(model).__name__ else 4


def step(model: nn.Module, optimizer: Any, shift: int) -> tuple[Tensor, Tensor]:
    """Make one training step with a given gradient of the outputs; return outputs and gradient."""
    optimizer.zero_grad()
    x = numbers(2, input_size(model), shift).to(dtype_of(model)).requires_grad_()
    y = model(x)
    (y * numbers(*y.shape, shift=shift + 5).to(y)).sum().backward()
    optimizer.step()
    assert x.grad is not None
    return y.detach(), x.grad


def train(model: nn.Module) -> None:
    """Make two training steps."""
    model.train()
    optimizer = AnalogSGD(model.parameters(), lr=RATE)
    for shift in (0, 11):
        step(model, optimizer, shift)


def program(model: nn.Module) -> None:
    """Program the weights for inference."""
    program_analog_weights(model.eval())


def drift(model: nn.Module) -> None:
    """Let programmed weights drift."""
    drift_analog_weights(model.eval(), 3600.0)


def drift_devices(model: nn.Module) -> None:
    """Let the devices at the crosspoints drift, twice."""
    for tile in analog_tiles(model):
        tile.drift_weights(10.0)
        tile.drift_weights(5.0)


def verify(model: nn.Module) -> None:
    """Program trained devices in a closed loop."""
    for tile in analog_tiles(model):
        tile.program_weights(max_iter=3)


def coarsen(model: nn.Module) -> None:
    """Give devices steps of twice the size, which the configuration does not know."""
    for tile in analog_tiles(model):
        hidden = tile.get_hidden_parameters()
        for name in ("dwmin_up", "dwmin_down"):
            hidden[name] = 2.0 * hidden[name]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="dw_min: the steps of the hidden")
            tile.set_hidden_parameters(hidden)


def linear(config: Callable[[], Any], bias: bool = True) -> Callable[[], nn.Module]:
    """Return what builds a layer with one tile."""
    return lambda: AnalogLinear(4, 3, bias, config())


def mapped(config: Callable[[], Any]) -> Callable[[], nn.Module]:
    """Return what builds a layer with two by two tiles."""

    def build() -> nn.Module:
        small = config()
        small.mapping.max_input_size, small.mapping.max_output_size = 4, 2
        return AnalogLinearMapped(7, 3, True, small)

    return build


def unshared() -> nn.Module:
    """Return a tile for inference whose weights follow updates, not a gradient."""
    return InferenceTile(3, 4, InferenceRPUConfig(), True, shared_weights=False)


def with_mapping(config: Any, **fields: Any) -> Any:
    """Return the configuration with other mapping parameters."""
    config.mapping = MappingParameter(**fields)
    return config


SCALED = {"weight_scaling_omega": 0.5}
COLUMNWISE = {"weight_scaling_omega": 0.5, "weight_scaling_columnwise": True}
LEARNED = {**SCALED, "learn_out_scaling": True}
LEARNED_COLUMNWISE = {**COLUMNWISE, "learn_out_scaling": True, "out_scaling_columnwise": True}


def with_range(config: Any, **fields: Any) -> Any:
    """Return the configuration with an input range."""
    config.pre_post.input_range.enable = True
    for name, value in fields.items():
        setattr(config.pre_post.input_range, name, value)
    return config


def analog(device: Callable[[], Any] = ConstantStepDevice, **fields: Any) -> SingleRPUConfig:
    """Return a configuration of pulsed training with all of a device."""
    return SingleRPUConfig(device=device(**fields))


def lines() -> SingleRPUConfig:
    """Return a configuration with frozen values per line in both products."""
    config = analog()
    for io in (config.forward, config.backward):
        io.out_noise_std = 0.2
        io.v_offset_std = 0.1
        io.out_nonlinearity, io.out_nonlinearity_std = 0.05, 0.2
        io.r_series = 0.01
    return config


def rich() -> SingleRPUConfig:
    """Return a configuration with every digital part of a trained tile."""
    config = analog(SoftBoundsDevice, write_noise_std=0.1, lifetime=10.0, lifetime_dtod=0.1)
    config.forward.noise_management = NoiseManagementType.AVERAGE_ABS_MAX
    return with_range(with_mapping(config, **LEARNED_COLUMNWISE))


def wearing() -> SingleRPUConfig:
    """Return a configuration whose devices decay, diffuse and reset, each at its own rate."""
    rates = {"lifetime": 20.0, "lifetime_dtod": 0.2, "diffusion": 0.01, "diffusion_dtod": 0.2}
    return analog(**rates, reset=0.01, reset_dtod=0.2, corrupt_devices_prob=0.2)


def drifting() -> SingleRPUConfig:
    """Return a configuration whose devices drift."""
    return analog(drift=DriftParameter(nu=0.1, nu_dtod=0.2, nu_std=0.1, w_noise_std=0.01))


def inference(noise_model: Any = None, **fields: Any) -> InferenceRPUConfig:
    """Return a configuration for inference whose drift is a function of what was programmed."""
    model = PCMLikeNoiseModel(read_noise_scale=0.0) if noise_model is None else noise_model
    return InferenceRPUConfig(noise_model=model, **fields)


def on_torch(noise_model: Any = None, out_noise_std: float = 0.0) -> TorchInferenceRPUConfig:
    """Return the same for a torch tile, without noise in its products unless per line."""
    model = PCMLikeNoiseModel(read_noise_scale=0.0) if noise_model is None else noise_model
    config = TorchInferenceRPUConfig(noise_model=model)
    config.forward.out_noise = 0.06 if out_noise_std else 0.0
    config.forward.out_noise_std = out_noise_std
    return config


def modified(config: Any) -> Any:
    """Return the configuration with a modifier that rounds, adds noise and drops weights."""
    config.modifier = WeightModifierParameter(
        type=WeightModifierType.DISCRETIZE_ADD_NORMAL, res=0.1, std_dev=0.05, pdrop=0.1
    )
    return config


def limited(config: Any) -> Any:
    """Return the configuration with clipping and remapping after each step."""
    config.clip.type, config.clip.fixed_value = WeightClipType.FIXED_VALUE, 0.4
    config.remap.type = WeightRemapType.CHANNELWISE_SYMMETRIC
    return config


def double() -> TorchInferenceRPUConfig:
    """Return a configuration of a torch tile in double precision."""
    config = on_torch()
    config.runtime.data_type = RPUDataType.DOUBLE
    return config


def time_stepped() -> TorchInferenceRPUConfigIRDropT:
    """Return a configuration of a torch tile with time-stepped IR drop, without noise."""
    config = TorchInferenceRPUConfigIRDropT(noise_model=PCMLikeNoiseModel(read_noise_scale=0.0))
    config.forward.out_noise, config.forward.adc_quantization = 0.0, False
    config.mapping.max_input_size, config.forward.ir_drop_segments = 16, 4
    return config


def quantized() -> QuantizedTorchInferenceRPUConfig:
    """Return a configuration of a torch tile with all of a quantised periphery."""
    config = QuantizedTorchInferenceRPUConfig(noise_model=PCMLikeNoiseModel(read_noise_scale=0.0))
    config.forward.out_noise = 0.0
    config.act_quant_config = ActivationQuantConfig(n_bits=8)
    config.pre_post.periph_quant.n_bits = 8
    config.pre_post.periph_quant.learn_quant_params = True
    return with_range(with_mapping(config, **LEARNED_COLUMNWISE))


def custom(config: type[CustomRPUConfig]) -> CustomRPUConfig:
    """Return a configuration of a raw tile in Python without noise."""
    return config(forward=IOParameters(out_noise=0.0), backward=IOParameters(out_noise=0.0))


def bare(pulse_type: PulseType) -> SingleRPUConfig:
    """Return a configuration with a device in Python and the given pulses."""
    config = analog(GoldenDevice)
    config.update.pulse_type = pulse_type
    return config


def floating(**fields: Any) -> FloatingPointRPUConfig:
    """Return a configuration of an exact tile with a device."""
    return FloatingPointRPUConfig(device=FloatingPointDevice(**fields))


def sequence() -> nn.Module:
    """Return layers of three kinds after one another."""
    layers = AnalogLinear(4, 3, False, inference()), nn.LayerNorm(3)
    return AnalogSequential(
        AnalogLinear(4, 4, True, analog()),
        nn.Sigmoid(),
        AnalogSequential(*layers),
        AnalogLinear(3, 3, True, FloatingPointRPUConfig()),
    )


def pulsed(build: Callable[[], nn.Module], *more: Callable[[nn.Module], None]) -> Case:
    """Return a model that is trained by pulses."""
    return Case(build, (train, *more), pulsed=True)


def trained(build: Callable[[], nn.Module], *more: Callable[[nn.Module], None]) -> Case:
    """Return a model whose weights follow a gradient."""
    return Case(build, (train, *more))


def _core_cases() -> dict[str, Case]:
    nothing_drifts = ReRamWan2022NoiseModel(noise_scale=1.0)
    hermes = HermesNoiseModel(read_noise_scale=0.0)
    return {
        "floating_point": trained(linear(FloatingPointRPUConfig)),
        "floating_point_wear": trained(linear(lambda: floating(lifetime=20.0, diffusion=0.01))),
        "floating_point_drift": trained(
            linear(lambda: floating(drift=SimpleDriftParameter(nu=0.1))), drift_devices
        ),
        "analog_no_bias": pulsed(linear(analog, bias=False)),
        "analog_bias": pulsed(linear(lambda: with_mapping(analog(), digital_bias=False))),
        "analog_scales": pulsed(linear(lambda: with_mapping(analog(), **SCALED))),
        "analog_rich": pulsed(linear(rich)),
        "analog_lines": pulsed(linear(lines)),
        "analog_wear": pulsed(linear(wearing)),
        "analog_counters": pulsed(linear(lambda: analog(ExpStepDevice, count_pulses=True))),
        "analog_drift": pulsed(linear(drifting), drift_devices),
        "analog_verified": pulsed(linear(analog), verify),
        "analog_coarse": pulsed(linear(analog), coarsen),
        "analog_python_device": pulsed(linear(lambda: bare(PulseType.STOCHASTIC_COMPRESSED))),
        "analog_python_device_idle": trained(linear(lambda: bare(PulseType.NONE))),
        "inference": trained(linear(inference)),
        "inference_programmed": trained(linear(inference), program),
        "inference_drifted": trained(linear(inference), program, drift),
        "inference_no_drift": trained(linear(lambda: inference(nothing_drifts)), program),
        "inference_hermes": trained(linear(lambda: inference(hermes)), program, drift),
        "inference_uncompensated": trained(
            linear(lambda: inference(drift_compensation=None)), program, drift
        ),
        "inference_range": trained(linear(lambda: with_range(inference(), init_from_data=1))),
        "inference_range_fixed": trained(
            linear(lambda: with_range(inference(), learn_input_range=False))
        ),
        "inference_scales": trained(linear(lambda: with_mapping(inference(), **COLUMNWISE))),
        "inference_learned": trained(linear(lambda: with_mapping(inference(), **LEARNED))),
        "inference_learned_columnwise": trained(
            linear(lambda: with_range(with_mapping(inference(), **LEARNED_COLUMNWISE)))
        ),
        "inference_analog_bias": trained(
            linear(lambda: with_mapping(inference(), digital_bias=False)), program, drift
        ),
        "inference_limited": trained(linear(lambda: limited(inference()))),
        "inference_modified": trained(linear(lambda: modified(inference()))),
        "inference_preset": trained(linear(presets.StandardHWATrainingPreset), program),
        "inference_unshared": trained(unshared),
    }


def _torch_cases() -> dict[str, Case]:
    return {
        "torch": trained(linear(on_torch)),
        "torch_programmed": trained(linear(on_torch), program),
        "torch_drifted": trained(linear(on_torch), program, drift),
        "torch_range": trained(linear(lambda: with_range(on_torch(), init_from_data=1))),
        "torch_scales": trained(linear(lambda: with_mapping(on_torch(), **COLUMNWISE))),
        "torch_learned_columnwise": trained(
            linear(lambda: with_range(with_mapping(on_torch(), **LEARNED_COLUMNWISE)))
        ),
        "torch_ir_drop": trained(linear(time_stepped)),
        "torch_quantized": Case(linear(quantized), (train,), computes=False),
        "torch_quantized_array": Case(mapped(quantized), (train,), computes=False),
        "torch_limited": trained(linear(lambda: limited(on_torch()))),
        "torch_double": trained(linear(double)),
        "torch_lines": Case(linear(lambda: on_torch(out_noise_std=0.2)), (train,), computes=False),
        "custom": trained(linear(lambda: custom(CustomRPUConfig))),
        "custom_own": trained(linear(lambda: custom(GoldenConfig))),
    }


def _container_cases() -> dict[str, Case]:
    return {
        "array_analog": pulsed(mapped(analog)),
        "array_inference": trained(mapped(inference), program, drift),
        "array_torch": trained(mapped(on_torch)),
        "container_sequential": Case(sequence, (train,)),
        "container_converted": trained(lambda: convert_to_analog(GoldenModel(), inference())),
        "container_wrapped": trained(
            lambda: AnalogWrapper(convert_to_analog(GoldenModel(), inference())), program
        ),
    }


def _device_cases() -> dict[str, Case]:
    def case(make: Callable[[], Any]) -> Case:
        one = linear(lambda: SingleRPUConfig(device=make()))
        return trained(one) if make is IdealDevice else pulsed(one)

    return {f"device_{name}": case(make) for name, make in (DEVICES | PRESETS).items()}


def _cell_cases() -> dict[str, Case]:
    return {f"cell_{name}": pulsed(linear(make)) for name, make in CELLS.items()}


CASES: dict[str, Case] = {
    **_core_cases(),
    **_cell_cases(),
    **_torch_cases(),
    **_container_cases(),
    **_device_cases(),
}


def made(case: Case) -> nn.Module:
    """Return the model of a case after its history, from a fixed seed."""
    torch.manual_seed(20240517)
    model = case.build()
    for event in case.history:
        event(model)
    return model


def shape_text(name: str, value: Tensor) -> str:
    """Return name, type and shape of an entry of a state; the length of a text may change."""
    shape = "text" if name.endswith("analog_tile_config") else "x".join(map(str, value.shape))
    return f"{name} {str(value.dtype).removeprefix('torch.')} {shape or 'scalar'}"


def described(model: nn.Module) -> dict[str, list[str]]:
    """Return what a saved state, an optimizer and raw tiles show of a model, in their order."""
    raw = [tile.tile for tile in analog_tiles(model)]
    return {
        "state": [shape_text(name, value) for name, value in model.state_dict().items()],
        "parameters": [name for name, _ in model.named_parameters()],
        "hidden": [name for tile in raw for name in tile.get_hidden_parameter_names()],
        "extra": [name for tile in raw for name in tile.dump_extra() or {}],
    }


def digest(*values: Tensor) -> str:
    """Return a short checksum of the bits of tensors."""
    data = b"".join(value.detach().contiguous().numpy().tobytes() for value in values)
    return hashlib.sha256(data).hexdigest()[:16]


def _all_of(device: Callable[[], Any]) -> SingleRPUConfig:
    """Return a configuration with everything that a device draws over time."""
    config = SingleRPUConfig(device=device())
    config.device.lifetime, config.device.diffusion = 20.0, 0.01
    if isinstance(config.device, PulsedDevice):
        config.device.count_pulses = True
        config.device.drift = DriftParameter(nu=0.1, nu_dtod=0.2, nu_std=0.1, w_noise_std=0.01)
    return config


def _with_pulses(pulse_type: PulseType) -> SingleRPUConfig:
    config = analog(SoftBoundsDevice)
    config.update.pulse_type = pulse_type
    return config


# Updates without pulses are products, whose rounding differs between machines.
PULSES = (PulseType.STOCHASTIC, PulseType.MEAN_COUNT, PulseType.DETERMINISTIC_IMPLICIT)
STREAMS: dict[str, Callable[[], Any]] = {
    **{name: partial(_all_of, make) for name, make in (DEVICES | PRESETS).items()},
    "GoldenDevice": partial(_all_of, GoldenDevice),
    **{kind.name: partial(_with_pulses, kind) for kind in PULSES},
    **{f"cell_{name}": make for name, make in CELLS.items()},
}


def stream(config: Any) -> dict[str, Any]:
    """Return the seed that a tile draws from torch, and checksums of all that it then draws itself.

    Updates get fixed inputs and gradients, so that there is no product in the numbers.
    """
    torch.manual_seed(20240517)
    tile: Any = AnalogTile(6, 9, config)
    found = {
        "seed": int(tile.state_dict()["analog_tile_seed"]),
        "start": digest(tile.tile.get_weights()),
        "hidden": digest(tile.tile.get_hidden_parameters()),
    }
    tile.set_learning_rate(RATE)
    if not isinstance(config.device, IdealDevice):
        for rows in (1, 5):  # these have kernels of their own
            tile.update(numbers(rows, 9), numbers(rows, 6, shift=3))
            counts = tile.tile.get_pulse_counters()
            found[f"update of {rows}"] = digest(tile.tile.get_weights(), counts)
    tile.post_update_step()
    found["wear"] = digest(tile.tile.get_weights())
    tile.drift_weights(10.0)
    tile.drift_weights(5.0)
    found["drift"] = digest(tile.tile.get_weights())
    tile.reset_columns(2, 3, reset_prob=0.5)
    found["reset"] = digest(tile.tile.get_weights())
    found["after"] = digest(tile.tile.get_hidden_parameters())
    found["calls"] = int(tile.state_dict()["analog_tile_calls"])
    return found


# Of states that differ only in what is drawn for a preset, one is kept.
_NOT_KEPT = {
    "analog_no_bias",
    "analog_scales",
    "cell_chopped_rows",
    "cell_mixed_exact",
    "cell_one_sided_mirrored",
    "cell_transfer_reset",
    "cell_transfer_rows",
    "cell_vector_fixed",
    "cell_vector_random",
    "device_CapacitorPresetDevice",
    "device_EcRamMOPresetDevice",
    "device_EcRamPresetDevice",
    "device_GokmenVlasovPresetDevice",
    "device_IdealizedPresetDevice",
    "device_PCMPresetDevice",
    "device_ReRamArrayHfO2PresetDevice",
    "device_ReRamSBPresetDevice",
    "inference_learned",
    "inference_range_fixed",
    "inference_uncompensated",
    "torch_programmed",
    "torch_scales",
}
KEPT = {name: case for name, case in CASES.items() if name not in _NOT_KEPT}
"""Cases with a checkpoint in `data/checkpoints`."""


def changes(model: nn.Module, before: Mapping[str, Tensor], stage: str) -> dict[str, Tensor]:
    """Return copies of the entries of the state that are not as before, named after a stage."""
    after = {k: v for k, v in model.state_dict().items() if not k.endswith("analog_tile_config")}
    return {
        f"{stage}: {name}": value.clone()
        for name, value in after.items()
        if name not in before or not same(value, before[name])
    } | {f"{stage}: without {name}": torch.empty(0) for name in before if gone(name, after)}


def gone(name: str, after: Mapping[str, Tensor]) -> bool:
    """Return whether an entry of a state is no longer there."""
    return name not in after and not name.endswith("analog_tile_config")


def same(one: Tensor, other: Tensor) -> bool:
    """Return whether tensors are equal in type, shape and bits."""
    alike = one.dtype is other.dtype and one.shape == other.shape
    return alike and one.numpy().tobytes() == other.numpy().tobytes()


def go_on(model: nn.Module, case: Case) -> dict[str, Tensor]:
    """Use a loaded model further and return what comes out: products, changes of the state.

    Gradients of the outputs are given, so that pulses do not depend on products.
    """
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.eval()
    with torch.no_grad():
        found = {"evaluated": model(numbers(2, input_size(model), 3).to(dtype_of(model)))}
    if drift in case.history:
        drift_analog_weights(model, 86400.0)
        found |= changes(model, state, "drifted")
    if drift_devices in case.history:
        for tile in analog_tiles(model):
            tile.drift_weights(7.0)
        found |= changes(model, state, "drifted")
    model.train()
    found["outputs"], found["gradient"] = step(model, AnalogSGD(model.parameters(), lr=RATE), 23)
    if case.pulsed:
        for tile in analog_tiles(model):
            tile.update(numbers(5, tile.in_size, 7), numbers(5, tile.out_size, 2))
            tile.reset_columns(1, 2, reset_prob=0.5)
    return found | changes(model, state, "later")


def dtype_of(model: nn.Module) -> torch.dtype:
    """Return the floating-point type of a model."""
    return next(p.dtype for p in model.parameters() if p.is_floating_point())
