"""What is done to a tile inside `torch.inference_mode` leaves it a tile that can be trained."""

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mho import same_noise
from mho.nn import AnalogLinear, edit_config
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
    WeightRemapType,
)

X = torch.full((8, 4), 0.25)


def pulsed() -> SingleRPUConfig:
    device = SoftBoundsDevice(diffusion=0.01, count_pulses=True, w_max_dtod=0.0, w_min_dtod=0.0)
    device.drift.nu = 0.1
    return SingleRPUConfig(device=device)


def remapped(config: Any) -> Any:
    config.remap.type = WeightRemapType.CHANNELWISE_SYMMETRIC
    return config


def split(config: Any) -> Any:
    config.mapping.max_input_size = config.mapping.max_output_size = 2
    return config


pytestmark = pytest.mark.filterwarnings("ignore:drift_analog_weights:UserWarning")

CONFIGS: dict[str, Callable[[], Any]] = {
    "pulsed": pulsed,
    "ideal": lambda: SingleRPUConfig(device=IdealDevice()),
    "inference": lambda: remapped(InferenceRPUConfig()),
    "torch": lambda: remapped(TorchInferenceRPUConfig()),
    "floating": FloatingPointRPUConfig,
    "array": lambda: split(InferenceRPUConfig()),
}


@pytest.fixture(params=CONFIGS)
def make(request: pytest.FixtureRequest) -> Callable[[], AnalogLinear]:
    def build() -> AnalogLinear:
        config = CONFIGS[request.param]()
        config.mapping.weight_scaling_omega = 0.5
        return AnalogLinear(4, 3, rpu_config=config)

    return build


def drift(layer: AnalogLinear) -> None:
    layer.eval()
    layer.drift_analog_weights(100.0)
    layer(X)
    layer.train()


def program(layer: AnalogLinear) -> None:
    layer.eval()
    layer.program_analog_weights()
    layer.train()


def out_noise(layer: AnalogLinear) -> None:
    if not isinstance(next(layer.analog_tiles()).rpu_config, FloatingPointRPUConfig):
        edit_config(layer, "forward.out_noise", 0.01)
        edit_config(layer, "forward.out_noise_std", 0.5)


def repeat(layer: AnalogLinear) -> None:
    with same_noise(layer, 1):
        layer(X)


def each(name: str, *arguments: Any) -> Callable[[AnalogLinear], None]:
    def call(layer: AnalogLinear) -> None:
        for tile in layer.analog_tiles():
            getattr(tile, name)(*arguments)

    return call


OPERATIONS: dict[str, Callable[[AnalogLinear], Any]] = {
    "nothing": lambda layer: None,
    "drift": drift,
    "program": program,
    "set_weights": lambda layer: layer.set_weights(torch.full((3, 4), 0.1), torch.ones(3)),
    "init": lambda layer: nn.init.ones_(layer.weight),
    "edit range": lambda layer: edit_config(layer, "pre_post.input_range.enable", True),
    "edit noise": out_noise,
    "edit omega": lambda layer: edit_config(layer, "mapping.weight_scaling_omega", 0.0),
    "same noise": repeat,
    "load": lambda layer: layer.load_state_dict(copy.deepcopy(layer).state_dict()),
    "forward": lambda layer: layer(X),
    "cast": lambda layer: layer.double().float(),
    "scales": each("set_mapping_scales", torch.tensor(2.0)),
    "no scales": each("set_mapping_scales", None),
    "rate": each("set_learning_rate", 0.5),
}


def tensors(layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from layer.state_dict(keep_vars=True).items()
    yield from layer.named_parameters()
    for name, module in layer.named_modules():
        for key, value in module._buffers.items():
            if value is not None:
                yield f"{name}.{key}", value
        for key, value in vars(module).items():
            if isinstance(value, Tensor):
                yield f"{name}.{key}", value


def check_usable(layer: AnalogLinear) -> None:
    assert [name for name, value in tensors(layer) if value.is_inference()] == []
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    before = layer.get_weights()[0]
    for _ in range(2):
        optimizer.zero_grad()
        layer(X).sum().backward()
        optimizer.step()
    assert not torch.equal(layer.get_weights()[0], before)
    layer.load_state_dict(layer.state_dict())
    copy.deepcopy(layer)(X)
    drift(layer)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_layer_can_be_used_afterwards(make: Callable[[], AnalogLinear], name: str) -> None:
    layer = make()
    with torch.inference_mode():
        OPERATIONS[name](layer)
    check_usable(layer)


def test_layers_made_inside(make: Callable[[], AnalogLinear]) -> None:
    with torch.inference_mode():
        layer = make()
        copied = copy.deepcopy(layer)
        unpickled = pickle.loads(pickle.dumps(layer))
    for made in (layer, copied, unpickled):
        check_usable(made)


def test_a_refused_load_changes_nothing() -> None:
    """In a state whose drift began inside of inference mode."""
    states = []
    for time, inside in ((50.0, False), (100.0, True)):
        layer = AnalogLinear(4, 3, rpu_config=pulsed())
        layer.eval()
        with torch.inference_mode(inside):
            layer.drift_analog_weights(time)
        states.append(layer)
    other, layer = states
    layer.load_state_dict(other.state_dict())
    for name, value in other.state_dict().items():
        assert torch.equal(layer.state_dict()[name], value), name
