"""Tiles of an array in one call of the core: the bits of one tile after another."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

import mho
from mho.exceptions import TileError
from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.autograd import grid as grid_autograd
from mho.simulator.configs import (
    AnalogMVType,
    BoundManagementType,
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    NoiseManagementType,
    SingleRPUConfig,
    WeightNoiseType,
)
from mho.simulator.tiles import array, grid
from mho.simulator.tiles.periphery import TileWithPeriphery

IN, OUT = 70, 53


def _noisy(io: Any, mv_type: AnalogMVType, management: NoiseManagementType) -> None:
    io.mv_type, io.noise_management = mv_type, management
    io.inp_noise, io.w_noise, io.w_noise_type = 0.1, 0.02, WeightNoiseType.ADDITIVE_CONSTANT
    io.inp_sto_round = io.out_sto_round = True
    io.out_noise, io.out_noise_std, io.out_bound = 0.1, 0.3, 3.0
    io.r_series, io.v_offset_std, io.out_nonlinearity = 0.01, 0.02, 0.1


def _inference() -> Any:
    return InferenceRPUConfig()


def _clipped() -> Any:
    config = InferenceRPUConfig()
    config.forward.out_bound = 1.0
    config.forward.bound_management = BoundManagementType.NONE
    return config


def _ranges() -> Any:
    config = InferenceRPUConfig()
    config.forward.noise_management = NoiseManagementType.NONE
    config.forward.bound_management = BoundManagementType.NONE
    config.forward.out_bound, config.forward.out_scale = 2.0, 1.5
    config.pre_post.input_range.enable = True
    config.pre_post.input_range.init_from_data = 2
    config.pre_post.input_range.manage_output_clipping = True
    config.mapping.weight_scaling_omega = 0.8
    config.mapping.weight_scaling_columnwise = True
    return config


def _learned_scales() -> Any:
    config = InferenceRPUConfig()
    config.mapping.learn_out_scaling = True
    return config


def _separate() -> Any:
    config = SingleRPUConfig()
    _noisy(
        config.forward,
        AnalogMVType.POS_NEG_SEPARATE_DIGITAL_SUM,
        NoiseManagementType.AVERAGE_ABS_MAX,
    )
    _noisy(config.backward, AnalogMVType.POS_NEG_SEPARATE, NoiseManagementType.ABS_MAX_NP_SUM)
    return config


def _wires() -> Any:
    config = SingleRPUConfig()
    config.forward.ir_drop, config.forward.w_noise = 1.0, 0.02
    config.forward.w_noise_type = WeightNoiseType.PCM_READ
    config.forward.bound_management = BoundManagementType.ITERATIVE_WORST_CASE
    config.forward.out_bound = 0.5
    return config


CONFIGS: dict[str, Callable[[], Any]] = {
    "inference": _inference,
    "clipped": _clipped,
    "ranges": _ranges,
    "learned scales": _learned_scales,
    "pulsed": SingleRPUConfig,
    "without bias": SingleRPUConfig,
    "separate": _separate,
    "wires": _wires,
    "exact": FloatingPointRPUConfig,
}
SHAPES = [(1, IN), (9, IN), (140, IN), (0, IN), (2, 3, IN), (IN,)]


def _layer(name: str) -> AnalogLinear:
    torch.manual_seed(5)
    config = CONFIGS[name]()
    config.mapping.max_input_size, config.mapping.max_output_size = 27, 20
    layer = AnalogLinear(IN, OUT, name != "without bias", rpu_config=config)
    assert [len(part) for part in layer.analog_module.array] == [3, 3, 3]
    return layer


def _one_by_one(layer: AnalogLinear, monkeypatch: pytest.MonkeyPatch) -> AnalogLinear:
    """Return a copy of a layer; from now on all layers call one tile after another."""
    copy = deepcopy(layer)
    monkeypatch.setattr(array, "grid_of", lambda *_: None)
    return copy


def _same(a: Tensor | None, b: Tensor | None) -> None:
    assert (a is None) == (b is None)
    if a is not None and b is not None:
        assert a.shape == b.shape and a.dtype is b.dtype
        assert torch.equal(a.view(torch.int32), b.view(torch.int32)), (a - b).abs().max()


def _same_states(a: nn.Module, b: nn.Module) -> None:
    states = a.state_dict(), b.state_dict()
    assert list(states[0]) == list(states[1])
    for name, value in states[0].items():
        if "config" not in name:
            assert torch.equal(value, states[1][name]), name


def _input(shape: tuple[int, ...], seed: int = 3) -> Tensor:
    return 2.0 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _steps(layer: AnalogLinear, shape: tuple[int, ...]) -> list[Tensor | None]:
    """Return outputs and gradients of two steps of training, the input used twice in the second."""
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    found: list[Tensor | None] = []
    for number in range(2):
        x = _input(shape, number).requires_grad_()
        optimizer.zero_grad()
        y = layer(x)
        if number:
            y = y + layer(torch.sin(x))
        d = torch.sin(5.0 * y.detach())
        y.backward(d)
        found += [y.detach(), x.grad]
        found += [parameter.grad for parameter in layer.parameters()]
        tiles = layer.analog_tiles()
        found += [value for tile in tiles for pair in tile.analog_ctx.pairs() for value in pair[:2]]
        optimizer.step()
    return found


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_training_has_the_bits_of_one_tile_after_another(
    name: str, shape: tuple[int, ...], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = _layer(name)
    is_together = grid.grid_of(layer.analog_module, _input(shape)) is not None
    assert is_together == (name != "learned scales")
    present = mho.get_num_threads()
    mho.set_num_threads(threads)
    try:
        copy = deepcopy(layer)
        together = _steps(layer, shape)
        alone = _one_by_one(copy, monkeypatch)
        one_by_one = _steps(alone, shape)
    finally:
        mho.set_num_threads(present)
    assert len(together) == len(one_by_one)
    for a, b in zip(together, one_by_one, strict=True):
        _same(a, b)
    _same_states(layer, alone)


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_outputs_without_gradients_have_the_bits_of_one_tile_after_another(
    name: str, shape: tuple[int, ...], is_training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = _layer(name).train(is_training)
    if name in ("inference", "ranges") and not is_training:
        layer.program_analog_weights()
        layer.drift_analog_weights(1000.0)
    with torch.no_grad():
        assert grid.grid_of(layer.analog_module, _input(shape)) is not None
        copy = deepcopy(layer)
        found = [layer(_input(shape, seed)) for seed in range(2)]
        alone = _one_by_one(copy, monkeypatch)
        for seed in range(2):
            _same(found[seed], alone(_input(shape, seed)))
    _same_states(layer, alone)


@pytest.mark.parametrize("x", [_input((IN, 9)).t(), _input((9, 2 * IN))[:, ::2]])
def test_inputs_in_another_order_of_memory(x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = _layer("inference")
    copy = deepcopy(layer)
    found = layer(x)
    _same(found, _one_by_one(copy, monkeypatch)(x))


def test_second_derivatives_are_those_of_one_tile_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = _layer("inference")
    copy = deepcopy(layer)

    def penalty(layer: AnalogLinear) -> list[Tensor | None]:
        x = _input((6, IN)).requires_grad_()
        (d,) = torch.autograd.grad(torch.sin(layer(x)).sum(), x, create_graph=True)
        d.square().sum().backward()
        return [x.grad, *(parameter.grad for parameter in layer.parameters())]

    found = penalty(layer)
    for a, b in zip(found, penalty(_one_by_one(copy, monkeypatch)), strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            # The slopes are sums of torch, which adds up the parts in an order of its own.
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_a_second_pass_through_the_graph_draws_new_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = _layer("pulsed")
    copy = deepcopy(layer)

    def passes(layer: AnalogLinear) -> list[Tensor]:
        x = _input((6, IN)).requires_grad_()
        y = layer(x)
        d = torch.ones_like(y)
        return [torch.autograd.grad(y, x, d, retain_graph=True)[0] for _ in range(2)]

    found = passes(layer)
    assert not torch.equal(*found)
    for a, b in zip(found, passes(_one_by_one(copy, monkeypatch)), strict=True):
        _same(a, b)


def test_pairs_are_recorded_only_where_gradients_are_accumulated() -> None:
    layer = _layer("pulsed")
    x = _input((6, IN)).requires_grad_()
    torch.autograd.grad(layer(x).sum(), x)
    contexts = [tile.analog_ctx for tile in layer.analog_tiles()]
    assert not any(context.has_gradient() for context in contexts)
    contexts[4].requires_grad_(False)
    layer(x).sum().backward()
    assert [context.has_gradient() for context in contexts] == [n != 4 for n in range(9)]


def test_weights_that_changed_before_the_backward_pass_are_refused() -> None:
    layer = _layer("inference")
    x = _input((6, IN)).requires_grad_()
    y = layer(x)
    with torch.no_grad():
        next(layer.analog_tiles()).shared_weights.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.sum().backward()


# torch compiles something of its own when the first dual number is made.
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_tangents_and_batches_of_gradients_are_refused() -> None:
    layer = _layer("inference")
    x = _input((6, IN)).requires_grad_()
    y = layer(x)
    with pytest.raises(TileError, match="batched gradients"):
        torch.autograd.grad(y, x, torch.ones(2, *y.shape), is_grads_batched=True)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x.detach(), torch.ones_like(x))
        with pytest.raises(TileError, match="forward-mode"):
            layer(dual)


def test_hooks_of_a_tile_are_called() -> None:
    layer = _layer("inference")
    seen: list[tuple[int, ...]] = []
    tile = list(layer.analog_tiles())[4]
    with tile.register_forward_hook(lambda _, __, y: seen.append(tuple(y.shape))):
        layer(_input((6, IN)))
    layer(_input((6, IN)))
    assert seen == [(6, 18)]


def test_what_is_replaced_in_a_tile_is_called() -> None:
    layer = _layer("inference")
    tile = list(layer.analog_tiles())[4]
    forward, seen = tile.forward, []

    def replaced(x: Tensor, *rest: Any) -> Tensor:
        seen.append(tuple(x.shape))
        return forward(x, *rest)

    tile.forward = replaced
    layer(_input((6, IN)))
    assert seen == [(6, 23)]


def test_a_call_that_fails_is_one_of_no_tile() -> None:
    layer = _layer("inference")
    tiles = list(layer.analog_tiles())
    before = [int(tile.analog_tile_calls) for tile in tiles]
    tiles[5].analog_tile_calls.fill_(2**63 - 1)
    with pytest.raises(TileError, match="calls"):
        layer(_input((6, IN)))
    before[5] = 2**63 - 1
    assert [int(tile.analog_tile_calls) for tile in tiles] == before


@pytest.mark.parametrize("is_split", [True, False])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("shape", [(6, IN), (2, 3, IN), (IN,)], ids=str)
def test_outputs_may_be_changed_in_place(
    shape: tuple[int, ...], has_bias: bool, is_split: bool
) -> None:
    config = InferenceRPUConfig()
    if is_split:
        config.mapping.max_input_size, config.mapping.max_output_size = 27, 20
    layer = AnalogLinear(IN, OUT, has_bias, rpu_config=config)
    y = nn.ReLU(inplace=True)(layer(_input(shape)))
    y.sum().backward()
    assert float(y.detach().min()) == 0.0
    with torch.no_grad():
        y = layer(_input(shape))
    factor = torch.ones(1, requires_grad=True)
    y.mul_(factor).sum().backward()
    assert factor.grad is not None


class _Doubled(nn.Module):
    def forward(self, value: Tensor) -> Tensor:
        return 2.0 * value


def _prune(layer: AnalogLinear) -> None:
    prune.l1_unstructured(layer.analog_module, "bias", amount=0.3)


def _parametrize(layer: AnalogLinear) -> None:
    parametrize.register_parametrization(layer.analog_module, "bias", _Doubled())


def _replace_by_tensor(layer: AnalogLinear) -> None:
    bias = layer.analog_module.bias
    del layer.analog_module.bias
    layer.analog_module.bias = 2.0 * bias


@pytest.mark.parametrize("change", [_prune, _parametrize, _replace_by_tensor])
def test_a_bias_that_is_computed_from_others(
    change: Callable[[AnalogLinear], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = _layer("inference")
    copy = deepcopy(layer)
    for each in (layer, copy):
        change(each)
    found = layer(_input((6, IN)))
    monkeypatch.setattr(array, "grid_of", lambda *_: None)
    _same(found, copy(_input((6, IN))))
    assert not torch.equal(found.detach(), _layer("inference")(_input((6, IN))).detach())


def test_a_bias_that_a_functional_call_spreads_over_the_outputs() -> None:
    layer = _layer("inference")
    copy = deepcopy(layer)
    values = {"analog_module.bias": torch.full((1,), 3.0)}
    found = torch.func.functional_call(layer, values, _input((6, IN)))
    copy.analog_module.bias = None
    _same(found, copy(_input((6, IN))) + 3.0)


def test_what_is_replaced_in_the_class_of_tiles_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = _layer("inference")
    forward, seen = TileWithPeriphery.forward, []

    def replaced(self: Any, x: Tensor, *rest: Any) -> Tensor:
        seen.append(tuple(x.shape))
        return forward(self, x, *rest)

    monkeypatch.setattr(TileWithPeriphery, "forward", replaced)
    layer(_input((6, IN)))
    assert len(seen) == 9


def test_threads_run_through_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = _layer("ranges")
    x = _input((6, IN)).requires_grad_()
    y = layer(x).sum()
    (expected,) = torch.autograd.grad(y, x, retain_graph=True)
    gradients, both = grid_autograd.gradients, threading.Barrier(2, timeout=20)

    def slow(*args: Any) -> Any:
        both.wait()  # both threads are in the backward pass of the same tile
        return gradients(*args)

    monkeypatch.setattr(grid_autograd, "gradients", slow)

    def run(wanted: list[Tensor]) -> Tensor:
        return torch.autograd.grad(y, wanted, retain_graph=True)[0]

    tile = next(layer.analog_tiles())
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(run, [value]) for value in (x, tile.shared_weights)]
        found, slope = (result.result() for result in results)
    _same(found, expected)
    assert slope.shape == tile.shared_weights.shape


# torch compiles something of its own when the first dual number is made.
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("is_split", [True, False])
@pytest.mark.parametrize("shape", [(6, IN), (2, 3, IN)], ids=str)
@pytest.mark.parametrize("config", [InferenceRPUConfig, SingleRPUConfig, FloatingPointRPUConfig])
def test_tangents_are_refused_without_gradients(
    config: Callable[[], Any], shape: tuple[int, ...], is_split: bool
) -> None:
    """The core would lose them, and a tangent that is None counts as zero."""
    rpu_config = config()
    if is_split:
        rpu_config.mapping.max_input_size = 27
    layer = AnalogLinear(IN, OUT, rpu_config=rpu_config)
    with torch.no_grad(), torch.autograd.forward_ad.dual_level():
        layer(_input(shape))  # has no tangent
        dual = torch.autograd.forward_ad.make_dual(_input(shape), torch.ones(shape))
        with pytest.raises(TileError, match="forward-mode"):
            layer(dual)
