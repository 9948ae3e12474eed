"""Transposed convolutions on tiles: equal to torch's with exact tiles."""

import copy
import io
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mho.exceptions import AnalogBiasConfigError, ArgumentError, InputError, StateError
from mho.nn import (
    AnalogConvTranspose1d,
    AnalogConvTranspose2d,
    AnalogConvTranspose3d,
    AnalogLinear,
)
from mho.nn.conversion import convert_to_analog, convert_to_digital
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.tiles import AnalogTile

# Sums of some hundred products of order one in float32, in another order than torch's.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
LAYERS: dict[int, Any] = {
    1: AnalogConvTranspose1d,
    2: AnalogConvTranspose2d,
    3: AnalogConvTranspose3d,
}
DIGITAL: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def exact(config: Any, **mapping: Any) -> Any:
    """Return a configuration with exact products."""
    config.forward = IOParameters(is_perfect=True)
    if hasattr(config, "backward"):
        config.backward = IOParameters(is_perfect=True)
    for name, value in mapping.items():
        setattr(config.mapping, name, value)
    return config


EXACT = {
    "pulsed": lambda **m: exact(SingleRPUConfig(device=IdealDevice()), **m),
    "inference": lambda **m: exact(InferenceRPUConfig(), **m),
    "torch": lambda **m: exact(TorchInferenceRPUConfig(), **m),
}


@dataclass(frozen=True)
class Case:
    """Arguments of a layer and the shape of its input."""

    rank: int
    arguments: dict[str, Any]
    shape: tuple[int, ...]


@st.composite
def cases(draw: Any) -> Case:
    """Draw arguments that torch takes."""
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    groups = draw(st.sampled_from([1, 1, 2, 3]))

    def sizes(low: int, high: int) -> tuple[int, ...]:
        return draw(st.tuples(*[st.integers(low, high)] * rank))

    kernel, stride, dilation = sizes(1, 3), sizes(1, 3), sizes(1, 2)
    # Less than half of the smallest kernel that there is, so that something is left of the output.
    padding = sizes(0, 1)
    most = [max(s, d) - 1 for s, d in zip(stride, dilation, strict=True)]
    output_padding = tuple(draw(st.integers(0, m)) for m in most)
    channels = groups * draw(st.integers(1, 3))
    arguments = {
        "in_channels": channels,
        "out_channels": groups * draw(st.integers(1, 3)),
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "output_padding": output_padding,
        "groups": groups,
        "bias": draw(st.booleans()),
        "dilation": dilation,
    }
    batch = draw(st.sampled_from([(), (1,), (2,)]))
    return Case(rank, arguments, (*batch, channels, *(draw(st.integers(3, 5)) for _ in kernel)))


@given(
    case=cases(),
    kind=st.sampled_from(list(EXACT)),
    split=st.booleans(),
    omega=st.sampled_from([0.0, 0.6]),
)
def test_products_and_gradients(case: Case, kind: str, split: bool, omega: float) -> None:
    digital = DIGITAL[case.rank](**case.arguments)
    sizes = {"max_input_size": 2, "max_output_size": 5} if split else {}
    layer = LAYERS[case.rank].from_digital(
        digital, EXACT[kind](weight_scaling_omega=omega, **sizes)
    )
    x = torch.randn(*case.shape, requires_grad=True)
    y, expected = layer(x), digital(x)
    torch.testing.assert_close(y, expected, **CLOSE)
    assert y.is_contiguous()
    d = torch.randn_like(y)
    y.backward(d, retain_graph=True)
    own, x.grad = x.grad, None
    expected.backward(d)
    torch.testing.assert_close(own, x.grad, **CLOSE)
    if digital.bias is not None:
        torch.testing.assert_close(layer.bias.grad, digital.bias.grad, **CLOSE)
    if kind == "torch" and omega == 0.0 and not split and layer.groups == 1:
        gradient = layer.analog_module.tile.weight.grad.t().reshape(digital.weight.shape)
        torch.testing.assert_close(gradient, digital.weight.grad, **CLOSE)


@given(case=cases())
def test_first_weights_and_back(case: Case) -> None:
    torch.manual_seed(7)
    digital = DIGITAL[case.rank](**case.arguments)
    after = torch.get_rng_state()
    torch.manual_seed(7)
    layer = LAYERS[case.rank](**case.arguments, rpu_config=EXACT["pulsed"](max_input_size=2))
    assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(layer.weight.clone(), digital.weight)
    assert torch.equal(layer.get_weights()[0], digital.weight.flatten(1))
    assert digital.bias is None or torch.equal(layer.bias, digital.bias)
    back = convert_to_digital(layer)
    assert type(back) is type(digital) and repr(back) == repr(digital)
    assert vars(back).keys() == vars(digital).keys()
    for name, value in digital.state_dict().items():
        assert torch.equal(back.state_dict()[name], value)


@pytest.mark.parametrize("rank", LAYERS)
def test_sizes_of_the_output(rank: int) -> None:
    digital = DIGITAL[rank](2, 3, 3, stride=3, padding=1)
    layer = LAYERS[rank].from_digital(digital, EXACT["inference"]())
    x = torch.rand(2, 2, *[4] * rank)
    for size in ([11] * rank, [2, 3, *[12] * rank]):
        torch.testing.assert_close(layer(x, size), digital(x, size), **CLOSE)
    with pytest.raises(InputError, match="output_size"):
        layer(x, [5] * rank)
    assert layer(x[:0]).shape == (0, 3, *[10] * rank)


def test_channels_last() -> None:
    digital = nn.ConvTranspose2d(2, 3, 3)
    layer = AnalogConvTranspose2d.from_digital(digital, EXACT["inference"]())
    x = torch.rand(2, 2, 5, 5).to(memory_format=torch.channels_last)
    y = layer(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, digital(x), **CLOSE)


def test_updates_are_those_of_a_linear_layer() -> None:
    config = SingleRPUConfig(device=ConstantStepDevice())
    layer = AnalogConvTranspose1d(3, 2, 2, stride=2, bias=False, rpu_config=config)
    linear = AnalogLinear(3, 4, bias=False, rpu_config=config)
    linear.load_state_dict(copy.deepcopy(layer.state_dict()))
    x = torch.rand(4, 3, 5)
    y, rows = layer(x), linear(x.transpose(1, 2))
    # With a stride as large as the kernel nothing overlaps.
    assert torch.equal(y, rows.view(4, 5, 2, 2).permute(0, 2, 1, 3).reshape(4, 2, 10))
    d = torch.randn_like(y)
    y.backward(d)
    rows.backward(d.view(4, 2, 5, 2).permute(0, 2, 1, 3).reshape(4, 5, 4))
    for one in (layer, linear):
        AnalogSGD(one.parameters(), lr=0.1).step()
    weights = [one.analog_module.get_weights()[0] for one in (layer, linear)]
    assert torch.equal(*weights)
    assert not torch.equal(layer.get_weights()[0], torch.zeros(3, 4))


@pytest.mark.parametrize("rank", LAYERS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in_channels": 0}, "in_channels"),
        ({"groups": 4}, "groups: 4 of them"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"stride": 0}, "stride"),
        ({"padding": -1}, "padding"),
        ({"padding": "same"}, "padding: expected sizes"),
        ({"output_padding": 1}, "output_padding: expected less than"),
        ({"output_padding": -1}, "output_padding"),
        ({"padding_mode": "reflect"}, "padding_mode: expected one of zeros"),
        ({"bias": "yes"}, "bias"),
        ({"groups": 2, "tile_module_class": AnalogTile}, "tile_module_class"),
    ],
)
def test_bad_arguments(rank: int, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        LAYERS[rank](**{"in_channels": 6, "out_channels": 6, "kernel_size": 2, **change})


def test_analog_bias_is_refused() -> None:
    with pytest.raises(AnalogBiasConfigError, match=r"mapping\.digital_bias"):
        AnalogConvTranspose1d(2, 2, 2, rpu_config=EXACT["pulsed"](digital_bias=False))


@pytest.mark.parametrize("rank", LAYERS)
def test_bad_inputs(rank: int) -> None:
    layer = LAYERS[rank](2, 3, 1, padding=1, rpu_config=EXACT["inference"]())
    for shape in ((2,), (1, 3, *[4] * rank), (1, 2, *[2] * rank), (1, 2, *[0] * rank)):
        with pytest.raises(InputError, match="AnalogConvTranspose"):
            layer(torch.rand(shape))


@pytest.mark.parametrize("rank", LAYERS)
def test_outputs_that_cannot_be_counted(rank: int) -> None:
    layer = LAYERS[rank](2, 3, 1, stride=2**61, rpu_config=EXACT["inference"]())
    with pytest.raises(InputError, match="has too many elements"):
        layer(torch.rand(1, 2, *[4] * rank))


@pytest.mark.parametrize("kind", EXACT)
def test_states(kind: str) -> None:
    layer, other = (AnalogConvTranspose2d(2, 4, 3, groups=2, rpu_config=EXACT[kind]())
                    for _ in range(2))  # fmt: skip
    state = copy.deepcopy(layer.state_dict())
    other.load_state_dict(state)
    x = torch.rand(2, 2, 4, 4)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for one in (other, copy.deepcopy(layer), torch.load(file, weights_only=False)):
        assert torch.equal(one(x), layer(x))
    before = layer.get_weights()
    state["bias"] = torch.full((4,), float("nan"))
    with pytest.raises((StateError, ArgumentError), match="bias"):
        layer.load_state_dict(state)
    for old, new in zip(before, layer.get_weights(), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("kind", ["inference", "torch"])
@pytest.mark.parametrize("rank", LAYERS)
def test_graphs(kind: str, rank: int) -> None:
    model = nn.Sequential(DIGITAL[rank](2, 3, 3, stride=2), nn.ReLU())
    analog = convert_to_analog(model, EXACT[kind]()).eval()
    x = torch.rand(2, 2, *[3] * rank)
    expected = analog(x)
    torch._dynamo.reset()
    compiled = torch.compile(analog, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), expected, **CLOSE)
    if kind == "torch" or hasattr(torch.compiler, "is_exporting"):  # core tiles need torch 2.7
        exported = torch.export.export(analog, (x,)).module()
        torch.testing.assert_close(exported(x), expected, **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_precisions(dtype: torch.dtype) -> None:
    digital = nn.ConvTranspose2d(2, 3, 3)
    layer = AnalogConvTranspose2d.from_digital(digital, EXACT["torch"]()).to(dtype)
    y = layer(torch.rand(2, 2, 4, 4, dtype=dtype))
    assert y.dtype is dtype and y.shape == (2, 3, 6, 6)
