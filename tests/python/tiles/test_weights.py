"""Writing, reading, programming and after-step operations of weights."""

from typing import Any

import pytest
import torch

from mho.exceptions import ConfigError, InputError
from mho.inference.compensation.drift import PerColumnDriftCompensation
from mho.inference.noise.pcm import PCMLikeNoiseModel
from mho.simulator.configs import (
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
    WeightClipParameter,
    WeightRemapParameter,
)
from mho.simulator.parameters.enums import PulseType, WeightClipType, WeightRemapType
from mho.simulator.tiles import (
    AnalogTile,
    FloatingPointTile,
    InferenceTile,
    TileModuleArray,
    TorchInferenceTile,
)


@pytest.mark.parametrize("digital", [True, False])
@pytest.mark.parametrize("columnwise", [True, False])
def test_round_trip(digital: bool, columnwise: bool) -> None:
    config = FloatingPointRPUConfig()
    config.mapping.digital_bias = digital
    config.mapping.weight_scaling_omega = 0.6
    config.mapping.weight_scaling_columnwise = columnwise
    tile = FloatingPointTile(3, 4, config, bias=True)
    weight, bias = torch.randn(3, 2, 2), torch.randn(3)
    tile.set_weights(weight, bias)
    found, found_bias = tile.get_weights()
    torch.testing.assert_close(found, weight.reshape(3, 4))
    torch.testing.assert_close(found_bias, bias)
    raw = tile.tile.get_weights()
    assert raw.shape == (3, 4 + (not digital))
    assert raw.abs().max() == pytest.approx(0.6)
    tile.remap_weights(0.1)
    assert tile.tile.get_weights().abs().max() == pytest.approx(0.1)
    torch.testing.assert_close(tile.get_weights()[0], weight.reshape(3, 4))


@pytest.mark.parametrize("cls", [AnalogTile, InferenceTile, TileModuleArray, TorchInferenceTile])
def test_weights_of_another_shape_are_refused(cls: Any) -> None:
    configs: dict[Any, Any] = {
        AnalogTile: SingleRPUConfig,
        TorchInferenceTile: TorchInferenceRPUConfig,
    }
    tile = cls(3, 4, configs.get(cls, InferenceRPUConfig)())
    before = tile.get_weights()[0]
    weight = torch.randn(3, 4)
    with pytest.raises(InputError, match="transposed"):
        tile.set_weights(weight.t())
    for wrong in (weight.flatten(), weight.reshape(2, 6), weight.reshape(1, 3, 4)):
        with pytest.raises(InputError, match=r"expected shape \[out, in\]"):
            tile.set_weights(wrong)
    assert torch.equal(tile.get_weights()[0], before)


SCALED = [SingleRPUConfig, InferenceRPUConfig, FloatingPointRPUConfig, TorchInferenceRPUConfig]


@pytest.mark.parametrize("make", SCALED)
def test_rows_of_nearly_nothing(make: Any) -> None:
    """Their scale is not below that of a row that is just visible beside the largest one.

    A step of plain gradient descent then moves the logical weights as that of a digital layer.
    """
    config = make()
    config.mapping.weight_scaling_omega = 0.5
    config.mapping.weight_scaling_columnwise = True
    if isinstance(config, SingleRPUConfig):
        config.device = IdealDevice()
        config.update.pulse_type = PulseType.NONE
    if not isinstance(config, FloatingPointRPUConfig):
        config.forward = IOParameters(is_perfect=True)
    tile = config.tile_class(4, 3, config)
    weight = torch.tensor([[1.0, -2.0, 0.5], [1e-30, 0.0, -2e-30], [0.0] * 3, [1e-3, 0.0, 2e-3]])
    tile.set_weights(weight)
    raw = tile.tile.get_weights()
    largest = raw.abs().amax(dim=1)
    assert largest[[0, 3]].tolist() == pytest.approx([0.5, 0.5])
    assert 0 < largest[1] < 1e-20
    assert torch.equal(raw[2], torch.zeros(3)) and torch.equal(raw[1:, 1], torch.zeros(3))
    # One unit in the last place of float32, of weights as of the scales that divide them.
    torch.testing.assert_close(tile.get_weights()[0], weight, rtol=3e-7, atol=0)
    scales = tile.get_mapping_scales()
    assert scales.min().item() == pytest.approx(4.0 * torch.finfo(torch.float32).eps)

    x, d = torch.tensor([[0.3, -0.7, 0.2]]), torch.tensor([[0.1, 0.2, -0.3, 0.4]])
    if tile.weights_follow_gradient:
        tile(x).backward(d)
        parameter = tile.shared_weights if tile.shared_weights is not None else tile.tile.weight
        step = -0.1 * parameter.grad
        assert step.abs().max() < 1e6
        with torch.no_grad():
            parameter.add_(step)
    else:
        tile.set_learning_rate(0.1)
        tile.update(x, d)
    torch.testing.assert_close(
        tile.get_weights()[0], weight - 0.1 * d.t() @ x, rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("make", [InferenceRPUConfig, TorchInferenceRPUConfig])
def test_remapped_rows_of_nearly_nothing(make: Any) -> None:
    config = make(remap=WeightRemapParameter(type=WeightRemapType.CHANNELWISE_SYMMETRIC))
    tile = config.tile_class(3, 2, config)
    weight = torch.tensor([[1.0, -2.0], [1e-30, -2e-30], [0.0, 0.0]])
    tile.set_weights(weight)
    tile.post_update_step()
    scales = tile.get_mapping_scales()
    assert scales.tolist() == pytest.approx([2.0, 2.0 * torch.finfo(torch.float32).eps, 1.0])
    torch.testing.assert_close(tile.get_weights()[0], weight, rtol=3e-7, atol=0)


@pytest.mark.parametrize("columnwise", [False, True])
def test_gradients_of_scaled_weights_in_half_precision(columnwise: bool) -> None:
    """The square of a scale underflows in float16, the scale does not."""
    config = TorchInferenceRPUConfig()
    config.mapping.weight_scaling_omega = 0.6
    config.mapping.weight_scaling_columnwise = columnwise
    config.forward = IOParameters(is_perfect=True)
    tile = TorchInferenceTile(2, 3, config)
    tile.half()
    # One scale of 3e-3 for all, or one of that for the second row.
    largest = 2.0 if columnwise else 2e-3
    tile.set_weights(largest * torch.tensor([[0.5, -1.0, 0.2], [1e-30, 0.0, 0.0]]))
    tile(torch.ones(1, 3, dtype=torch.float16)).backward(torch.full((1, 2), 0.1).half())
    grad = tile.tile.weight.grad
    scales = tile.get_mapping_scales().float().expand(2)
    # Four roundings to eleven bits.
    torch.testing.assert_close(
        grad.float(), (0.1 / scales)[:, None].expand(2, 3), rtol=2e-3, atol=0
    )


def test_pulsed_weights_are_clipped() -> None:
    tile = AnalogTile(3, 4, SingleRPUConfig())
    tile.set_weights(torch.full((3, 4), 100.0))
    assert torch.equal(tile.tile.get_weights(), tile.get_hidden_parameters()["max_bound"])
    tile.set_weights(torch.full((3, 4), -100.0))
    assert torch.equal(tile.tile.get_weights(), tile.get_hidden_parameters()["min_bound"])


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("digital", [True, False])
@pytest.mark.parametrize("trans", [False, True])
def test_read_weights(given: bool, digital: bool, trans: bool) -> None:
    """Least squares on exact products recovers the weights to rounding."""
    config = FloatingPointRPUConfig()
    config.mapping.digital_bias = digital
    config.mapping.weight_scaling_omega = 0.5
    tile = FloatingPointTile(3, 4, config, True, trans, trans)
    tile.set_weights(torch.randn(3, 4), torch.randn(3))
    x = torch.randn(17, 4) if given else None
    for scaled in (True, False):
        expected, bias = tile.get_weights(apply_weight_scaling=scaled)
        found, found_bias = tile.read_weights(apply_weight_scaling=scaled, x_values=x)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found_bias, bias, atol=1e-5, rtol=1e-4)
    assert tile.training


def test_program_training_tile_twice() -> None:
    """Closed-loop programming reaches the target to its tolerance, also in later calls."""
    config = SingleRPUConfig(device=IdealDevice(), forward=IOParameters(out_noise=0.01))
    tile = AnalogTile(3, 4, config)
    target = 0.3 * torch.randn(3, 4)
    tile.set_weights(target)
    tile.set_learning_rate(0.7)
    for arguments in ({}, {"x_values": torch.eye(4)}, {"w_init": torch.zeros(3, 4)}):
        tile.program_weights(**arguments)  # type: ignore[arg-type]
        # The loop stops at a mean error of 1 % of the largest output; single ones are within 5 %.
        assert (tile.tile.get_weights() - target).abs().max() < 0.05 * target.abs().max()
    assert tile.get_learning_rate() == pytest.approx(0.7)


@pytest.fixture
def inference_tile() -> InferenceTile:
    tile = InferenceTile(40, 50, InferenceRPUConfig())
    tile.set_weights(torch.randn(40, 50).clamp(-1, 1))
    return tile.eval()


def test_programming_and_drift(inference_tile: InferenceTile) -> None:
    tile = inference_tile
    before = tile.tile.get_weights()
    tile.program_weights()
    programmed = tile.tile.get_weights()
    assert tile.programmed_weights is not None
    assert torch.equal(programmed, tile.programmed_weights)
    assert torch.equal(tile.reference_combined_weights, before)  # type: ignore[arg-type]
    # Programming errors of the PCM model are a few per cent of the conductance range.
    assert 0.005 < (programmed - before).std() < 0.1
    tile.drift_weights(1e6)
    late = tile.tile.get_weights().abs().mean()
    alpha = tile.alpha
    assert late < 0.8 * programmed.abs().mean() and alpha.dim() == 0 and alpha > 1.1
    tile.drift_weights(60.0)
    assert (
        tile.tile.get_weights().abs().mean() > late
    )  # from the programmed weights, not cumulative
    tile.program_weights()
    assert torch.equal(tile.reference_combined_weights, before)  # type: ignore[arg-type]
    tile.set_weights(before)
    assert tile.programmed_weights is None and tile.alpha == 1.0


def test_compensation_acts_in_evaluation_only() -> None:
    config = InferenceRPUConfig(
        forward=IOParameters(is_perfect=True), drift_compensation=PerColumnDriftCompensation()
    )
    tile = InferenceTile(3, 4, config)
    tile.set_weights(torch.randn(3, 4))
    tile.eval()
    tile.drift_weights(1e5)
    assert tile.alpha.shape == (3,)
    x = torch.randn(2, 4)
    plain = x @ tile.tile.get_weights().t()
    with torch.no_grad():
        torch.testing.assert_close(tile(x), plain * tile.alpha)
    torch.testing.assert_close(tile(x), plain * tile.alpha)
    tile.train()
    torch.testing.assert_close(tile(x), plain)


def test_noise_models(inference_tile: InferenceTile) -> None:
    tile = inference_tile
    with pytest.raises(ConfigError, match="noise_model"):
        tile.program_weights(noise_model=PCMLikeNoiseModel)  # type: ignore[arg-type]
    model = PCMLikeNoiseModel(prog_noise_scale=0.0)
    tile.program_weights(noise_model=model)
    assert tile.rpu_config.noise_model is model
    torch.testing.assert_close(tile.tile.get_weights(), tile.reference_combined_weights)


CLIPPED = [[-1.0, 0.5, 2.0], [0.25, -3.0, 0.0]]


@pytest.mark.parametrize(
    ("kind", "fixed", "limit"),
    [
        (WeightClipType.FIXED_VALUE, 0.7, 0.7),
        (WeightClipType.AVERAGE_CHANNEL_MAX, -1.0, 2.5),
        (WeightClipType.AVERAGE_CHANNEL_MAX, 1.5, 1.5),
        (WeightClipType.LAYER_GAUSSIAN, -1.0, None),
        (WeightClipType.NONE, 0.1, 9.0),
    ],
)
def test_clip_after_a_step(kind: WeightClipType, fixed: float, limit: float | None) -> None:
    clip = WeightClipParameter(type=kind, fixed_value=fixed, sigma=0.8)
    tile = InferenceTile(2, 3, InferenceRPUConfig(clip=clip))
    weight = torch.tensor(CLIPPED)
    tile.set_weights(weight)
    tile.post_update_step()
    bound = 0.8 * weight.std().item() if limit is None else limit
    torch.testing.assert_close(tile.tile.get_weights(), weight.clamp(-bound, bound))


@pytest.mark.parametrize("kind", ["LAYERWISE_SYMMETRIC", "CHANNELWISE_SYMMETRIC"])
def test_remap_keeps_logical_weights(kind: str) -> None:
    config = InferenceRPUConfig(
        remap=WeightRemapParameter(type=WeightRemapType[kind], remapped_wmax=1.0)
    )
    config.mapping.learn_out_scaling = True
    tile = InferenceTile(3, 3, config)
    weight = torch.tensor([*CLIPPED, [0.0, 0.0, 0.0]])
    tile.set_weights(weight)
    tile.set_learned_out_scales(2.0)
    tile.post_update_step()
    torch.testing.assert_close(tile.get_weights()[0], 2.0 * weight)
    largest = tile.tile.get_weights().abs().amax(dim=1)
    expected = [2 / 3, 1.0, 0.0] if kind.startswith("LAYER") else [1.0, 1.0, 0.0]
    torch.testing.assert_close(largest, torch.tensor(expected))
    assert tile.out_scaling_alpha == 1.0


def test_remap_limits_the_range_of_scales() -> None:
    """Rows of largest weight 2 and 0.5 with scales 1: range 1.5 allows 1.5 and 0.5."""
    remap = WeightRemapParameter(type=WeightRemapType.CHANNELWISE_SYMMETRIC, max_scale_range=1.5)
    tile = InferenceTile(2, 1, InferenceRPUConfig(remap=remap))
    tile.set_weights(torch.tensor([[2.0], [0.5]]))
    tile.post_update_step()
    torch.testing.assert_close(tile.get_mapping_scales(), torch.tensor([1.5, 0.5]))
    torch.testing.assert_close(tile.get_weights()[0], torch.tensor([[2.0], [0.5]]))


def test_weight_operations_of_raw_tiles() -> None:
    pulsed = AnalogTile(3, 4, SingleRPUConfig()).tile
    pulsed.clip_weights(WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=0.02))
    assert pulsed.get_weights().abs().max() <= 0.02
    with pytest.raises(ConfigError, match=r"clip\.type"):
        pulsed.clip_weights(WeightClipParameter(type=WeightClipType.LAYER_GAUSSIAN))
    with pytest.raises(ConfigError, match=r"remap\.type"):
        pulsed.remap_weights(
            WeightRemapParameter(type=WeightRemapType.LAYERWISE_SYMMETRIC), torch.ones(3)
        )


def test_raw_interface() -> None:
    """`forward` is x W^T, `backward` is d W, `update` is W -= lr d^T x; reading gives copies."""
    raw = FloatingPointTile(3, 4, FloatingPointRPUConfig()).tile
    assert (raw.get_d_size(), raw.get_x_size()) == (3, 4)
    assert raw.get_brief_info().endswith("(3,4)")
    weight, x, d = torch.randn(3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 3)
    raw.set_weights(weight)
    torch.testing.assert_close(raw.forward(x), x @ weight.t())
    torch.testing.assert_close(raw.backward(d), d @ weight)
    raw.set_learning_rate(0.5)
    raw.update(x, d)
    step = 0.5 * d.reshape(-1, 3).t() @ x.reshape(-1, 4)
    torch.testing.assert_close(raw.get_weights(), weight - step)
    raw.get_weights().zero_()
    assert raw.get_weights().abs().max() > 0
    raw.set_weights_uniform_random(0.1, 0.2)
    assert raw.get_weights().min() >= 0.1 and raw.get_weights().max() < 0.2
    assert raw.get_hidden_parameters().numel() == 0
    before = raw.get_weights()
    raw.drift_weights(1.0)  # without drift in the configuration, as decay and diffusion
    assert torch.equal(raw.get_weights(), before)


def test_decay_diffusion_and_reset() -> None:
    device: Any = SingleRPUConfig().device
    device.lifetime, device.diffusion = 10.0, 0.01
    tile = AnalogTile(30, 40, SingleRPUConfig(device=device))
    before = tile.tile.get_weights()
    tile.decay_weights()
    torch.testing.assert_close(tile.tile.get_weights(), 0.9 * before)
    tile.diffuse_weights()
    diffused = tile.tile.get_weights()
    moved = diffused - 0.9 * before
    # 1200 draws of std 0.01: the sample deviation is within 10 % at five sigma.
    assert 0.009 < moved.std() < 0.011
    tile.reset_columns(39, 2)
    after = tile.tile.get_weights()
    changed = (after != diffused).any(dim=0).nonzero().flatten().tolist()
    assert changed == [0, 39]
    tile.post_update_step()
    assert not torch.equal(tile.tile.get_weights(), after)


def test_array_equals_its_parts() -> None:
    config = FloatingPointRPUConfig()
    config.mapping.max_input_size, config.mapping.max_output_size = 4, 2
    array = TileModuleArray(5, 9, config, bias=True)
    assert array.in_sizes == [3, 3, 3] and array.out_sizes == [2, 2, 1]
    assert array.analog_tile_count == 9
    weight, bias = torch.randn(5, 9), torch.randn(5)
    array.set_weights(weight, bias)
    found, found_bias = array.get_weights()
    torch.testing.assert_close(found, weight)
    torch.testing.assert_close(found_bias, bias)
    for shape in ((9,), (4, 9), (2, 3, 9), (0, 9)):
        x = torch.randn(shape)
        torch.testing.assert_close(array(x), x @ weight.t() + bias)
    before = {name: value.clone() for name, value in array.state_dict().items()}
    with pytest.raises(RuntimeError):
        array.set_weights(torch.zeros(5, 8))
    with pytest.raises(RuntimeError, match="expected size 9"):
        array(torch.zeros(2, 8))
    after = array.state_dict()
    calls = "analog_tile_calls"
    assert all(torch.equal(after[n], v) for n, v in before.items() if not n.endswith(calls))


@pytest.mark.parametrize(
    ("size", "limit", "parts"),
    [
        (1300, 512, [434, 433, 433]),
        (1000, 512, [500, 500]),
        (1025, 512, [342, 342, 341]),
        (7, 0, [7]),
        (7, 7, [7]),
    ],
)
def test_split_sizes(size: int, limit: int, parts: list[int]) -> None:
    array = TileModuleArray(1, 1, SingleRPUConfig())
    assert array.get_split_sizes(size, limit) == parts
