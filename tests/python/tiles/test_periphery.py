"""Digital periphery: gold values worked out by hand from the definitions."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mho.exceptions import ConfigError
from mho.simulator.configs import (
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.enums import BoundManagementType, NoiseManagementType
from mho.simulator.tiles import (
    AnalogTile,
    FloatingPointTile,
    InferenceTile,
    TorchInferenceTile,
)

W2 = [[0.5, -0.25], [0.1, 0.8]]


def perfect(**mapping: Any) -> InferenceRPUConfig:
    """Inference configuration with exact products."""
    config = InferenceRPUConfig(forward=IOParameters(is_perfect=True))
    for name, value in mapping.items():
        setattr(config.mapping, name, value)
    return config


def unmanaged(**forward: Any) -> IOParameters:
    """Converters without noise, quantisation and management."""
    return IOParameters(
        inp_res=-1.0,
        out_res=-1.0,
        out_noise=0.0,
        noise_management=NoiseManagementType.NONE,
        bound_management=BoundManagementType.NONE,
        **forward,
    )


def with_range(config: Any, **values: Any) -> Any:
    """Enable the input range with fixed settings unless given otherwise."""
    params = config.pre_post.input_range
    params.enable, params.init_from_data, params.decay = True, 0, 0.0
    for name, value in values.items():
        setattr(params, name, value)
    return config


def build(config: Any, weight: Any, cls: Any = InferenceTile, **kwargs: Any) -> Any:
    """Tile with the given logical weights."""
    matrix = torch.tensor(weight)
    tile = cls(*matrix.shape, config, **kwargs)
    tile.set_weights(matrix, torch.zeros(len(matrix)) if kwargs.get("bias") else None)
    return tile


@pytest.mark.parametrize(
    ("relative", "scale", "expected"),
    [(True, 1.0, -3.0), (False, 1.0, -1.5), (True, 10.0, -30.0), (False, 10.0, -15.0)],
)
def test_input_range_gradient(relative: bool, scale: float, expected: float) -> None:
    """x = [3, -3] is clipped to [2, -2]; of D = [-1.5, -0.75] the first asks for more."""
    config = with_range(perfect(), init_value=2.0, gradient_relative=relative, gradient_scale=scale)
    tile = build(config, [[0.5, 0.25]])
    x = torch.tensor([[3.0, -3.0]], requires_grad=True)
    y = tile(x)
    y.backward(torch.tensor([[-3.0]]))
    assert y.item() == pytest.approx(0.5)
    assert tile.input_range.grad.item() == pytest.approx(expected)
    # Clipped inputs get their gradient all the same (straight-through).
    torch.testing.assert_close(x.grad, torch.tensor([[-1.5, -0.75]]))


def test_input_range_decay() -> None:
    """Nothing is clipped, so the gradient is decay * r = 0.5 * 2."""
    tile = build(with_range(perfect(), init_value=2.0, decay=0.5), W2)
    tile(torch.ones(4, 2)).sum().backward()
    assert tile.input_range.grad.item() == pytest.approx(1.0)


def test_input_range_follows_data() -> None:
    tile = build(with_range(perfect(), init_from_data=2, init_std_alpha=3.0), W2)
    batches = [torch.randn(8, 2), 2.0 * torch.randn(8, 2), torch.randn(8, 2)]
    std = [batch.std().item() for batch in batches]
    tile(batches[0])
    assert tile.input_range.item() == pytest.approx(3.0 * std[0], rel=1e-5)
    tile.eval()
    tile(batches[2])
    assert tile.input_range.item() == pytest.approx(3.0 * std[0], rel=1e-5)
    tile.train()
    tile(torch.zeros(8, 2))  # no spread: neither the range nor the counter moves
    tile(batches[1])
    after = (3.0 * std[0] + 3.0 * std[1]) / 2.0
    assert tile.input_range.item() == pytest.approx(after, rel=1e-5)
    tile(batches[2])
    assert tile.input_range.item() == pytest.approx(after, rel=1e-5)
    assert not tile.input_range_update_idx.requires_grad


@pytest.mark.parametrize("huge", [3e38, math.inf, math.nan])
@pytest.mark.parametrize("cls", [InferenceTile, TorchInferenceTile, AnalogTile])
def test_input_range_does_not_follow_what_overflows(cls: Any, huge: float) -> None:
    """A batch whose spread no number holds would leave a range that nothing mends."""
    config = {
        InferenceTile: InferenceRPUConfig,
        TorchInferenceTile: TorchInferenceRPUConfig,
        AnalogTile: SingleRPUConfig,
    }[cls]()
    tile = cls(2, 2, with_range(config, init_from_data=3, init_value=1.5))
    tile(torch.tensor([[huge, -huge], [1.0, 0.0]]))
    assert tile.input_range.item() == 1.5
    assert float(tile.input_range_update_idx) == 0.0
    tile(torch.tensor([[1.0, -1.0]]))
    assert float(tile.input_range_update_idx) == 1.0


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (5, 2)])
def test_output_clipping_enlarges_range(shape: tuple[int, int]) -> None:
    """All outputs are clipped: p = 0 and the gradient is -(1 - p) * r = -2, whatever the sizes."""
    config = InferenceRPUConfig(forward=unmanaged(out_bound=0.01))
    config = with_range(config, init_value=2.0, manage_output_clipping=True)
    tile = build(config, torch.ones(shape).tolist())
    tile(torch.ones(3, shape[1])).backward(torch.zeros(3, shape[0]))
    assert tile.input_range.grad.item() == pytest.approx(-2.0)


def test_output_clipping_needs_observable_outputs() -> None:
    config = with_range(InferenceRPUConfig(), manage_output_clipping=True)
    with pytest.raises(ConfigError, match="manage_output_clipping"):
        InferenceTile(2, 2, config)


@pytest.mark.parametrize("value", [0.0, 1e-60, -1e60])
@pytest.mark.parametrize("config_class", [InferenceRPUConfig, TorchInferenceRPUConfig])
def test_a_range_starts_with_a_number_that_can_divide(config_class: Any, value: float) -> None:
    """Zero would clip all inputs to nothing."""
    config = with_range(config_class(), init_value=value)
    with pytest.raises(ConfigError, match=r"pre_post\.input_range\.init_value: .*not zero"):
        config.tile_class(2, 2, config)
    config.pre_post.input_range.enable = False
    config.tile_class(2, 2, config)


def scaled_tile(learn: bool = True) -> Any:
    """Columnwise mapping to 1, learned scales [2, 3], bias [0.3, 0.4]."""
    config = perfect(
        weight_scaling_omega=1.0,
        weight_scaling_columnwise=True,
        learn_out_scaling=learn,
        out_scaling_columnwise=True,
    )
    tile = InferenceTile(2, 2, config, bias=True)
    tile.set_weights(torch.tensor(W2), torch.tensor([0.3, 0.4]))
    return tile


def test_scales() -> None:
    tile = scaled_tile()
    tile.set_learned_out_scales(torch.tensor([2.0, 3.0]))
    torch.testing.assert_close(tile.mapping_scales, torch.tensor([0.5, 0.8]))
    torch.testing.assert_close(tile.tile.get_weights(), torch.tensor([[1.0, -0.5], [0.125, 1.0]]))
    y = tile(torch.tensor([[1.0, 0.5]]))
    torch.testing.assert_close(y, torch.tensor([[1.05, 1.9]]))
    y.sum().backward()
    torch.testing.assert_close(tile.out_scaling_alpha.grad, torch.tensor([0.375, 0.5]))
    torch.testing.assert_close(tile.bias.grad, torch.ones(2))
    torch.testing.assert_close(tile.shared_weights.grad, torch.tensor([[4.0, 2.0], [3.75, 1.875]]))


@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig])
@pytest.mark.parametrize("with_input_range", [False, True])
@pytest.mark.parametrize(
    ("scales", "ratios"), [([4.0, 4.0], [0.25, 0.25]), ([4.0, 2.0], [0.25, 0.5])]
)
def test_gradients_of_raw_weights(
    cls: Any, with_input_range: bool, scales: list[float], ratios: list[float]
) -> None:
    """That of the logical weights over the scales: a step then moves these as plain SGD would.

    Compensation of the learning rate multiplies it by the mean scale; an input range clips, and
    drops out otherwise.
    """
    x, d = torch.tensor([[1.0, -0.5], [3.0, 0.25]]), torch.tensor([[0.3, -0.2], [0.7, 0.4]])
    plain = d.t() @ (x.clamp(-2.0, 2.0) if with_input_range else x)
    for compensate in (False, True) if cls is InferenceRPUConfig else (False,):
        config = cls(forward=IOParameters(is_perfect=True))
        config.mapping.weight_scaling_omega = 1.0
        config.mapping.weight_scaling_columnwise = True
        config.mapping.weight_scaling_lr_compensation = compensate
        if with_input_range:
            with_range(config, init_value=2.0)
        tile = config.create_tile(2, 2)
        tile.set_weights(torch.tensor([[1.0, -0.5], [0.2, 1.0]]) * torch.tensor(scales)[:, None])
        tile(x).backward(d)
        factor = sum(scales) / 2.0 if compensate else 1.0
        wanted = plain * factor * torch.tensor(ratios)[:, None]
        torch.testing.assert_close(tile.trained_parameter().grad, wanted)


@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig])
def test_gradients_of_clipped_inputs(cls: Any) -> None:
    """Inference tiles hand them on, torch tiles do not; the range gets the same in both."""
    config = with_range(cls(forward=IOParameters(is_perfect=True)), init_value=2.0, decay=0.01)
    config.pre_post.input_range.input_min_percentage = 0.3
    tile = config.create_tile(2, 2)
    tile.set_weights(torch.tensor(W2))
    x = torch.tensor([[3.0, 1.0], [-2.5, -1.0]], requires_grad=True)
    d = torch.tensor([[-1.0, 0.5], [2.0, 1.0]])
    tile(x).backward(d)
    assert x.grad is not None
    delta = d @ torch.tensor(W2)
    inside = x.detach().abs() <= 2.0
    torch.testing.assert_close(x.grad, delta if cls is InferenceRPUConfig else delta * inside)
    # Both clipped inputs ask for a larger range, and half of the inputs is not clipped.
    assert delta[0, 0] < 0.0 < delta[1, 0]
    wanted = 2.0 * float(delta[0, 0] - delta[1, 0]) + 0.01 * 2.0
    assert tile.input_range.grad.item() == pytest.approx(wanted)
    tile.input_range.grad = None
    tile(0.1 * x.detach()).sum().backward()
    assert tile.input_range.grad.item() == pytest.approx(0.02)


@pytest.mark.parametrize("cls", [InferenceRPUConfig, TorchInferenceRPUConfig])
def test_only_what_is_learned_reaches_an_optimizer(cls: Any) -> None:
    """Counters and constants are buffers."""
    config = with_range(cls())
    config.mapping.learn_out_scaling = True
    config.mapping.weight_scaling_omega = 1.0
    tile = config.create_tile(2, 2)
    weights = "shared_weights" if cls is InferenceRPUConfig else "tile.weight"
    names = {name for name, _ in tile.named_parameters()}
    assert names == {weights, "input_range", "out_scaling_alpha"}
    assert {"input_range_update_idx", "mapping_scales", "alpha"} <= tile.state_dict().keys()
    config.pre_post.input_range.learn_input_range = False
    names = {name for name, _ in config.create_tile(2, 2).named_parameters()}
    assert names == {weights, "out_scaling_alpha"}


def test_set_weights_of_get_weights_changes_nothing() -> None:
    tile = scaled_tile()
    tile.set_learned_out_scales(torch.tensor([2.0, 3.0]))
    before, bias = tile.get_weights()
    for omega in (None, 0.0):
        tile.set_weights(before, bias, weight_scaling_omega=omega)
        torch.testing.assert_close(tile.get_weights()[0], before)
    bias.fill_(7.0)  # a copy, not the parameter
    assert tile.bias.max() < 1.0


def test_zero_row_has_scale_one() -> None:
    config = perfect(weight_scaling_omega=1.0, weight_scaling_columnwise=True)
    tile = build(config, [[0.0, 0.0], [0.1, 0.8]])
    assert tile.mapping_scales[0] == 1.0
    assert torch.isfinite(tile.tile.get_weights()).all()


def test_mapping_scales_accept_numbers() -> None:
    tile = scaled_tile()
    tile.set_mapping_scales(0.25)
    torch.testing.assert_close(tile.mapping_scales, torch.full((2,), 0.25))


@pytest.mark.parametrize("cls", [InferenceTile, FloatingPointTile])
def test_perfect_forward_has_no_mask(cls: Any) -> None:
    """Outputs far beyond out_bound pass their gradient when the product is perfect."""
    config: Any = perfect() if cls is InferenceTile else FloatingPointRPUConfig()
    tile = build(config, W2, cls)
    x = torch.tensor([[1000.0, 2000.0]], requires_grad=True)
    tile(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor(W2).sum(0, keepdim=True))


def test_managed_bounds_have_no_mask() -> None:
    """Noise and bound management bring the analog value below the bound; W^T 1 = [0.7, 0.4]."""
    config = InferenceRPUConfig(forward=IOParameters(out_noise=0.0))
    tile = build(config, [[0.5, 0.1], [0.2, 0.3]])
    x = torch.tensor([[100.0, 20.0]], requires_grad=True)
    tile(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[0.7, 0.4]]))


def test_clipped_output_masks_input_and_weight_gradient() -> None:
    """y = [0.375, 0.45 -> 0.4]: the second output is at the bound."""
    tile = build(InferenceRPUConfig(forward=unmanaged(out_bound=0.4)), W2)
    x = torch.tensor([[1.0, 0.5]], requires_grad=True)
    y = tile(x)
    y.sum().backward()
    torch.testing.assert_close(y, torch.tensor([[0.375, 0.4]]))
    torch.testing.assert_close(x.grad, torch.tensor([[0.5, -0.25]]))
    expected = torch.tensor([[1.0, 0.5], [0.0, 0.0]])
    torch.testing.assert_close(tile.shared_weights.grad, expected)


def test_pulsed_trace_is_not_masked() -> None:
    config = SingleRPUConfig(
        device=IdealDevice(),
        forward=unmanaged(out_bound=0.4),
        backward=IOParameters(is_perfect=True),
    )
    tile = build(config, W2, AnalogTile)
    x = torch.tensor([[1.0, 0.5]], requires_grad=True)
    tile(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[0.5, -0.25]]))
    torch.testing.assert_close(tile.analog_ctx.analog_grad_output[0], torch.ones(1, 2))


@pytest.mark.parametrize("out_scale", [1.0, 3.0])
def test_inference_gradient_is_the_true_one(out_scale: float) -> None:
    """With a range and no scales, both gradients are those of the same formula in torch."""
    config = with_range(
        InferenceRPUConfig(forward=IOParameters(is_perfect=True, out_scale=out_scale)),
        init_value=2.0,
    )
    tile = build(config, W2)
    x = torch.tensor([[1.0, 0.5], [-1.5, 0.25]], requires_grad=True)
    tile(x).square().sum().backward()
    w = torch.tensor(W2, requires_grad=True)
    reference = x.detach().clone().requires_grad_()
    (out_scale * reference @ w.t()).square().sum().backward()
    torch.testing.assert_close(tile.shared_weights.grad, w.grad)
    torch.testing.assert_close(x.grad, reference.grad)


def test_analog_bias_does_not_grow_with_range() -> None:
    """W = .5, b = .25, x = 1, r = 2 gives 0.75."""
    config = with_range(perfect(digital_bias=False), init_value=2.0)
    tile = InferenceTile(1, 1, config, bias=True)
    tile.set_weights(torch.tensor([[0.5]]), torch.tensor([0.25]))
    y = tile(torch.tensor([[1.0]]))
    assert y.item() == pytest.approx(0.75)
    y.sum().backward()
    torch.testing.assert_close(tile.shared_weights.grad, torch.tensor([[1.0, 1.0]]))
    assert tile.bias is None


def test_update_uses_the_range_of_its_forward() -> None:
    """The trace holds what the array saw; a later change of the range does not matter."""
    config = with_range(FloatingPointRPUConfig(), init_value=2.0)
    tile = build(config, W2, FloatingPointTile)
    before = tile.tile.get_weights()
    tile(torch.tensor([[3.0, 1.0]])).sum().backward()
    tile.set_input_range(100.0)
    tile.set_learning_rate(1.0)
    tile.apply_trace()
    seen = torch.tensor([[1.0, 0.5]])  # [3, 1] clipped to 2 and divided by it
    torch.testing.assert_close(tile.tile.get_weights(), before - seen)


def test_update_divides_by_mapping_scales() -> None:
    """A step of the logical weights is that of plain SGD, with and without lr compensation."""
    for compensate in (False, True):
        config = FloatingPointRPUConfig()
        config.mapping.weight_scaling_omega = 0.1
        config.mapping.weight_scaling_lr_compensation = compensate
        tile = build(config, W2, FloatingPointTile)
        before, _ = tile.get_weights()
        x, d = torch.randn(3, 2), torch.randn(3, 2)
        tile.set_learning_rate(0.5)
        assert tile.get_learning_rate() == pytest.approx(0.5)
        tile.update(x, d)
        # 8 x 2 products of numbers of order one in float32, divided by 8: errors below 1e-5.
        torch.testing.assert_close(
            tile.get_weights()[0], before - 0.5 * d.t() @ x, atol=1e-5, rtol=0
        )


def test_the_learning_rate_stays_when_the_scales_change() -> None:
    """With compensation the raw rate is relative to the scales; no optimizer sets it anew here."""
    config = FloatingPointRPUConfig()
    config.mapping.weight_scaling_omega = 0.1
    config.mapping.weight_scaling_lr_compensation = True
    tile = build(config, W2, FloatingPointTile)
    tile.set_learning_rate(0.5)
    x, d = torch.randn(3, 2), torch.randn(3, 2)
    for change in (
        lambda: tile.set_weights(10.0 * torch.tensor(W2)),
        lambda: tile.set_mapping_scales(3.0),
        lambda: tile.remap_weights(0.5),
    ):
        change()
        before, _ = tile.get_weights()
        assert tile.get_learning_rate() == pytest.approx(0.5)
        tile.update(x, d)
        torch.testing.assert_close(
            tile.get_weights()[0], before - 0.5 * d.t() @ x, atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("in_trans", [False, True])
@pytest.mark.parametrize("out_trans", [False, True])
@pytest.mark.parametrize("batch", [(), (3,), (3, 2), (0,), (2, 0)])
def test_layouts(in_trans: bool, out_trans: bool, batch: tuple[int, ...]) -> None:
    """Batch axes keep their order, the feature axis moves."""
    weight = torch.randn(4, 5)
    tile = FloatingPointTile(4, 5, FloatingPointRPUConfig(), True, in_trans, out_trans)
    tile.set_weights(weight, torch.arange(4.0))
    x = torch.randn(*batch, 5)
    expected = x @ weight.t() + torch.arange(4.0)
    given = (x.movedim(-1, 0) if in_trans else x).detach().requires_grad_()
    y = tile(given)
    assert y.shape == (expected.movedim(-1, 0) if out_trans else expected).shape
    torch.testing.assert_close(y.movedim(0, -1) if out_trans else y, expected)
    y.sum().backward()
    assert given.grad is not None and given.grad.shape == given.shape
    tile.set_learning_rate(1.0)
    tile.apply_trace()
    rows = x.reshape(math.prod(batch), 5)
    step = rows.sum(0).expand(4, 5)
    torch.testing.assert_close(tile.get_weights()[0], weight - step, atol=1e-5, rtol=1e-5)


def test_learned_scale_and_bias_view() -> None:
    """`tensor_view` puts the features on another axis, as convolutions need."""
    tile = build(perfect(), W2, bias=True)
    tile.bias.data.copy_(torch.tensor([1.0, 2.0]))
    y = tile(torch.zeros(2, 2), tensor_view=(-1, 1))
    torch.testing.assert_close(y, torch.tensor([[1.0, 1.0], [2.0, 2.0]]))


def test_frozen_context_collects_nothing() -> None:
    tile = build(FloatingPointRPUConfig(), W2, FloatingPointTile)
    tile.analog_ctx.requires_grad_(False)
    x = torch.ones(1, 2, requires_grad=True)
    tile(x).sum().backward()
    assert x.grad is not None
    assert not tile.analog_ctx.has_gradient()


def test_autocast_and_cast_models() -> None:
    tile = build(perfect(), W2)
    x = torch.ones(1, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert tile(x.bfloat16()).dtype is torch.float32
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        tile.to(dtype)
        y: Tensor = tile(x.to(dtype))
        assert y.dtype is dtype
        assert tile.analog_tile_weights.dtype is torch.float32
    tile.float()
    assert tile(x).dtype is torch.float32


def test_hooks_can_be_overridden() -> None:
    class Doubled(FloatingPointTile):
        def pre_forward(self, x_input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            return 2.0 * x_input

    tile = build(FloatingPointRPUConfig(), W2, Doubled)
    x = torch.tensor([[1.0, 0.5]])
    expected = 2.0 * x @ torch.tensor(W2).t()
    torch.testing.assert_close(tile(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(tile(x), expected)
