"""Inference tiles that compute in torch: construction, periphery, precision, life cycle."""

import math

import pytest
import torch

from mho.exceptions import (
    AnalogBiasConfigError,
    ArgumentError,
    ConfigError,
    CudaError,
    InputError,
    TileError,
    TileModuleError,
    TorchTileConfigError,
)
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.enums import (
    RPUDataType,
    WeightClipType,
    WeightRemapType,
)
from mho.simulator.tiles import TorchInferenceTile, TorchSimulatorTile
from torch_tiles import NM, W, ideal, perfect, tile_with, with_range

# Construction


def test_default_configuration() -> None:
    """Without a configuration the tile has that of its family, on parameters of the usual names."""
    tile = TorchInferenceTile(3, 2, bias=True)
    assert type(tile.rpu_config) is TorchInferenceRPUConfig
    assert isinstance(tile.tile, TorchSimulatorTile)
    assert {name for name, _ in tile.named_parameters()} == {"bias", "tile.weight"}
    assert not tile.supports_indexed and tile.supports_ddp


def test_no_analog_bias() -> None:
    """An analog bias is refused, by the tile and by the raw tile."""
    config = TorchInferenceRPUConfig()
    config.mapping.digital_bias = False
    with pytest.raises(AnalogBiasConfigError, match=r"mapping\.digital_bias"):
        TorchInferenceTile(2, 2, config, bias=True)
    with pytest.raises(AnalogBiasConfigError):
        TorchInferenceTile(2, 2, config).tile.forward(torch.ones(2), bias=True)


@pytest.mark.parametrize("layout", [{"in_trans": True}, {"out_trans": True}])
def test_no_transposed_layout(layout: dict[str, bool]) -> None:
    """Features are on the last axis only."""
    with pytest.raises(TorchTileConfigError, match="in_trans"):
        TorchInferenceTile(2, 2, **layout)
    with pytest.raises(TorchTileConfigError, match="in_trans"):
        TorchInferenceTile(2, 2).tile.forward(torch.ones(2), **layout)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("forward", "w_noise", 0.1),
        ("forward", "ir_drop", 1.0),
    ],
)
def test_refusals_name_the_field(part: str, name: str, value: object) -> None:
    """Options of the core are refused when the tile is built, and when they are set later."""
    config = TorchInferenceRPUConfig()
    tile = TorchInferenceTile(2, 2, config)
    setattr(getattr(config, part), name, value)
    with pytest.raises(TorchTileConfigError, match=rf"{part}\.{name}"):
        TorchInferenceTile(2, 2, config)
    before = getattr(getattr(tile.rpu_config, part), name)
    with pytest.raises(TorchTileConfigError, match=rf"{part}\.{name}"):
        setattr(getattr(tile.rpu_config, part), name, value)
    assert getattr(getattr(tile.rpu_config, part), name) == before


def test_other_families_are_refused() -> None:
    """A configuration of the core does not describe a torch tile."""
    with pytest.raises(TorchTileConfigError, match="simulator_tile_class"):
        TorchInferenceTile(2, 2, InferenceRPUConfig())
    with pytest.raises(TorchTileConfigError, match="simulator_tile_class"):
        TorchInferenceTile(2, 2, SingleRPUConfig())


def test_edits_act_at_once() -> None:
    """An assignment acts in the next call, and is checked."""
    tile = tile_with(ideal())
    x = torch.tensor([1.0, 0.5])
    tile.rpu_config.forward.out_scale = 2.0
    torch.testing.assert_close(tile(x), 2.0 * W @ x)
    with pytest.raises(ConfigError, match=r"forward\.out_scale"):
        tile.rpu_config.forward.out_scale = "two"
    torch.testing.assert_close(tile(x), 2.0 * W @ x)


# Inputs


@pytest.mark.parametrize("shape", [(2,), (0, 2), (3, 2), (2, 3, 2), (1, 2, 1, 2)])
def test_any_rank(shape: tuple[int, ...]) -> None:
    """Inputs have any number of batch axes, empty ones included."""
    tile = tile_with(IOParameters(out_noise=0.0, inp_res=-1.0, out_res=-1.0), bias=True)
    tile.bias.data.fill_(0.5)
    x = torch.randn(shape)
    torch.testing.assert_close(tile(x), x @ W.t() + 0.5)


def test_bad_inputs() -> None:
    """Wrong sizes, dtypes and objects are named."""
    tile = tile_with(ideal())
    for call in (tile, tile.tile):
        with pytest.raises(InputError, match="expected size 2 on the last axis, got 3"):
            call(torch.ones(4, 3))
        with pytest.raises(InputError, match=r"torch\.float64"):
            call(torch.ones(2, dtype=torch.float64))
        with pytest.raises(InputError, match="scalar"):
            call(torch.tensor(1.0))
        with pytest.raises(RuntimeError, match="expected a tensor"):
            call([1.0, 2.0])


def test_autocast_input_is_cast() -> None:
    """A half-precision input that autocast made is converted."""
    tile = tile_with(ideal())
    with torch.autocast("cpu", torch.bfloat16):
        y = tile(torch.ones(1, 2, dtype=torch.bfloat16))
    assert y.dtype is torch.float32
    # Weights and product are rounded to bfloat16.
    torch.testing.assert_close(y, W.sum(1).reshape(1, 2), rtol=1e-2, atol=0)


# Periphery


def test_scales_and_bias() -> None:
    """Mapping scales, learned scales and bias, and their gradients, in a closed form."""

    def edit(config: TorchInferenceRPUConfig) -> None:
        config.mapping.weight_scaling_omega = 1.0
        config.mapping.weight_scaling_columnwise = True
        config.mapping.learn_out_scaling = True
        config.mapping.out_scaling_columnwise = True

    tile = tile_with(ideal(), edit=edit, bias=True)
    torch.testing.assert_close(tile.get_mapping_scales(), torch.tensor([0.5, 0.8]))
    torch.testing.assert_close(tile.tile.weight, torch.tensor([[1.0, -0.5], [0.125, 1.0]]))
    tile.set_learned_out_scales(torch.tensor([2.0, 3.0]))
    tile.bias.data.copy_(torch.tensor([0.3, 0.4]))
    y = tile(torch.tensor([1.0, 0.5]))
    torch.testing.assert_close(y, torch.tensor([1.05, 1.9]))
    y.sum().backward()
    torch.testing.assert_close(tile.out_scaling_alpha.grad, torch.tensor([0.375, 0.5]))
    torch.testing.assert_close(tile.bias.grad, torch.ones(2))
    expected = torch.tensor([[4.0, 2.0], [3.75, 1.875]])
    torch.testing.assert_close(tile.tile.weight.grad, expected)


def test_step_moves_logical_weights_as_unscaled() -> None:
    """With mapping scales an SGD step changes the logical weights as without."""

    def edit(config: TorchInferenceRPUConfig) -> None:
        config.mapping.weight_scaling_omega = 0.4
        config.mapping.weight_scaling_columnwise = True

    results = []
    for change in (edit, None):
        tile = tile_with(ideal(), edit=change)
        optimizer = torch.optim.SGD(tile.parameters(), lr=0.1)
        tile(torch.tensor([[1.0, 0.5], [-2.0, 1.0]])).square().sum().backward()
        optimizer.step()
        results.append(tile.get_weights()[0])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, -3.0),
        ({"gradient_relative": False}, -1.5),
        ({"gradient_scale": 10.0}, -30.0),
        ({"gradient_relative": False, "gradient_scale": 10.0}, -15.0),
    ],
)
def test_gradient_of_input_range(changes: dict[str, object], expected: float) -> None:
    """Clipped inputs pass their gradient to the range."""
    tile = tile_with(perfect(), torch.tensor([[0.5, 0.25]]), with_range(**changes))
    x = torch.tensor([3.0, -3.0], requires_grad=True)
    y = tile(x)
    torch.testing.assert_close(y, torch.tensor([0.5]))
    y.backward(torch.tensor([-3.0]))
    torch.testing.assert_close(tile.input_range.grad, torch.tensor([expected]))
    assert x.grad.tolist() == [0.0, 0.0]


def test_decay_of_input_range() -> None:
    """While few inputs are clipped the range shrinks."""
    tile = tile_with(perfect(), edit=with_range(decay=0.5))
    tile(torch.ones(3, 2)).sum().backward()
    torch.testing.assert_close(tile.input_range.grad, torch.tensor([1.0]))


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (3, 3)])
def test_output_clipping_enlarges_range(shape: tuple[int, int]) -> None:
    """The fraction of clipped outputs counts outputs, whatever the number of inputs."""
    edit = with_range(manage_output_clipping=True)
    tile = tile_with(ideal(out_bound=0.1), torch.ones(shape), edit)
    y = tile(torch.ones(4, shape[1]))
    assert y.eq(0.2).all()
    y.backward(torch.zeros_like(y))
    torch.testing.assert_close(tile.input_range.grad, torch.tensor([-2.0]))


def test_output_clipping_below_threshold() -> None:
    """Few clipped outputs leave the range alone."""
    edit = with_range(manage_output_clipping=True, output_min_percentage=0.5)
    tile = tile_with(ideal(out_bound=0.1), torch.tensor([[1.0], [0.01], [0.02]]), edit)
    y = tile(torch.ones(4, 1))
    y.backward(torch.zeros_like(y))
    assert tile.input_range.grad.tolist() == [0.0]


def test_output_clipping_needs_observable_clips() -> None:
    """Managing output clipping is refused with noise or bound management."""
    with pytest.raises(ConfigError, match="manage_output_clipping"):
        tile_with(IOParameters(), edit=with_range(manage_output_clipping=True))


def test_noise_does_not_reach_the_range() -> None:
    """The two factors of the range are constants, so that output noise has no gradient there."""
    tile = tile_with(ideal(out_noise=0.5), edit=with_range())
    tile(torch.ones(3, 2)).sum().backward()
    assert tile.input_range.grad.tolist() == [0.0]


def test_range_follows_data() -> None:
    """The first batches set the range in training; evaluation does not."""
    tile = tile_with(perfect(), edit=with_range(init_from_data=2, init_std_alpha=3.0))
    batches = [torch.randn(50, 2) for _ in range(3)]
    stds = [float(b.std()) for b in batches]
    tile.eval()
    tile(batches[0])
    assert tile.input_range.item() == 2.0
    tile.train()
    both = 1.5 * sum(stds[:2])
    for batch, expected in zip(batches, (3 * stds[0], both, both), strict=True):
        tile(batch)
        torch.testing.assert_close(tile.input_range.item(), expected, rtol=1e-6, atol=0)


def test_perfect_product_is_not_masked() -> None:
    """Outputs of a perfect product are not bounded, whatever `out_bound` says."""
    tile = tile_with(IOParameters(is_perfect=True, out_bound=0.1))
    x = torch.tensor([100.0, 20.0], requires_grad=True)
    tile(x).sum().backward()
    torch.testing.assert_close(x.grad, W.sum(0))


# Noise per line


def test_noise_values_are_frozen() -> None:
    """The spread of output noise is drawn once, with the standard deviation asked for."""
    config = TorchInferenceRPUConfig(forward=ideal(out_noise=0.06, out_noise_std=0.3))
    tile = TorchInferenceTile(512, 1, config)
    values = tile.get_forward_parameters()["out_noise_values"]
    # Mean and standard deviation of 512 draws within five standard errors, 5/sqrt(1024) = 16 %.
    assert abs(values.mean() - 0.06) < 5 * 0.018 / math.sqrt(512)
    assert abs(values.std() - 0.018) < 0.16 * 0.018
    y = tile(torch.zeros(4000, 1))
    # 4000 rows: one standard error is 1/sqrt(8000) = 1.1 %; the largest of 512 stays below 4.5.
    torch.testing.assert_close(y.std(0), values, rtol=0.05, atol=0)
    assert torch.equal(tile.get_forward_parameters()["out_noise_values"], values)


def test_noise_values_can_be_set() -> None:
    """Frozen values are written as a whole; wrong ones are refused and change nothing."""
    tile = tile_with(ideal(out_noise=0.06, out_noise_std=0.3))
    tile.set_forward_parameters(out_noise_values=torch.tensor([0.0, 0.0]))
    torch.testing.assert_close(tile(torch.ones(2)), W.sum(1))
    for wrong in (torch.ones(3), torch.tensor([math.nan, 0.0])):
        with pytest.raises(ArgumentError, match="out_noise_values"):
            tile.set_forward_parameters({"out_noise_values": wrong})
    with pytest.raises(ArgumentError, match="v_offset"):
        tile.set_forward_parameters(v_offset=torch.ones(2))
    assert tile.get_forward_parameters()["out_noise_values"].tolist() == [0.0, 0.0]
    assert tile_with(ideal()).get_forward_parameters()["out_noise_values"].numel() == 0


def test_frozen_values_follow_edits() -> None:
    """A spread is drawn when it is switched on; its strength scales what was drawn."""
    tile = tile_with(ideal(out_noise=0.1))
    tile.rpu_config.forward.out_noise_std = 0.3
    first = tile.get_forward_parameters()["out_noise_values"]
    assert first.shape == (2,) and bool((first > 0.0).all())
    tile.rpu_config.forward.out_noise = 0.2
    torch.testing.assert_close(tile.get_forward_parameters()["out_noise_values"], 2.0 * first)
    tile.rpu_config.forward.out_noise_std = 0.0
    assert tile.get_forward_parameters()["out_noise_values"].numel() == 0
    tile(torch.ones(2))


# Precision


# RPUDataType has no bfloat16, as in aihwkit: such tiles are made by `to` only.
@pytest.mark.parametrize(
    ("how", "dtype"),
    [
        ("to", torch.float64),
        ("to", torch.float16),
        ("to", torch.bfloat16),
        ("configuration", torch.float64),
        ("configuration", torch.float16),
    ],
)
def test_dtypes(how: str, dtype: torch.dtype) -> None:
    """A cast tile is of one dtype in all its parts, and its context shares the weights."""

    def edit(config: TorchInferenceRPUConfig) -> None:
        config.mapping.weight_scaling_omega = 0.5
        config.mapping.learn_out_scaling = True
        with_range()(config)
        if how == "configuration":
            config.runtime.data_type = next(t for t in RPUDataType if t.as_torch() is dtype)

    forward = ideal(out_noise=0.01, out_noise_std=0.1)
    tile = tile_with(forward, edit=edit, bias=True)
    context = tile.analog_ctx
    tile = tile.to(dtype) if how == "to" else tile
    tile.set_weights(W, torch.zeros(2))
    assert tile.analog_ctx is context
    assert context.dtype is dtype and context.data_ptr() == tile.tile.weight.data_ptr()
    values = {k: v for k, v in tile.state_dict().items() if v.is_floating_point()}
    # The counter of batches would stop at 256 in bfloat16.
    assert values.pop("input_range_update_idx").dtype is torch.float32
    assert {v.dtype for v in values.values()} == {dtype}
    x = torch.tensor([1.0, 0.5], dtype=dtype, requires_grad=True)
    y = tile(x)
    assert y.dtype is dtype
    # Five standard deviations of the noise, and three roundings to the dtype.
    expected = (W @ torch.tensor([1.0, 0.5])).to(dtype)
    torch.testing.assert_close(y, expected, atol=0.1 + 3 * torch.finfo(dtype).eps, rtol=0)
    y.sum().backward()
    assert x.grad.dtype is dtype and tile.tile.weight.grad.dtype is dtype


@pytest.mark.skipif(torch.cuda.is_available(), reason="moves there instead of failing")
def test_no_cuda_device() -> None:
    """Without a CUDA device the tile says so, and stays what it was."""
    tile = tile_with(ideal())
    with pytest.raises(CudaError, match="CUDA"):
        tile.cuda()
    with pytest.raises(TileModuleError, match="cannot be moved"):
        torch.nn.Sequential(tile).to("cuda")
    torch.testing.assert_close(tile(torch.ones(2)), W.sum(1))


def test_double_precision_weights_are_exact() -> None:
    """Weights in double precision are stored and returned as they are."""
    tile = TorchInferenceTile(2, 2).double()
    weight = torch.randn(2, 2, dtype=torch.float64)
    tile.set_weights(weight)
    assert torch.equal(tile.get_weights()[0], weight)


def test_gradcheck_in_double_precision() -> None:
    """All gradients of a smooth tile agree with differences."""

    def edit(config: TorchInferenceRPUConfig) -> None:
        config.mapping.learn_out_scaling = True

    io = ideal(inp_bound=1.0, noise_management=NM.ABS_MAX, inp_asymmetry=0.1, out_asymmetry=0.2)
    tile = tile_with(io, edit=edit, bias=True).double()
    x = torch.tensor([[0.7, -0.4], [-1.0, 3.0]], dtype=torch.float64, requires_grad=True)
    parameters = (tile.tile.weight, tile.bias, tile.out_scaling_alpha)
    assert torch.autograd.gradcheck(lambda x, *_: tile(x), (x, *parameters))


def test_training_in_bfloat16() -> None:
    """A tile in half precision learns a linear map."""
    torch.manual_seed(5)
    tile = tile_with(IOParameters(), torch.zeros(2, 4)).to(torch.bfloat16)
    target = torch.randn(2, 4)
    x = torch.randn(64, 4)
    optimizer = AnalogSGD(tile.parameters(), lr=0.2)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (tile(x.bfloat16()).float() - x @ target.t()).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # The noise floor: output noise 0.06, reduced by 3 % converter steps, at a scale of about 2.5.
    assert losses[-1] < 0.15 < losses[0]


# Optimizers and steps after the update


def test_context_has_no_gradient_and_no_trace() -> None:
    """The weight parameter trains; the context neither gets a gradient nor collects pairs."""
    tile = tile_with(ideal())
    tile(torch.ones(2)).sum().backward()
    assert tile.analog_ctx.grad is None and not tile.analog_ctx.has_gradient()
    assert tile.analog_ctx.use_torch_update
    with pytest.raises(TileError):
        tile.update(torch.ones(2), torch.ones(2))
    with pytest.raises(TileError):
        tile.tile.update(torch.ones(2), torch.ones(2))


def test_clip_after_step() -> None:
    """Weights are clipped after a step; a negative fixed value does nothing."""
    tile = tile_with(ideal())
    tile.rpu_config.clip.type = WeightClipType.FIXED_VALUE
    tile.post_update_step()
    torch.testing.assert_close(tile.get_weights()[0], W)
    tile.rpu_config.clip.fixed_value = 0.3
    tile.post_update_step()
    torch.testing.assert_close(tile.get_weights()[0], W.clamp(-0.3, 0.3))


@pytest.mark.parametrize(
    ("kind", "raw", "scales"),
    [
        ("LAYERWISE_SYMMETRIC", [[0.5, -0.4, 1.0], [0.1, -0.25, 0.2], [0.0] * 3], [12.0] * 3),
        (
            "CHANNELWISE_SYMMETRIC",
            [[0.5, -0.4, 1.0], [0.4, -1.0, 0.8], [0.0] * 3],
            [12.0, 3.0, 3.0],
        ),
    ],
)
def test_remap_after_step(kind: str, raw: list[list[float]], scales: list[float]) -> None:
    """Remapping fills the range of the weights and keeps their product with the scales."""
    weight = torch.tensor([[2.0, -1.6, 4.0], [0.4, -1.0, 0.8], [0.0, 0.0, 0.0]])

    def edit(config: TorchInferenceRPUConfig) -> None:
        config.remap.type = WeightRemapType[kind]

    tile = tile_with(ideal(), weight, edit)
    tile.set_scales(torch.full((3,), 3.0))
    tile.post_update_step()
    torch.testing.assert_close(tile.tile.get_weights(), torch.tensor(raw))
    torch.testing.assert_close(tile.get_weights()[0], 3.0 * weight)
    torch.testing.assert_close(tile.get_scales(), torch.tensor(scales))


# Programming and drift


def test_program_and_drift() -> None:
    """Programming errors and drift change the weights; compensation restores the outputs."""
    tile = tile_with(ideal(), 0.5 * torch.randn(20, 30))
    tile.eval()
    target = tile.get_weights()[0]
    tile.program_weights()
    programmed = tile.get_weights()[0]
    assert not torch.equal(programmed, target)
    tile.drift_weights(1e6)
    assert tile.get_weights()[0].abs().mean() < programmed.abs().mean()
    assert tile.alpha > 1.0
    x = torch.eye(30)
    # The compensation is global, hence exact only for the mean magnitude.
    torch.testing.assert_close(tile(x).abs().mean(), programmed.abs().mean(), rtol=0.05, atol=0)


def test_realistic_read() -> None:
    """Weights read through noisy products are close to the true ones."""
    tile = tile_with(IOParameters(), 0.3 * torch.randn(5, 8), bias=True)
    weight, _ = tile.get_weights(realistic=True)
    # 80 vectors at a noise of 0.06 times their scale of about 2 give 0.12 / sqrt(80) per weight.
    torch.testing.assert_close(weight, tile.get_weights()[0], atol=5 * 0.12 / math.sqrt(80), rtol=0)
