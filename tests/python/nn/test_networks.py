"""Whole networks of the kind that scripts train: they learn, are saved, drift, and come back."""

import copy
import io
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim.lr_scheduler import StepLR

from mho.nn import (
    AnalogConv2d,
    AnalogGRUCell,
    AnalogLinear,
    AnalogLinearMapped,
    AnalogLSTMCellCombinedWeight,
    AnalogRNN,
    AnalogSequential,
)
from mho.nn.conversion import convert_to_analog
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    FloatingPointDevice,
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    MappingParameter,
    SoftBoundsReferenceDevice,
    TorchInferenceRPUConfig,
    build_config,
)
from mho.simulator.presets import GokmenVlasovPreset, TikiTakaEcRamPreset


def digits() -> tuple[Tensor, Tensor]:
    """Return images ``[N, 1, 8, 8]`` of order one, and their labels."""
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(labels)


def lenet(config: Any) -> Any:
    """Return the layers of LeNet, small enough for images of 8x8."""
    return AnalogSequential(
        AnalogConv2d(1, 8, 3, rpu_config=config),
        nn.Tanh(),
        nn.MaxPool2d(2),
        AnalogConv2d(8, 16, 2, rpu_config=config),
        nn.Tanh(),
        nn.Flatten(),
        AnalogLinear(64, 32, rpu_config=config),
        nn.Tanh(),
        AnalogLinear(32, 10, rpu_config=config),
    )


def train(model: Any, lr: float, epochs: int, x: Tensor, y: Tensor) -> float:
    """Train, and return the share of samples that are right."""
    optimizer = AnalogSGD(model.parameters(), lr=lr)
    optimizer.regroup_param_groups(model)
    schedule = StepLR(optimizer, step_size=2, gamma=0.5)
    for _ in range(epochs):
        model.train()
        for part in torch.randperm(len(x)).split(10):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[part]), y[part]).backward()
            optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


@pytest.mark.parametrize(
    ("config", "lr"),
    [
        (FloatingPointRPUConfig(device=FloatingPointDevice()), 0.1),
        (GokmenVlasovPreset(mapping=MappingParameter(weight_scaling_omega=0.6)), 0.1),
        (InferenceRPUConfig(), 0.1),
        (TorchInferenceRPUConfig(), 0.1),
    ],
    ids=["floating point", "pulsed", "inference", "torch"],
)
def test_lenet(config: Any, lr: float) -> None:
    x, y = digits()
    model = lenet(config)
    assert train(model, lr, 3, x[:600], y[:600]) > 0.5  # chance is 0.1
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = lenet(copy.deepcopy(config)).eval()
    other.load_state_dict(torch.load(file))
    torch.manual_seed(1)
    expected = model(x[:50])
    torch.manual_seed(1)
    assert torch.equal(other(x[:50]), expected)
    if "Inference" in type(config).__name__:
        model.drift_analog_weights(3600.0)
        with torch.no_grad():
            assert (model(x[:600]).argmax(1) == y[:600]).float().mean() > 0.45


def test_lenet_with_a_training_algorithm() -> None:
    config = build_config("agad", SoftBoundsReferenceDevice(dw_min=0.01))
    x, y = digits()
    model = lenet(config)
    before = [layer.get_weights()[0] for layer in model.analog_layers()]
    train(model, 0.1, 1, x[:40], y[:40])
    # Devices that see few samples have nothing to hand on yet.
    assert any(
        not torch.equal(layer.get_weights()[0], weight)
        for layer, weight in zip(model.analog_layers(), before, strict=True)
    )


class Block(nn.Module):
    """Residual block, as in ResNets."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def test_converted_resnet() -> None:
    net = nn.Sequential(
        Block(1, 8, 1), Block(8, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )
    x, y = digits()
    model: Any = convert_to_analog(net, InferenceRPUConfig())
    assert len(list(model.analog_layers())) == 7
    assert train(model, 0.1, 4, x[:400], y[:400]) > 0.5
    pulsed: Any = convert_to_analog(net, TikiTakaEcRamPreset())
    train(pulsed, 0.1, 1, x[:20], y[:20])
    pulsed.load_state_dict(copy.deepcopy(pulsed.state_dict()))


def test_mapped_layers_with_momentum() -> None:
    config = InferenceRPUConfig()
    config.mapping.max_input_size = config.mapping.max_output_size = 20
    x, y = digits()
    model = AnalogSequential(
        nn.Flatten(),
        AnalogLinearMapped(64, 32, rpu_config=config),
        nn.Sigmoid(),
        AnalogLinearMapped(32, 10, rpu_config=config),
    )
    model.prepare_for_ddp()
    optimizer = AnalogSGD(model.parameters(), lr=0.2, momentum=0.9)
    for part in torch.arange(400).repeat(4).split(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[part]), y[part]).backward()
        optimizer.step()
    model.load_state_dict(model.state_dict(), load_rpu_config=True)
    optimizer.load_state_dict(optimizer.state_dict())
    assert (model(x[:400]).argmax(1) == y[:400]).float().mean() > 0.5


class Waves(AnalogSequential):
    """Predicts the next value of a wave: a recurrent network and a layer."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.embed = AnalogLinear(1, 8, rpu_config=config)
        self.core = AnalogRNN(AnalogGRUCell, 8, 16, rpu_config=config, bidir=False)
        self.head = AnalogLinear(16, 1, rpu_config=config)

    def forward(self, x: Tensor, states: Any = None) -> Any:  # type: ignore[override]
        y, states = self.core(torch.tanh(self.embed(x)), states)
        return self.head(y), states


@pytest.mark.parametrize(
    "config",
    [InferenceRPUConfig(), GokmenVlasovPreset(mapping=MappingParameter(weight_scaling_omega=0.6))],
    ids=["inference", "pulsed"],
)
def test_gru_on_waves(config: Any) -> None:
    model = Waves(config)
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    optimizer.regroup_param_groups(model)
    losses = []
    for _ in range(120):
        start = 6.3 * torch.rand(1, 8, 1)
        wave = torch.sin(start + 0.5 * torch.arange(21).view(-1, 1, 1))
        states = model.core.get_zero_state(8)
        optimizer.zero_grad()
        prediction, states = model(wave[:-1], states)
        loss = nn.functional.mse_loss(prediction, wave[1:])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # A constant has the power of a wave, 0.5, as its error.
    assert sum(losses[-20:]) / 20 < 0.2
    model.eval()
    if isinstance(config, InferenceRPUConfig):
        model.drift_analog_weights(100.0)
    assert model(wave[:-1])[0].shape == (20, 8, 1)


@pytest.mark.parametrize("config", [None, "pulsed"])
def test_lstm_on_characters(config: Any) -> None:
    """With several layers, dropout, clipped gradients and states carried over."""
    config = GokmenVlasovPreset() if config else None
    text = torch.tensor([ord(c) - 97 for c in "abcdefgh" * 24]).view(8, -1).t()
    embed, head = nn.Embedding(8, 8), nn.Linear(24, 8)
    core = AnalogRNN(
        AnalogLSTMCellCombinedWeight, 8, 24, rpu_config=config, num_layers=2, dropout=0.1,
    )  # fmt: skip
    model = AnalogSequential(embed, core, head)
    optimizer = AnalogSGD(model.parameters(), lr=0.5)
    losses = []
    for _ in range(30):
        states = core.get_zero_state(8)
        for i in range(0, len(text) - 6, 6):
            x, y = text[i : i + 6], text[i + 1 : i + 7]
            states = [tuple(part.detach() for part in state) for state in states]
            optimizer.zero_grad()
            hidden, states = core(embed(x), states)
            loss = nn.functional.cross_entropy(head(hidden).flatten(0, 1), y.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
    # Without learning it is log 8 = 2.08.
    assert sum(losses[-10:]) / 10 < 1.7
    model.load_state_dict(copy.deepcopy(model.state_dict()))
