"""Tiles whose raw tile is written in Python."""

import copy
import math
import pickle
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from mho.exceptions import (
    AnalogBiasConfigError,
    ArgumentError,
    ConfigError,
    InputError,
    TileError,
    TorchTileConfigError,
)
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
)
from mho.simulator.parameters.registry import register_config_class, register_tile_class
from mho.simulator.tiles import AnalogTile, CustomSimulatorTile, CustomTile
from mho.simulator.tiles.custom import CustomRPUConfig, CustomUpdateParameters

W = torch.tensor([[0.5, -0.25, 0.1], [0.1, 0.8, -0.3]])


@register_tile_class
class CountingTile(CustomSimulatorTile):
    """Halves its updates and counts them in a buffer of its own."""

    def __init__(self, x_size: int, d_size: int, rpu_config: object, bias: bool = False) -> None:
        super().__init__(x_size, d_size, rpu_config, bias)
        self.register_buffer("count", torch.zeros(1))

    def update(self, x_input: Tensor, d_input: Tensor, *args: bool, **kwargs: bool) -> None:
        """Update with half the gradient."""
        super().update(x_input, 0.5 * d_input, *args, **kwargs)
        self.count += 1


@register_config_class
@dataclass
class CountingConfig(CustomRPUConfig):
    """Configuration of the tile above."""

    simulator_tile_class: type = CountingTile


def exact(**changes: object) -> CustomRPUConfig:
    """Return a configuration with exact products."""
    perfect = {"forward": IOParameters(is_perfect=True), "backward": IOParameters(is_perfect=True)}
    return CustomRPUConfig(**{**perfect, **changes})


def tile_with(config: CustomRPUConfig | None = None, bias: bool = False) -> CustomTile:
    """Return a tile with the weights `W`."""
    tile = CustomTile(2, 3, exact() if config is None else config, bias)
    tile.set_weights(W)
    return tile


def test_default_configuration() -> None:
    """Without a configuration the tile has the template raw tile."""
    tile = CustomTile(2, 3)
    assert type(tile.rpu_config) is CustomRPUConfig
    assert type(tile.tile) is CustomSimulatorTile
    assert tile.tile.learning_rate == 0.1
    assert tile(torch.ones(3)).shape == (2,)


def test_trains_through_update() -> None:
    """One step of an analog optimizer is plain gradient descent; the context has no gradient."""
    tile = tile_with(bias=True)
    optimizer = AnalogSGD(tile.parameters(), lr=0.5)
    x = torch.randn(4, 3, requires_grad=True)
    weight = W.clone().requires_grad_()
    tile(x).square().sum().backward()
    reference = torch.nn.functional.linear(x.detach(), weight).square().sum()
    reference.backward()
    torch.testing.assert_close(x.grad, 2 * (x.detach() @ W.t()) @ W)
    assert tile.analog_ctx.grad is None and not tile.analog_ctx.use_torch_update
    optimizer.step()
    torch.testing.assert_close(tile.get_weights()[0], W - 0.5 * weight.grad)


def test_gradient_noise() -> None:
    """The update adds noise of the given standard deviation to the gradient."""
    config = exact(update=CustomUpdateParameters(gradient_noise=0.3))
    tile = CustomTile(100, 100, config)
    tile.tile.set_learning_rate(2.0)
    tile.update(torch.zeros(1, 100), torch.zeros(1, 100))
    weight = tile.get_weights()[0]
    # 10000 draws: five standard errors of the standard deviation are 5 / sqrt(20000) = 3.5 %.
    torch.testing.assert_close(weight.std(), torch.tensor(0.6), rtol=0.035, atol=0)
    assert abs(weight.mean()) < 5 * 0.6 / 100


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_same_distribution_as_core(direction: str) -> None:
    """Both directions have mean and standard deviation of the analog tile of the core."""
    samples = 4000
    size = 3 if direction == "forward" else 2
    values = torch.randn(size).expand(samples, -1)
    io = IOParameters(inp_res=1 / 14, inp_noise=0.05, out_bound=0.4)
    moments = []
    for cls, config in ((CustomTile, CustomRPUConfig), (AnalogTile, SingleRPUConfig)):
        rpu_config = config(forward=copy.deepcopy(io), backward=copy.deepcopy(io))
        if cls is AnalogTile:
            rpu_config.device = IdealDevice()  # keeps the weights as they are
        tile = cls(2, 3, rpu_config)
        tile.set_weights(W)
        with torch.no_grad():
            y = tile(values) if direction == "forward" else tile.backward(values)
        moments.append((y.mean(0), y.var(0), ((y - y.mean(0)) ** 4).mean(0)))
    (mean, var, fourth), (core_mean, core_var, core_fourth) = moments
    # Five standard errors of a difference: var / n for a mean, (m4 - var^2) / n for a variance.
    of_mean = ((var + core_var) / samples).sqrt()
    of_var = ((fourth - var**2 + core_fourth - core_var**2) / samples).sqrt()
    assert ((mean - core_mean).abs() <= 5 * of_mean + 1e-6).all()
    assert ((var - core_var).abs() <= 5 * of_var + 1e-12).all()


def test_periphery() -> None:
    """Mapping scales, input range and bias work as in other tiles."""
    config = exact()
    config.mapping.weight_scaling_omega = 0.4
    config.pre_post.input_range.enable = True
    config.pre_post.input_range.init_from_data = 0
    tile = tile_with(config, bias=True)
    assert tile.tile.get_weights().abs().max() == pytest.approx(0.4)
    tile.bias.data.fill_(0.5)
    x = torch.tensor([[1.0, -5.0, 2.0]])
    torch.testing.assert_close(tile(x), x.clamp(-3, 3) @ W.t() + 0.5)


def test_own_raw_tile() -> None:
    """A subclass named in the configuration is used, its buffers are part of the state."""
    config = CountingConfig(
        forward=IOParameters(is_perfect=True), backward=IOParameters(is_perfect=True)
    )
    tile = tile_with(config)
    assert isinstance(tile.tile, CountingTile)
    optimizer = AnalogSGD(tile.parameters(), lr=1.0)
    tile(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(tile.get_weights()[0], W - 0.5)
    other = CustomTile(2, 3, config)
    other.load_state_dict(tile.state_dict())
    assert other.tile.count.item() == 1
    assert torch.equal(other.get_weights()[0], tile.get_weights()[0])


def test_edits_act_at_once() -> None:
    """An assignment acts in the next call, and unsupported ones are refused."""
    tile = tile_with()
    tile.rpu_config.forward.out_scale = 2.0
    torch.testing.assert_close(tile(torch.ones(3)), 2.0 * W.sum(1))
    with pytest.raises(TorchTileConfigError, match=r"backward\.w_noise"):
        tile.rpu_config.backward.w_noise = 0.1


@pytest.mark.parametrize("way", ["load", "deepcopy", "pickle"])
def test_round_trips(way: str) -> None:
    """Every way of saving and copying gives the same, independent tile."""
    tile = tile_with(bias=True)
    tile.set_learning_rate(0.7)
    assert "tile._analog_weight" in tile.state_dict()
    if way == "load":
        other = CustomTile(2, 3, exact(), bias=True)
        other.load_state_dict(tile.state_dict())
    else:
        other = copy.deepcopy(tile) if way == "deepcopy" else pickle.loads(pickle.dumps(tile))
    assert torch.equal(other(torch.ones(3)), tile(torch.ones(3)))
    assert other.get_learning_rate() == 0.7
    assert other.analog_ctx.data_ptr() == other.tile.get_weights(as_ref=True).data_ptr()
    other.tile.set_weights(torch.zeros(2, 3))
    torch.testing.assert_close(tile.get_weights()[0], W)


def test_double_precision() -> None:
    """A cast tile computes and trains in its new dtype, in the same context."""
    tile = tile_with(bias=True)
    context = tile.analog_ctx
    tile = tile.to(torch.float64)
    assert tile.analog_ctx is context and context.dtype is torch.float64
    x = torch.ones(2, 3, dtype=torch.float64)
    y = tile(x)
    assert y.dtype is torch.float64
    y.sum().backward()
    tile.set_learning_rate(1.0)
    tile.apply_trace()
    torch.testing.assert_close(tile.get_weights()[0], W.double() - 2.0)


@pytest.mark.parametrize("layout", [{"in_trans": True}, {"out_trans": True}])
def test_refused_layouts(layout: dict[str, bool]) -> None:
    """Neither tile nor raw tile has another layout."""
    with pytest.raises(TileError, match="in_trans"):
        CustomTile(2, 3, exact(), **layout)
    with pytest.raises(TileError, match="in_trans"):
        tile_with().tile.forward(torch.ones(3), **layout)


def test_refused_configurations() -> None:
    """An analog bias, options of the core and other families are refused by name."""
    config = exact()
    config.mapping.digital_bias = False
    with pytest.raises(AnalogBiasConfigError, match=r"mapping\.digital_bias"):
        CustomTile(2, 3, config, bias=True)
    with pytest.raises(TorchTileConfigError, match=r"forward\.ir_drop"):
        CustomTile(2, 3, CustomRPUConfig(forward=IOParameters(ir_drop=1.0)))
    with pytest.raises(ConfigError, match=r"backward\.out_noise_std"):
        CustomTile(2, 3, CustomRPUConfig(backward=IOParameters(out_noise_std=0.1)))
    with pytest.raises(ConfigError, match="simulator_tile_class"):
        CustomTile(2, 3, InferenceRPUConfig())
    with pytest.raises(ConfigError, match=r"update\.gradient_noise"):
        CustomTile(2, 3, exact(update=CustomUpdateParameters(gradient_noise="much")))


def test_bad_updates_change_nothing() -> None:
    """Wrong shapes and values that are not finite are refused."""
    tile = tile_with()
    bad: list[tuple[Tensor, Tensor, type[Exception]]] = [
        (torch.ones(1, 2), torch.ones(1, 2), InputError),
        (torch.ones(1, 3), torch.ones(1, 3), InputError),
        (torch.ones(2, 3), torch.ones(1, 2), InputError),
        (torch.ones(1, 3).double(), torch.ones(1, 2), InputError),
        (torch.full((1, 3), math.nan), torch.ones(1, 2), ArgumentError),
        (torch.ones(1, 3), torch.full((1, 2), math.inf), ArgumentError),
    ]
    for x, d, error in bad:
        with pytest.raises(error):
            tile.tile.update(x, d)
    with pytest.raises(ArgumentError):
        tile.tile.set_weights(torch.full((2, 3), math.nan))
    with pytest.raises(InputError):
        tile.tile.set_weights(torch.ones(3, 2))
    torch.testing.assert_close(tile.get_weights()[0], W)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize("noise", [0.0, 3e38])
def test_absurd_updates_stay_finite(dtype: torch.dtype, noise: float) -> None:
    """A rate beyond any sense ends at the largest number, as in tiles of the core."""
    config = exact(update=CustomUpdateParameters(gradient_noise=noise))
    raw = CustomTile(2, 3, config).to(dtype).tile
    raw.set_learning_rate(1e308)
    x, d = torch.full((1, 3), 100.0, dtype=dtype), torch.full((1, 2), -100.0, dtype=dtype)
    raw.update(x, d)
    weights = raw.get_weights()
    assert torch.isfinite(weights).all()
    if noise == 0.0:
        assert (weights == torch.finfo(dtype).max).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_what_was_recorded_follows_a_cast(dtype: torch.dtype) -> None:
    """As gradients do in torch: the step after a cast uses them."""
    tile = tile_with(bias=True)
    optimizer = AnalogSGD(tile.parameters(), lr=1.0)
    tile(torch.ones(1, 3)).sum().backward()
    tile.to(dtype)
    optimizer.step()
    torch.testing.assert_close(tile.get_weights()[0], (W - 1.0).to(dtype), atol=1e-2, rtol=0.0)
    assert tile.bias is not None
    assert tile.bias.tolist() == [-1.0, -1.0]
