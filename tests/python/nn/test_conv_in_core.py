"""Convolutions whose patches the core reads out of the images: the bits of copied patches."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

import mho
from convolution_cases import DIGITAL, MAPPED, PLAIN, Case, cases
from mho import _core
from mho.exceptions import ArgumentError, ConfigError, InputError, TileError
from mho.nn import AnalogConv2d, AnalogConv2dMapped
from mho.nn.modules import conv_nd
from mho.optim import AnalogSGD
from mho.simulator.autograd import grid
from mho.simulator.configs import (
    BoundManagementType,
    ConstantStepDevice,
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    IOParameters,
    MappingParameter,
    NoiseManagementType,
    QuantizedTorchInferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)


def _clipped() -> Any:
    config = InferenceRPUConfig()
    config.forward.out_bound, config.forward.inp_noise = 1.0, 0.1
    config.forward.bound_management = BoundManagementType.NONE
    config.mapping.weight_scaling_omega = 0.8
    return config


def _pulsed() -> Any:
    config = SingleRPUConfig(device=ConstantStepDevice(count_pulses=True))
    config.forward.out_bound = 0.5
    config.backward.inp_noise = 0.1
    return config


def _following() -> Any:
    config = SingleRPUConfig(device=ConstantStepDevice())
    config.forward.noise_management = NoiseManagementType.AVERAGE_ABS_MAX
    return config


def _exact() -> Any:
    config = InferenceRPUConfig()
    config.forward = IOParameters(is_perfect=True)
    return config


def _range() -> Any:
    config = InferenceRPUConfig()
    config.pre_post.input_range.enable = True
    config.pre_post.input_range.init_value = 0.7
    return config


CONFIGS: dict[str, Any] = {
    "inference": InferenceRPUConfig, "clipped": _clipped, "pulsed": _pulsed, "exact": _exact,
    "following": _following, "range": _range, "floating point": FloatingPointRPUConfig,
}  # fmt: skip


def _both(layer: Any) -> tuple[Any, Any]:
    """Return a layer and a copy that copies its patches, with the same noise."""
    other = copy.deepcopy(layer)
    layer.use_indexed, other.use_indexed = None, False
    return layer, other


def _trained(layer: Any, x: Tensor, d: Tensor | None = None) -> list[Tensor]:
    """Return all that two steps of training and a test make of images."""
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    found = []
    for _ in range(2):
        optimizer.zero_grad()
        leaf = x.clone().requires_grad_()
        y = layer(leaf)
        y.backward(torch.ones_like(y) if d is None else d)
        assert leaf.grad is not None
        found += [y.detach(), leaf.grad]
        found += [p.grad.clone() for p in layer.parameters() if p.grad is not None]
        optimizer.step()
        found += [value.clone() for value in layer.state_dict().values()]
    layer.eval()
    with torch.no_grad():
        found.append(layer(x))
    leaf = x.clone().requires_grad_()
    layer(leaf).sum().backward()
    assert leaf.grad is not None
    return [*found, leaf.grad]


def _same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape and torch.equal(one, other)


@given(
    case=cases(),
    kind=st.sampled_from(list(CONFIGS)),
    mapped=st.booleans(),
    most=st.sampled_from([0, 30]),
    threads=st.sampled_from([1, 3]),
)
def test_the_bits_of_copied_patches(
    case: Case, kind: str, mapped: bool, most: int, threads: int
) -> None:
    config = CONFIGS[kind]()
    config.mapping.max_input_size, config.mapping.max_output_size = most, most and 2
    cls = (MAPPED if mapped else PLAIN)[case.rank]
    digital = DIGITAL[case.rank](**case.arguments)
    digital.weight.data.mul_(0.1)  # within the bounds of devices
    layer, other = _both(cls.from_digital(digital, config))
    # Products of torch with a single column depend on how it happens to lie in memory.
    assume(all(tile.in_size > 1 and tile.out_size > 1 for tile in layer.analog_tiles()))
    x = torch.randn(*case.shape)
    before = mho.get_num_threads()
    try:
        mho.set_num_threads(threads)
        found = _trained(layer, x)
        mho.set_num_threads(1)
        _same(found, _trained(other, x))
    finally:
        mho.set_num_threads(before)


@pytest.mark.parametrize("kind", list(CONFIGS))
@pytest.mark.parametrize("cls", [AnalogConv2d, AnalogConv2dMapped])
def test_large_images_and_threads(kind: str, cls: Any) -> None:
    """Images are cut among threads, and lines into segments."""
    layer, other = _both(cls(3, 4, (3, 5), 1, 2, rpu_config=CONFIGS[kind]()).eval())
    before = mho.get_num_threads()
    try:
        for shape in ((1, 3, 40, 150), (5, 3, 9, 7)):
            x, d = torch.randn(*shape), None
            for threads in (1, 2, 3):
                mho.set_num_threads(threads)
                one, two = copy.deepcopy(layer), copy.deepcopy(other)
                leaf, leaf_of_other = (x.clone().requires_grad_() for _ in range(2))
                y, expected = one(leaf), two(leaf_of_other)
                d = torch.randn_like(y) if d is None else d
                y.backward(d)
                expected.backward(d)
                _same([y, leaf.grad], [expected, leaf_of_other.grad])
    finally:
        mho.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 3, 7])
@pytest.mark.parametrize("kind", ["exact", "range", "clipped"])
def test_weight_gradients_from_a_few_images_at_a_time(
    kind: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole numbers are added up exactly, in whatever order."""
    config = CONFIGS[kind]()
    config.mapping.max_input_size = 20
    layer, other = _both(AnalogConv2d(3, 4, 3, padding=1, rpu_config=config))
    layer.train(), other.train()
    x = torch.randint(-3, 4, (7, 3, 6, 5)).float()
    monkeypatch.setattr(grid, "_PATCH_ELEMENTS", count * 30 * 27)
    for each in (layer, other):
        y = each(x)
        y.backward(torch.arange(y.numel()).remainder(5.0).view_as(y).float() - 2.0)
    pairs = list(zip(layer.parameters(), other.parameters(), strict=True))
    gradients = [(p.grad, q.grad) for p, q in pairs if q.grad is not None]
    assert gradients
    for one, expected in gradients:
        assert one is not None
        if kind == "exact":
            assert torch.equal(one, expected)
        else:
            # Products of float32, whose sums of 210 terms are in another order.
            torch.testing.assert_close(one, expected, rtol=0.0, atol=210 * 6e-8 * 210 * 6.0)


def _calls(layer: Any, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return in how many calls of the core a layer makes its product of images."""
    calls = []
    original = conv_nd.forward_together
    monkeypatch.setattr(
        conv_nd, "forward_together", lambda *given: (calls.append(1), original(*given))[1]
    )
    layer(x)
    monkeypatch.undo()
    return len(calls)


def test_one_call_where_tiles_can(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(2, 4, 6, 6)
    layer = AnalogConv2d(4, 4, 3, groups=4, rpu_config=InferenceRPUConfig())
    assert layer.analog_tile_count() == 4
    assert _calls(layer, x, monkeypatch) == 1
    mapped = AnalogConv2dMapped(4, 4, 3, groups=2, rpu_config=InferenceRPUConfig())
    assert _calls(mapped, x, monkeypatch) == 1
    analog_bias = InferenceRPUConfig()
    analog_bias.mapping.digital_bias = False
    assert _calls(AnalogConv2d(4, 4, 3, rpu_config=analog_bias), x, monkeypatch) == 0
    assert _calls(layer, x[:0], monkeypatch) == 0
    layer.use_indexed = False
    assert _calls(layer, x, monkeypatch) == 0
    # A range that follows the data follows all inputs of the array.
    assert _calls(AnalogConv2d(4, 4, 3, rpu_config=_range()), x, monkeypatch) == 0
    assert _calls(AnalogConv2d(4, 4, 3, rpu_config=_range()).eval(), x, monkeypatch) == 1


def test_hooks_see_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    x, shapes = torch.randn(2, 4, 6, 6), []
    for groups in (1, 2):
        layer = AnalogConv2d(4, 4, 3, groups=groups, rpu_config=InferenceRPUConfig())
        for module in (layer.analog_module, next(layer.analog_tiles())):
            handle = module.register_forward_pre_hook(
                lambda _, given: shapes.append(given[0].shape)
            )
            assert _calls(layer, x, monkeypatch) == 0
            handle.remove()
    assert shapes == [(2, 16, 36)] * 3 + [(2, 16, 18)]


def test_the_trace_has_images() -> None:
    layer = AnalogConv2d(2, 3, 3, padding=1, rpu_config=SingleRPUConfig())
    x = torch.randn(5, 2, 8, 8)
    y = layer(x)
    given, d = x.clone(), torch.randn_like(y)
    y.backward(d)
    x.zero_()  # the caller's
    (pair,) = layer.analog_module.analog_ctx.pairs()
    assert torch.equal(pair.x, given) and pair.x.data_ptr() != x.data_ptr()
    rows = nn.functional.unfold(given, 3, padding=1).transpose(1, 2)
    whole = pair.with_rows()
    assert torch.equal(whole.x, rows) and torch.equal(whole.d, d.flatten(2).transpose(1, 2))
    (seen,) = layer.analog_module.analog_ctx.analog_input
    assert torch.equal(seen, rows)


def test_tiles_of_an_array_share_the_images_of_a_trace() -> None:
    config = SingleRPUConfig()
    config.mapping.max_input_size = 7
    layer = AnalogConv2d(4, 4, 2, groups=2, rpu_config=config)
    layer(torch.randn(3, 4, 5, 5)).sum().backward()
    pairs = [tile.analog_ctx.pairs()[0] for tile in layer.analog_tiles()]
    assert len(pairs) == 4 and len({pair.x.data_ptr() for pair in pairs}) == 1
    assert [pair.with_rows().x.shape for pair in pairs] == [(3, 16, 4)] * 4


def test_several_passes_are_one_update() -> None:
    layer, other = _both(AnalogConv2d(2, 3, 3, rpu_config=_pulsed()))
    found = []
    for one in (layer, other):
        torch.manual_seed(3)
        optimizer = AnalogSGD(one.parameters(), lr=0.1)
        for shape in ((2, 2, 7, 7), (3, 2, 5, 6)):
            one(torch.randn(*shape)).square().sum().backward()
        optimizer.step()
        found.append([*one.state_dict().values(), one.get_pulse_counters()])
    assert found[0][-1].sum() > 0
    _same(*found)


def test_second_derivatives() -> None:
    layer, other = _both(AnalogConv2d(2, 3, 3, padding=1, rpu_config=_exact()))
    x = torch.randn(2, 2, 5, 5)
    results = []
    for one in (layer, other):
        leaf = x.clone().requires_grad_()
        (d_x,) = torch.autograd.grad(one(leaf).square().sum(), leaf, create_graph=True)
        weight = next(one.analog_tiles()).shared_weights
        results.append([d_x.detach(), *torch.autograd.grad(d_x.square().sum(), [leaf, weight])])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("cls", [AnalogConv2d, AnalogConv2dMapped])
@pytest.mark.parametrize("most", [0, 20])
def test_gradients_in_every_memory_format(cls: Any, most: int) -> None:
    """Images of a first layer get no gradient, and loaders of data bring them in any order."""
    config = InferenceRPUConfig(mapping=MappingParameter(max_input_size=most))
    images = torch.randn(4, 3, 8, 8)
    last = images.to(memory_format=torch.channels_last)
    views = [images, last, images.transpose(2, 3), images[:, :, ::2]]
    for x in views:
        layer, other = _both(cls(3, 4, 3, rpu_config=config))
        found = []
        for one in (layer, other):
            one(x).square().sum().backward()
            found.append([p.grad for p in one.parameters()])
        _same(*found)


def test_channels_last_and_views() -> None:
    layer, other = _both(AnalogConv2d(3, 4, 3, rpu_config=InferenceRPUConfig()).eval())
    last = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    for x in (last, last.transpose(2, 3), torch.randn(4, 3, 8, 8)[::2, :, :, ::2], last[0]):
        found, expected = layer(x), other(x)
        assert torch.equal(found, expected) and found.stride() == expected.stride()


def test_outputs_can_be_changed_in_place() -> None:
    layer = AnalogConv2d(2, 3, 3, rpu_config=InferenceRPUConfig())
    y = layer(torch.randn(2, 2, 6, 6))
    y.add_(1.0).relu_().sum().backward()
    with torch.no_grad():
        y = layer(torch.randn(2, 2, 6, 6))
    y.add_(1.0)


def test_images_that_are_not_finite() -> None:
    layer, other = _both(AnalogConv2d(2, 3, 3, rpu_config=InferenceRPUConfig()).eval())
    x = torch.randn(2, 2, 7, 7)
    x[0, 1, 2, 3] = float("nan")
    x[1, 0, 6, 6] = float("inf")
    y = layer(x)
    assert torch.equal(y.isnan(), other(x).isnan())
    assert y.isnan().any(1).sum() == 9 + 1


def _indexed(layer: Any, x: Tensor) -> Any:
    """Return a copy of the tile of a convolution, which takes images."""
    layer.recalculate_indexes(x)
    tile = copy.deepcopy(layer.analog_module)
    tile.set_indexed(layer.fold_indices, layer.image_sizes)
    return tile


@pytest.mark.parametrize("digital_bias", [True, False])
@pytest.mark.parametrize("kind", ["pulsed", "inference", "range"])
def test_a_tile_with_an_index_table(kind: str, digital_bias: bool) -> None:
    config = CONFIGS[kind]()
    config.mapping.digital_bias = digital_bias
    layer = AnalogConv2d(2, 3, 3, 2, 1, rpu_config=config)
    x = torch.randn(4, 2, 7, 9)
    tile = _indexed(layer, x)
    assert (
        tile.is_indexed() and tile.analog_ctx.use_indexed and not copy.deepcopy(tile).is_indexed()
    )
    leaf, leaf_of_layer = (x.clone().requires_grad_() for _ in range(2))
    y, expected = tile(leaf, (-1, 1, 1)), layer(leaf_of_layer)
    assert torch.equal(y, expected) and y.shape == (4, 3, 4, 5)
    d = torch.randn_like(y)
    y.backward(d)
    expected.backward(d)
    torch.testing.assert_close(leaf.grad, leaf_of_layer.grad)
    if kind == "pulsed":
        layer.analog_module.apply_trace()
        tile.apply_trace()
        assert torch.equal(tile.get_weights()[0], layer.get_weights()[0])


def test_products_and_updates_of_a_tile_with_an_index_table() -> None:
    config = _pulsed()
    layer = AnalogConv2d(2, 3, 3, 2, 1, bias=False, rpu_config=config)
    x, d = torch.randn(4, 2, 7, 9), torch.randn(4, 3, 4, 5)
    tile, other = _indexed(layer, x), layer.analog_module
    rows = nn.functional.unfold(x, 3, padding=1, stride=2).transpose(1, 2)
    d_rows = d.flatten(2).transpose(1, 2)
    y = other.joint_forward(rows).transpose(1, 2).reshape(4, 3, 4, 5)
    assert torch.equal(tile.joint_forward_indexed(x), y)
    d_x = nn.functional.fold(other.backward(d_rows).transpose(1, 2), (7, 9), 3, padding=1, stride=2)
    torch.testing.assert_close(tile.backward_indexed(d), d_x)
    tile.update_indexed(x, d)
    other.update(rows, d_rows)
    assert torch.equal(tile.get_weights()[0], other.get_weights()[0])
    assert torch.equal(tile.get_pulse_counters(), other.get_pulse_counters())
    tile.analog_ctx.set_indexed(False)
    assert not tile.is_indexed() and tile(rows).shape == (4, 20, 3)


def test_index_tables_that_do_not_fit_are_refused() -> None:
    layer = AnalogConv2d(2, 3, 2, rpu_config=InferenceRPUConfig())
    layer.recalculate_indexes(torch.randn(1, 2, 3, 3))
    table, sizes = layer.fold_indices, layer.image_sizes
    assert table is not None and sizes is not None
    tile = layer.analog_module
    for indices, image_sizes, error in [
        (table.long(), sizes, InputError),
        (table[1:], sizes, InputError),
        (table + 17, sizes, InputError),
        (-table, sizes, InputError),
        (table, sizes[:-1], ArgumentError),
        (table, [2, 3, 3, 2, 0], ArgumentError),
        (table, [2, 3, 3, 4, 2], InputError),
    ]:
        with pytest.raises(error):
            tile.set_indexed(indices, image_sizes)
        assert not tile.is_indexed()
    with pytest.raises(TileError, match="set_indexed"):
        tile.update_indexed(torch.randn(1, 2, 3, 3), torch.randn(1, 3, 2, 2))
    tile.set_indexed(table, sizes)
    with pytest.raises(InputError, match="index table is for images"):
        tile(torch.randn(1, 2, 3, 4))
    with pytest.raises(InputError, match="d_input"):
        tile.backward_indexed(torch.randn(1, 3, 4))
    with pytest.raises(TileError, match="reads no indexed images"):
        torch_layer = AnalogConv2d(2, 3, 2, rpu_config=TorchInferenceRPUConfig())
        torch_layer.analog_module.set_indexed(table, sizes)


@pytest.mark.parametrize("bias", [True, False])
def test_a_quantised_periphery_of_mapped_convolutions(bias: bool) -> None:
    """What is summed or added behind the tiles would not be quantised."""
    config = QuantizedTorchInferenceRPUConfig()
    config.mapping.max_input_size = 0 if bias else 20
    with pytest.raises(ConfigError, match="quantised periphery"):
        AnalogConv2dMapped(4, 4, 3, bias=bias, rpu_config=config)
    config.mapping.max_input_size = 0
    config.forward = IOParameters(is_perfect=True)
    layer = AnalogConv2dMapped(4, 4, 3, bias=False, rpu_config=config)
    other = AnalogConv2d(4, 4, 3, bias=False, rpu_config=config)
    other.set_weights(layer.get_weights()[0])
    for x in torch.randn(3, 2, 4, 6, 6):
        y = layer(x)
        assert torch.equal(y, other(x)) and len(y.unique()) <= 2**8


def test_patches_of_the_core_check_their_memory() -> None:
    patches = _core.Patches(2, [(5, 3, 1, 1, 0, 0), (4, 2, 2, 1, 1, 0)])
    assert (patches.positions, patches.width) == (6, 12)
    images = torch.randn(3, 2, 5, 4)
    rows = patches.unfold(images, 0, 12)
    expected = nn.functional.pad(images, (1, 0)).unfold(2, 3, 1).unfold(3, 2, 2)
    assert torch.equal(rows, expected.permute(0, 2, 3, 1, 4, 5).reshape(18, 12))
    assert torch.equal(patches.unfold(images, 3, 4), rows[:, 3:7])
    assert patches.unfold(images[:0], 0, 12).shape == (0, 12)
    for wrong in (images[:, :1], images.double(), images.transpose(2, 3), images.flatten()[1:]):
        with pytest.raises(InputError):
            patches.unfold(wrong, 0, 12)
    with pytest.raises(InputError):
        patches.unfold(images, 9, 4)
    for axes in ([], [(5, 3, 1, 1, 0, 0)] * 4, [(5, 6, 1, 1, 0, 0)], [(5, 3, 0, 1, 0, 0)]):
        with pytest.raises(ArgumentError, match="axes"):
            _core.Patches(2, axes)
