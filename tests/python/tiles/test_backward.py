"""Backward pass of tiles: what it may leave out, and what it refuses."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from mho.exceptions import InputError, TileError
from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.optim.trace import grouped_pairs
from mho.simulator.configs import IdealDevice, InferenceRPUConfig, IOParameters, SingleRPUConfig
from mho.simulator.parameters.enums import BoundManagementType, NoiseManagementType
from mho.simulator.tiles import AnalogTile, InferenceTile

KINDS = {"pulsed": (AnalogTile, SingleRPUConfig), "inference": (InferenceTile, InferenceRPUConfig)}


def build(kind: str, **forward: Any) -> Any:
    """Tile of random weights and a forward pass without noise."""
    cls, config = KINDS[kind]
    torch.manual_seed(7)
    io = IOParameters(
        out_noise=0.0,
        noise_management=NoiseManagementType.NONE,
        bound_management=BoundManagementType.NONE,
        **forward,
    )
    tile = cls(3, 5, config(forward=io))
    tile.set_weights(torch.rand(3, 5) - 0.5)
    return tile


def gradients(tile: Any, create_graph: bool = False) -> list[Tensor]:
    """Gradients of the input and of everything that has one."""
    x = torch.linspace(-1.0, 1.0, 20).reshape(4, 5).requires_grad_()
    tile(x).square().sum().backward(create_graph=create_graph)
    assert x.grad is not None
    return [x.grad, *(p.grad for p in tile.parameters() if p.grad is not None)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bound_out_of_reach_changes_no_gradient(kind: str) -> None:
    """Outputs that may be clipped but are not give the gradients of outputs without a bound."""
    fine = {"out_res": -1.0}
    bounded, free = (gradients(build(kind, out_bound=b, **fine)) for b in (100.0, math.inf))
    assert all(map(torch.equal, bounded, free))


@pytest.mark.parametrize("kind", KINDS)
def test_one_clipped_output_is_masked(kind: str) -> None:
    """The gradient vanishes where all outputs of a sample sit at the bound, and only there."""
    tile = build(kind, out_bound=0.8, out_res=-1.0)
    tile.set_weights(torch.full((3, 5), 0.5))
    d_x = gradients(tile)[0].abs().amax(dim=1)
    assert (d_x == 0.0).tolist() == [True, False, False, True]


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True:UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_recording_the_backward_pass(kind: str) -> None:
    """The first derivative is the same, and the trace hangs on no graph."""
    tile = build(kind)
    plain, recorded = gradients(build(kind)), gradients(tile, create_graph=True)
    assert all(map(torch.equal, plain, recorded))
    assert not any(d.requires_grad for d in tile.analog_ctx.analog_grad_output)


def penalty(layers: Any, x: Tensor) -> Tensor:
    """Loss with the norm of the gradient of the inputs, as for critics and robust training."""
    y = x
    for layer in layers:
        y = torch.tanh(layer(y))
    (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    return y.sum() + slope.square().sum()


def exact(**fields: Any) -> InferenceRPUConfig:
    """Inference configuration without noise and rounding."""
    config = InferenceRPUConfig(forward=IOParameters(is_perfect=True))
    for name, value in fields.items():
        setattr(config.mapping, name, value)
    return config


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"weight_scaling_omega": 0.6},
        {"weight_scaling_omega": 0.6, "weight_scaling_columnwise": True},
        {"digital_bias": False},
    ],
    ids=["plain", "scaled", "scaled by columns", "analog bias"],
)
def test_gradient_penalty_is_that_of_digital_layers(fields: dict[str, Any]) -> None:
    torch.manual_seed(3)
    layers = [AnalogLinear(5, 6, rpu_config=exact(**fields)) for _ in range(1)]
    layers.append(AnalogLinear(6, 4, rpu_config=exact(**fields)))
    twins = [AnalogLinear.to_digital(layer) for layer in layers]
    gradients = []
    for model in (layers, twins):
        x = torch.linspace(-1.0, 1.0, 15).reshape(3, 5).requires_grad_()
        penalty(model, x).backward()
        gradients.append(x.grad)
    # Two layers of sums of six products and their derivatives in float32.
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(*gradients, **close)
    optimizers = [
        torch.optim.SGD([p for layer in model for p in layer.parameters()], lr=0.1)
        for model in (layers, twins)
    ]
    for optimizer in optimizers:
        optimizer.step()
    for layer, twin in zip(layers, twins, strict=True):
        torch.testing.assert_close(layer.get_weights()[0], twin.weight.detach(), **close)
        torch.testing.assert_close(layer.get_weights()[1], twin.bias.detach(), **close)


def test_third_derivatives() -> None:
    layer = AnalogLinear(3, 2, rpu_config=exact())
    twin = AnalogLinear.to_digital(layer)
    found = []
    for model in (layer, twin):
        x = torch.linspace(-1.0, 1.0, 6).reshape(2, 3).requires_grad_()
        value = model(x).pow(4).sum()
        for _ in range(3):
            (slope,) = torch.autograd.grad(value, x, create_graph=True)
            value = slope.square().sum()
        found.append(slope)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


def noisy_backward() -> InferenceRPUConfig:
    config = exact()
    config.backward = IOParameters()
    return config


def learned_range() -> InferenceRPUConfig:
    config = exact()
    config.pre_post.input_range.enable = True
    return config


@pytest.mark.parametrize(
    ("config", "message"),
    [(SingleRPUConfig, "pulsed"), (noisy_backward, "not exact"), (learned_range, "rule")],
)
def test_second_derivatives_that_do_not_exist(config: Any, message: str) -> None:
    """They raise when they are asked for, even where the gradient of the output is a constant."""
    layer = AnalogLinear(5, 3, rpu_config=config())
    x = torch.linspace(-1.0, 1.0, 20).reshape(4, 5).requires_grad_()
    sources = [x, *(p for p in layer.parameters() if p.shape == (1,))]
    slopes = torch.autograd.grad(layer(x).sum(), sources, create_graph=True)
    with pytest.raises(RuntimeError, match=message):
        slopes[-1].square().sum().backward()


def test_second_derivatives_of_frozen_exact_layers() -> None:
    config = SingleRPUConfig(
        forward=IOParameters(is_perfect=True), backward=IOParameters(is_perfect=True)
    )
    layer = AnalogLinear(5, 3, rpu_config=config)
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    found = []
    for model in (layer, AnalogLinear.to_digital(layer)):
        x = torch.linspace(-1.0, 1.0, 20).reshape(4, 5).requires_grad_()
        found.append(torch.autograd.grad(penalty([model], x), x)[0])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_pairs_keep_their_order() -> None:
    """Neighbours with the same input of the bias column make one run, others do not."""
    context = AnalogTile(3, 5, SingleRPUConfig()).analog_ctx
    optimizer = AnalogSGD([context], lr=0.1)
    for i, bias in enumerate((1.0, 1.0, 0.5, 1.0)):
        context.store(torch.full((1, 5), float(i)), torch.zeros(1, 3), bias)
    runs = [
        [(float(pair.x[0, 0]), pair.bias) for pair in run] for run in grouped_pairs(context.pairs())
    ]
    assert runs == [[(0.0, 1.0), (1.0, 1.0)], [(2.0, 0.5)], [(3.0, 1.0)]]
    optimizer.zero_grad()


def test_an_empty_trace_has_no_runs() -> None:
    """Nothing recorded is nothing to apply."""
    assert grouped_pairs(AnalogTile(3, 5, SingleRPUConfig()).analog_ctx.pairs()) == []


@pytest.mark.parametrize("value", [False, True])
def test_requires_grad_of_a_context(value: bool) -> None:
    """The shortcut returns what was set last, however it was set."""
    context = AnalogTile(3, 5, SingleRPUConfig()).analog_ctx
    context.requires_grad = not value
    assert context.requires_grad is (not value)
    context.requires_grad_(value)
    assert context.requires_grad is value


def _noisy_inference() -> InferenceRPUConfig:
    config = InferenceRPUConfig()
    config.backward = IOParameters(out_noise=0.3)
    return config


NOISY = [
    lambda: SingleRPUConfig(backward=IOParameters(out_noise=0.3)),
    lambda: SingleRPUConfig(device=IdealDevice(), backward=IOParameters(out_noise=0.3)),
    _noisy_inference,
]


@pytest.mark.parametrize("build_config", NOISY)
def test_each_pass_of_a_kept_graph_has_its_own_noise(build_config: Any) -> None:
    """The first pass has the noise that it has alone, every further one new noise."""
    slopes = []
    for passes in (1, 3):
        torch.manual_seed(0)
        layer = AnalogLinear(4, 3, rpu_config=build_config())
        x = torch.ones(2, 4, requires_grad=True)
        loss = layer(x).sum()
        slopes += [torch.autograd.grad(loss, x, retain_graph=True)[0] for _ in range(passes)]
    alone, first, second, third = slopes
    assert torch.equal(alone, first)
    assert not any(torch.equal(a, b) for a, b in ((first, second), (second, third), (first, third)))


@pytest.mark.parametrize("build_config", NOISY)
def test_rows_of_a_jacobian_are_independent(build_config: Any) -> None:
    """Noise alone, with weights of zero: its covariance over rows is that of other draws."""
    layer = AnalogLinear(256, 8, bias=False, rpu_config=build_config())
    layer.set_weights(torch.zeros(8, 256))
    rows = torch.autograd.functional.jacobian(layer, torch.ones(256))
    assert len({tuple(row.tolist()) for row in rows}) == 8
    # Correlations of 256 independent values have a standard deviation of 1/16.
    off = torch.corrcoef(rows) - torch.eye(8)
    assert float(off.abs().max()) < 5.0 / 16.0


def test_exact_passes_leave_the_random_stream_alone() -> None:
    layer = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig())
    x = torch.ones(2, 4, requires_grad=True)
    loss = layer(x).sum()
    calls = layer.analog_module.analog_tile_calls.clone()
    slopes = [torch.autograd.grad(loss, x, retain_graph=True)[0] for _ in range(2)]
    assert torch.equal(*slopes) and torch.equal(layer.analog_module.analog_tile_calls, calls)


@pytest.mark.parametrize("kind", KINDS)
class TestWaysThatTheCoreDoesNotKnow:
    """Each is refused by name, with what does the same."""

    @pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # of rules in torch
    @pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
    def test_dual_tensors(self, kind: str) -> None:
        tile = build(kind)
        with forward_ad.dual_level(), pytest.raises(TileError, match=r"torch\.func\.jvp"):
            tile(forward_ad.make_dual(torch.ones(2, 5), torch.ones(2, 5)))
        assert tile(torch.ones(2, 5)).shape == (2, 3)

    def test_batched_gradients(self, kind: str) -> None:
        tile = build(kind)
        x = torch.ones(5, requires_grad=True)
        y = tile(x)
        for call in (
            lambda: torch.autograd.grad(y, x, torch.eye(3), True, is_grads_batched=True),
            lambda: torch.vmap(lambda v: torch.autograd.grad(y, x, v, True)[0])(torch.eye(3)),
            lambda: torch.autograd.functional.jacobian(tile, x, vectorize=True),
        ):
            with pytest.raises(TileError, match=r"batched gradients.*torch\.func\.jacrev"):
                call()
        assert not tile.analog_ctx.has_gradient()
        expected = torch.autograd.functional.jacobian(tile, x)
        assert expected.shape == (3, 5)

    def test_symbolic_traces(self, kind: str) -> None:
        layer = nn.Sequential(AnalogLinear(5, 3, rpu_config=KINDS[kind][1]()))
        with pytest.raises(InputError, match=r"torch\.fx cannot trace.*torch\.export"):
            torch.fx.symbolic_trace(layer)
