"""What follows a step happens with any optimizer, once, and buffers follow a remapping."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mho.nn import AnalogLinear, AnalogSequential
from mho.optim import AnalogAdam, AnalogOptimizer, AnalogSGD
from mho.simulator.configs import (
    InferenceRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
    WeightClipType,
    WeightRemapType,
)

CONFIGS: dict[str, Callable[[], Any]] = {
    "inference": InferenceRPUConfig,
    "torch": TorchInferenceRPUConfig,
}
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=1.0),
    "Adam": lambda p: torch.optim.Adam(p, lr=1.0),
    "analog SGD": lambda p: AnalogSGD(p, lr=1.0),
    "analog Adam": lambda p: AnalogOptimizer(torch.optim.Adam, p, lr=1.0),
}


def exact(config: Any) -> Any:
    """A configuration whose products have no noise."""
    config.forward.is_perfect = True
    return config


def weights(layer: Any) -> Tensor:
    """Logical weights."""
    found: Tensor = layer.get_weights()[0]
    return found.clone()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_weights_are_clipped(kind: str, name: str) -> None:
    config = exact(CONFIGS[kind]())
    config.clip.type, config.clip.fixed_value = WeightClipType.FIXED_VALUE, 0.3
    layer = AnalogLinear(4, 3, rpu_config=config)
    optimizer = OPTIMIZERS[name](nn.Sequential(layer).parameters())
    layer(torch.ones(8, 4)).sum().backward()
    optimizer.step()
    assert weights(layer).abs().max().item() == pytest.approx(0.3)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_weights_are_remapped(kind: str, name: str) -> None:
    config = exact(CONFIGS[kind]())
    config.remap.type = WeightRemapType.CHANNELWISE_SYMMETRIC
    layer = AnalogLinear(4, 3, rpu_config=config)
    optimizer = OPTIMIZERS[name](layer.parameters())
    layer(torch.ones(8, 4)).sum().backward()
    optimizer.step()
    scales = layer.analog_module.get_mapping_scales()
    torch.testing.assert_close(scales, weights(layer).abs().amax(1))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_devices_diffuse_once(name: str) -> None:
    """Also without a gradient, as with analog optimizers."""
    config = exact(InferenceRPUConfig())
    config.device = SoftBoundsDevice(diffusion=0.01)
    layer = AnalogLinear(4, 3, rpu_config=config)
    optimizer, before = OPTIMIZERS[name](layer.parameters()), weights(layer)
    calls = int(layer.analog_module.analog_tile_calls)
    optimizer.step()
    assert not torch.equal(weights(layer), before)
    assert int(layer.analog_module.analog_tile_calls) == calls + 1


def _counting(monkeypatch: pytest.MonkeyPatch, layer: AnalogLinear) -> list[int]:
    calls: list[int] = []
    monkeypatch.setattr(layer.analog_module, "post_update_step", lambda: calls.append(1))
    return calls


def test_optimizers_made_of_others_do_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Outer(torch.optim.Optimizer):
        def __init__(self, inner: torch.optim.Optimizer) -> None:
            super().__init__(inner.param_groups, {})
            self.inner = inner

        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            self.inner.step()

    for build in OPTIMIZERS.values():
        layer = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig())
        calls = _counting(monkeypatch, layer)
        optimizer = Outer(build(layer.parameters()))
        for expected in (1, 2):
            optimizer.step()
            assert len(calls) == expected


def test_layers_that_are_not_held_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, digital = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig()), nn.Linear(3, 2)
    calls = _counting(monkeypatch, layer)
    optimizer = torch.optim.SGD(digital.parameters(), lr=0.1)
    optimizer.step()
    assert not calls
    optimizer.add_param_group({"params": list(layer.parameters())})
    optimizer.step()
    assert len(calls) == 1


@pytest.mark.parametrize("fused", [False, True])
def test_skipped_steps_are_no_steps(fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `GradScaler` that finds infinities skips what follows as well."""
    layer = AnalogLinear(4, 3, rpu_config=exact(InferenceRPUConfig()))
    calls = _counting(monkeypatch, layer)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    for value, expected in ((float("inf"), 0), (1.0, 1)):
        optimizer.zero_grad()
        scaler.scale((layer(torch.ones(2, 4)) * value).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert len(calls) == expected


def test_steps_can_be_compiled() -> None:
    """The hook breaks no graph."""
    digital = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(digital.parameters(), lr=0.1)
    digital(torch.ones(2, 4)).sum().backward()
    before = digital.weight.detach().clone()
    torch._dynamo.reset()
    torch.compile(optimizer.step, backend="eager")()
    assert not torch.equal(digital.weight, before)


def trajectory(config: Any, build: Callable[[Any], torch.optim.Optimizer]) -> Tensor:
    """Logical weights of ten steps."""
    config.mapping.weight_scaling_omega, config.mapping.weight_scaling_columnwise = 1.0, True
    torch.manual_seed(0)
    model = AnalogSequential(AnalogLinear(4, 3, bias=False, rpu_config=exact(config)))
    model[0].set_weights(torch.randn(3, 4))
    optimizer, found = build(model.parameters()), []
    for _ in range(10):
        optimizer.zero_grad()
        (model(torch.randn(8, 4)) - 1.0).square().mean().backward()
        optimizer.step()
        found.append(weights(model[0]))
    return torch.stack(found)


MOMENTUM: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "analog": lambda p: AnalogSGD(p, lr=0.05, momentum=0.9),
    "nesterov": lambda p: AnalogSGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "any": lambda p: AnalogOptimizer(torch.optim.SGD, p, lr=0.05, momentum=0.9),
    "torch": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
}


@pytest.mark.parametrize("type_", list(WeightRemapType)[1:])
@pytest.mark.parametrize("name", MOMENTUM)
@pytest.mark.parametrize("kind", CONFIGS)
def test_momentum_follows_a_remapping(kind: str, name: str, type_: WeightRemapType) -> None:
    """The logical weights go the same way with and without it, up to rounding in float32."""
    remapped = CONFIGS[kind]()
    remapped.remap.type = type_
    plain = trajectory(CONFIGS[kind](), MOMENTUM[name])
    # Ten steps of a few roundings each, at weights of order one.
    torch.testing.assert_close(
        trajectory(remapped, MOMENTUM[name]), plain, rtol=1e-5, atol=100 * 2**-24
    )


BUFFERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD": lambda p: AnalogSGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: AnalogAdam(p, lr=0.1, amsgrad=True),
    "Adam of torch": lambda p: torch.optim.AdamW(p, lr=0.1, amsgrad=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.9, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
    "Adadelta": lambda p: torch.optim.Adadelta(p, lr=0.1),
    "Adamax": lambda p: torch.optim.Adamax(p, lr=0.1),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.1),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.1),
    "RAdam": lambda p: torch.optim.RAdam(p, lr=0.1),
    "ASGD": lambda p: torch.optim.ASGD(p, lr=0.1),
}
SQUARED = {"exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "acc_delta"}
WITHOUT_UNIT = {"step_size"}  # of Rprop: set by itself, in raw units, from signs alone


@pytest.mark.parametrize("name", BUFFERS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_buffers_have_the_unit_of_the_weights(kind: str, name: str) -> None:
    """Each buffer of the shape of the weights is multiplied by the factor or by its square."""
    config = exact(CONFIGS[kind]())
    config.mapping.weight_scaling_omega, config.mapping.weight_scaling_columnwise = 1.0, True
    layer = AnalogLinear(4, 3, bias=False, rpu_config=config)
    optimizer, tile = BUFFERS[name](layer.parameters()), layer.analog_module
    layer(torch.rand(8, 4)).square().sum().backward()
    optimizer.step()
    (parameter,) = [p for p in layer.parameters() if p in optimizer.state]
    before = {k: v.clone() for k, v in optimizer.state[parameter].items() if torch.is_tensor(v)}
    old, raw = tile.get_mapping_scales().clone(), parameter.detach().clone()
    optimizer.param_groups[0]["lr"] = 0.0
    parameter.grad = None
    tile.rpu_config.remap.type = WeightRemapType.CHANNELWISE_SYMMETRIC
    optimizer.step()
    factor = (old / tile.get_mapping_scales()).reshape(-1, 1)
    torch.testing.assert_close(parameter.detach(), raw * factor)
    assert bool((factor != 1.0).any())
    for key, value in before.items():
        if value.shape == parameter.shape and key not in WITHOUT_UNIT:
            power = 2 if key in SQUARED else 1
            torch.testing.assert_close(optimizer.state[parameter][key], value * factor**power)


def test_learned_scales_are_remapped_with_their_momentum() -> None:
    """They become one; what their optimizer had collected becomes relative to what they were."""
    config = exact(InferenceRPUConfig())
    config.mapping.learn_out_scaling = config.mapping.out_scaling_columnwise = True
    layer = AnalogLinear(4, 3, bias=False, rpu_config=config)
    optimizer = AnalogSGD(layer.parameters(), lr=0.1, momentum=0.9)
    alpha = layer.analog_module.get_learned_out_scales()
    layer(torch.rand(8, 4)).sum().backward()
    optimizer.step()
    kept, collected = alpha.detach().clone(), optimizer.state[alpha]["momentum_buffer"].clone()
    optimizer.zero_grad()
    layer.analog_module.rpu_config.remap.type = WeightRemapType.LAYERWISE_SYMMETRIC
    optimizer.step()
    assert torch.equal(alpha, torch.ones(3))
    torch.testing.assert_close(optimizer.state[alpha]["momentum_buffer"], collected / kept)


@pytest.mark.parametrize("name", ["SGD", "analog SGD"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_gradients_that_are_kept_follow_a_remapping(kind: str, name: str) -> None:
    """Two steps with one gradient go the same way with and without."""

    def run(type_: WeightRemapType) -> Tensor:
        config = exact(CONFIGS[kind]())
        config.remap.type = type_
        torch.manual_seed(2)
        layer = AnalogLinear(4, 3, rpu_config=config)
        optimizer = OPTIMIZERS[name](layer.parameters())
        layer(torch.ones(8, 4)).square().mean().backward()
        optimizer.step()
        optimizer.step()
        return weights(layer)

    without = run(WeightRemapType.NONE)
    # One rounding of each weight for each change of the scales.
    torch.testing.assert_close(
        run(WeightRemapType.CHANNELWISE_SYMMETRIC), without, rtol=1e-5, atol=1e-6
    )
