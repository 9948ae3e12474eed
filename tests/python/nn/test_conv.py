"""Convolutions on tiles: equal to torch's with exact tiles, and to AnalogLinear with all others."""

import copy
import io
import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from convolution_cases import DIGITAL, MAPPED, PLAIN, Case, cases
from mho.exceptions import (
    AnalogBiasConfigError,
    ArgumentError,
    ConfigError,
    InputError,
    ModuleError,
)
from mho.nn import (
    AnalogConv1d,
    AnalogConv1dMapped,
    AnalogConv2d,
    AnalogConv2dMapped,
    AnalogConv3d,
    AnalogLinear,
    conversion_report,
)
from mho.nn.conversion import convert_to_analog, convert_to_digital
from mho.nn.conversion_table import MAPPED_CONVERSIONS
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.tiles import AnalogTile
from mho.simulator.tiles.array import TileModuleArray

# Sums of some hundred products of order one in float32, in another order than torch's.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}

LAYERS = [*PLAIN.values(), *MAPPED.values()]


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
NOISY: dict[str, Any] = {
    "constant step": lambda: SingleRPUConfig(device=ConstantStepDevice()),
    "soft bounds": lambda: SingleRPUConfig(device=SoftBoundsDevice()),
    "floating point": FloatingPointRPUConfig,
    "inference": InferenceRPUConfig,
    "torch": TorchInferenceRPUConfig,
}


MAPPINGS = st.fixed_dictionaries(
    {
        "digital_bias": st.booleans(),
        "weight_scaling_omega": st.sampled_from([0.0, 0.6]),
        "weight_scaling_columnwise": st.booleans(),
        "learn_out_scaling": st.booleans(),
        "max_input_size": st.sampled_from([0, 30, 512]),
        "max_output_size": st.sampled_from([0, 2, 512]),
    }
)


def gradient_of_weights(layer: Any) -> Tensor:
    """Return the gradient of the logical weights of a layer without scales."""
    tile = next(layer.analog_tiles())
    weight = tile.tile.weight if hasattr(tile.tile, "weight") else tile.shared_weights
    return weight.grad[:, : layer.in_features]


class TestEqualToTorch:
    @given(
        case=cases(),
        mapping=MAPPINGS,
        mapped=st.booleans(),
        kind=st.sampled_from(list(EXACT)),
        indexed=st.booleans(),
    )
    def test_products_and_gradients_of_inputs(
        self, case: Case, mapping: Any, mapped: bool, kind: str, indexed: bool
    ) -> None:
        digital = DIGITAL[case.rank](**case.arguments)
        cls = (MAPPED if mapped else PLAIN)[case.rank]
        if mapped or kind == "torch":  # they have no analog bias
            mapping = {**mapping, "digital_bias": True}
        layer = cls.from_digital(digital, EXACT[kind](**mapping))
        layer.use_indexed = indexed
        x = torch.randn(*case.shape, requires_grad=True)
        y, expected = layer(x), digital(x)
        assert y.is_contiguous()
        torch.testing.assert_close(y, expected, **CLOSE)
        d = torch.randn_like(y)
        torch.testing.assert_close(
            torch.autograd.grad(y, x, d), torch.autograd.grad(expected, x, d), **CLOSE
        )

    @given(case=cases(), kind=st.sampled_from(["inference", "torch"]), analog_bias=st.booleans())
    def test_gradients_of_weights(self, case: Case, kind: str, analog_bias: bool) -> None:
        case.arguments["groups"] = 1
        analog_bias = analog_bias and kind != "torch"  # torch tiles have none
        digital = DIGITAL[case.rank](**case.arguments)
        config = EXACT[kind](digital_bias=not analog_bias, weight_scaling_omega=0.0)
        layer = PLAIN[case.rank].from_digital(digital, config)
        x = torch.randn(*case.shape)
        y, expected = layer(x), digital(x)
        d = torch.randn_like(y)
        y.backward(d)
        expected.backward(d)
        torch.testing.assert_close(
            gradient_of_weights(layer), digital.weight.grad.flatten(1), **CLOSE
        )
        if digital.bias is not None and not analog_bias:
            (bias,) = (p for n, p in layer.named_parameters() if n.endswith("bias"))
            torch.testing.assert_close(bias.grad, digital.bias.grad, **CLOSE)

    @given(case=cases(), mapped=st.booleans())
    def test_first_weights(self, case: Case, mapped: bool) -> None:
        torch.manual_seed(7)
        digital = DIGITAL[case.rank](**case.arguments)
        after = torch.get_rng_state()
        torch.manual_seed(7)
        cls = (MAPPED if mapped else PLAIN)[case.rank]
        layer = cls(**case.arguments, rpu_config=EXACT["pulsed"](max_input_size=30))
        assert torch.equal(torch.get_rng_state(), after)
        assert torch.equal(layer.weight.clone(), digital.weight)
        assert layer.weight.shape == digital.weight.shape
        if digital.bias is None:
            assert layer.bias is None
        else:
            assert torch.equal(layer.bias.clone(), digital.bias)
        assert torch.equal(layer.get_weights()[0], digital.weight.flatten(1))

    @given(case=cases(), mapped=st.booleans())
    def test_there_and_back(self, case: Case, mapped: bool) -> None:
        digital = DIGITAL[case.rank](**case.arguments).eval()
        cls = (MAPPED if mapped else PLAIN)[case.rank]
        layer = cls.from_digital(digital, EXACT["torch"](weight_scaling_omega=0.0))
        assert not layer.training
        back = cls.to_digital(layer)
        assert type(back) is type(digital) and repr(back) == repr(digital) and not back.training
        assert vars(back).keys() == vars(digital).keys()
        for name, value in digital.state_dict().items():
            assert torch.equal(back.state_dict()[name], value)
        assert repr(digital)[:-1].split("(", 1)[1] in repr(layer)

    @pytest.mark.parametrize("cls", LAYERS)
    @pytest.mark.parametrize("indexed", [False, True])
    def test_empty_batches(self, cls: Any, indexed: bool) -> None:
        layer = cls(2, 3, 2, rpu_config=EXACT["pulsed"](), use_indexed=indexed)
        x = torch.randn(0, 2, *[4] * cls.RANK, requires_grad=True)
        y = layer(x)
        assert y.shape == (0, 3, *[3] * cls.RANK)
        y.sum().backward()
        assert x.grad is not None and x.grad.shape == x.shape

    @pytest.mark.parametrize("indexed", [False, True])
    @pytest.mark.parametrize(("rank", "order"), [(2, "channels_last"), (3, "channels_last_3d")])
    def test_memory_formats(self, rank: int, order: str, indexed: bool) -> None:
        digital = DIGITAL[rank](2, 3, 3, padding=1)
        layer = PLAIN[rank].from_digital(digital, EXACT["inference"]())
        layer.use_indexed = indexed
        memory_format = getattr(torch, order)
        last = torch.randn(2, 2, *[5] * rank).to(memory_format=memory_format)
        for x in (last, last.contiguous(), last.transpose(-1, -2), last[..., ::2, :]):
            y, expected = layer(x), digital(x)
            torch.testing.assert_close(y, expected, **CLOSE)
            assert y.is_contiguous() != y.is_contiguous(memory_format=memory_format)
        assert layer(last).is_contiguous(memory_format=memory_format)
        assert layer(last.contiguous()).is_contiguous()
        model = nn.Sequential(layer).to(memory_format=memory_format)  # kernels are no matrices
        torch.testing.assert_close(model(last), digital(last), **CLOSE)

    def test_double_backward_of_torch_tiles(self) -> None:
        digital = nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect").double()
        layer = AnalogConv2d.from_digital(digital, EXACT["torch"]())
        assert torch.autograd.gradgradcheck(
            layer, torch.rand(1, 2, 4, 4, dtype=torch.double, requires_grad=True)
        )

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
    def test_precisions(self, dtype: torch.dtype) -> None:
        digital = nn.Conv2d(2, 3, 3, padding=1)
        layer = AnalogConv2d.from_digital(digital, EXACT["torch"]()).to(dtype)
        x = torch.randn(2, 2, 5, 5, dtype=dtype)
        y = layer(x)
        assert y.dtype is dtype
        size = {torch.float64: 1e-12, torch.bfloat16: 0.05, torch.float16: 0.01}[dtype]
        expected = digital.double()(x.double())
        # A few roundings of sums of order one; weights were float32 numbers before.
        torch.testing.assert_close(y.double(), expected, rtol=size, atol=size)


class TestPatches:
    """A convolution is a linear layer that is given the patches, whatever its tiles do."""

    @staticmethod
    def linear_of(layer: Any, config: Any) -> AnalogLinear:
        """Return a linear layer with the very tile of a convolution."""
        linear = AnalogLinear(layer.in_features, layer.out_features, rpu_config=config)
        linear.load_state_dict(copy.deepcopy(layer.state_dict()))
        return linear

    @pytest.mark.parametrize("indexed", [False, True])
    @pytest.mark.parametrize("digital_bias", [False, True])
    @pytest.mark.parametrize("split", [False, True])
    @pytest.mark.parametrize("kind", NOISY)
    def test_products_and_updates(
        self, kind: str, split: bool, digital_bias: bool, indexed: bool
    ) -> None:
        if kind == "torch" and not (split or digital_bias):
            return  # torch tiles have no analog bias
        config = NOISY[kind]()
        config.mapping.digital_bias = digital_bias
        if split:
            config.mapping.max_input_size, config.mapping.max_output_size = 7, 2
        layer = AnalogConv2d(2, 3, 3, 2, 1, rpu_config=config, use_indexed=indexed)
        linear = self.linear_of(layer, config)
        x = torch.rand(4, 2, 6, 5, requires_grad=True)
        rows = functional.unfold(x.detach(), 3, padding=1, stride=2).transpose(1, 2)
        rows = rows.clone().requires_grad_()
        torch.manual_seed(1)
        y = layer(x)
        torch.manual_seed(1)
        expected = linear(rows)
        assert torch.equal(y.flatten(2).transpose(1, 2), expected)
        d = torch.randn_like(y)
        for one, output, gradient in (
            (layer, y, d),
            (linear, expected, d.flatten(2).transpose(1, 2)),
        ):
            optimizer = AnalogSGD(one.parameters(), lr=0.1)
            torch.manual_seed(2)
            output.backward(gradient)
            optimizer.step()
        assert rows.grad is not None and x.grad is not None
        folded = functional.fold(rows.grad.transpose(1, 2), (6, 5), 3, padding=1, stride=2)
        torch.testing.assert_close(x.grad, folded, **CLOSE)
        for own, other in zip(layer.get_weights(), linear.get_weights(), strict=True):
            assert torch.equal(own, other)

    @pytest.mark.parametrize("digital_bias", [False, True])
    def test_pulses_are_those_of_the_rows(self, digital_bias: bool) -> None:
        config = SingleRPUConfig(device=ConstantStepDevice(count_pulses=True))
        config.mapping.digital_bias = digital_bias
        layer = AnalogConv1d(2, 3, 3, rpu_config=config)
        linear = self.linear_of(layer, config)
        x = torch.rand(5, 2, 9)
        y = layer(x)
        y.sum().backward()
        AnalogSGD(layer.parameters(), lr=0.1).step()
        tile: Any = linear.analog_module
        tile.set_learning_rate(0.1)
        rows = x.unfold(2, 3, 1).permute(0, 2, 1, 3).reshape(5 * 7, 6)
        with torch.no_grad():
            linear(rows)
        linear.analog_module.analog_tile_calls.copy_(layer.analog_module.analog_tile_calls - 1)
        tile.update(rows, torch.ones(35, 3))
        assert layer.get_pulse_counters().sum() > 0
        assert torch.equal(layer.get_pulse_counters(), linear.get_pulse_counters())

    def test_trace(self) -> None:
        layer = AnalogConv2d(2, 3, (2, 3), rpu_config=SingleRPUConfig())
        x = torch.rand(4, 2, 5, 7)
        layer(x).sum().backward()
        context = layer.analog_module.analog_ctx
        (stored,), (d,) = context.analog_input, context.analog_grad_output
        assert stored.shape == (4, 4 * 5, 2 * 2 * 3) and d.shape == (4, 4 * 5, 3)
        for n, i, j in itertools.product(range(4), range(4), range(5)):
            patch = x[n, :, i : i + 2, j : j + 3].flatten()
            assert torch.equal(stored[n, i * 5 + j], patch)

    @pytest.mark.parametrize("cls", LAYERS)
    def test_groups_have_tiles_of_their_own(self, cls: Any) -> None:
        layer = cls(4, 6, 3, groups=2, rpu_config=EXACT["pulsed"]())
        tiles = list(layer.analog_tiles())
        assert [(t.out_size, t.in_size) for t in tiles] == [(3, 2 * 3**cls.RANK)] * 2
        assert layer.analog_tile_count() == 2


class TestIndexTable:
    def test_example_of_the_standard(self) -> None:
        layer = AnalogConv2d(2, 3, 2, rpu_config=EXACT["pulsed"](digital_bias=False))
        assert layer.fold_indices is None and layer.image_sizes is None
        layer.recalculate_indexes(torch.rand(1, 2, 3, 3))
        assert layer.fold_indices is not None
        assert layer.fold_indices.dtype is torch.int32
        table = layer.fold_indices.view(9, 4).tolist()
        assert table[0] == [2, 3, 5, 6] and table[4] == [11, 12, 14, 15]
        assert table[8] == [1, 1, 1, 1]
        assert layer.image_sizes == [2, 3, 3, 2, 2] and layer.input_size == (2, 3, 3)

    def test_padding(self) -> None:
        layer = AnalogConv1d(1, 1, 3, padding=1, rpu_config=EXACT["pulsed"](), use_indexed=True)
        layer(torch.rand(1, 4))
        assert layer.fold_indices is not None
        assert layer.fold_indices.view(3, 4).tolist() == [
            [0, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 0],
        ]  # fmt: skip
        assert layer.image_sizes == [1, 4, 4]

    def test_a_table_for_each_shape(self) -> None:
        """Images of as many elements and another ratio of their sides have another one."""
        digital = nn.Conv2d(2, 3, 2)
        layer = AnalogConv2d.from_digital(digital, EXACT["inference"]())
        layer.use_indexed = True
        for shape in ((2, 4, 6), (2, 6, 4), (2, 2, 12), (1, 2, 4, 6)):
            x = torch.randn(*shape)
            torch.testing.assert_close(layer(x), digital(x), **CLOSE)
            assert layer.input_size == shape[-3:]

    def test_copies_have_none(self) -> None:
        layer = AnalogConv2d(2, 3, 2, rpu_config=EXACT["inference"](), use_indexed=True)
        x = torch.rand(2, 4, 4)
        y = layer(x)
        for other in (copy.deepcopy(layer), unpickled(layer)):
            assert other.fold_indices is None and other.use_indexed
            assert torch.equal(other(x), y)
        assert layer.fold_indices is not None


def unpickled(layer: Any) -> Any:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


class TestMapped:
    def test_cut_by_channels(self) -> None:
        config = EXACT["inference"](max_input_size=20, max_output_size=4)
        layer = AnalogConv2dMapped(5, 6, 3, rpu_config=config)
        assert layer.in_sizes == [2, 2, 1] and layer.out_sizes == [3, 3]
        assert [(t.out_size, t.in_size) for t in layer.analog_tiles()] == [
            (3, 18), (3, 18), (3, 18), (3, 18), (3, 9), (3, 9),
        ]  # fmt: skip
        assert not hasattr(layer, "analog_module")
        assert type(layer.bias) is nn.Parameter
        names = list(layer.state_dict())
        assert "bias" in names and "array.2.1.analog_tile_weights" in names

    def test_groups(self) -> None:
        config = EXACT["inference"](max_input_size=9, max_output_size=2)
        layer = AnalogConv2dMapped(4, 6, 3, groups=2, rpu_config=config)
        assert layer.in_sizes == [1, 1] and layer.out_sizes == [2, 1]
        assert [name for name, _ in layer.named_analog_tiles()] == [
            f"array.{i}.{j}" for i in range(4) for j in range(2)
        ]

    def test_errors(self) -> None:
        with pytest.raises(AnalogBiasConfigError, match=r"mapping\.digital_bias"):
            AnalogConv1dMapped(2, 3, 2, rpu_config=EXACT["pulsed"](digital_bias=False))
        AnalogConv1dMapped(2, 3, 2, bias=False, rpu_config=EXACT["pulsed"](digital_bias=False))
        with pytest.raises(ModuleError, match=r"max_input_size: 8 .* 9 elements"):
            AnalogConv2dMapped(2, 3, 3, rpu_config=EXACT["pulsed"](max_input_size=8))

    @pytest.mark.parametrize("cls", MAPPED.values())
    def test_weights(self, cls: Any) -> None:
        config = EXACT["pulsed"](max_input_size=27, max_output_size=2)
        layer = cls(3, 4, 3, rpu_config=config)
        weight, bias = torch.randn(4, 3, *[3] * cls.RANK), torch.randn(4)
        layer.set_weights(weight, bias)
        assert torch.equal(layer.get_weights()[0], weight.flatten(1))
        assert torch.equal(layer.get_weights()[1], bias)
        layer.set_weights(weight.flatten(1) / 2)
        assert torch.equal(layer.weight.clone(), weight / 2)
        assert torch.equal(layer.bias, bias)
        with pytest.raises(InputError, match="transposed"):
            layer.set_weights(weight.flatten(1).t())
        with pytest.raises(ArgumentError, match="finite"):
            layer.set_weights(weight, bias * math.nan)
        assert torch.equal(layer.weight.clone(), weight / 2)

    def test_counters(self) -> None:
        config = SingleRPUConfig(device=ConstantStepDevice(count_pulses=True))
        config.mapping.max_input_size, config.mapping.max_output_size = 9, 2
        layer = AnalogConv2dMapped(2, 3, 3, rpu_config=config)
        layer(torch.rand(2, 2, 5, 5)).sum().backward()
        AnalogSGD(layer.parameters(), lr=0.1).step()
        counters = layer.get_pulse_counters()
        assert counters.shape == (2, 3, 18) and counters.sum() > 0


class TestArguments:
    @pytest.mark.parametrize("cls", LAYERS)
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"in_channels": 0}, "in_channels: expected a positive"),
            ({"out_channels": 2.0}, "out_channels: expected a positive"),
            ({"groups": 0}, "groups: expected a positive"),
            ({"groups": 4}, "groups: 4 of them do not divide in_channels = 6"),
            ({"groups": 6}, "groups: 6 of them do not divide out_channels = 9"),
            ({"kernel_size": 0}, "kernel_size: expected a positive"),
            ({"kernel_size": (1, 1, 1, 1)}, "kernel_size: expected one size or"),
            ({"stride": 0}, "stride: expected a positive"),
            ({"stride": "2"}, "stride: expected"),
            ({"dilation": -1}, "dilation: expected a positive"),
            ({"padding": -1}, "padding: expected sizes of 0 or more"),
            ({"padding": 0.5}, "padding: expected"),
            ({"padding": "full"}, "padding: expected sizes, 'same' or 'valid'"),
            ({"padding": "same", "stride": 2}, "'same' needs stride 1"),
            ({"padding_mode": "mirror"}, "padding_mode: expected one of zeros"),
            ({"bias": "yes"}, "bias: expected True or False"),
            ({"bias": SingleRPUConfig()}, "rpu_config="),
            ({"use_indexed": 3}, "use_indexed: expected True or False"),
            ({"rpu_config": SingleRPUConfig}, "rpu_config: got the class"),
            ({"tile_module_class": 3}, "tile_module_class: expected the class"),
        ],
    )
    def test_bad_arguments(self, cls: Any, change: dict[str, Any], message: str) -> None:
        arguments = {"in_channels": 6, "out_channels": 9, "kernel_size": 2, **change}
        with pytest.raises(ArgumentError, match=message) as caught:
            cls(**arguments)
        assert isinstance(caught.value, ValueError)

    @pytest.mark.parametrize("cls", LAYERS)
    def test_weights_that_cannot_be_counted(self, cls: Any) -> None:
        with pytest.raises(MemoryError):
            cls(2**40, 2**40, 3)

    def test_groups_need_an_array(self) -> None:
        with pytest.raises(ArgumentError, match=r"tile_module_class: .* 2 groups"):
            AnalogConv2d(2, 2, 2, groups=2, tile_module_class=AnalogTile)
        layer = AnalogConv2d(2, 2, 2, groups=2, tile_module_class=TileModuleArray)
        assert isinstance(layer.analog_module, TileModuleArray)

    @pytest.mark.parametrize("cls", LAYERS)
    @pytest.mark.parametrize("indexed", [False, True])
    def test_bad_inputs(self, cls: Any, indexed: bool) -> None:
        layer = cls(2, 3, 3, rpu_config=EXACT["inference"](), use_indexed=indexed)
        digital = cls.to_digital(layer)
        size = [4] * cls.RANK
        for shape, message in (
            ((2,), "axes"),
            ((1, 1, 2, *size), "axes"),
            ((1, 3, *size), "expected 2 channels, got 3"),
            ((1, 2, *size[1:], 2), "no kernel fits along axis"),
            ((1, 2, *size[1:], 0), "no kernel fits along axis"),
        ):
            with pytest.raises(InputError, match=message) as caught:
                layer(torch.rand(shape))
            assert type(layer).__name__ in str(caught.value)
            with pytest.raises(RuntimeError):
                digital(torch.rand(shape))
        for wrong in (torch.ones(1, 2, *size, dtype=torch.int64), [1.0]):
            with pytest.raises(InputError):
                layer(wrong)

    @pytest.mark.parametrize(("mode", "size"), [("reflect", 2), ("circular", 1), ("replicate", 0)])
    def test_images_too_small_for_the_padding(self, mode: str, size: int) -> None:
        layer = AnalogConv1d(1, 1, 1, padding=2, padding_mode=mode, rpu_config=EXACT["pulsed"]())
        with pytest.raises(InputError, match=f"{mode} padding of 2"):
            layer(torch.rand(1, 1, size))
        layer(torch.rand(1, 1, size + 1))

    def test_messages_name_the_layer(self) -> None:
        model = nn.Sequential(nn.ReLU(), AnalogConv2d(2, 3, 3, rpu_config=EXACT["pulsed"]()))
        with pytest.raises(InputError, match=r"in layer '1', AnalogConv2d\(2, 3, kernel_size"):
            model(torch.rand(1, 1, 4, 4))

    @pytest.mark.parametrize("cls", LAYERS)
    def test_refused_digital_layers(self, cls: Any) -> None:
        with pytest.raises(ArgumentError, match="module"):
            cls.from_digital(nn.Linear(2, 2), SingleRPUConfig())
        with pytest.raises(ArgumentError, match="module"):
            cls.to_digital(nn.Conv2d(1, 1, 1))

    @pytest.mark.parametrize("cls", MAPPED.values())
    def test_configurations_without_mapping(self, cls: Any) -> None:
        config = RPUConfigBase(AnalogTile)
        with pytest.raises(ConfigError, match="mapping"):
            cls.from_digital(DIGITAL[cls.RANK](1, 1, 1), config)
        with pytest.raises(ConfigError, match="mapping"):
            cls(1, 1, 1, rpu_config=config)


class TestAsAModule:
    @pytest.mark.parametrize("cls", LAYERS)
    @pytest.mark.parametrize("kind", NOISY)
    def test_states(self, cls: Any, kind: str) -> None:
        config = NOISY[kind]()
        config.mapping.max_input_size = 3**cls.RANK
        layer = cls(2, 3, 3, groups=1, rpu_config=config)
        other = cls(2, 3, 3, groups=1, rpu_config=config)
        other.load_state_dict(copy.deepcopy(layer.state_dict()))
        x = torch.rand(2, 2, *[4] * cls.RANK)
        outputs = []
        for one in (copy.deepcopy(layer), other, unpickled(layer)):
            torch.manual_seed(3)
            outputs.append(one.eval()(x))
        assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2])

    @pytest.mark.parametrize("cls", LAYERS)
    def test_states_of_digital_layers_are_refused(self, cls: Any) -> None:
        layer = cls(2, 3, 3, rpu_config=EXACT["pulsed"]())
        digital = DIGITAL[cls.RANK](2, 3, 3)
        before = layer.get_weights()
        with pytest.raises(InputError, match="weights of a digital layer"):
            layer.load_state_dict(digital.state_dict())
        with pytest.raises(RuntimeError, match="weights of a digital layer"):
            nn.Sequential(layer).load_state_dict(nn.Sequential(digital).state_dict())
        for old, new in zip(before, layer.get_weights(), strict=True):
            assert torch.equal(old, new)

    @pytest.mark.parametrize("kind", EXACT)
    @pytest.mark.parametrize("cls", [AnalogConv2d, AnalogConv3d, AnalogConv2dMapped])
    def test_weight_is_a_view(self, cls: Any, kind: str) -> None:
        layer = cls(2, 4, 3, groups=2, rpu_config=EXACT[kind](weight_scaling_omega=0.0))
        nn.init.ones_(layer.weight)
        assert torch.equal(layer.get_weights()[0], torch.ones(4, layer.in_features))
        layer.weight.data[1] = 0.5
        assert torch.equal(layer.get_weights()[0][1], torch.full((layer.in_features,), 0.5))
        nn.init.zeros_(layer.bias)
        assert torch.equal(layer.get_weights()[1], torch.zeros(4))
        with pytest.raises(ModuleError):
            layer.weight = nn.Parameter(torch.ones(4, 1, 3, 3))
        with pytest.raises(ModuleError, match="conv2d"):
            functional.conv2d(torch.ones(1, 2, 4, 4), layer.weight)
        assert layer.weight.requires_grad
        layer.weight.requires_grad_(False)
        assert not layer.weight.requires_grad and layer.bias.requires_grad

    @pytest.mark.parametrize("indexed", [False, True])
    @pytest.mark.parametrize("cls", [AnalogConv1d, AnalogConv2d, AnalogConv2dMapped])
    @pytest.mark.parametrize("kind", ["inference", "torch"])
    def test_compiled_and_exported(self, cls: Any, kind: str, indexed: bool) -> None:
        config = EXACT[kind]()
        layer = cls(2, 4, 3, padding=1, groups=2, rpu_config=config, use_indexed=indexed).eval()
        x = torch.rand(2, 2, *[5] * cls.RANK)
        expected = layer(x)
        torch._dynamo.reset()
        compiled = torch.compile(layer, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), expected, **CLOSE)
        if kind == "inference" and not hasattr(torch.compiler, "is_exporting"):
            return  # export of core tiles needs torch 2.7
        exported = torch.export.export(layer, (x,)).module()
        torch.testing.assert_close(exported(x), expected, **CLOSE)

    @pytest.mark.parametrize("kind", ["pulsed", "inference"])
    def test_training_of_compiled_layers(self, kind: str) -> None:
        weights = []
        for is_compiled in (False, True):
            torch.manual_seed(5)
            layer = AnalogConv2d(2, 3, 3, rpu_config=EXACT[kind]())
            torch._dynamo.reset()
            model = (
                torch.compile(layer, fullgraph=True, backend="aot_eager") if is_compiled else layer
            )
            x = torch.rand(2, 2, 5, 5, generator=torch.Generator().manual_seed(1))
            optimizer = AnalogSGD(layer.parameters(), lr=0.1)
            model(x).square().sum().backward()
            optimizer.step()
            weights.append(layer.get_weights()[0])
        torch.testing.assert_close(*weights, **CLOSE)

    @pytest.mark.parametrize("cls", LAYERS)
    def test_life_of_inference_layers(self, cls: Any) -> None:
        layer = cls(2, 3, 3, rpu_config=InferenceRPUConfig()).eval()
        before = layer.get_weights()[0]
        layer.program_analog_weights()
        layer.drift_analog_weights(1e6)
        assert not torch.equal(layer.get_weights()[0], before)
        layer.remap_analog_weights()
        layer.replace_rpu_config(InferenceRPUConfig())

    def test_hooks_of_tiles_run(self) -> None:
        layer, calls = AnalogConv2d(2, 3, 3, rpu_config=EXACT["pulsed"]()), []
        layer.register_forward_hook(lambda *_: calls.append("layer"))
        layer.analog_module.register_forward_pre_hook(lambda *_: calls.append("tile"))
        layer(torch.ones(2, 4, 4))
        assert calls == ["tile", "layer"]

    def test_layers_on_the_meta_device(self) -> None:
        with torch.device("meta"):
            digital = nn.Conv2d(2, 3, 3)
        layer = AnalogConv2d.from_digital(digital, EXACT["inference"]())
        assert layer(torch.rand(1, 2, 4, 4)).shape == (1, 3, 2, 2)


class TestConversion:
    @pytest.mark.parametrize("conversions", [None, MAPPED_CONVERSIONS])
    @pytest.mark.parametrize("kind", EXACT)
    def test_there_and_back(self, kind: str, conversions: Any) -> None:
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding="same"),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, groups=4, bias=False),  # depthwise
            nn.Flatten(2),
            nn.Conv1d(4, 2, 5, dilation=2, padding_mode="circular", padding=2),
            nn.Flatten(),
            nn.LazyLinear(3),
        ).eval()
        model[3].tag = "depthwise"
        model[0].weight.requires_grad_(False)
        x = torch.randn(2, 1, 6, 6)
        expected = model(x)
        analog = convert_to_analog(model, EXACT[kind](), conversion_map=conversions)
        torch.testing.assert_close(analog(x), expected, **CLOSE)
        names = ["AnalogConv2d", "AnalogConv2d", "AnalogConv1d", "AnalogLinear"]
        found = [type(layer).__name__.removesuffix("Mapped") for layer in analog.analog_layers()]
        assert found == names
        assert analog[3].tag == "depthwise"
        assert not analog[0].weight.requires_grad
        report = conversion_report(analog)
        assert len(report.converted) == 4 and len(report.digital) == 1
        digital = convert_to_digital(analog)
        torch.testing.assert_close(digital(x), expected, **CLOSE)
        for new, old in zip(digital, model, strict=True):
            assert type(new) is type(old) and vars(new).keys() == vars(old).keys()
            assert new._modules.keys() == old._modules.keys()
