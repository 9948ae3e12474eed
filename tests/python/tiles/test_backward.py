"""Backward pass of tiles: what it may leave out, and what it refuses."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mho.optim import AnalogSGD
from mho.optim.trace import grouped_pairs
from mho.simulator.configs import InferenceRPUConfig, IOParameters, SingleRPUConfig
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
    """The first derivative is the same; the trace hangs on no graph, and the second is refused."""
    tile = build(kind)
    plain, recorded = gradients(build(kind)), gradients(tile, create_graph=True)
    assert all(map(torch.equal, plain, recorded))
    assert not any(d.requires_grad for d in tile.analog_ctx.analog_grad_output)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        recorded[0].sum().backward()


def test_pairs_keep_their_order() -> None:
    """Neighbours with the same input of the bias column make one run, others do not."""
    context = AnalogTile(3, 5, SingleRPUConfig()).analog_ctx
    optimizer = AnalogSGD([context], lr=0.1)
    for i, bias in enumerate((1.0, 1.0, 0.5, 1.0)):
        context.store(torch.full((1, 5), float(i)), torch.zeros(1, 3), bias)
    runs = [
        [(float(x[0, 0]), bias) for x, _, bias in run] for run in grouped_pairs(context.pairs())
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
