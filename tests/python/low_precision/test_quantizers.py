"""Levels, their gradients, estimators of ranges, and when ranges change."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mho.exceptions import ArgumentError, StateError
from mho.simulator.digital_low_precision.base_quantized_classes import QuantizedActivation
from mho.simulator.digital_low_precision.quantization_manager import (
    Qstates,
    QuantizationManager,
)
from mho.simulator.digital_low_precision.quantizers import (
    AsymmetricUniformQuantizer,
    QMethods,
    QuantizerNotInitializedError,
    SymmetricUniformQuantizer,
    floor_ste_func,
    round_ste_func,
)
from mho.simulator.digital_low_precision.range_estimators import (
    AllMinMaxEstimator,
    CrossEntropyEstimator,
    CurrentMinMaxEstimator,
    MSE_Estimator,
    NoDataPassedError,
    RunningMinMaxEstimator,
)
from mho.simulator.parameters.enums import OptMethod, RangeEstimators

KINDS = [SymmetricUniformQuantizer, AsymmetricUniformQuantizer]
X = torch.tensor([-1.3, -0.61, -0.2, 0.0, 0.07, 0.5, 0.9, 2.1])


def expected_symmetric(x: Tensor, low: float, high: float, bits: int) -> Tensor:
    """Return the levels by the definition."""
    if low < 0:
        step = max(-low, high) / (2 ** (bits - 1) - 1)
        return step * torch.clamp(torch.round(x / step), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    step = high / (2**bits - 1)
    return step * torch.clamp(torch.round(x / step), 0, 2**bits - 1)


def expected_asymmetric(x: Tensor, low: float, high: float, bits: int) -> Tensor:
    """Return the levels by the definition."""
    step = (high - low) / (2**bits - 1)
    zero = round(-low / step)
    return step * (torch.clamp(torch.round(x / step) + zero, 0, 2**bits - 1) - zero)


@pytest.mark.parametrize("bits", [2, 3, 8, 16])
@pytest.mark.parametrize(("low", "high"), [(-1.0, 0.96), (-0.4, 1.5), (0.0, 0.8), (-1.5, 0.0)])
def test_levels(bits: int, low: float, high: float) -> None:
    for cls, expected in (
        (SymmetricUniformQuantizer, expected_symmetric),
        (AsymmetricUniformQuantizer, expected_asymmetric),
    ):
        quantizer = cls(bits)
        quantizer.set_quant_range(low, high)
        torch.testing.assert_close(quantizer(X), expected(X, low, high, bits), rtol=1e-5, atol=1e-6)
        levels = quantizer(torch.linspace(-3, 3, 5001)).unique()
        assert 2 <= len(levels) <= 2**bits
        assert torch.equal(quantizer(quantizer(X)), quantizer(X))
        torch.testing.assert_close(levels.min(), quantizer.x_min.squeeze())
        torch.testing.assert_close(levels.max(), quantizer.x_max.squeeze())
        integers = quantizer.to_integer_forward(X)
        assert torch.equal(integers, integers.round())


@pytest.mark.parametrize("cls", KINDS)
def test_channels(cls: Any) -> None:
    x = torch.randn(4, 3, 5)
    quantizer = cls(4, per_channel=True, axis=1)
    low, high = x.amin((0, 2)), x.amax((0, 2))
    quantizer.set_quant_range(low, high)
    for c in range(3):
        alone = cls(4)
        alone.set_quant_range(low[c], high[c])
        torch.testing.assert_close(quantizer(x)[:, c], alone(x[:, c]))
    other = cls(4, per_channel=True, axis=1)
    other.load_state_dict(quantizer.state_dict())
    assert torch.equal(other(x), quantizer(x))


def test_zero_is_a_level() -> None:
    for cls in KINDS:
        quantizer = cls(3)
        quantizer.set_quant_range(0.3, 0.9)  # widened to zero
        assert quantizer(torch.zeros(1)).item() == 0.0


@pytest.mark.parametrize("cls", KINDS)
@pytest.mark.parametrize("domain", ["linear", "log"])
def test_gradients(cls: Any, domain: str) -> None:
    """Straight through within the range; of the step those of `step * clamp(round(x / step))`."""
    quantizer = cls(4, scale_domain=domain)
    quantizer.set_quant_range(-1.0, 1.0)
    x = X.clone().requires_grad_()
    quantizer(x).sum().backward()
    inside = (X > quantizer.x_min - 0.05) & (X < quantizer.x_max + 0.05)
    assert torch.equal(x.grad, inside.float())
    quantizer.make_range_trainable()
    quantizer.learning = True
    step = quantizer.delta.detach()
    quantizer(X).sum().backward()
    ticks = X / step
    lowest, highest = (quantizer.x_min / step).detach(), (quantizer.x_max / step).detach()
    each = torch.where(inside, ticks.round() - ticks, ticks.clamp(lowest, highest).round())
    wanted = each.sum() * (step if domain == "log" else 1.0)
    torch.testing.assert_close(
        quantizer._delta.grad.squeeze(), wanted.squeeze(), rtol=1e-4, atol=1e-4
    )


def test_straight_through_functions() -> None:
    x = torch.tensor([0.5, 1.5, -0.7], requires_grad=True)
    assert round_ste_func(x).tolist() == [0.0, 2.0, -1.0]
    assert floor_ste_func(x).tolist() == [0.0, 1.0, -1.0]
    (round_ste_func(x) + 2 * floor_ste_func(x)).sum().backward()
    assert x.grad.tolist() == [3.0] * 3


@pytest.mark.parametrize("bits", [1, 0, -3, 33, 2.0, True, None])
def test_refused_bits(bits: Any) -> None:
    for cls in KINDS:
        with pytest.raises(ArgumentError, match="n_bits"):
            cls(bits)


def test_without_range() -> None:
    for cls in KINDS:
        with pytest.raises(QuantizerNotInitializedError, match="no range"):
            cls(4)(X)
        quantizer = cls(4)
        quantizer.set_quant_range(-1, 1)
        quantizer.reset()
        assert not quantizer.is_initialized


# --- estimators -------------------------------------------------------------------------------


def batches() -> list[Tensor]:
    """Return three batches of different ranges."""
    torch.manual_seed(0)
    return [scale * torch.randn(50) for scale in (1.0, 3.0, 0.5)]


def test_minima_and_maxima() -> None:
    given = batches()
    current, every, running = (
        CurrentMinMaxEstimator(),
        AllMinMaxEstimator(),
        RunningMinMaxEstimator(momentum=0.7),
    )
    low, high = given[0].min(), given[0].max()
    for i, x in enumerate(given):
        if i:
            low, high = 0.7 * low + 0.3 * x.min(), 0.7 * high + 0.3 * x.max()
        assert [v.item() for v in current(x)] == [x.min().item(), x.max().item()]
        seen = torch.cat(given[: i + 1])
        assert [v.item() for v in every(x)] == [seen.min().item(), seen.max().item()]
        torch.testing.assert_close(torch.stack(running(x)).squeeze(), torch.stack([low, high]))


def test_percentiles() -> None:
    x = torch.randn(2, 1001)
    low, high = CurrentMinMaxEstimator(percentile=2.0, per_channel=True)(x)
    torch.testing.assert_close(low, x.quantile(0.02, dim=1))
    torch.testing.assert_close(high, x.quantile(0.98, dim=1))


@pytest.mark.parametrize(
    "estimator", [CurrentMinMaxEstimator, AllMinMaxEstimator, RunningMinMaxEstimator]
)
def test_broken_and_empty_batches_change_nothing(estimator: Any) -> None:
    found = estimator()
    with pytest.raises(NoDataPassedError):
        found(torch.zeros(0))
    before = [v.clone() for v in found(torch.tensor([-1.0, 2.0]))]
    for x in (torch.tensor([math.nan, 5.0]), torch.tensor([math.inf, -math.inf]), torch.zeros(0)):
        assert [v.item() for v in found(x)] == [v.item() for v in before]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("estimator", RangeEstimators)
def test_a_broken_first_batch_is_none(
    estimator: RangeEstimators, per_channel: bool, training: bool
) -> None:
    """In evaluation a range that is unknown is that of the first batch, for good."""
    options = {} if estimator is RangeEstimators.cross_entropy else {"per_channel": per_channel}
    found, other = (QuantizationManager(init=estimator, **options) for _ in range(2))  # type: ignore[arg-type]
    for one in (found, other):
        one.estimate_ranges_train()
        one.train(training)
    broken = torch.tensor([[1.0, math.nan], [2.0, 3.0]])
    torch.testing.assert_close(found(broken)[1], broken[1], rtol=0.02, atol=0.0)
    x = torch.tensor([[1.0, -2.0], [4.0, 3.0]])
    assert torch.equal(found(x), other(x))
    assert torch.equal(found.quantizer.delta, other.quantizer.delta)


def brute_force(x: Tensor, quantizer: Any) -> float:
    """Return the smallest squared error over ranges."""
    best = math.inf
    other = copy.deepcopy(quantizer)
    for f in torch.linspace(0.02, 1.5, 400):
        other.set_quant_range(f * x.min(), f * x.max())
        best = min(best, (other(x) - x).square().sum().item())
    return best


@pytest.mark.parametrize("method", OptMethod)
@pytest.mark.parametrize("cls", KINDS)
@pytest.mark.parametrize("shift", [0.0, 4.0])
def test_squared_error(cls: Any, method: OptMethod, shift: float) -> None:
    torch.manual_seed(1)
    x = torch.randn(2000) + shift
    quantizer = cls(3)
    estimator = MSE_Estimator(quantizer=quantizer, opt_method=method, num_candidates=200)
    quantizer.set_quant_range(*estimator(x))
    found = (quantizer(x) - x).square().sum().item()
    assert found <= 1.05 * brute_force(x, quantizer)
    plain = cls(3)
    plain.set_quant_range(x.min(), x.max())
    assert found < (plain(x) - x).square().sum().item()


def test_squared_error_of_channels() -> None:
    torch.manual_seed(2)
    x = torch.randn(3, 500) * torch.tensor([[1.0], [5.0], [0.1]])
    quantizer = SymmetricUniformQuantizer(3, per_channel=True)
    low, high = MSE_Estimator(
        quantizer=quantizer, per_channel=True, opt_method=OptMethod.golden_section
    )(x)
    for c in range(3):
        alone = MSE_Estimator(
            quantizer=SymmetricUniformQuantizer(3), opt_method=OptMethod.golden_section
        )
        torch.testing.assert_close(torch.stack([low[c], high[c]]), torch.cat(alone(x[c])))


def test_cross_entropy() -> None:
    torch.manual_seed(3)
    logits = 3 * torch.randn(200, 10)
    quantizer = SymmetricUniformQuantizer(3)
    estimator = CrossEntropyEstimator(quantizer=quantizer, num_candidates=100)
    quantizer.set_quant_range(*estimator(logits))

    def loss(levels: Tensor) -> float:
        return float(-(logits.softmax(-1) * levels.log_softmax(-1)).sum())

    best = math.inf
    other = SymmetricUniformQuantizer(3)
    for f in torch.linspace(0.05, 1.5, 100):
        other.set_quant_range(-f * logits.abs().max(), f * logits.abs().max())
        best = min(best, loss(other(logits)))
    assert loss(quantizer(logits)) <= best * 1.001
    with pytest.raises(ArgumentError, match="per_channel"):
        CrossEntropyEstimator(quantizer=quantizer, per_channel=True)


def test_refused_settings() -> None:
    for build, name in (
        (lambda: CurrentMinMaxEstimator(percentile=50.0), "percentile"),
        (lambda: RunningMinMaxEstimator(momentum=1.0), "momentum"),
        (lambda: MSE_Estimator(), "quantizer"),
        (lambda: MSE_Estimator(0, quantizer=SymmetricUniformQuantizer(4)), "num_candidates"),
        (lambda: CurrentMinMaxEstimator(n_groups=2), "n_groups"),
    ):
        with pytest.raises(ArgumentError, match=name):
            build()


# --- when ranges change -----------------------------------------------------------------------


def step_of(manager: QuantizationManager) -> float:
    """Return the step."""
    return manager.quantizer.delta.item()


def test_states() -> None:
    wide, narrow = torch.tensor([-4.0, 4.0]), torch.tensor([-1.0, 1.0])
    manager = QuantizationManager(qparams={"n_bits": 4})
    manager(wide)
    assert step_of(manager) == pytest.approx(4 / 7)
    manager(narrow)
    assert step_of(manager) == pytest.approx(1 / 7)
    manager.fix_ranges()
    manager(wide)
    assert step_of(manager) == pytest.approx(1 / 7)
    manager.estimate_ranges_train()
    manager.eval()(wide)
    assert step_of(manager) == pytest.approx(1 / 7)
    manager.train()(wide)
    assert step_of(manager) == pytest.approx(4 / 7)
    manager.learn_ranges()
    assert manager.is_learning() and isinstance(manager.quantizer._delta, torch.nn.Parameter)
    manager(narrow).sum().backward()
    assert step_of(manager) == pytest.approx(4 / 7)
    assert manager.quantizer._delta.grad is not None
    manager.reset_ranges()
    manager(narrow)
    assert step_of(manager) == pytest.approx(1 / 7)


def test_first_batch_in_evaluation_gives_the_range() -> None:
    manager = QuantizationManager().eval()
    manager.estimate_ranges_train()
    manager(torch.tensor([-2.0, 2.0]))
    manager(torch.tensor([-9.0, 9.0]))
    assert step_of(manager) == pytest.approx(2 / 127)


@pytest.mark.parametrize("method", QMethods)
@pytest.mark.parametrize("state", Qstates)
def test_saved_state(method: QMethods, state: Qstates) -> None:
    manager = QuantizationManager(method, RangeEstimators.running_minmax, qparams={"n_bits": 5})
    manager(3 * X)
    getattr(manager, state.name)()
    other = QuantizationManager(method, RangeEstimators.running_minmax, qparams={"n_bits": 5})
    other.load_state_dict(manager.state_dict())
    copied = copy.deepcopy(manager)
    for twin in (other, copied):
        assert twin.state is state
        for x in (X, 2 * X):
            first = copy.deepcopy(manager)
            assert torch.equal(twin(x), first(x)) or state is not Qstates.fix_ranges
            break
    damaged = {**manager.state_dict(), "_qstate": torch.tensor([9.0])}
    with pytest.raises(StateError, match="_qstate"):
        other.load_state_dict(damaged)


def test_activations() -> None:
    module = QuantizedActivation(n_bits=4, act_range_method=RangeEstimators.current_minmax)
    assert torch.equal(module(X), X)
    module.quantized_acts()
    torch.testing.assert_close(
        module(X), expected_asymmetric(X, X.min().item(), X.max().item(), 4), rtol=1e-5, atol=1e-6
    )
    module.full_precision()
    assert torch.equal(module(X), X)
    off = QuantizedActivation(n_bits=0)
    off.quantized()
    assert torch.equal(off(X), X)
