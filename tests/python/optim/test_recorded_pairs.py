"""Recorded pairs are gradients: own memory, and recorded where a backward pass accumulates."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mho.nn import AnalogLinear, AnalogSequential
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.tiles.custom import CustomRPUConfig

# Some versions of torch make a context of autocast in checkpoints under its old name.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.cpu.amp.autocast:FutureWarning")


def perfect(config: Any) -> Any:
    """A configuration with exact products."""
    if hasattr(config, "forward"):
        config.forward.is_perfect = config.backward.is_perfect = True
    return config


RECORDING: dict[str, Callable[[], Any]] = {
    "ideal": lambda: perfect(SingleRPUConfig(device=IdealDevice())),
    "pulsed": SingleRPUConfig,
    "floating point": FloatingPointRPUConfig,
    "custom": CustomRPUConfig,
}
FOLLOWING: dict[str, Callable[[], Any]] = {
    "inference": InferenceRPUConfig,
    "torch": TorchInferenceRPUConfig,
}


def build(kind: str, bias: bool = False) -> AnalogLinear:
    """A layer whose weights and noise depend on nothing but the kind."""
    torch.manual_seed(0)
    return AnalogLinear(4, 3, bias=bias, rpu_config={**RECORDING, **FOLLOWING}[kind]())


def weights(layer: nn.Module) -> Tensor:
    """Logical weights of a layer."""
    found: Tensor = layer.get_weights()[0]  # type: ignore[operator]
    return found.clone()


def pairs(layer: AnalogLinear) -> list[Any]:
    """Recorded pairs of a layer."""
    found: list[Any] = layer.analog_module.analog_ctx.pairs()
    return found


def compiled(layer: AnalogLinear) -> Any:
    """The layer in a graph."""
    torch._dynamo.reset()
    return torch.compile(layer, backend="aot_eager", fullgraph=True)


CALLS: dict[str, Callable[[AnalogLinear], Any]] = {
    "eager": lambda layer: layer,
    "compiled": compiled,
    "checkpoint": lambda layer: lambda x: checkpoint(layer, x, use_reentrant=False),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", RECORDING)
@pytest.mark.parametrize("shape", [(5, 4), (1, 4), (4,)])
def test_gradients_of_others_are_theirs(kind: str, call: str, shape: tuple[int, ...]) -> None:
    """Clipping what shares the gradient of the output in place changes no pulse."""
    if kind == "custom" and call == "compiled":
        pytest.skip("tiles in Python are not compiled")
    steps = []
    for clips in (False, True):
        layer = build(kind)
        shift = nn.Parameter(torch.zeros((*shape[:-1], 3)).flatten())
        optimizer = AnalogSGD([*layer.parameters(), shift], lr=0.1)
        before = weights(layer)
        torch.manual_seed(1)
        y = CALLS[call](layer)(torch.rand(shape))
        ((y + shift.view(y.shape)) * torch.rand(y.shape)).sum().backward()
        if clips:
            nn.utils.clip_grad_norm_([shift], 1e-6)
        optimizer.step()
        steps.append(weights(layer) - before)
    assert bool(steps[0].any()) and torch.equal(*steps)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", [*RECORDING, *FOLLOWING])
def test_an_input_buffer_may_be_used_again(kind: str, call: str) -> None:
    """After the backward pass the input belongs to the caller, as with `nn.Linear`."""
    if kind == "custom" and call == "compiled":
        pytest.skip("tiles in Python are not compiled")
    results = []
    for reuses in (False, True):
        layer = build(kind)
        optimizer, function = AnalogSGD(layer.parameters(), lr=0.1), CALLS[call](layer)
        buffer = torch.empty(8, 4)
        torch.manual_seed(2)
        for batch in [torch.rand(8, 4) for _ in range(2)]:
            function(buffer.copy_(batch) if reuses else batch).square().mean().backward()
        buffer.zero_()
        optimizer.step()
        results.append(weights(layer))
    assert torch.equal(*results)


def test_inputs_changed_before_the_backward_pass_are_refused() -> None:
    layer, x = build("ideal"), torch.rand(2, 4)
    y = layer(x)
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


NOT_ACCUMULATING: dict[str, Callable[[Tensor, Tensor, list[Any]], Any]] = {
    "grad": lambda loss, x, p: torch.autograd.grad(loss, x),
    "grad of all": lambda loss, x, p: torch.autograd.grad(loss, [x, *p], allow_unused=True),
    "recorded grad": lambda loss, x, p: torch.autograd.grad(loss, x, create_graph=True),
    "backward": lambda loss, x, p: loss.backward(inputs=[x]),
    "function": lambda loss, x, p: torch.autograd.backward(loss, inputs=x),
}


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True:UserWarning")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", [*RECORDING, *FOLLOWING])
def test_gradients_of_inputs_alone_train_nothing(kind: str, call: str) -> None:
    """All ways one after another, for a layer takes longer to compile than they do."""
    if call == "compiled" and kind == "custom":
        pytest.skip("tiles in Python are not compiled")
    layer = build(kind)
    optimizer, before = AnalogSGD(layer.parameters(), lr=0.1), weights(layer)
    function = CALLS[call](layer)
    for way, run in NOT_ACCUMULATING.items():
        if call == "checkpoint" and "grad" in way:
            continue  # refused by torch
        if call == "compiled" and way == "recorded grad":
            continue  # not in graphs
        x = torch.rand(5, 4, requires_grad=True)
        run(function(x).sum(), x, list(layer.parameters()))
        assert not pairs(layer), way
        optimizer.step()
        assert torch.equal(weights(layer), before), way


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", RECORDING)
def test_named_parameters_record(kind: str, call: str) -> None:
    """`inputs` with the parameters of the model does what a plain backward pass does."""
    if kind == "custom" and call == "compiled":
        pytest.skip("tiles in Python are not compiled")
    traces = []
    for named in (False, True):
        layer = build(kind)
        loss = CALLS[call](layer)(torch.linspace(0, 1, 20).reshape(5, 4)).square().sum()
        loss.backward(inputs=list(layer.parameters()) if named else None)
        (pair,) = pairs(layer)
        traces.append(pair)
    assert torch.equal(traces[0].x, traces[1].x) and torch.equal(traces[0].d, traces[1].d)


@pytest.mark.parametrize("kind", ["ideal", "inference"])
def test_adversarial_training(kind: str) -> None:
    """Attacks between steps change nothing but the inputs."""
    results = []
    for clears in (False, True):
        layer = build(kind, True)
        perfect(layer.analog_module.rpu_config)
        optimizer, x = AnalogSGD(layer.parameters(), lr=0.1), torch.linspace(0, 1, 32).view(8, 4)
        for _ in range(3):
            optimizer.zero_grad()
            given = x.clone().requires_grad_()
            (slope,) = torch.autograd.grad(layer(given).square().sum(), given)
            if clears:
                optimizer.zero_grad()
            layer(x + 0.1 * slope.sign()).square().mean().backward()
            optimizer.step()
        results.append(weights(layer))
    assert torch.equal(*results)


def test_a_kept_graph_records_each_pass() -> None:
    layer, x = build("ideal"), torch.rand(5, 4, requires_grad=True)
    loss = layer(x).sum()
    torch.autograd.grad(loss, x, retain_graph=True)
    loss.backward(retain_graph=True)
    loss.backward()
    assert len(pairs(layer)) == 2


def test_a_pass_inside_of_another_one() -> None:
    """Which gradients accumulate is asked of the pass that runs the layer."""
    inner, outer = build("ideal"), build("ideal")
    x = torch.rand(5, 4, requires_grad=True)
    loss = inner(x).sum()

    def attack(_: Tensor) -> None:
        torch.autograd.grad(loss, x)

    y = outer(x)
    y.register_hook(attack)
    y.sum().backward()
    assert not pairs(inner) and len(pairs(outer)) == 1


def test_copied_models_record_in_graphs() -> None:
    """The token of a copy stands for the context of the copy."""
    layer = build("ideal")
    twin = copy.deepcopy(layer)
    compiled(twin)(torch.rand(5, 4)).sum().backward(inputs=list(twin.parameters()))
    assert len(pairs(twin)) == 1 and not pairs(layer)


def _assign(parameters: Any) -> None:
    for parameter in parameters:
        parameter.grad = None


def _delete(parameters: Any) -> None:
    for parameter in parameters:
        del parameter.grad


CLEAR: dict[str, Callable[[nn.Module, torch.optim.Optimizer], Any]] = {
    "optimizer": lambda model, optimizer: optimizer.zero_grad(),
    "model": lambda model, optimizer: model.zero_grad(),
    "zeros": lambda model, optimizer: model.zero_grad(set_to_none=False),
    "child": lambda model, optimizer: [child.zero_grad() for child in model.modules()],
    "loop": lambda model, optimizer: _assign(model.parameters()),
    "deleting": lambda model, optimizer: _delete(model.parameters()),
    "other optimizer": lambda model, optimizer: torch.optim.SGD(
        model.parameters(), lr=0.1
    ).zero_grad(),
}
ROOTS: dict[str, Callable[[AnalogLinear], nn.Module]] = {
    "layer": lambda layer: layer,
    "analog": AnalogSequential,
    "plain": nn.Sequential,
    "deep": lambda layer: nn.Sequential(nn.ModuleDict({"a": nn.Sequential(layer)})["a"]),
}


@pytest.mark.parametrize("way", CLEAR)
@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("kind", [*RECORDING, *FOLLOWING])
def test_clearing_gradients_drops_pairs(kind: str, root: str, way: str) -> None:
    """What was recorded before is gone, as gradients are, in every way to clear them."""
    layer = build(kind, True)
    model = ROOTS[root](layer)
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    layer(torch.rand(5, 4)).sum().backward()
    assert len(pairs(layer)) == (kind in RECORDING)
    CLEAR[way](model, optimizer)
    assert not pairs(layer)
    before = weights(layer)
    optimizer.step()
    assert torch.equal(weights(layer), before)
    layer(torch.rand(5, 4)).sum().backward()
    assert len(pairs(layer)) == (kind in RECORDING)
    optimizer.step()
    assert not torch.equal(weights(layer), before)


def test_a_discriminator_learns_nothing_from_the_generator() -> None:
    """Alternating training clears gradients by the model, before each of its own steps."""
    results = []
    for by_model in (False, True):
        critic, maker = build("ideal"), nn.Linear(2, 4)
        optimizer = AnalogSGD(critic.parameters(), lr=0.05)
        for _ in range(3):
            (critic if by_model else optimizer).zero_grad()  # type: ignore[attr-defined]
            fake = maker(torch.linspace(-1, 1, 16).view(8, 2))
            critic(torch.ones(8, 4)).mean().neg().backward()
            critic(fake.detach()).mean().backward()
            optimizer.step()
            maker.zero_grad()
            critic(fake).mean().neg().backward()
        results.append(weights(critic))
    assert torch.equal(*results)
