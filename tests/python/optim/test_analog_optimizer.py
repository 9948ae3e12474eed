"""Optimizers of analog models: what is updated, when, and with which rate."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError
from mho.nn import AnalogLinear, AnalogSequential
from mho.optim import AnalogAdam, AnalogOptimizer, AnalogSGD
from mho.optim.context import AnalogContext
from mho.simulator.configs import InferenceRPUConfig, SingleRPUConfig

# Ideal devices and exact products turn the update into W -= lr d^T x up to rounding: products of a
# few terms of order one in float32 differ by some units of 2^-24.
EXACT = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture
def layer(perfect_config: SingleRPUConfig) -> AnalogLinear:
    return AnalogLinear(4, 3, rpu_config=perfect_config)


def backward(layer: nn.Module, x: Tensor, d: Tensor) -> None:
    """Record a pair: the gradient of the output is exactly ``d``."""
    (layer(x) * d).sum().backward()


def expected(layer: AnalogLinear, pairs: list[tuple[Tensor, Tensor]], lr: float) -> Tensor:
    weight = layer.get_weights()[0]
    for x, d in pairs:
        weight = weight - lr * d.reshape(-1, 3).T @ x.reshape(-1, 4)
    return weight


def test_step_is_gradient_descent_on_ideal_devices(layer: AnalogLinear) -> None:
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    x, d = torch.randn(5, 4), torch.randn(5, 3)
    bias = layer.get_weights()[1] - 0.1 * d.sum(0)
    after = expected(layer, [(x, d)], 0.1)
    backward(layer, x, d)
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], after, **EXACT)
    torch.testing.assert_close(layer.get_weights()[1], bias, **EXACT)


def test_mixed_ranks_in_one_step(layer: AnalogLinear) -> None:
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    shapes = [(), (), (2,), (2, 3), (1, 2, 2), (0,)]
    pairs = [(torch.randn(*shape, 4), torch.randn(*shape, 3)) for shape in shapes]
    after = expected(layer, pairs, 0.1)
    for x, d in pairs:
        backward(layer, x, d)
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], after, **EXACT)


def test_accumulated_gradients_use_the_rate_of_the_step(layer: AnalogLinear) -> None:
    optimizer = AnalogSGD(layer.parameters(), lr=1.0)
    pairs = [(torch.randn(2, 4), torch.randn(2, 3)) for _ in range(3)]
    for x, d in pairs:
        backward(layer, x, d)
    after = expected(layer, pairs, 0.05)
    optimizer.param_groups[0]["lr"] = 0.05
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], after, **EXACT)
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], after, **EXACT)


def test_zero_grad_forgets_an_aborted_iteration(layer: AnalogLinear) -> None:
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    before = layer.get_weights()[0]
    backward(layer, torch.randn(2, 4), torch.randn(2, 3))
    optimizer.zero_grad()
    optimizer.step()
    assert torch.equal(layer.get_weights()[0], before)


def test_frozen_context_neither_collects_nor_changes(layer: AnalogLinear) -> None:
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    context = layer.analog_module.analog_ctx
    before = layer.get_weights()[0]
    context.requires_grad_(False)
    x = torch.randn(2, 4, requires_grad=True)
    backward(layer, x, torch.randn(2, 3))
    assert not context.has_gradient()
    assert x.grad is not None
    optimizer.step()
    assert torch.equal(layer.get_weights()[0], before)


def test_context_frozen_after_backward_is_not_updated(layer: AnalogLinear) -> None:
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    before = layer.get_weights()[0]
    backward(layer, torch.randn(2, 4), torch.randn(2, 3))
    layer.analog_module.analog_ctx.requires_grad_(False)
    optimizer.step()
    assert torch.equal(layer.get_weights()[0], before)
    assert not layer.analog_module.analog_ctx.has_gradient()


def test_zero_rate_drops_the_trace(layer: AnalogLinear) -> None:
    optimizer = AnalogSGD(layer.parameters(), lr=0.0)
    before = layer.get_weights()[0]
    backward(layer, torch.randn(2, 4), torch.randn(2, 3))
    optimizer.step()
    assert not layer.analog_module.analog_ctx.has_gradient()
    optimizer.set_learning_rate(0.1)
    optimizer.step()
    assert torch.equal(layer.get_weights()[0], before)


@pytest.mark.parametrize("config", [SingleRPUConfig(), InferenceRPUConfig()])
def test_every_tile_gets_its_after_step_work(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = AnalogSequential(
        AnalogLinear(4, 4, rpu_config=config), AnalogLinear(4, 3, rpu_config=config)
    )
    calls = []
    for name, tile in model.named_analog_tiles():
        monkeypatch.setattr(tile, "post_update_step", lambda name=name: calls.append(name))
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    optimizer.step()
    assert calls == ["0.analog_module", "1.analog_module"]


def test_non_finite_gradient_is_refused_before_the_tile_changes(layer: AnalogLinear) -> None:
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    before = layer.get_weights()[0]
    d = torch.randn(2, 3)
    d[1, 2] = float("nan")
    backward(layer, torch.randn(2, 4), d)
    with pytest.raises(ArgumentError, match="finite"):
        optimizer.step()
    assert torch.equal(layer.get_weights()[0], before)
    optimizer.step()  # nothing of it comes back
    assert torch.equal(layer.get_weights()[0], before)


def test_refused_step_changes_nothing_else(perfect_config: SingleRPUConfig) -> None:
    model = AnalogSequential(
        AnalogLinear(4, 4, rpu_config=perfect_config), AnalogLinear(4, 3, rpu_config=perfect_config)
    )
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    before = [(w.clone(), b.clone()) for w, b in (layer.get_weights() for layer in model)]
    model(torch.randn(2, 4)).sum().backward()
    pair = model[1].analog_module.analog_ctx.pairs()[0]
    model[1].analog_module.analog_ctx.store(pair.x, pair.d * float("nan"))
    with pytest.raises(ArgumentError, match="finite"):
        optimizer.step()
    for layer, (weight, bias) in zip(model, before, strict=True):
        assert torch.equal(layer.get_weights()[0], weight)
        assert torch.equal(layer.get_weights()[1], bias)
        assert not layer.analog_module.analog_ctx.has_gradient()


class TestRegroup:
    def model(self) -> AnalogSequential:
        return AnalogSequential(AnalogLinear(4, 4), nn.Linear(4, 4), AnalogLinear(4, 3, bias=False))

    def test_contexts_stand_alone_and_inherit(self) -> None:
        model = self.model()
        optimizer = AnalogSGD(
            [
                {"params": model[0].parameters(), "lr": 0.3, "foreach": False},
                {"params": model[1].parameters()},
                {"params": model[2].parameters(), "lr": 0.7},
            ],
            lr=0.1,
        )
        optimizer.regroup_param_groups(model)
        # The third layer has nothing but a context, so its old group vanishes.
        groups = [
            (group["lr"], group["foreach"], [type(p) is AnalogContext for p in group["params"]])
            for group in optimizer.param_groups
        ]
        assert groups == [
            (0.3, False, [False]),
            (0.1, None, [False, False]),
            (0.3, False, [True]),
            (0.7, None, [True]),
        ]
        assert model[0].analog_module.get_learning_rate() == pytest.approx(0.3)
        assert model[2].analog_module.get_learning_rate() == pytest.approx(0.7)

    def test_twice_is_once(self) -> None:
        model = self.model()
        optimizer = AnalogSGD(model.parameters(), lr=0.1)
        optimizer.regroup_param_groups(model)
        once = [[id(p) for p in group["params"]] for group in optimizer.param_groups]
        optimizer.regroup_param_groups()
        assert [[id(p) for p in group["params"]] for group in optimizer.param_groups] == once

    @pytest.mark.skipif(
        torch.__version__ < (2, 6), reason="optimizers keep names of parameters since torch 2.6"
    )
    def test_names_of_parameters_follow(self) -> None:
        model = self.model()
        optimizer = AnalogSGD(list(model.named_parameters()), lr=0.1)
        optimizer.regroup_param_groups(model)
        names = dict((id(p), name) for name, p in model.named_parameters())
        for group in optimizer.param_groups:
            assert group["param_names"] == [names[id(p)] for p in group["params"]]

    def test_training_does_not_depend_on_it(self) -> None:
        results = []
        for regroup in (False, True):
            torch.manual_seed(3)
            model = self.model()
            optimizer = AnalogSGD(model.parameters(), lr=0.1)
            if regroup:
                optimizer.regroup_param_groups(model)
            model(torch.ones(2, 4)).sum().backward()
            optimizer.step()
            results.append(model(torch.ones(2, 4)))
        assert torch.equal(*results)


@pytest.mark.parametrize("wrong", [None, -1.0, float("nan"), "fast"])
def test_set_learning_rate_refuses_what_is_none(layer: AnalogLinear, wrong: Any) -> None:
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    with pytest.raises(ArgumentError, match="learning_rate"):
        optimizer.set_learning_rate(wrong)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_set_learning_rate_reaches_groups_and_tiles(layer: AnalogLinear) -> None:
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    optimizer.set_learning_rate(0.02)
    assert optimizer.param_groups[0]["lr"] == 0.02
    assert layer.analog_module.get_learning_rate() == pytest.approx(0.02)


def test_scheduler_acts_at_the_next_step(layer: AnalogLinear) -> None:
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    for lr in (0.1, 0.05, 0.025):
        optimizer.zero_grad()
        x, d = torch.randn(2, 4), torch.randn(2, 3)
        after = expected(layer, [(x, d)], lr)
        backward(layer, x, d)
        optimizer.step()
        scheduler.step()
        torch.testing.assert_close(layer.get_weights()[0], after, **EXACT)


def test_rate_may_be_a_tensor(layer: AnalogLinear) -> None:
    optimizer = AnalogSGD(layer.parameters(), lr=torch.tensor(0.1), foreach=False)
    x, d = torch.randn(2, 4), torch.randn(2, 3)
    after = expected(layer, [(x, d)], 0.1)
    backward(layer, x, d)
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], after, **EXACT)


def test_closure_is_evaluated_with_gradients(layer: AnalogLinear) -> None:
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    x, d = torch.randn(2, 4), torch.randn(2, 3)
    after = expected(layer, [(x, d)], 0.1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (layer(x) * d).sum()
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    assert loss.requires_grad
    torch.testing.assert_close(layer.get_weights()[0], after, **EXACT)


def test_step_hooks_run_once(layer: AnalogLinear) -> None:
    nn_layer = nn.Linear(2, 2)
    torch.optim.SGD(nn_layer.parameters(), lr=0.1)  # from now on torch has wrapped SGD.step
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    calls: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    optimizer.step()
    assert calls == ["before", "after"]


def test_gradient_clipping_passes_over_contexts(layer: AnalogLinear) -> None:
    backward(layer, torch.randn(2, 4), torch.randn(2, 3))
    norm = nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
    assert torch.isfinite(norm)


def test_identity_of_the_context_survives_loading(layer: AnalogLinear) -> None:
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    context = layer.analog_module.analog_ctx
    layer.load_state_dict(copy.deepcopy(layer.state_dict()))
    layer.replace_rpu_config(layer.analog_module.rpu_config)
    assert layer.analog_module.analog_ctx is context
    x, d = torch.randn(2, 4), torch.randn(2, 3)
    after = expected(layer, [(x, d)], 0.1)
    backward(layer, x, d)
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], after, **EXACT)


def test_state_dict_round_trip(layer: AnalogLinear) -> None:
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    backward(layer, torch.randn(2, 4), torch.randn(2, 3))
    optimizer.step()
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    other = AnalogSGD(layer.parameters(), lr=0.3)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert other.param_groups[0]["lr"] == 0.1
    assert layer.analog_module.get_learning_rate() == pytest.approx(0.1)
    x, d = torch.randn(2, 4), torch.randn(2, 3)
    after = expected(layer, [(x, d)], 0.1)
    other.zero_grad()
    backward(layer, x, d)
    other.step()
    torch.testing.assert_close(layer.get_weights()[0], after, **EXACT)


class Rate(torch.optim.SGD):
    """Another optimizer, whose class can be found by pickle."""


class TestAnalogOptimizer:
    def test_is_an_instance_of_both(self, layer: AnalogLinear) -> None:
        optimizer = AnalogOptimizer(Rate, layer.parameters(), lr=0.1)
        assert isinstance(optimizer, Rate) and isinstance(optimizer, AnalogOptimizer)
        assert type(optimizer).__name__ == "AnalogOptimizerRate"
        torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

    def test_updates(self, layer: AnalogLinear) -> None:
        optimizer = AnalogOptimizer(torch.optim.RMSprop, layer.parameters(), lr=0.1)
        x, d = torch.randn(2, 4), torch.randn(2, 3)
        after = expected(layer, [(x, d)], 0.1)
        backward(layer, x, d)
        optimizer.step()
        torch.testing.assert_close(layer.get_weights()[0], after, **EXACT)

    def test_classes_of_the_same_name_stay_apart(self, layer: AnalogLinear) -> None:
        def local() -> type[torch.optim.SGD]:
            class Local(torch.optim.SGD):
                pass

            return Local

        first, second = local(), local()
        one = AnalogOptimizer(first, layer.parameters(), lr=0.1)
        two = AnalogOptimizer(second, layer.parameters(), lr=0.1)
        assert isinstance(one, first) and not isinstance(one, second)
        assert isinstance(two, second) and not isinstance(two, first)
        assert type(AnalogOptimizer(first, layer.parameters(), lr=0.1)) is type(one)

    @pytest.mark.parametrize("wrong", [int, "SGD", nn.Linear, None])
    def test_other_classes_are_refused(self, layer: AnalogLinear, wrong: Any) -> None:
        with pytest.raises(ArgumentError, match="optimizer_cls"):
            AnalogOptimizer(wrong, layer.parameters(), lr=0.1)


def make_optimizer(kind: str, parameters: Any) -> Any:
    if kind == "AnalogOptimizer":
        return AnalogOptimizer(Rate, parameters, lr=0.1)
    return {"AnalogSGD": AnalogSGD, "AnalogAdam": AnalogAdam}[kind](parameters, lr=0.1)


def through_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, through_pickle])
@pytest.mark.parametrize("kind", ["AnalogSGD", "AnalogAdam", "AnalogOptimizer"])
@pytest.mark.parametrize("order", ["model first", "optimizer first"])
def test_copies_stay_connected_to_the_copied_model(
    layer: AnalogLinear, kind: str, order: str, duplicate: Any
) -> None:
    optimizer = make_optimizer(kind, layer.parameters())
    if order == "model first":
        new_layer, new_optimizer = duplicate((layer, optimizer))
    else:
        new_optimizer, new_layer = duplicate((optimizer, layer))
    assert type(new_optimizer) is type(optimizer)
    before = layer.get_weights()[0]
    x, d = torch.randn(2, 4), torch.randn(2, 3)
    after = expected(new_layer, [(x, d)], 0.1)
    backward(new_layer, x, d)
    new_optimizer.step()
    torch.testing.assert_close(new_layer.get_weights()[0], after, **EXACT)
    assert torch.equal(layer.get_weights()[0], before)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, through_pickle])
def test_a_copied_optimizer_alone_works_on_tiles_of_its_own(
    layer: AnalogLinear, duplicate: Any
) -> None:
    optimizer = duplicate(make_optimizer("AnalogSGD", layer.parameters()))
    contexts = [p for p in optimizer.param_groups[0]["params"] if isinstance(p, AnalogContext)]
    assert len(contexts) == 1
    assert contexts[0].analog_tile is not layer.analog_module
    optimizer.step()


def test_inference_tiles_are_trained_by_torch() -> None:
    layer = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig())
    optimizer = AnalogSGD(layer.parameters(), lr=0.1, momentum=0.9)
    before = layer.get_weights()[0]
    for _ in range(2):
        optimizer.zero_grad()
        layer(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    assert not torch.equal(layer.get_weights()[0], before)
    assert optimizer.state[layer.analog_module.shared_weights]["momentum_buffer"].shape == (3, 4)
    assert not layer.analog_module.analog_ctx.has_gradient()
