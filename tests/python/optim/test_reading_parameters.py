"""Whatever walks over the parameters of a model meets each weight matrix once, and can read it."""

import copy
import pickle
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mho.exceptions import ModuleError
from mho.nn import AnalogLinear, AnalogSequential
from mho.optim import AnalogOptimizer, AnalogSGD
from mho.optim.context import AnalogContext
from mho.simulator.configs import InferenceRPUConfig, SingleRPUConfig, TorchInferenceRPUConfig

TRAINED: dict[str, Callable[[], Any]] = {
    "inference": InferenceRPUConfig,
    "torch": TorchInferenceRPUConfig,
}
ALL: dict[str, Callable[[], Any]] = {**TRAINED, "pulsed": SingleRPUConfig}


def model(config: Callable[[], Any]) -> AnalogSequential:
    torch.manual_seed(1)
    return AnalogSequential(
        AnalogLinear(4, 5, rpu_config=config()), nn.Tanh(), AnalogLinear(5, 3, rpu_config=config())
    )


def weights(analog: nn.Module) -> Tensor:
    layers = [layer for layer in analog.modules() if isinstance(layer, AnalogLinear)]
    return torch.cat([part.flatten() for layer in layers for part in layer.get_weights()])


def train(analog: nn.Module, optimizer: Any, steps: int = 3) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        analog(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ALL)
def test_each_number_is_counted_once(name: str) -> None:
    analog = model(ALL[name])
    assert sum(p.numel() for p in analog.parameters()) == (4 * 5 + 5) + (5 * 3 + 3)
    assert len(list(analog.parameters())) == 4


@pytest.mark.parametrize("name", ALL)
def test_values_are_those_of_the_layers(name: str) -> None:
    analog = model(ALL[name])
    found = parameters_to_vector(analog.parameters())
    assert torch.equal(found.sort().values, weights(analog).sort().values)
    for parameter in analog.parameters():
        assert torch.equal(parameter.clone(), parameter.detach() + 0.0)
        assert parameter.norm() == torch.linalg.vector_norm(parameter.data)
        assert torch.histc(parameter, 5).sum() == parameter.numel()
        assert dir(parameter) and parameter.type()
        if hasattr(torch.Tensor, "has_names"):  # torch 2.15 has no names of axes any more
            assert not parameter.has_names()


@pytest.mark.parametrize("name", TRAINED)
def test_weights_are_no_buffers(name: str) -> None:
    analog = model(TRAINED[name])
    storages = {p.untyped_storage().data_ptr() for p in analog.parameters()}
    assert not storages & {b.untyped_storage().data_ptr() for b in analog.buffers()}


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_vectors_are_written_back(name: str, duplicate: Any) -> None:
    analog = duplicate(model(TRAINED[name]))
    before = parameters_to_vector(analog.parameters()).detach()
    vector_to_parameters(2 * before, analog.parameters())
    assert torch.equal(weights(analog).sort().values, (2 * before).sort().values)


@pytest.mark.parametrize("name", TRAINED)
def test_moving_averages(name: str) -> None:
    analog = model(TRAINED[name])
    averaged = AveragedModel(analog, multi_avg_fn=get_ema_multi_avg_fn(0.75))
    optimizer = AnalogSGD(analog.parameters(), lr=0.5)
    expected = None
    for _ in range(4):
        train(analog, optimizer, 1)
        averaged.update_parameters(analog)
        now = weights(analog)
        expected = now if expected is None else 0.75 * expected + 0.25 * now
    torch.testing.assert_close(weights(averaged), expected)
    assert not torch.allclose(weights(averaged), weights(analog))


@pytest.mark.parametrize("name", TRAINED)
def test_lbfgs_trains(name: str) -> None:
    analog = model(TRAINED[name])
    before = weights(analog)
    optimizer = torch.optim.LBFGS(analog.parameters(), lr=0.1)
    x = torch.randn(8, 4)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = analog(x).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert not torch.equal(weights(analog), before)


@pytest.mark.parametrize("kind", ["torch", "analog"])
@pytest.mark.parametrize("is_frozen", [False, True])
def test_lbfgs_of_pulsed_weights_is_refused(kind: str, is_frozen: bool) -> None:
    """It would move the parameters before them and then fail, in the middle of a step."""
    analog = nn.Sequential(nn.Linear(4, 4), model(SingleRPUConfig))
    analog[1].requires_grad_(not is_frozen)
    make: Any = torch.optim.LBFGS
    if kind == "analog":
        make = partial(AnalogOptimizer, torch.optim.LBFGS)
    optimizer = make(analog.parameters(), lr=0.1)
    before = [value.clone() for value in analog.state_dict().values()]

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = analog(torch.ones(2, 4)).square().mean()
        loss.backward()
        return loss

    with pytest.raises(ModuleError, match="LBFGS moves all parameters"):
        optimizer.step(closure)
    assert all(map(torch.equal, before, analog.state_dict().values()))
    trained = [p for p in analog.parameters() if not isinstance(p, AnalogContext)]
    analog[1].requires_grad_(False)
    optimizer = make(trained, lr=0.1)
    optimizer.step(closure)


def test_averages_of_pulsed_weights_are_refused() -> None:
    analog = model(SingleRPUConfig)
    with pytest.raises(RuntimeError, match="read-only"):
        AveragedModel(analog).update_parameters(analog)


def test_contexts_are_found_among_parameters_of_pulsed_models() -> None:
    found = [p for p in model(SingleRPUConfig).parameters() if isinstance(p, AnalogContext)]
    assert len(found) == 2
    assert [p.analog_tile.analog_ctx is p for p in found] == [True, True]


@pytest.mark.parametrize("name", TRAINED)
def test_training_without_contexts_trains_the_weights(name: str) -> None:
    """As with aihwkit, where contexts of inference tiles have nothing to do with training."""
    analog = model(TRAINED[name])
    digital = [p for p in analog.parameters() if not isinstance(p, AnalogContext)]
    before = weights(analog)
    train(analog, torch.optim.SGD(digital, lr=0.5))
    assert not torch.equal(weights(analog), before)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("by", ["class", "name"])
def test_scripts_that_sort_parameters_train_everything(name: str, by: str) -> None:
    """Two groups, as ported scripts make them: the first one is empty for trained weights."""
    analog = model(ALL[name])
    found: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for path, parameter in analog.named_parameters():
        is_context = isinstance(parameter, AnalogContext)
        found[is_context if by == "class" else "analog_ctx" in path].append(parameter)
    assert len(found[True]) == (2 if name == "pulsed" else 0)
    groups = [{"params": found[True], "lr": 0.2}, {"params": found[False], "lr": 0.1}]
    optimizer = AnalogSGD(groups, lr=0.5)
    optimizer.regroup_param_groups(analog)
    before = [layer.get_weights() for layer in analog.analog_layers()]
    train(analog, optimizer)
    for layer, (weight, bias) in zip(analog.analog_layers(), before, strict=True):
        assert not torch.equal(layer.get_weights()[0], weight)
        assert not torch.equal(layer.get_weights()[1], bias)


@pytest.mark.parametrize("name", TRAINED)
def test_context_of_a_trained_tile(name: str) -> None:
    """It is frozen and released with its parameter, and shows the logical weights."""
    layer = AnalogLinear(4, 3, rpu_config=TRAINED[name]())
    tile = layer.analog_module
    context, parameter = tile.analog_ctx, tile.trained_parameter()
    assert isinstance(context, AnalogContext) and context.requires_grad
    context.requires_grad_(False)
    assert not parameter.requires_grad and not context.requires_grad
    tile.bias.requires_grad_(False)
    assert not layer(torch.randn(2, 4)).requires_grad
    parameter.requires_grad_(True)
    assert context.requires_grad
    assert torch.equal(context.get_data(), layer.get_weights()[0])
    new = copy.deepcopy(layer)
    assert new.analog_module.analog_ctx is not context
    assert new.analog_module.trained_parameter() is not parameter


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_optimizers_find_the_tiles_of_parameters(name: str, duplicate: Any) -> None:
    analog = model(TRAINED[name])
    analog, optimizer = duplicate((analog, AnalogSGD(analog.parameters(), lr=0.1)))
    calls = []
    for tile in analog.analog_tiles():
        tile.post_update_step = lambda tile=tile: calls.append(tile)
    train(analog, optimizer, 1)
    assert calls == list(analog.analog_tiles())


def test_the_recipes_of_the_documentation_work() -> None:
    text = (Path(__file__).parents[3] / "docs" / "averaging.md").read_text()
    space: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(block, space)
    assert not torch.allclose(weights(space["averaged"]), weights(space["model"]))
    averaged = space["average"].module[0].weight
    assert not torch.equal(averaged, space["pulsed"][0].get_weights()[0])
