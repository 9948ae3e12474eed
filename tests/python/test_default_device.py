"""Tiles on the host where torch has another default device.

The meta device stands for a graphics processor, which machines for tests lack: a tensor that should
be on the host, and is made on the default device, has no values here and raises.
"""

import copy
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import mho
from mho.nn import AnalogLinear, AnalogSequential, convert_to_analog, convert_to_digital
from mho.nn.averaging import match_scales
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    CustomPulsedDevice,
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    PulseType,
    SingleRPUConfig,
    SoftBoundsDevice,
    SoftBoundsReferenceDevice,
    TorchInferenceRPUConfig,
    WeightClipType,
    WeightRemapType,
)
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.tiles import InferenceTile, TorchInferenceTile
from mho.simulator.tiles.custom import CustomRPUConfig

# Some versions of torch make a context of autocast in checkpoints under its old name.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.cpu.amp.autocast:FutureWarning")

CLOCK = 3600.0


@register_config_class
@dataclass
class DrawnSteps(CustomPulsedDevice):
    """Constant steps times a factor of each device; makes tensors without saying where."""

    plane_names: ClassVar[tuple[str, ...]] = ("factor",)

    def draw_planes(
        self, planes: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        return {"factor": torch.rand(planes["dwmin_up"].shape, generator=generator)}

    def step(
        self, weight: Tensor, up: Tensor, planes: Mapping[str, Tensor], noise: Tensor | None
    ) -> Tensor:
        size = torch.where(up, planes["dwmin_up"], -planes["dwmin_down"])
        return weight + torch.ones(1) * size * planes["factor"]


def pulsed(device: Any) -> SingleRPUConfig:
    config = SingleRPUConfig(device=device)
    config.forward.out_noise_std = 0.1
    return config


def analog_bias() -> SingleRPUConfig:
    config = pulsed(SoftBoundsReferenceDevice(subtract_symmetry_point=True))
    config.mapping.digital_bias = False
    config.mapping.weight_scaling_omega = 0.6
    config.pre_post.input_range.enable = True
    config.update.pulse_type = PulseType.DETERMINISTIC_IMPLICIT
    return config


def everything(config: Any) -> Any:
    """Return an inference configuration with all digital parts."""
    config.pre_post.input_range.enable = True
    config.mapping.weight_scaling_omega = 0.6
    config.mapping.weight_scaling_columnwise = True
    config.mapping.learn_out_scaling = True
    config.mapping.out_scaling_columnwise = True
    config.remap.type = WeightRemapType.CHANNELWISE_SYMMETRIC
    config.clip.type = WeightClipType.LAYER_GAUSSIAN
    config.clip.sigma = 2.0
    config.forward.out_noise_std = 0.1
    return config


def split(config: Any) -> Any:
    config.mapping.max_input_size, config.mapping.max_output_size = 3, 2
    return config


CONFIGS: dict[str, Callable[[], Any]] = {
    "SoftBounds": lambda: pulsed(
        SoftBoundsDevice(
            lifetime=100.0, diffusion=0.01, write_noise_std=0.1, count_pulses=True, reset_std=0.1
        )
    ),
    "analog bias": analog_bias,
    "split": lambda: split(pulsed(SoftBoundsDevice())),
    "FloatingPoint": FloatingPointRPUConfig,
    "Inference": InferenceRPUConfig,
    "Inference with all": lambda: everything(InferenceRPUConfig()),
    "Inference split": lambda: split(everything(InferenceRPUConfig())),
    "Torch": TorchInferenceRPUConfig,
    "Torch with all": lambda: everything(TorchInferenceRPUConfig()),
    "Custom": CustomRPUConfig,
    "Python device": lambda: pulsed(DrawnSteps(write_noise_std=0.1)),
}

X, TARGET = torch.linspace(-1.0, 1.0, 40).reshape(8, 5), torch.linspace(-0.5, 0.5, 24).reshape(8, 3)


def train(model: nn.Module, optimizer: Any) -> None:
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(X), TARGET).backward()
        optimizer.step()


def loaded(model: Any) -> Any:
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    model.load_state_dict(torch.load(file, weights_only=True, map_location="cpu"))
    return model(X)


def averaged(model: Any) -> Any:
    other = copy.deepcopy(model)
    match_scales(other, model)
    return other(X)


def scaled(model: Any) -> Any:
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(model(X).square().mean()).backward()
    norm = optimizer.clip_analog_norm(0.1)
    optimizer.zero_grad()
    return norm


def noisy(model: Any) -> Any:
    with mho.same_noise(model, 3):
        return model(X)


def changed(model: Any) -> None:
    for layer in model.analog_layers():
        layer.set_weights([[0.1] * 5] * 3, [0.2] * 3)
        nn.init.uniform_(layer.weight, -0.1, 0.1, generator=torch.Generator().manual_seed(1))
    mho.nn.edit_config(model, "forward.out_noise_std", 0.3)
    mho.nn.edit_config(model, "forward.inp_noise", 0.3)


def kept(model: Any) -> None:
    for tile in model.analog_tiles():
        tile.load_extra(tile.dump_extra())
        tile.tile.set_forward_parameters(tile.tile.get_forward_parameters())
        hidden = tile.get_hidden_parameters()
        if hidden:
            tile.set_hidden_parameters(hidden)


def maintained(model: Any) -> None:
    for tile in model.analog_tiles():
        tile.decay_weights(0.5)
        tile.diffuse_weights()
        tile.reset_columns()


def programmed(model: Any) -> Any:
    model.eval()
    for tile in model.analog_tiles():
        if isinstance(tile, (InferenceTile, TorchInferenceTile)):
            tile.program_weights()
        else:
            tile.program_weights(max_iter=2)
    return model(X)


def drifted(model: Any) -> Any:
    model.eval()
    model.drift_analog_weights(CLOCK)
    return model(X)


USES: dict[str, Callable[[Any], Any]] = {
    "evaluate": lambda model: model.eval()(X),
    "backward": lambda model: torch.autograd.grad(model(x := X.clone().requires_grad_()).sum(), x),
    "load": loaded,
    "copy": lambda model: copy.deepcopy(model)(X),
    "average": averaged,
    "scale": scaled,
    "same noise": noisy,
    "change": changed,
    "keep": kept,
    "maintain": maintained,
    "program": programmed,
    "drift": drifted,
    "read": lambda model: [t.read_weights() for t in model.analog_tiles()],
    "cast": lambda model: model.double()(X.double()),
    "digital": lambda model: convert_to_digital(model)(X),
    "parameters": lambda model: [p.norm() for p in model.parameters()],
    "remap": lambda model: model.remap_analog_weights(),
    "checkpoint": lambda model: (
        torch.utils.checkpoint.checkpoint(model, X, use_reentrant=False).sum().backward()
    ),
}
"""What is done with a trained model; what a kind of tile refuses, it refuses on both devices."""


def outcome(config: Any, use: Callable[[Any], Any]) -> tuple[Any, dict[str, Tensor]]:
    torch.manual_seed(1)
    model = AnalogSequential(AnalogLinear(5, 3, rpu_config=config))
    train(model, AnalogSGD(model.parameters(), lr=0.1))
    try:
        result = use(model)
    except mho.exceptions.AihwkitException as error:
        result = type(error)
    return result, model.state_dict()


def flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [item for one in value for item in flat(one)]
    return [value]


@pytest.fixture(params=["default", "block"])
def elsewhere(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "block":
        with torch.device("meta"):
            yield
        return
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@pytest.fixture
def expected(request: pytest.FixtureRequest) -> Any:
    kind, use = request.getfixturevalue("kind"), request.getfixturevalue("use")
    return outcome(CONFIGS[kind](), USES[use])


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_same_bits_as_without(expected: Any, kind: str, use: str, elsewhere: None) -> None:
    result, state = outcome(CONFIGS[kind](), USES[use])
    assert state.keys() == expected[1].keys()
    for name, value in state.items():
        assert value.device.type == "cpu", name
        assert torch.equal(value, expected[1][name]), name
    for mine, right in zip(flat(result), flat(expected[0]), strict=True):
        if isinstance(right, Tensor):
            assert torch.equal(mine, right)
        elif isinstance(right, type):
            assert mine is right


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_conversion_of_a_model_on_the_host(kind: str, elsewhere: None) -> None:
    digital = nn.Sequential(nn.Linear(5, 3, device="cpu"))
    analog = convert_to_analog(digital, CONFIGS[kind]())
    assert all(value.device.type == "cpu" for value in analog.state_dict().values())
    assert analog(X).shape == (8, 3)
