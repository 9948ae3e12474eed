"""The context: three views of the weights, never a gradient, an identity that survives."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import ArgumentError
from mho.optim import AnalogSGD
from mho.optim.context import AnalogContext
from mho.optim.weight_view import PlaceholderDataView, ReadOnlyWeightView
from mho.simulator.configs import SingleRPUConfig
from mho.simulator.parameters.enums import AnalogContextDataViewMode as Mode
from mho.simulator.tiles import AnalogTile


@pytest.fixture
def tile() -> AnalogTile:
    """Tile with an analog bias and scales, so that raw and logical weights differ."""
    config = SingleRPUConfig()
    config.mapping.digital_bias = False
    config.mapping.weight_scaling_omega = 0.3
    tile = AnalogTile(3, 4, config, bias=True)
    tile.set_weights(torch.randn(3, 4), torch.randn(3))
    return tile


def test_is_a_parameter_of_the_tile(tile: AnalogTile) -> None:
    ctx = tile.analog_ctx
    assert isinstance(ctx, AnalogContext) and isinstance(ctx, nn.Parameter)
    assert dict(tile.named_parameters())["analog_ctx"] is ctx
    assert ctx.data_view_mode is Mode.DATA_VIEW
    assert ctx.analog_tile is tile
    assert repr(ctx) == f"AnalogContext of {tile.get_brief_info()}"
    assert ctx._raw_data().shape == (3, 5)
    assert ctx._raw_data().data_ptr() == tile._get_tile_weights_ref().data_ptr()


@pytest.mark.parametrize("mode", list(Mode))
def test_metadata_in_every_mode(tile: AnalogTile, mode: Mode) -> None:
    ctx = tile.analog_ctx
    ctx.data_view_mode = mode
    assert ctx.shape == (3, 4) and ctx.size(0) == 3 and ctx.ndim == ctx.dim() == 2
    assert ctx.numel() == 12 and len(ctx) == 3
    assert ctx.dtype is torch.float32 and ctx.device.type == "cpu"
    assert ctx.is_floating_point() and not ctx.is_complex() and not ctx.is_cuda
    assert ctx.requires_grad and ctx.grad is None and ctx.is_leaf
    assert torch.zeros_like(ctx).shape == (3, 4)
    assert ctx.new_zeros(2).shape == (2,)
    with pytest.raises(RuntimeError, match="data"):
        ctx.data = torch.zeros(3, 4)
    with pytest.raises(RuntimeError):
        ctx[0] = 0.0
    assert not hasattr(ctx, "has_names") or not ctx.has_names()
    assert ctx.type() == "torch.FloatTensor" and "shape" in dir(ctx)
    assert type(ctx) is AnalogContext and isinstance(ctx, nn.Parameter) and f"{ctx!r}"
    ctx.requires_grad_(False)
    assert not ctx.requires_grad and not tile._token.requires_grad


@pytest.mark.parametrize(
    "read",
    [
        lambda c: c + 1,
        lambda c: c.sum(),
        lambda c: c[0],
        lambda c: c.data.abs(),
        lambda c: c.detach().norm(),
        lambda c: torch.stack([c, c]),
        lambda c: c.add_(1.0),
        lambda c: c.clone(),
        lambda c: c.tolist(),
        lambda c: c.T,
        lambda c: c.get_data(),
    ],
)
def test_placeholder_refuses_values(tile: AnalogTile, read: Any) -> None:
    with pytest.raises(RuntimeError, match=r"enable_data_view.*enable_buffer"):
        read(tile.analog_ctx.enable_placeholder())
    assert isinstance(tile.analog_ctx.data, PlaceholderDataView)


def test_data_view_shows_logical_weights(tile: AnalogTile) -> None:
    ctx = tile.analog_ctx.enable_data_view()
    expected = tile.get_weights()[0]
    assert torch.equal(ctx + 0.0, expected)
    assert type(ctx + 0.0) is torch.Tensor
    assert isinstance(ctx.data, ReadOnlyWeightView)
    assert torch.equal(ctx.data.clone(), expected)
    assert torch.equal(ctx.get_data(), expected)
    assert torch.equal(ctx.T, expected.t())
    assert torch.equal(ctx[1], expected[1])
    tile.update(torch.randn(5, 4), torch.randn(5, 3))
    assert torch.equal(ctx * 1.0, tile.get_weights()[0])


@pytest.mark.parametrize(
    "write",
    [
        lambda c: c.add_(1.0),
        lambda c: c.data.mul_(2.0),
        lambda c: c.data.zero_(),
        lambda c: c.detach().zero_(),
        lambda c: torch.add(torch.ones(3, 4), 1.0, out=c),
        lambda c: torch.add(torch.ones(3, 4), 1.0, out=c.data),
        lambda c: c.data.__setitem__(0, 0.0),
    ],
)
def test_data_view_is_read_only(tile: AnalogTile, write: Any) -> None:
    before = tile.get_weights()[0]
    with pytest.raises(RuntimeError, match="read-only"):
        write(tile.analog_ctx.enable_data_view())
    assert torch.equal(tile.get_weights()[0], before)


def test_buffer_is_independent(tile: AnalogTile) -> None:
    before = tile.get_weights()[0]
    ctx = tile.analog_ctx.enable_buffer()
    assert torch.equal(ctx + 0.0, torch.zeros(3, 4))
    with torch.no_grad():
        ctx.add_(2.0)
        ctx.data.mul_(3.0)
    assert torch.equal(ctx.get_data(), torch.full((3, 4), 6.0))
    assert torch.equal(tile.get_weights()[0], before)
    assert torch.equal(ctx.enable_buffer().get_data(), torch.zeros(3, 4))
    ctx.enable_placeholder()
    assert ctx.data_view_mode is Mode.PLACEHOLDER


@pytest.mark.parametrize("name", ["data_view", "DATA_VIEW", "Data_View", Mode.DATA_VIEW])
def test_modes_by_name(tile: AnalogTile, name: Any) -> None:
    tile.analog_ctx.data_view_mode = name
    assert tile.analog_ctx.data_view_mode is Mode.DATA_VIEW
    with pytest.raises(ValueError, match="PLACEHOLDER"):
        tile.analog_ctx.data_view_mode = "other"


def test_works_with_what_walks_parameters(tile: AnalogTile) -> None:
    model = nn.Sequential(tile, nn.Linear(3, 2))
    model(torch.randn(4, 4)).sum().backward()
    assert torch.isfinite(nn.utils.clip_grad_norm_(model.parameters(), 1.0))
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.step()
    optimizer.zero_grad()
    assert tile.analog_ctx.grad is None
    assert sum(p.numel() for p in model.parameters()) == 12 + 8


def test_trace(tile: AnalogTile) -> None:
    ctx = tile.analog_ctx
    tile(torch.randn(2, 3, 4))  # no backward: nothing is kept
    assert not ctx.has_gradient()
    for _ in range(2):
        tile(torch.randn(2, 3, 4)).sum().backward()
    assert [x.shape for x in ctx.analog_input] == [(2, 3, 4)] * 2
    assert [d.shape for d in ctx.analog_grad_output] == [(2, 3, 3)] * 2
    ctx.reset()
    assert not ctx.has_gradient()


def test_long_traces_warn_once(tile: AnalogTile) -> None:
    ctx = tile.analog_ctx
    _optimizer = AnalogSGD([ctx], lr=0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(600):
            ctx.store(torch.ones(1, 4), torch.ones(1, 3))
    assert len(caught) == 1 and "mho.optim" in str(caught[0].message)


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_copies_are_plain_parameters(tile: AnalogTile, copier: Any) -> None:
    copied = copier(tile.analog_ctx)
    assert type(copied) is nn.Parameter
    assert torch.equal(copied.data, tile._get_tile_weights_ref())


@pytest.mark.parametrize("mode", [None, 1, torch.zeros(2), [1], b"buffer", "text", object])
def test_unknown_views_are_refused(mode: Any) -> None:
    context = AnalogTile(2, 2).analog_ctx
    with pytest.raises(ArgumentError, match="data_view_mode"):
        context.data_view_mode = mode
    assert context.data_view_mode is Mode.DATA_VIEW
