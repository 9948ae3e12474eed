"""Torch tiles whose digital periphery has few bits."""

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mho.exceptions import ConfigError, StateError
from mho.nn import AnalogLinear, AnalogLinearMapped
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    IOParameters,
    MappingParameter,
    QuantizedTorchInferenceRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.enums import RangeEstimators, RPUDataType
from mho.simulator.parameters.pre_post import PrePostProcessingParameter
from mho.simulator.parameters.quantization import ActivationQuantConfig
from mho.simulator.tiles import QuantizedTorchInferenceTile, TorchInferenceTile
from mho.simulator.tiles.array import QuantizedTileModuleArray

STEP_NAMES = ("out_scale_quantizer", "bias_quantizer")


def config_with(
    periphery: int = 0,
    outputs: int = 0,
    symmetric: bool = True,
    is_perfect: bool = True,
    **mapping: Any,
) -> Any:
    """Return a configuration with numbers of bits, an exact product, and all scales."""
    settings = {
        "weight_scaling_omega": 0.6,
        "weight_scaling_columnwise": True,
        "learn_out_scaling": True,
        "out_scaling_columnwise": True,
        **mapping,
    }
    config = QuantizedTorchInferenceRPUConfig(
        forward=IOParameters(is_perfect=is_perfect), mapping=MappingParameter(**settings)
    )
    config.pre_post.input_range.enable = True
    config.pre_post.input_range.init_from_data = 0
    config.pre_post.periph_quant.n_bits = periphery
    config.pre_post.periph_quant.symmetric = symmetric
    if outputs:
        config.act_quant_config = ActivationQuantConfig(outputs, symmetric)
    return config


def layer_with(config: Any, inputs: int = 6, outputs: int = 4) -> Any:
    """Return a layer with scales and biases that are not one and zero."""
    torch.manual_seed(2)
    layer = AnalogLinear(inputs, outputs, rpu_config=config)
    if isinstance(layer.analog_module, QuantizedTorchInferenceTile):
        with torch.no_grad():
            layer.analog_module.out_scaling_alpha.copy_(torch.linspace(0.5, 1.5, outputs))
    return layer


def levels(values: Tensor, low: Tensor, high: Tensor, bits: int, symmetric: bool) -> Tensor:
    """Return values at the nearest levels, by the definition."""
    low, high = low.clamp(max=0), high.clamp(min=0)
    if symmetric:
        signed = bool(low < 0)
        step = torch.maximum(-low, high) / (2 ** (bits - 1) - 1 if signed else 2**bits - 1)
        lowest, largest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return step * (values / step).round().clamp(lowest, largest)
    step = (high - low) / (2**bits - 1)
    zero = (-low / step).round()
    return step * (((values / step).round() + zero).clamp(0, 2**bits - 1) - zero)


def of_own_range(values: Tensor, bits: int, symmetric: bool) -> Tensor:
    """Return values at levels of their own range."""
    return levels(values, values.min(), values.max(), bits, symmetric) if bits else values


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("periphery", "outputs"), [(0, 0), (4, 0), (0, 5), (3, 6)])
def test_definition(periphery: int, outputs: int, symmetric: bool) -> None:
    layer = layer_with(config_with(periphery, outputs, symmetric))
    tile = layer.analog_module
    x = torch.randn(20, 6)
    raw = (x.clamp(-3, 3) / 3.0) @ tile.tile.weight.T
    scale = 3.0 * tile.mapping_scales * tile.out_scaling_alpha
    y = raw * of_own_range(scale, periphery, symmetric)
    y = y + of_own_range(tile.bias, periphery, symmetric)
    expected = of_own_range(y, outputs, symmetric)  # the first batch of a running average
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_without_bits_it_is_a_torch_tile() -> None:
    layer = layer_with(config_with(is_perfect=False))
    other = AnalogLinear(6, 4, rpu_config=TorchInferenceRPUConfig())
    config = copy.deepcopy(layer.analog_module.rpu_config)
    plain = TorchInferenceRPUConfig(forward=config.forward, mapping=config.mapping)
    plain.pre_post.input_range = config.pre_post.input_range
    other = AnalogLinear(6, 4, rpu_config=plain)
    given = {n: v for n, v in layer.state_dict().items() if "quantizer" not in n}
    given["analog_module.analog_tile_config"] = other.state_dict()[
        "analog_module.analog_tile_config"
    ]
    other.load_state_dict(given)
    x = torch.randn(5, 6)
    results = []
    for model in (layer, other):
        torch.manual_seed(1)
        results.append(model(x))
        results[-1].sum().backward()
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-6)
    for name, parameter in other.named_parameters():
        torch.testing.assert_close(parameter.grad, layer.get_parameter(name).grad)


def test_gradients_pass_the_rounding() -> None:
    layer, exact = layer_with(config_with(8, 8)), layer_with(config_with())
    x = torch.rand(30, 6)
    delta = torch.randn(30, 4)
    for model in (layer, exact):
        model(x).backward(delta)
    for name, parameter in exact.named_parameters():
        found = layer.get_parameter(name).grad
        torch.testing.assert_close(found, parameter.grad, rtol=0.03, atol=0.03)


def test_ranges_follow_training_and_stay_in_evaluation() -> None:
    layer = layer_with(config_with(4, 4))
    outputs = layer.analog_module.act_quantizer.range_estimator
    x = torch.rand(30, 6)
    low = []
    for scale in (1.0, 5.0):
        layer(scale * x)
        low.append(outputs.current_xmin.item())
    layer.eval()
    y = layer(x)
    assert torch.equal(layer(x), y)
    assert outputs.current_xmin.item() == low[1] != low[0]


def test_first_batch_in_evaluation_gives_the_range() -> None:
    layer = layer_with(config_with(4, 4)).eval()
    x = torch.rand(30, 6)
    y = layer(x)
    assert len(y.unique()) <= 16
    layer(10 * x)
    assert torch.equal(layer(x), y)


# --- state ------------------------------------------------------------------------------------


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("symmetric", [True, False])
def test_saved_state(learn: bool, symmetric: bool) -> None:
    """Also into tiles with another number and kind of levels, whose configuration is replaced."""
    config = config_with(4, 4, symmetric)
    config.pre_post.periph_quant.learn_quant_params = learn
    layer = layer_with(config)
    x = torch.rand(30, 6)
    for scale in (1.0, 2.0):
        layer(scale * x)
    layer.eval()
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    others = [config, config_with(), config_with(8, 8, not symmetric)]
    for other in others:
        fresh = layer_with(other).eval()
        fresh.load_state_dict(state)
        assert fresh.analog_module.rpu_config == layer.analog_module.rpu_config
        assert torch.equal(fresh(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    # Training goes on alike.
    twin = copy.deepcopy(layer).train()
    fresh.train()
    assert torch.equal(fresh(3 * x), twin(3 * x))
    assert torch.equal(fresh.eval()(x), twin.eval()(x))


def test_incomplete_states() -> None:
    layer = layer_with(config_with(4, 4))
    before = {n: v.clone() for n, v in layer.state_dict().items()}
    state = layer_with(config_with(8, 8)).state_dict()
    name = "analog_module.act_quantizer.quantizer._delta"
    with pytest.raises(RuntimeError, match="_delta"):
        layer.load_state_dict({n: v for n, v in state.items() if n != name})
    with pytest.raises((StateError, RuntimeError), match="_delta"):
        layer.load_state_dict({**state, name: torch.full((1,), float("nan"))})
    with pytest.raises(RuntimeError, match="_delta"):
        layer.load_state_dict({**state, name: torch.ones(3)})
    assert all(torch.equal(v, before[n]) for n, v in layer.state_dict().items())


def test_other_tiles_refuse_its_state() -> None:
    state = layer_with(config_with(4, 4)).state_dict()
    other = AnalogLinear(6, 4, rpu_config=TorchInferenceRPUConfig())
    with pytest.raises(RuntimeError, match="QuantizedTorchInferenceTile"):
        other.load_state_dict(state)


# --- configuration ----------------------------------------------------------------------------


def test_edits_act_at_once() -> None:
    layer = layer_with(config_with(0, 0)).eval()
    x = torch.rand(100, 6)
    exact = layer(x)
    config = layer.analog_module.rpu_config
    config.act_quant_config = ActivationQuantConfig(n_bits=3)
    assert len(layer(x).unique()) <= 8
    config.act_quant_config.n_bits = 12
    torch.testing.assert_close(layer(x), exact, rtol=0.0, atol=2e-3)
    config.act_quant_config.symmetric = False
    torch.testing.assert_close(layer(x), exact, rtol=0.0, atol=2e-3)
    config.act_quant_config = None
    torch.testing.assert_close(layer(x), exact)
    config.pre_post.periph_quant.n_bits = 2
    assert not torch.allclose(layer(x), exact, atol=1e-3)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("pre_post.periph_quant.n_bits", 1),
        ("pre_post.periph_quant.n_bits", 40),
        ("pre_post.periph_quant.init_learning_after", -1),
        ("act_quant_config.n_bits", 1),
        ("act_quant_config.n_bits", 33),
    ],
)
def test_refused_numbers(path: str, value: int) -> None:
    *holders, name = path.split(".")
    tile = AnalogLinear(3, 2, rpu_config=config_with(8, 8)).analog_module

    def owner(config: Any) -> Any:
        for holder in holders:
            config = getattr(config, holder)
        return config

    with pytest.raises(ConfigError, match=path.replace(".", r"\.")):
        setattr(owner(tile.rpu_config), name, value)
    assert getattr(owner(tile.rpu_config), name) != value
    config = config_with(8, 8)
    setattr(owner(config), name, value)
    with pytest.raises(ConfigError, match=path.replace(".", r"\.")):
        AnalogLinear(3, 2, rpu_config=config)


def test_refused_configurations() -> None:
    config = config_with()
    config.act_quant_config = ActivationQuantConfig(8)
    config.act_quant_config.range_estimator_params.momentum = 2.0
    with pytest.raises(ConfigError, match=r"act_quant_config.*momentum"):
        AnalogLinear(3, 2, rpu_config=config)
    config = config_with()
    config.pre_post = PrePostProcessingParameter()
    with pytest.raises(ConfigError, match=r"pre_post|PrePostProcessingParameterQuant"):
        AnalogLinear(3, 2, rpu_config=config)
    with pytest.raises(ConfigError, match="QuantizedTorchInferenceRPUConfig"):
        QuantizedTorchInferenceTile(3, 2, TorchInferenceRPUConfig())


@pytest.mark.parametrize("estimator", list(RangeEstimators))
def test_every_estimator_of_outputs(estimator: RangeEstimators) -> None:
    config = config_with()
    config.act_quant_config = ActivationQuantConfig(8, True, estimator)
    layer, exact = layer_with(config), layer_with(config_with())
    x = torch.rand(50, 6)
    assert 0.0 < (layer(x) - exact(x)).abs().max() < 0.2


# --- learned steps ----------------------------------------------------------------------------


def test_steps_are_learned_after_some_batches() -> None:
    config = config_with(3, 0)
    config.pre_post.periph_quant.learn_quant_params = True
    config.pre_post.periph_quant.init_learning_after = 3
    layer = layer_with(config)
    steps = [getattr(layer.analog_module, n).quantizer._delta for n in STEP_NAMES]
    assert all(isinstance(step, torch.nn.Parameter) for step in steps)
    optimizer = AnalogSGD(layer.parameters(), lr=1e-4)
    x = torch.rand(20, 6)
    for batch in range(6):
        optimizer.zero_grad()
        layer(x).square().sum().backward()
        before = [step.detach().clone() for step in steps]
        grads = [0.0 if step.grad is None else step.grad.item() for step in steps]
        assert all((grad != 0.0) == (batch >= 3) for grad in grads)
        optimizer.step()
        moved = [not torch.equal(step, old) for step, old in zip(steps, before, strict=True)]
        assert all(moved) == (batch >= 3)
    copied = copy.deepcopy(layer)
    assert torch.equal(copied(x), layer(x))


def test_learning_at_once_and_in_evaluation() -> None:
    config = config_with(3, 0)
    config.pre_post.periph_quant.learn_quant_params = True
    config.pre_post.periph_quant.init_learning_after = 0
    layer = layer_with(config).eval()
    layer(torch.rand(4, 6))  # gives the range
    layer.train()
    layer(torch.rand(4, 6)).sum().backward()
    assert layer.analog_module.bias_quantizer.quantizer._delta.grad.item() != 0.0


# --- arrays -----------------------------------------------------------------------------------


def array_with(periphery: int, outputs: int, inputs: int = 10, size: int = 4) -> Any:
    """Return a layer of several tiles."""
    config = config_with(periphery, outputs, max_input_size=size, max_output_size=0)
    torch.manual_seed(3)
    return AnalogLinear(inputs, 5, rpu_config=config)


def test_array() -> None:
    layer = array_with(4, 6)
    array = layer.analog_module
    assert isinstance(array, QuantizedTileModuleArray) and array.analog_tile_count == 3
    x = torch.rand(40, 10)
    y = sum(
        tile(part)
        for part, (tile,) in zip(
            x.split(array.in_sizes, 1), copy.deepcopy(array).array, strict=True
        )
    )
    y = y + of_own_range(layer.bias, 4, True)
    torch.testing.assert_close(layer(x), of_own_range(y, 6, True), rtol=1e-5, atol=1e-5)
    layer.eval()
    fresh = array_with(8, 0).eval()
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(x), layer(x))
    layer.train()(x).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_groups_of_one_tile_each() -> None:
    """No output is a sum of several tiles, and none is quantised again."""
    config = config_with(4, 6, max_input_size=16, max_output_size=0)
    array = QuantizedTileModuleArray(6, 8, config, groups=2)
    x = torch.rand(40, 8)
    tiles = copy.deepcopy(array).array
    parts = [tile(part) for part, (tile,) in zip(x.split(4, 1), tiles, strict=True)]
    assert torch.equal(array(x), torch.cat(parts, 1))


def test_array_of_one_tile() -> None:
    layer = array_with(4, 6, inputs=10, size=16)
    assert isinstance(layer.analog_module, QuantizedTileModuleArray)
    assert layer.analog_module.analog_tile_count == 1
    x = torch.rand(40, 10)
    assert len(layer(x).unique()) > 64  # the bias is added behind the levels of the tile
    mapped = AnalogLinearMapped(10, 5, rpu_config=config_with(4, 4))
    assert torch.isfinite(mapped(x)).all()


def test_edits_of_an_array() -> None:
    layer = array_with(0, 0).eval()
    x = torch.rand(100, 10)
    exact = layer(x)
    layer.analog_module.rpu_config.act_quant_config = ActivationQuantConfig(3)
    assert len(layer(x).unique()) <= 8
    layer.analog_module.rpu_config.act_quant_config = None
    torch.testing.assert_close(layer(x), exact)


# --- as other torch tiles ---------------------------------------------------------------------


def test_names_and_classes() -> None:
    tile = QuantizedTorchInferenceTile(2, 3)
    assert isinstance(tile, TorchInferenceTile)
    assert type(tile.rpu_config) is QuantizedTorchInferenceRPUConfig
    assert torch.isfinite(tile(torch.rand(4, 3))).all()


def test_any_rank() -> None:
    layer = layer_with(config_with(4, 4))
    layer(torch.rand(10, 6))
    layer.eval()
    x = torch.rand(2, 3, 6)
    torch.testing.assert_close(layer(x), layer(x.reshape(-1, 6)).reshape(2, 3, 4))
    assert layer(torch.rand(6)).shape == (4,)
    assert layer(torch.rand(0, 6)).shape == (0, 4)


def test_views() -> None:
    """Also that of a convolution, whose outputs are on axis 1."""
    tile = layer_with(config_with(4, 4)).analog_module
    x = torch.rand(5, 6)
    expected = tile(x)
    tile.eval()
    torch.testing.assert_close(tile(x, (1, -1)), tile(x))
    torch.testing.assert_close(tile(x, (1, 4)), expected)
    scaled = tile.apply_quant_periphery_scales(torch.ones(2, 4, 3), 1)
    torch.testing.assert_close(
        scaled[0, :, 0], tile.apply_quant_periphery_scales(torch.ones(4), -1)
    )


def test_drift() -> None:
    layer = layer_with(config_with(8, 8))
    layer(torch.rand(100, 6))
    layer.eval()
    layer.drift_analog_weights(3600.0)
    assert torch.isfinite(layer(torch.rand(5, 6))).all()


@pytest.mark.parametrize("kind", ["HALF", "DOUBLE"])
def test_precisions(kind: str) -> None:
    config = config_with(6, 6)
    config.runtime.data_type = RPUDataType[kind]
    layer = layer_with(config)
    dtype = RPUDataType[kind].as_torch()
    y = layer(torch.rand(10, 6, dtype=dtype))
    assert y.dtype is dtype and torch.isfinite(y).all()
    casted = layer_with(config_with(6, 6)).to(dtype)
    assert casted(torch.rand(10, 6, dtype=dtype)).dtype is dtype


@pytest.mark.filterwarnings("ignore:.*cpu.amp.autocast.*:FutureWarning")  # of torch 2.4 itself
def test_recomputed_in_a_checkpoint() -> None:
    layer, other = layer_with(config_with(4, 4)), layer_with(config_with(4, 4))
    for scale in (1.0, 2.0, 0.5):
        x = scale * torch.rand(10, 6, requires_grad=True)
        ours = checkpoint(layer, x, use_reentrant=False)
        theirs = other(x)
        assert torch.equal(ours, theirs)
        (ours.sum() + theirs.sum()).backward()
    for ours, theirs in zip(layer.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
    for name, value in other.state_dict().items():
        assert torch.equal(layer.state_dict()[name], value), name


def test_two_passes_before_one_backward() -> None:
    layer = layer_with(config_with(4, 4))
    (layer(torch.rand(5, 6)).sum() + layer(3 * torch.rand(5, 6)).sum()).backward()


@pytest.mark.parametrize("learn", [False, True])
def test_compiled_and_exported(learn: bool) -> None:
    config = config_with(4, 4)
    config.pre_post.periph_quant.learn_quant_params = learn
    layer = layer_with(config)
    x = torch.rand(20, 6)
    layer(x)
    other = copy.deepcopy(layer)
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    for scale in (1.0, 2.0):
        torch.testing.assert_close(compiled(scale * x), layer(scale * x))
    layer.eval()
    model = torch.nn.Sequential(layer)  # torch 2.4 trips over absent buffers of a root
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), layer(x))


def test_steps_are_learned_in_compiled_passes_as_in_others() -> None:
    """From the batch on that they say: none before it has a gradient."""
    config = config_with(4)
    config.pre_post.periph_quant.learn_quant_params = True
    config.pre_post.periph_quant.init_learning_after = 1
    layer = layer_with(config)
    other = copy.deepcopy(layer)
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    for batch in range(2):
        x = torch.rand(20, 6)
        for one, model in ((layer, layer), (other, compiled)):
            one.zero_grad()
            model(x).square().sum().backward()
        mine, theirs = dict(layer.named_parameters()), dict(other.named_parameters())
        for name, value in mine.items():
            torch.testing.assert_close(theirs[name].grad, value.grad, msg=f"{batch}: {name}")
        steps = [mine[name].grad for name in mine if name.endswith("_delta")]
        assert len(steps) == 2 and all(bool((g != 0).any()) == (batch > 0) for g in steps)


@pytest.mark.parametrize("size", [0, 3])
def test_made_wherever(size: int) -> None:
    """On the host whatever the default device is, and of ordinary tensors."""
    config = config_with(8, 8, max_input_size=size, max_output_size=0)
    with torch.device("meta"):
        layer = AnalogLinear(4, 3, rpu_config=config)
    assert {v.device.type for v in layer.state_dict().values()} == {"cpu"}
    with torch.inference_mode():
        layer = AnalogLinear(4, 3, rpu_config=config)
        layer(torch.rand(2, 4))
        layer.analog_module.rpu_config.act_quant_config = ActivationQuantConfig(5, False)
        layer(torch.rand(2, 4))
    assert not any(value.is_inference() for value in layer.state_dict().values())
    layer(torch.rand(2, 4)).sum().backward()
