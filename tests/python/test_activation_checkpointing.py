"""Gradients, traces and state have the same bits with and without activation checkpointing."""

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from mho.exceptions import TileError
from mho.nn import AnalogLinear, AnalogSequential
from mho.optim import AnalogSGD
from mho.simulator.autograd import recomputation
from mho.simulator.configs import (
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.enums import NoiseManagementType


def with_range(config: Any) -> Any:
    """An input range that follows the data of the first batches, then is learned."""
    config.pre_post.input_range.enable = True
    config.pre_post.input_range.init_from_data = 5
    config.pre_post.input_range.init_value = 1.0
    return config


def running() -> Any:
    config = SingleRPUConfig()
    config.forward.noise_management = NoiseManagementType.AVERAGE_ABS_MAX
    return config


def mapped() -> Any:
    config = InferenceRPUConfig()
    config.mapping.max_input_size = config.mapping.max_output_size = 4
    return config


# torch 2.4 warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.cpu.amp.autocast:FutureWarning")

CONFIGS: dict[str, Callable[[], Any]] = {
    "pulsed": SingleRPUConfig,
    "pulsed, range": lambda: with_range(SingleRPUConfig()),
    "pulsed, running scale": running,
    "inference": InferenceRPUConfig,
    "inference, range": lambda: with_range(InferenceRPUConfig()),
    "inference, array": mapped,
    "exact": FloatingPointRPUConfig,
    "torch": TorchInferenceRPUConfig,
}


class Model(nn.Module):
    """Layers in two blocks, the second of which runs twice.

    Uses of a layer are on one level of nesting, where torch adds up its gradients in one order.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.a = AnalogLinear(6, 6, rpu_config=config)
        self.b = AnalogLinear(6, 6, rpu_config=config)
        self.c = AnalogLinear(6, 6, rpu_config=config)
        self.d = AnalogLinear(6, 6, rpu_config=config)
        self.run: Callable[..., Tensor] = lambda function, x: function(x)
        self.nested = False

    def first(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.a(x))
        x = self.run(self.inner, x) if self.nested else self.inner(x)
        return torch.tanh(self.a(x))

    def inner(self, x: Tensor) -> Tensor:
        return torch.relu(self.d(torch.sigmoid(x))) + self.d(x)

    def second(self, x: Tensor) -> Tensor:
        return torch.tanh(self.b(self.c(x)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.run(self.first, x)
        x = self.run(self.second, self.b(x))
        result: Tensor = self.run(self.second, x)
        return result


def everything(model: Model, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Output, gradients, records and state after a backward pass."""
    assert x.grad is not None
    found = {"y": y.detach(), "x": x.grad}
    found |= {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    for name, module in model.named_modules():
        if hasattr(module, "analog_ctx"):
            # Recomputed parts may run backward in another order.
            pairs = [torch.cat([p.x, p.d], dim=-1) for p in module.analog_ctx.pairs()]
            pairs = sorted(pairs, key=lambda pair: pair.flatten().tolist())
            found |= {f"{name} {i}": pair for i, pair in enumerate(pairs)}
    return found | {f"state {name}": value.clone() for name, value in model.state_dict().items()}


def passes(model: Model, steps: int = 2) -> list[dict[str, Tensor]]:
    optimizer = AnalogSGD(model.parameters(), lr=0.01)
    found = []
    for step in range(steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        x = torch.randn(3, 6, requires_grad=True)
        y = model(x)
        y.square().sum().backward()
        found.append(everything(model, x, y))
        optimizer.step()
    return found


WAYS: dict[str, dict[str, Any]] = {
    "reentrant": {"use_reentrant": True},
    "not reentrant": {"use_reentrant": False},
    "reentrant, generator free": {"use_reentrant": True, "preserve_rng_state": False},
    "not reentrant, generator free": {"use_reentrant": False, "preserve_rng_state": False},
}


# What torch says of the inner checkpoint in the first pass of the outer one.
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True:UserWarning")
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CONFIGS)
def test_same_bits(name: str, way: str, nested: bool, training: bool) -> None:
    if name == "torch" and "free" in way:
        pytest.skip("torch tiles draw from torch's generator, which is not preserved")
    torch.manual_seed(1)
    plain = Model(CONFIGS[name]()).train(training)
    checkpointed = copy.deepcopy(plain)
    checkpointed.nested = nested
    checkpointed.run = lambda function, x: checkpoint(function, x, **WAYS[way])
    for a, b in zip(passes(plain), passes(checkpointed), strict=True):
        assert list(a) == list(b)
        for key in a:
            assert torch.equal(a[key], b[key]), key


def test_a_kept_graph_is_recomputed_again() -> None:
    config = SingleRPUConfig()
    config.backward.is_perfect = True  # otherwise each pass has noise of its own
    layer = AnalogLinear(6, 4, rpu_config=config)
    x = torch.randn(3, 6, requires_grad=True)
    y = checkpoint(lambda x: layer(torch.tanh(x)), x, use_reentrant=False)
    calls = layer.analog_module.analog_tile_calls.clone()
    first = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
    with torch.no_grad():
        layer(torch.randn(2, 6))
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], first)
    assert layer.analog_module.analog_tile_calls == calls + 1


@pytest.mark.parametrize("reentrant", [True, False])
def test_sequential(reentrant: bool) -> None:
    torch.manual_seed(2)
    model = AnalogSequential(*(AnalogLinear(6, 6) for _ in range(6)))
    twin = copy.deepcopy(model)
    gradients = []
    for run in (model, lambda x: checkpoint_sequential(twin, 3, x, use_reentrant=reentrant)):
        torch.manual_seed(3)
        x = torch.randn(3, 6, requires_grad=True)
        run(x).square().sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)
    for a, b in zip(model.buffers(), twin.buffers(), strict=True):
        assert torch.equal(a, b)


def test_gradients_taken_inside_of_a_checkpoint() -> None:
    """A function that runs backward itself, on a graph with a checkpoint of its own."""

    def build(inner: Any) -> Callable[[Tensor], Tensor]:
        def function(x: Tensor) -> Tensor:
            with torch.enable_grad():
                z = x.detach().requires_grad_()
                inside = inner(lambda z: torch.tanh(layer(torch.sin(z))), z)
                (slope,) = torch.autograd.grad(inside.sum(), z)
            return layer(x + slope)

        return function

    torch.manual_seed(4)
    layer = AnalogLinear(6, 6)
    _optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    fresh = copy.deepcopy(layer)
    found = []
    for outer in (
        lambda function, x: function(x),
        lambda function, x: checkpoint(function, x, use_reentrant=False),
    ):
        layer.load_state_dict(fresh.state_dict())
        layer.analog_module.analog_ctx.reset()
        x = torch.linspace(-1.0, 1.0, 18).reshape(3, 6).requires_grad_()
        outer(build(outer), x).square().sum().backward()
        found.append((x.grad, layer.analog_module.analog_tile_calls.clone()))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_function_that_raises_leaves_nothing_behind(reentrant: bool) -> None:
    layer = AnalogLinear(6, 6)

    def function(x: Tensor) -> Tensor:
        layer(x)
        raise ValueError("no")

    x = torch.randn(2, 6, requires_grad=True)
    with suppress(ValueError):
        checkpoint(function, x, use_reentrant=reentrant)
    y = layer(x)
    gradient = torch.autograd.grad(y.sum(), x)[0]
    assert gradient.shape == x.shape
    assert not recomputation.OPEN_PASSES


def test_another_order_is_refused() -> None:
    layers = [AnalogLinear(6, 6), AnalogLinear(6, 6)]

    def function(x: Tensor) -> Tensor:
        layers.reverse()
        return layers[1](torch.tanh(layers[0](x)))

    x = torch.randn(2, 6, requires_grad=True)
    y = checkpoint(function, x, use_reentrant=False)
    with pytest.raises(TileError, match="order"):
        y.sum().backward()


def test_recomputation_by_others_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recomputation, "_warned", [])

    class Recompute(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            with torch.no_grad():
                result: Tensor = layer(x)
            return result

        @staticmethod
        def backward(ctx: Any, d: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                layer(x).backward(d)
            assert x.grad is not None
            return x.grad

    layer = AnalogLinear(6, 6)
    y = Recompute.apply(torch.randn(2, 6, requires_grad=True))
    with pytest.warns(UserWarning, match="torch.utils.checkpoint"):
        y.sum().backward()


@pytest.mark.parametrize("config", [SingleRPUConfig, InferenceRPUConfig])
def test_compiled_checkpoints_are_refused(config: Any) -> None:
    layer = AnalogLinear(6, 6, rpu_config=config())
    run = torch.compile(lambda x: checkpoint(layer, x, use_reentrant=False), backend="aot_eager")
    with pytest.raises(Exception, match="compiled graph cannot be repeated"):
        run(torch.randn(2, 6, requires_grad=True))


# Before, torch itself fails to recompute compiled functions, and its backend "eager" does not try.
RECOMPUTES_GRAPHS = hasattr(torch.compiler, "is_exporting")  # since torch 2.7
COMPILED = [name for name in CONFIGS if "range" not in name and "running" not in name]


class _Run:
    """A block that is compiled, in a checkpoint or around one."""

    def __init__(self, config: Any, wraps: Callable[[Any], Any]) -> None:
        torch._dynamo.reset()
        torch.manual_seed(1)
        self.model = nn.Sequential(
            AnalogLinear(6, 6, rpu_config=config),
            nn.Tanh(),
            AnalogLinear(6, 6, rpu_config=config),
        )
        self.call = wraps(self.model)

    def steps(self) -> list[Tensor]:
        """Outputs, gradients, weights and numbers of the calls of three steps."""
        optimizer, found = AnalogSGD(self.model.parameters(), lr=0.1), []
        for step in range(3):
            torch.manual_seed(step)
            optimizer.zero_grad()
            x = torch.randn(5, 6, requires_grad=True)
            y = self.call(x)
            y.square().sum().backward()
            optimizer.step()
            assert x.grad is not None
            found += [y.detach(), x.grad]
            found += [value.clone() for value in self.model.state_dict().values()]
        return found


def _inside(backend: str, reentrant: bool) -> Callable[[Any], Any]:
    """A compiled function in a checkpoint."""

    def wraps(model: Any) -> Any:
        compiled = torch.compile(model, backend=backend, fullgraph=True)
        return lambda x: checkpoint(compiled, x, use_reentrant=reentrant)

    return wraps


def _compiled(backend: str) -> Callable[[Any], Any]:
    return lambda model: torch.compile(model, backend=backend, fullgraph=True)


def _outside(model: Any) -> Any:
    """A checkpoint in a compiled function, on the backend that recomputes at run time."""
    return torch.compile(
        lambda x: checkpoint(model, x, use_reentrant=False), backend="eager", fullgraph=True
    )


@pytest.mark.parametrize(
    ("backend", "reentrant"),
    [
        ("aot_eager", False),
        # Each takes seconds to compile, and differs from the first in what torch does only.
        pytest.param("aot_eager", True, marks=pytest.mark.slow),
        pytest.param("eager", False, marks=pytest.mark.slow),
        pytest.param("eager", True, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_functions_in_checkpoints(name: str, backend: str, reentrant: bool) -> None:
    """The same bits and the same counters as without the checkpoint."""
    if not (reentrant or RECOMPUTES_GRAPHS):
        pytest.skip("needs torch 2.7")
    plain = _Run(CONFIGS[name](), _compiled(backend)).steps()
    found = _Run(CONFIGS[name](), _inside(backend, reentrant)).steps()
    assert len(plain) == len(found) and all(map(torch.equal, plain, found))


@pytest.mark.skipif(not RECOMPUTES_GRAPHS, reason="needs torch 2.7")
@pytest.mark.parametrize("name", [name for name in COMPILED if name != "torch"])
def test_checkpoints_in_functions_compiled_by_the_eager_backend(name: str) -> None:
    plain = _Run(CONFIGS[name](), _compiled("eager")).steps()
    found = _Run(CONFIGS[name](), _outside).steps()
    assert len(plain) == len(found) and all(map(torch.equal, plain, found))


@pytest.mark.skipif(not RECOMPUTES_GRAPHS, reason="needs torch 2.7")
@pytest.mark.parametrize(
    "config",
    [SingleRPUConfig, pytest.param(TorchInferenceRPUConfig, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("wraps", [_inside("eager", False), _inside("aot_eager", True), _outside])
def test_compiled_ranges_follow_no_batch_twice(config: Any, wraps: Any) -> None:
    """A graph would count the batch again; once the range does not follow the data it works."""
    with pytest.raises(Exception, match="would follow a recomputed batch twice"):
        _Run(with_range(config()), wraps).steps()
    settled = with_range(config())
    settled.pre_post.input_range.init_from_data = 0
    plain = _Run(settled, _compiled("eager")).steps()
    found = _Run(settled, wraps).steps()
    if config is not TorchInferenceRPUConfig or wraps is not _outside:  # see torch's generator
        for a, b in zip(plain, found, strict=True):
            torch.testing.assert_close(a, b)  # the order of sums of the digital part may differ
