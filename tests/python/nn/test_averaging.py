"""Averages of models are those of their logical weights, also where remapping moves the scales."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import (
    AveragedModel,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    update_bn,
)

from mho.exceptions import ModuleError
from mho.nn import AnalogLinear, AnalogSequential, match_scales
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    InferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
    WeightModifierType,
    WeightRemapType,
)

KINDS = {"inference": InferenceRPUConfig, "torch": TorchInferenceRPUConfig}
REMAPS = [
    WeightRemapType.NONE,
    WeightRemapType.LAYERWISE_SYMMETRIC,
    WeightRemapType.CHANNELWISE_SYMMETRIC,
]
SIZES = {"one": 512, "array": 3}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def build(
    kind: str, remap: WeightRemapType, omega: float = 0.0, size: int = 512
) -> AnalogSequential:
    config: Any = KINDS[kind]()
    config.forward.is_perfect = True
    config.remap.type = remap
    config.mapping.weight_scaling_omega = omega
    config.mapping.max_input_size = size
    torch.manual_seed(0)
    return AnalogSequential(AnalogLinear(4, 3, rpu_config=config))


def trained(model: nn.Module, steps: int = 8) -> Iterator[Tensor]:
    """Yield the logical weights after each step; their size grows a lot."""
    optimizer = AnalogSGD(model.parameters(), lr=0.3)
    for _ in range(steps):
        optimizer.zero_grad()
        (model(torch.rand(8, 4)) - 5.0).square().mean().backward()
        optimizer.step()
        yield weights(model)


def weights(model: Any) -> Tensor:
    return model[0].get_weights()[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("omega", [0.0, 1.0])
@pytest.mark.parametrize("remap", REMAPS)
class TestAveragedModel:
    def test_mean(self, kind: str, remap: WeightRemapType, omega: float, size: str) -> None:
        model = build(kind, remap, omega, SIZES[size])
        averaged = AveragedModel(model)
        seen = []
        for value in trained(model):
            averaged.update_parameters(model)
            seen.append(value)
        expected = torch.stack(seen).mean(0)
        assert (expected - seen[-1]).abs().max() > 0.1
        torch.testing.assert_close(weights(averaged.module), expected)
        torch.testing.assert_close(weights(model), seen[-1], atol=0.0, rtol=0.0)

    @pytest.mark.parametrize(
        "function", [{"multi_avg_fn": get_ema_multi_avg_fn(0.6)}, {"avg_fn": get_ema_avg_fn(0.6)}]
    )
    def test_moving_average(
        self, kind: str, remap: WeightRemapType, omega: float, size: str, function: Any
    ) -> None:
        model = build(kind, remap, omega, SIZES[size])
        averaged = AveragedModel(model, **function)
        expected: Tensor | None = None
        for value in trained(model):
            averaged.update_parameters(model)
            expected = value if expected is None else 0.6 * expected + 0.4 * value
        torch.testing.assert_close(weights(averaged.module), expected)
        # It computes with them.
        averaged.eval()
        x, bias = torch.rand(2, 4), averaged.module[0].get_weights()[1]
        torch.testing.assert_close(averaged(x), x @ weights(averaged.module).t() + bias)


class TestOwnAverages:
    @pytest.mark.parametrize("remap", REMAPS)
    def test_lerp(self, kind: str, remap: WeightRemapType) -> None:
        model = build(kind, remap)
        averaged, expected = copy.deepcopy(model), weights(model)
        for value in trained(model):
            match_scales(averaged, model)
            with torch.no_grad():
                for mine, other in zip(averaged.parameters(), model.parameters(), strict=True):
                    mine.lerp_(other, 0.4)
            expected = 0.6 * expected + 0.4 * value
        torch.testing.assert_close(weights(averaged), expected)

    @pytest.mark.parametrize("scales", [None, 2.0, torch.tensor([0.5, 1.0, 4.0])])
    @pytest.mark.parametrize("other", [None, 3.0, torch.tensor([0.5, 1.0, 4.0])])
    def test_logical_weights_stay(self, kind: str, scales: Any, other: Any) -> None:
        first, second = (build(kind, WeightRemapType.NONE) for _ in range(2))
        first[0].analog_module.set_mapping_scales(scales)
        second[0].analog_module.set_mapping_scales(other)
        before = weights(first)
        match_scales(first, second)
        torch.testing.assert_close(weights(first), before)
        mine = first[0].analog_module.get_mapping_scales()
        theirs = second[0].analog_module.get_mapping_scales()
        assert (mine is None) == (theirs is None)
        assert mine is None or (torch.equal(mine, theirs) and mine is not theirs)

    def test_other_structure(self) -> None:
        model = build("inference", WeightRemapType.NONE)
        larger = AnalogSequential(copy.deepcopy(model[0]), copy.deepcopy(model[0]))
        with pytest.raises(ModuleError, match="2 analog tiles, but model has 1"):
            match_scales(larger, model)


def test_digital_models_are_averaged_as_ever() -> None:
    model = nn.Linear(3, 2)
    averaged = AveragedModel(model)
    first = model.weight.detach().clone()
    averaged.update_parameters(model)
    with torch.no_grad():
        model.weight.add_(1.0)
    averaged.update_parameters(model)
    torch.testing.assert_close(averaged.module.weight.detach(), first + 0.5)


@pytest.mark.parametrize("make", [SingleRPUConfig])
def test_pulsed_tiles_are_refused_as_before(make: Callable[[], Any]) -> None:
    model = AnalogSequential(AnalogLinear(4, 3, rpu_config=make()))
    averaged = AveragedModel(model)
    before = weights(averaged.module)
    with pytest.raises(RuntimeError, match="convert_to_digital"):
        averaged.update_parameters(model)
    assert torch.equal(weights(averaged.module), before)


def test_statistics_of_an_average_are_those_of_the_averaged_weights() -> None:
    """`update_bn` runs in training mode, where passes may see modified weights."""
    config = InferenceRPUConfig()
    config.forward.is_perfect = True
    config.remap.type = WeightRemapType.CHANNELWISE_SYMMETRIC
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.1
    torch.manual_seed(0)
    model = nn.Sequential(AnalogLinear(4, 3, bias=False, rpu_config=config), nn.BatchNorm1d(3))
    next(trained(model, 1))  # an average usually begins when a model is trained for a while
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    for _ in trained(model, 4):
        averaged.update_parameters(model)
    x = torch.rand(64, 4)
    update_bn([x], averaged)
    torch.testing.assert_close(
        averaged.module[1].running_var, (x @ weights(averaged.module).t()).var(0)
    )


def test_an_average_is_programmed_with_its_present_weights(kind: str) -> None:
    model = build(kind, WeightRemapType.NONE)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    steps = trained(model)
    next(steps)
    averaged.update_parameters(model)
    averaged.module.eval().program_analog_weights()
    next(steps)
    averaged.update_parameters(model)
    wanted = weights(averaged.module)
    averaged.module.program_analog_weights()
    tile = averaged.module[0].analog_module
    torch.testing.assert_close(tile.reference_combined_weights, wanted)
