"""Options of optimizers that act on pulsed weights, and those that are refused."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError
from mho.nn import AnalogLinear, AnalogSequential
from mho.optim import AnalogAdam, AnalogOptimizer, AnalogSGD
from mho.optim.context import AnalogContext
from mho.simulator.configs import InferenceRPUConfig, SingleRPUConfig

# As in test_analog_optimizer.py: exact up to the rounding of short sums in float32.
EXACT = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture
def model(perfect_config: SingleRPUConfig) -> AnalogSequential:
    torch.manual_seed(4)
    return AnalogSequential(
        AnalogLinear(4, 5, rpu_config=perfect_config),
        AnalogLinear(5, 3, rpu_config=perfect_config),
    )


def groups(model: nn.Module) -> list[dict[str, Any]]:
    analog = [p for p in model.parameters() if isinstance(p, AnalogContext)]
    digital = [p for p in model.parameters() if not isinstance(p, AnalogContext)]
    return [{"params": digital, "momentum": 0.9, "weight_decay": 0.1}, {"params": analog}]


def digital_twin(model: AnalogSequential) -> nn.Sequential:
    twin = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3))
    with torch.no_grad():
        for layer, analog in zip(twin, model, strict=True):
            weight, bias = analog.get_weights()
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return twin


def assert_weights(model: AnalogSequential, twin: nn.Sequential) -> None:
    for layer, analog in zip(twin, model, strict=True):
        torch.testing.assert_close(analog.get_weights()[0], layer.weight.detach(), **EXACT)


REFUSED: list[dict[str, Any]] = [
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"dampening": 0.1},
    {"weight_decay": 0.1},
]


def assert_unchanged(model: AnalogSequential, before: list[Any]) -> None:
    """All weights and biases of the layers are as before, bit for bit."""
    for layer, (weight, bias) in zip(model, before, strict=True):
        assert torch.equal(layer.get_weights()[0], weight)
        assert torch.equal(layer.get_weights()[1], bias)


@pytest.mark.parametrize("options", REFUSED, ids=lambda options: list(options)[-1])
class TestRefused:
    def test_when_built(self, model: AnalogSequential, options: dict[str, Any]) -> None:
        with pytest.raises(ArgumentError, match=rf"^({'|'.join(options)}): .*analog layer '0'"):
            AnalogSGD(model.parameters(), lr=0.7, **options)
        assert model[0].analog_module.get_learning_rate() == pytest.approx(0.1)

    def test_when_added(self, model: AnalogSequential, options: dict[str, Any]) -> None:
        optimizer = AnalogSGD(model[0].parameters(), lr=0.7)
        with pytest.raises(ArgumentError, match="analog layer '1'"):
            optimizer.add_param_group({"params": model[1].parameters(), "momentum": 0.0, **options})
        assert len(optimizer.param_groups) == 1
        assert model[1].analog_module.get_learning_rate() == pytest.approx(0.1)

    def test_when_edited(self, model: AnalogSequential, options: dict[str, Any]) -> None:
        optimizer = AnalogSGD(model.parameters(), lr=0.7)
        model(torch.randn(2, 4)).sum().backward()
        before = [layer.get_weights() for layer in model]
        optimizer.param_groups[0].update(options)
        with pytest.raises(ArgumentError, match="pulsed weights"):
            optimizer.step()
        assert_unchanged(model, before)

    def test_when_loaded(self, model: AnalogSequential, options: dict[str, Any]) -> None:
        optimizer = AnalogSGD(model.parameters(), lr=0.7)
        state = optimizer.state_dict()
        state["param_groups"][0].update(options, lr=0.3)
        with pytest.raises(ArgumentError, match="pulsed weights"):
            optimizer.load_state_dict(state)
        assert optimizer.param_groups[0]["lr"] == 0.7


def test_adam_refuses_weight_decay(model: AnalogSequential) -> None:
    with pytest.raises(ArgumentError, match=r"weight_decay: .*lifetime"):
        AnalogAdam(model.parameters(), lr=0.1, weight_decay=0.01)
    with pytest.raises(ArgumentError, match="weight_decay"):
        AnalogOptimizer(torch.optim.AdamW, model.parameters(), lr=0.1)
    AnalogOptimizer(torch.optim.AdamW, model.parameters(), lr=0.1, weight_decay=0.0)


@pytest.mark.parametrize("name", ["OneCycleLR", "CyclicLR"])
def test_schedulers_that_set_a_momentum_are_named(model: AnalogSequential, name: str) -> None:
    make = getattr(torch.optim.lr_scheduler, name)
    args = {"total_steps": 10} if name == "OneCycleLR" else {"base_lr": 0.01}
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    make(optimizer, max_lr=0.1, **args)
    model(torch.randn(2, 4)).sum().backward()
    with pytest.raises(ArgumentError, match=r"momentum: .*cycle_momentum=False"):
        optimizer.step()
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    make(optimizer, max_lr=0.1, cycle_momentum=False, **args)
    optimizer.step()


def test_digital_groups_and_inference_tiles_have_all_options(model: AnalogSequential) -> None:
    optimizer = AnalogSGD(groups(model), lr=0.1)
    bias = model[0].analog_module.bias
    model(torch.randn(2, 4)).sum().backward()
    optimizer.step()
    assert "momentum_buffer" in optimizer.state[bias]
    inference = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig())
    AnalogSGD(inference.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)


def test_maximize_climbs(model: AnalogSequential) -> None:
    twin, x = digital_twin(model), torch.randn(6, 4)
    for one, cls in ((twin, torch.optim.SGD), (model, AnalogSGD)):
        optimizer = cls(one.parameters(), lr=0.1, maximize=True)
        one(x).square().sum().backward()
        optimizer.step()
    assert_weights(model, twin)


@pytest.mark.parametrize("order", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("limit", [0.5, 1e6])
def test_clipped_norm_is_that_of_the_gradient(
    model: AnalogSequential, order: float, limit: float
) -> None:
    twin, batches = digital_twin(model), [torch.randn(6, 4), torch.randn(2, 2, 4)]
    weights = [layer.weight for layer in twin]
    digital, analog = torch.optim.SGD(weights, lr=0.1), AnalogSGD(model.parameters(), lr=0.1)
    for x in batches:
        twin(x).square().sum().backward()
        model(x).square().sum().backward()
    expected = nn.utils.clip_grad_norm_(weights, limit, order)
    found = analog.clip_analog_norm(limit, order)
    torch.testing.assert_close(found, expected, **EXACT)
    digital.step()
    analog.step()
    assert_weights(model, twin)


def test_norm_counts_the_bias_column(perfect_config: SingleRPUConfig) -> None:
    perfect_config.mapping.digital_bias = False
    layer = AnalogLinear(2, 1, rpu_config=perfect_config)
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    layer(torch.tensor([[2.0, 3.0]])).sum().backward()
    assert float(optimizer.clip_analog_norm(1.0)) == pytest.approx(math.sqrt(4 + 9 + 1))


def test_arguments_of_clipping(model: AnalogSequential) -> None:
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    assert float(optimizer.clip_analog_norm(1.0)) == 0.0
    for wrong in (-1.0, math.nan):
        with pytest.raises(ArgumentError, match="max_norm"):
            optimizer.clip_analog_norm(wrong)
    with pytest.raises(ArgumentError, match="norm_type"):
        optimizer.clip_analog_norm(1.0, 0.0)
    model[0].analog_module.analog_ctx.store(torch.ones(1, 4), torch.full((1, 5), math.inf))
    with pytest.raises(RuntimeError, match="norm"):
        optimizer.clip_analog_norm(1.0, error_if_nonfinite=True)


def test_tiles_have_the_rate_from_the_beginning(model: AnalogSequential) -> None:
    tile = model[0].analog_module
    before = tile.get_weights()[0]
    optimizer = AnalogSGD(model[:1].parameters(), lr=1.0)
    x, d = torch.randn(1, 4), torch.randn(1, 5)
    tile.update(x, d)
    torch.testing.assert_close(tile.get_weights()[0], before - d.T @ x, **EXACT)
    optimizer.add_param_group({"params": model[1].parameters(), "lr": 0.25})
    assert model[1].analog_module.get_learning_rate() == pytest.approx(0.25)


@pytest.mark.parametrize("config", [InferenceRPUConfig, SingleRPUConfig])
def test_schedules_reach_all_tiles(config: Any) -> None:
    """The rate is that of the last step, with which a resumed run continues."""
    layer = AnalogLinear(4, 3, rpu_config=config())
    optimizer = AnalogSGD(layer.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    for rate in (1.0, 0.5, 0.25):
        layer(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        assert layer.analog_module.get_learning_rate() == pytest.approx(rate)
    resumed = copy.deepcopy(layer)
    AnalogSGD(resumed.parameters(), lr=1.0).load_state_dict(optimizer.state_dict())
    layer(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    rates = [one.analog_module.get_learning_rate() for one in (layer, resumed)]
    assert rates == [pytest.approx(0.125)] * 2


def scaler_of(scale: float) -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**6)


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda parameters: AnalogSGD(parameters, lr=0.1),
    "fused": lambda parameters: AnalogSGD(parameters, lr=0.1, fused=True),
    "adam": lambda parameters: AnalogAdam(parameters, lr=0.1),
    "other": lambda parameters: AnalogOptimizer(torch.optim.RMSprop, parameters, lr=0.1),
}


class TestGradScaler:
    def steps(self, model: AnalogSequential, optimizer: Any, scaler: Any, clip: bool) -> Tensor:
        torch.manual_seed(5)
        for _ in range(3):
            optimizer.zero_grad()
            loss = model(torch.randn(6, 4)).square().mean()
            scaler.scale(loss).backward()
            if clip:
                scaler.unscale_(optimizer)
                optimizer.unscale_analog(scaler)
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
                optimizer.clip_analog_norm(0.1)
            scaler.step(optimizer)
            scaler.update()
        return torch.cat([part.flatten() for layer in model for part in layer.get_weights()])

    @pytest.mark.parametrize("clip", [False, True])
    @pytest.mark.parametrize("kind", OPTIMIZERS)
    def test_same_steps_as_without(self, model: AnalogSequential, kind: str, clip: bool) -> None:
        """A scale that is a power of two changes no bit."""
        if kind == "fused" and not _fused_on_cpu():
            pytest.skip("this torch has no fused SGD on the CPU")
        other = copy.deepcopy(model)
        with_it = self.steps(model, OPTIMIZERS[kind](model.parameters()), scaler_of(2.0**10), clip)
        none = torch.amp.GradScaler("cpu", enabled=False)
        without = self.steps(other, OPTIMIZERS[kind](other.parameters()), none, clip)
        if clip:  # the guard against zero of clip_grad_norm_ is the same for both
            torch.testing.assert_close(with_it, without, **EXACT)
        else:
            assert torch.equal(with_it, without)

    def test_infinities_skip_the_whole_step(self, model: AnalogSequential) -> None:
        optimizer, scaler = AnalogSGD(model.parameters(), lr=0.1), scaler_of(2.0**10)
        before = [layer.get_weights() for layer in model]
        scaler.scale(model(torch.randn(6, 4)).sum() * math.inf).backward()
        scaler.step(optimizer)
        scaler.update()
        assert scaler.get_scale() == 2.0**9
        assert_unchanged(model, before)
        for layer in model:
            assert not layer.analog_module.analog_ctx.has_gradient()

    def test_scaled_errors_are_never_applied(self, model: AnalogSequential) -> None:
        optimizer, scaler = AnalogSGD(model.parameters(), lr=0.1), scaler_of(2.0**10)
        before = model[0].get_weights()[0]
        scaler.scale(model(torch.randn(6, 4)).sum()).backward()
        scaler.unscale_(optimizer)
        with pytest.raises(ArgumentError, match="unscale_analog"):
            scaler.step(optimizer)
        assert torch.equal(model[0].get_weights()[0], before)
        optimizer.unscale_analog(scaler)
        with pytest.raises(ArgumentError, match="already"):
            optimizer.unscale_analog(scaler)
        optimizer.zero_grad()
        optimizer.unscale_analog(scaler)

    @pytest.mark.parametrize("unscale", [False, True])
    def test_overflow_of_analog_errors_only(self, model: AnalogSequential, unscale: bool) -> None:
        """No digital gradient overflows, but the step is skipped and the scale reduced."""
        optimizer, scaler = AnalogSGD(model.parameters(), lr=0.1), scaler_of(2.0**10)
        before = [layer.get_weights() for layer in model]
        scaler.scale(model(torch.randn(6, 4)).sum()).backward()
        model[0].analog_module.analog_ctx.store(torch.ones(1, 4), torch.full((1, 5), math.inf))
        if unscale:
            scaler.unscale_(optimizer)
            optimizer.unscale_analog(scaler)
        scaler.step(optimizer)
        scaler.update()
        assert scaler.get_scale() == 2.0**9
        assert_unchanged(model, before)

    @pytest.mark.parametrize("clip", [False, True])
    @pytest.mark.parametrize("digital_bias", [False, True])
    def test_pulsed_weights_alone(
        self, perfect_config: SingleRPUConfig, clip: bool, digital_bias: bool
    ) -> None:
        """No parameter has a gradient in which torch could look for infinities."""
        perfect_config.mapping.digital_bias = digital_bias
        model = AnalogSequential(
            AnalogLinear(4, 5, bias=not digital_bias, rpu_config=perfect_config),
            AnalogLinear(5, 3, bias=not digital_bias, rpu_config=perfect_config),
        )
        if not digital_bias:
            assert all(isinstance(p, AnalogContext) for p in model.parameters())
        other = copy.deepcopy(model)

        def run(model: Any, scaler: Any) -> Tensor:
            optimizer = AnalogSGD(model.parameters(), lr=0.1)
            x = torch.linspace(-1.0, 1.0, 24).reshape(6, 4)
            for _ in range(2):
                optimizer.zero_grad()
                scaler.scale(model(x).square().mean()).backward()
                if clip:
                    scaler.unscale_(optimizer)
                    optimizer.unscale_analog(scaler)
                    optimizer.clip_analog_norm(0.1)
                scaler.step(optimizer)
                scaler.update()
            return torch.cat([layer.get_weights()[0].flatten() for layer in model])

        with_it = run(model, scaler_of(2.0**10))
        without = run(other, torch.amp.GradScaler("cpu", enabled=False))
        torch.testing.assert_close(with_it, without, **EXACT)

    def test_step_after_a_refused_one(self, model: AnalogSequential) -> None:
        """What the scaler has left at the optimizer does not multiply the next scale."""
        other = copy.deepcopy(model)
        x = torch.randn(6, 4)
        optimizer, scaler = AnalogSGD(model.parameters(), lr=0.1), scaler_of(2.0**10)
        scaler.scale(model(x).square().mean()).backward()
        optimizer.param_groups[0]["lr"] = math.nan
        with pytest.raises(ArgumentError, match="lr"):
            scaler.step(optimizer)
        optimizer.param_groups[0]["lr"] = 0.1
        scaler.step(optimizer)
        twin = AnalogSGD(other.parameters(), lr=0.1)
        other(x).square().mean().backward()
        twin.step()
        for layer, expected in zip(model, other, strict=True):
            for mine, right in zip(layer.get_weights(), expected.get_weights(), strict=True):
                assert torch.equal(mine, right)


def _fused_on_cpu() -> bool:
    try:
        torch.optim.SGD([nn.Parameter(torch.zeros(1))], fused=True)
    except RuntimeError:
        return False
    return True


NONSENSE: list[Any] = [
    None,
    1,
    -1.5,
    "text",
    b"a",
    [],
    {},
    {"state": {}},
    object(),
    int,
    torch.ones(2),
]


@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_is_refused_by_name(model: AnalogSequential, value: Any) -> None:
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ArgumentError, match="scaler"):
        optimizer.unscale_analog(value)
    with pytest.raises(ArgumentError, match="state_dict"):
        optimizer.load_state_dict(value)
    if not isinstance(value, int):  # an order as any other
        with pytest.raises(ArgumentError, match="norm_type"):
            optimizer.clip_analog_norm(1.0, value)
    assert optimizer.state_dict() == before


def test_groups_without_parameters_are_no_state(model: AnalogSequential) -> None:
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    state = optimizer.state_dict()
    for damaged in (
        {**state, "param_groups": [{"lr": 0.1}]},
        {**state, "param_groups": {}},
        {**state, "state": []},
        {"param_groups": state["param_groups"]},
    ):
        with pytest.raises(ArgumentError, match="state_dict"):
            optimizer.load_state_dict(damaged)


def test_norms_may_be_of_infinite_order(model: AnalogSequential) -> None:
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    model(torch.ones(2, 4)).sum().backward()
    largest = optimizer.clip_analog_norm(1e9, math.inf)
    assert float(largest) == float(optimizer.clip_analog_norm(1e9, "inf")) > 0.0  # type: ignore[arg-type]
