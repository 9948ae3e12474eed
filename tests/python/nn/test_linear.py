"""AnalogLinear and AnalogLinearMapped: construction, products, weights, conversion of one layer."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mho.exceptions import ArgumentError, ConfigError, InputError
from mho.nn import AnalogLinear, AnalogLinearMapped
from mho.nn.conversion import convert_to_analog
from mho.simulator.configs import (
    ConstantStepDevice,
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.tiles import AnalogTile, InferenceTile, TileModuleArray

# One product of float32 numbers of order one, summed in another order than torch does.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def perfect(**mapping: Any) -> SingleRPUConfig:
    config = SingleRPUConfig(
        device=IdealDevice(),
        forward=IOParameters(is_perfect=True),
        backward=IOParameters(is_perfect=True),
    )
    for name, value in mapping.items():
        setattr(config.mapping, name, value)
    return config


TILES = [SingleRPUConfig, InferenceRPUConfig, FloatingPointRPUConfig, TorchInferenceRPUConfig]
NAN = float("nan")


class TestInitialisation:
    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize(
        "config", [perfect(), perfect(digital_bias=False), InferenceRPUConfig()]
    )
    def test_draws_what_the_digital_layer_draws(self, config: Any, bias: bool) -> None:
        torch.manual_seed(7)
        digital = nn.Linear(5, 3, bias=bias)
        after_digital = torch.get_rng_state()
        torch.manual_seed(7)
        layer = AnalogLinear(5, 3, bias=bias, rpu_config=config)
        assert torch.equal(torch.get_rng_state(), after_digital)
        weight, drawn_bias = layer.get_weights()
        assert torch.equal(weight, digital.weight)
        assert drawn_bias is None if not bias else torch.equal(drawn_bias, digital.bias)

    def test_devices_limit_the_weights(self) -> None:
        config = SingleRPUConfig(
            device=ConstantStepDevice(w_max=0.1, w_min=-0.1, w_max_dtod=0.0, w_min_dtod=0.0)
        )
        torch.manual_seed(7)
        digital = nn.Linear(5, 3)
        torch.manual_seed(7)
        layer = AnalogLinear(5, 3, rpu_config=config)
        torch.testing.assert_close(layer.get_weights()[0], digital.weight.detach().clamp(-0.1, 0.1))

    def test_layers_have_random_streams_of_their_own(self) -> None:
        first, second = AnalogLinear(5, 3), AnalogLinear(5, 3)
        seeds = [layer.analog_module.analog_tile_seed.item() for layer in (first, second)]
        assert seeds[0] != seeds[1]

    def test_the_seed_of_torch_decides_everything(self) -> None:
        outputs = []
        for _ in range(2):
            torch.manual_seed(11)
            outputs.append(AnalogLinear(5, 3)(torch.ones(2, 5)))
        assert torch.equal(*outputs)

    def test_reset_parameters_draws_anew(self) -> None:
        layer = AnalogLinear(5, 3)
        before = layer.get_weights()
        layer.reset_parameters()
        for old, new in zip(before, layer.get_weights(), strict=True):
            assert not torch.equal(old, new)

    def test_attributes(self) -> None:
        layer = AnalogLinear(5, 3)
        assert (layer.in_features, layer.out_features) == (5, 3)
        assert layer.weight.shape == (3, 5)
        assert layer.bias and layer.bias.shape == (3,)
        assert AnalogLinear(5, 3, bias=False).bias is None
        assert isinstance(layer, nn.Linear)
        assert isinstance(layer.analog_module, AnalogTile)
        assert type(layer.analog_module.rpu_config) is SingleRPUConfig

    @pytest.mark.parametrize("wrong", [SingleRPUConfig, "SingleRPUConfig", 3])
    def test_configuration_must_be_an_instance(self, wrong: Any) -> None:
        with pytest.raises(ArgumentError, match="rpu_config"):
            AnalogLinear(5, 3, rpu_config=wrong)

    @pytest.mark.parametrize("cls", [AnalogLinear, AnalogLinearMapped])
    @pytest.mark.parametrize(
        "wrong", [SingleRPUConfig(), SingleRPUConfig, InferenceRPUConfig(), ConstantStepDevice()]
    )
    def test_configuration_in_place_of_the_bias(self, cls: type, wrong: Any) -> None:
        with pytest.raises(ArgumentError, match=r"bias: .*rpu_config="):
            cls(4, 2, wrong)

    @pytest.mark.parametrize("wrong", ["yes", 2, 0.5, [True], torch.ones(2)])
    def test_bias_is_a_truth_value(self, wrong: Any) -> None:
        with pytest.raises(ArgumentError, match="bias: expected True or False"):
            AnalogLinear(4, 2, wrong)

    @pytest.mark.parametrize("right", [1, np.bool_(True), np.True_])
    def test_truth_values_of_other_types(self, right: Any) -> None:
        assert AnalogLinear(4, 2, right).get_weights()[1] is not None
        assert AnalogLinear(4, 2, None).get_weights()[1] is None  # type: ignore[arg-type]

    @pytest.mark.parametrize("cls", [AnalogLinear, AnalogLinearMapped])
    @pytest.mark.parametrize("part", [ConstantStepDevice(), IOParameters()])
    def test_part_in_place_of_a_configuration(self, cls: Any, part: Any) -> None:
        for build in (
            lambda: cls(4, 2, rpu_config=part),
            lambda: cls.from_digital(nn.Linear(4, 2), part),
            lambda: convert_to_analog(nn.Sequential(nn.Linear(4, 2)), part),
        ):
            with pytest.raises(ArgumentError, match=r"part of a configuration.*rpu_config=Single"):
                build()

    @pytest.mark.parametrize("wrong", [SingleRPUConfig(), 3])
    def test_tile_module_class_is_a_class(self, wrong: Any) -> None:
        with pytest.raises(ArgumentError, match="tile_module_class"):
            AnalogLinear(4, 2, True, None, wrong)
        with pytest.raises(ArgumentError, match="tile_module_class"):
            convert_to_analog(nn.Linear(4, 2), None, wrong)

    @pytest.mark.parametrize("sizes", [(0, 3), (5, -1), (5, 0), (5, 2.0), (None, 3)])
    def test_sizes_must_be_positive(self, sizes: Any) -> None:
        with pytest.raises(ArgumentError):
            AnalogLinear(*sizes)

    def test_the_tile_keeps_a_copy_of_the_configuration(self) -> None:
        config = perfect()
        layer = AnalogLinear(5, 3, rpu_config=config)
        config.forward.is_perfect = False
        assert layer.analog_module.rpu_config.forward.is_perfect


class TestForward:
    @given(
        shape=st.lists(st.integers(0, 3), max_size=3),
        sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
        bias=st.booleans(),
        mapping=st.fixed_dictionaries(
            {
                "digital_bias": st.booleans(),
                "weight_scaling_omega": st.sampled_from([0.0, 0.6]),
                "weight_scaling_columnwise": st.booleans(),
                "learn_out_scaling": st.booleans(),
                "out_scaling_columnwise": st.booleans(),
                "max_input_size": st.sampled_from([0, 4, 512]),
                "max_output_size": st.sampled_from([0, 3, 512]),
            }
        ),
        mapped=st.booleans(),
    )
    def test_exact_settings_equal_the_digital_layer(
        self, shape: list[int], sizes: tuple[int, int], bias: bool, mapping: Any, mapped: bool
    ) -> None:
        digital = nn.Linear(*sizes, bias=bias)
        cls = AnalogLinearMapped if mapped else AnalogLinear
        layer = cls.from_digital(digital, perfect(**mapping))
        x = torch.randn(*shape, sizes[0], requires_grad=True)
        y = layer(x)
        torch.testing.assert_close(y, digital(x), **CLOSE)
        d = torch.randn_like(y)
        (dx,) = torch.autograd.grad(y, x, d)
        torch.testing.assert_close(dx, d @ digital.weight, **CLOSE)

    def test_hooks_run(self) -> None:
        layer, calls = AnalogLinear(5, 3), []
        layer.register_forward_hook(lambda *_: calls.append("layer"))
        layer.analog_module.register_forward_pre_hook(lambda *_: calls.append("tile"))
        layer(torch.ones(5))
        assert calls == ["tile", "layer"]

    @pytest.mark.parametrize("features", [4, 6])
    def test_wrong_width_is_a_runtime_error(self, features: int) -> None:
        with pytest.raises(RuntimeError, match="5"):
            AnalogLinear(5, 3)(torch.ones(2, features))

    @pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.complex64])
    def test_wrong_dtype_is_a_runtime_error(self, dtype: torch.dtype) -> None:
        with pytest.raises(RuntimeError, match=r"dtype|complex"):
            AnalogLinear(5, 3)(torch.ones(2, 5, dtype=dtype))

    def test_autocast(self) -> None:
        layer = AnalogLinear(5, 3, rpu_config=perfect())
        x = torch.randn(2, 5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = layer(x.bfloat16())
        torch.testing.assert_close(y.float(), layer(x.bfloat16().float()), **CLOSE)


class TestWeights:
    def test_round_trip(self) -> None:
        layer = AnalogLinear(5, 3, rpu_config=perfect(weight_scaling_omega=0.5))
        weight, bias = torch.randn(3, 5), torch.randn(3)
        layer.set_weights(weight, bias)
        got_weight, got_bias = layer.get_weights()
        torch.testing.assert_close(got_weight, weight)
        torch.testing.assert_close(got_bias, bias)
        # Omega is the largest absolute weight on the tile.
        raw, _ = layer.get_weights(apply_weight_scaling=False)
        assert raw.abs().max().item() == pytest.approx(0.5, rel=1e-6)

    @pytest.mark.parametrize("split", [0, 2])
    @pytest.mark.parametrize("config", TILES)
    def test_only_the_right_shape_is_taken(self, config: Any, split: int) -> None:
        """Reshaping any tensor of 15 values would scramble them."""
        config = config()
        config.mapping.max_input_size = config.mapping.max_output_size = split or 512
        layer = AnalogLinear(5, 3, rpu_config=config)
        before = layer.get_weights()
        weight = torch.randn(3, 5)
        with pytest.raises(InputError, match=r"transposed.*weight\.t\(\)"):
            layer.set_weights(weight.t(), torch.ones(3))
        for wrong in (weight.flatten(), weight.reshape(1, 15), weight.reshape(3, 5, 1)):
            with pytest.raises(InputError, match=r"expected shape \[out, in\] = \(3, 5\), got"):
                layer.set_weights(wrong, torch.ones(3))
        for old, new in zip(before, layer.get_weights(), strict=True):
            assert torch.equal(old, new)

    @pytest.mark.parametrize("split", [0, 2])
    def test_bias_for_a_layer_without_one_is_taken(self, split: int) -> None:
        config = perfect(max_input_size=split or 512, max_output_size=split or 512)
        layer = AnalogLinear(5, 3, bias=False, rpu_config=config)
        weight = torch.randn(3, 5)
        layer.set_weights(weight, torch.ones(3))
        assert torch.equal(layer.get_weights()[0], weight)
        assert layer.get_weights()[1] is None

    @pytest.mark.parametrize("split", [0, 2])
    @pytest.mark.parametrize("omega", [NAN, float("inf"), "large", 1e-45])
    def test_bad_scaling_changes_nothing(self, omega: Any, split: int) -> None:
        config = perfect(max_input_size=split or 512, max_output_size=split or 512)
        config.mapping.weight_scaling_omega = 0.5
        layer = AnalogLinear(5, 3, rpu_config=config)
        before = {name: value.clone() for name, value in layer.state_dict().items()}
        with pytest.raises(ArgumentError, match="weight_scaling_omega"):
            layer.set_weights(torch.ones(3, 5), torch.ones(3), weight_scaling_omega=omega)
        after = layer.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())

    def test_results_are_copies(self) -> None:
        layer = AnalogLinear(5, 3)
        weight, bias = layer.get_weights()
        weight.zero_()
        bias.zero_()
        assert layer.get_weights()[0].abs().sum() > 0
        assert layer.get_weights()[1].abs().sum() > 0

    def test_realistic_reading_estimates(self) -> None:
        layer = AnalogLinear(5, 3, rpu_config=InferenceRPUConfig())
        exact, _ = layer.get_weights()
        noisy, _ = layer.get_weights(realistic=True)
        assert not torch.equal(noisy, exact)
        # Ten readings per input with an output noise of 0.06 leave about 0.06 / sqrt(50) per
        # weight.
        assert (noisy - exact).abs().max() < 0.1

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_non_finite_weights_are_refused(self, value: float) -> None:
        layer = AnalogLinear(5, 3)
        before = layer.get_weights()
        weight = torch.zeros(3, 5)
        weight[1, 2] = value
        with pytest.raises(Exception, match="weight"):
            layer.set_weights(weight, torch.zeros(3))
        for old, new in zip(before, layer.get_weights(), strict=True):
            assert torch.equal(old, new)


class TestDigital:
    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("digital_bias", [True, False])
    @pytest.mark.parametrize("max_input_size", [512, 3])
    def test_there_and_back(self, bias: bool, digital_bias: bool, max_input_size: int) -> None:
        digital = nn.Linear(5, 3, bias=bias).eval()
        config = perfect(digital_bias=digital_bias, max_input_size=max_input_size)
        layer = AnalogLinear.from_digital(digital, config)
        assert not layer.training
        back = AnalogLinear.to_digital(layer)
        assert type(back) is nn.Linear and not back.training
        assert torch.equal(back.weight, digital.weight)
        assert back.bias is None if not bias else torch.equal(back.bias, digital.bias)

    def test_digital_layer_is_left_alone(self) -> None:
        digital = nn.Linear(5, 3)
        before = digital.weight.detach().clone()
        layer = AnalogLinear.from_digital(digital, perfect())
        layer.set_weights(torch.zeros(3, 5), torch.zeros(3))
        assert torch.equal(digital.weight, before)

    def test_back_conversion_draws_nothing(self) -> None:
        layer = AnalogLinear(5, 3, rpu_config=perfect())
        state = torch.get_rng_state()
        AnalogLinear.to_digital(layer)
        assert torch.equal(torch.get_rng_state(), state)

    def test_realistic_weights_differ(self) -> None:
        layer = AnalogLinear(5, 3, rpu_config=InferenceRPUConfig())
        back = AnalogLinear.to_digital(layer, realistic=True)
        assert not torch.equal(back.weight, layer.get_weights()[0])


class TestTileChoice:
    def test_by_size(self) -> None:
        config = perfect(max_input_size=4)
        assert isinstance(AnalogLinear(4, 3, rpu_config=config).analog_module, AnalogTile)
        assert isinstance(AnalogLinear(5, 3, rpu_config=config).analog_module, TileModuleArray)

    def test_given_class_wins(self) -> None:
        layer = AnalogLinear(5, 3, rpu_config=perfect(), tile_module_class=TileModuleArray)
        assert isinstance(layer.analog_module, TileModuleArray)
        layer = AnalogLinear(5, 3, rpu_config=InferenceRPUConfig())
        assert isinstance(layer.analog_module, InferenceTile)

    def test_mapped_is_always_an_array(self) -> None:
        assert isinstance(AnalogLinearMapped(5, 3).analog_module, TileModuleArray)
        layer = AnalogLinearMapped.from_digital(nn.Linear(5, 3), perfect())
        assert isinstance(layer.analog_module, TileModuleArray)

    def test_mapped_follows_the_size_if_told(self) -> None:
        layer = AnalogLinearMapped.from_digital(nn.Linear(5, 3), perfect(), None)
        assert isinstance(layer.analog_module, AnalogTile)

    def test_mapped_needs_a_mapping(self) -> None:
        config = RPUConfigBase(tile_class=AnalogTile)
        with pytest.raises(ConfigError, match="mapping"):
            AnalogLinearMapped.from_digital(nn.Linear(5, 3), config)

    def test_names_in_the_state(self) -> None:
        layer = AnalogLinear(7, 5, rpu_config=perfect(max_input_size=4, max_output_size=3))
        names = [name for name, _ in layer.named_analog_tiles()]
        assert names == [f"analog_module.array.{i}.{j}" for i in (0, 1) for j in (0, 1)]
        assert "analog_module.bias" in layer.state_dict()
        assert layer.analog_tile_count() == 4


class TestRepr:
    @pytest.mark.parametrize("bias", [True, False])
    def test_bias_is_shown_right(self, bias: bool) -> None:
        layer = AnalogLinear(5, 3, bias=bias, rpu_config=FloatingPointRPUConfig())
        assert layer.extra_repr() == (
            f"in_features=5, out_features=3, bias={bias}, FloatingPointRPUConfig"
        )

    def test_whole(self) -> None:
        text = repr(AnalogLinear(5, 3))
        assert text.startswith("AnalogLinear(\n  in_features=5, out_features=3, bias=True, Single")
        assert "(analog_module): AnalogTile(" in text
