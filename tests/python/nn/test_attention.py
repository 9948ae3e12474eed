"""Attention: equal to torch's with exact tiles whatever its arguments, and never past the tiles."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from mho.exceptions import ArgumentError, ConfigError, InputError, ModuleError
from mho.nn import AnalogLinear, AnalogLinearMapped, AnalogMultiheadAttention, conversion_report
from mho.nn.conversion import convert_to_analog, convert_to_digital
from mho.nn.conversion_table import MAPPED_CONVERSIONS
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    FloatingPointDevice,
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)

# Products and a softmax of order one in float32, in another order than torch's.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*enable_nested_tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning"),
]
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "out_proj"]


def exact(config: Any) -> Any:
    """Return a configuration with exact products."""
    config.forward = IOParameters(is_perfect=True)
    if hasattr(config, "backward"):
        config.backward = IOParameters(is_perfect=True)
    return config


EXACT = {
    "pulsed": lambda: exact(SingleRPUConfig(device=IdealDevice())),
    "inference": lambda: exact(InferenceRPUConfig()),
    "torch": lambda: exact(TorchInferenceRPUConfig()),
}
ARGUMENTS = st.fixed_dictionaries(
    {
        "num_heads": st.sampled_from([1, 2, 4]),
        "bias": st.booleans(),
        "add_bias_kv": st.booleans(),
        "add_zero_attn": st.booleans(),
        "kdim": st.sampled_from([None, 3]),
        "vdim": st.sampled_from([None, 5]),
        "batch_first": st.booleans(),
        "dropout": st.sampled_from([0.0, 0.5]),
    }
)


def randomised(attention: nn.MultiheadAttention) -> nn.MultiheadAttention:
    """Return it with biases that are not zero."""
    with torch.no_grad():
        for name, parameter in attention.named_parameters():
            if "bias" in name:
                parameter.normal_()
    return attention


def draw_inputs(data: Any, attention: Any) -> tuple[list[Tensor], dict[str, Any]]:
    """Return query, key and value that want gradients, and further arguments of a call."""
    length, source, batch = 4, data.draw(st.sampled_from([4, 3])), 2
    is_single = data.draw(st.booleans(), "single")
    inputs = []
    for size, count in ((8, length), (attention.kdim, source), (attention.vdim, source)):
        shape = (batch, count) if attention.batch_first else (count, batch)
        inputs.append(torch.randn(*((count,) if is_single else shape), size).requires_grad_())
    call: dict[str, Any] = {
        "need_weights": data.draw(st.booleans(), "need_weights"),
        "average_attn_weights": data.draw(st.booleans(), "average"),
    }
    heads = attention.num_heads * (1 if is_single else batch)
    kind = data.draw(st.sampled_from([None, "causal", "bool", "float", "per head"]), "attn_mask")
    causal = torch.arange(source) > torch.arange(length)[:, None]
    if kind == "causal":
        call["attn_mask"] = causal
        call["is_causal"] = data.draw(st.booleans(), "is_causal")
    elif kind is not None:
        call["attn_mask"] = {
            "bool": torch.rand(length, source) > 0.7,
            "float": torch.randn(length, source),
            "per head": torch.randn(heads, length, source),
        }[kind]
        if kind == "bool":
            call["attn_mask"][:, 0] = False  # a row without any key is NaN
    padded = torch.arange(source) >= torch.tensor([[source], [2]])
    if data.draw(st.booleans(), "padded"):
        mask = padded[1] if is_single else padded
        is_float = kind in ("float", "per head")
        call["key_padding_mask"] = (
            torch.zeros(mask.shape).masked_fill(mask, -2.0) if is_float else mask
        )
    return inputs, call


class TestEqualToTorch:
    @given(
        arguments=ARGUMENTS,
        tile=st.sampled_from(list(EXACT)),
        training=st.booleans(),
        data=st.data(),
    )
    def test_values_and_gradients(
        self, arguments: Any, tile: str, training: bool, data: Any
    ) -> None:
        digital = randomised(nn.MultiheadAttention(8, **arguments)).train(training)
        analog: Any = convert_to_analog(digital, EXACT[tile]())
        assert type(analog) is AnalogMultiheadAttention and analog.training == training
        inputs, call = draw_inputs(data, digital)
        results = []
        for module in (digital, analog):
            torch.manual_seed(5)  # that of the dropout
            output, weights = module(*inputs, **call)
            loss = output.square().sum()
            if weights is not None:
                loss = loss + weights.square().sum()
            results.append([output, weights, *torch.autograd.grad(loss, inputs)])
        for own, expected in zip(*results[::-1], strict=True):
            torch.testing.assert_close(own, expected, **CLOSE)

    @pytest.mark.parametrize("kdim", [None, 3])
    def test_gradients_of_weights(self, kdim: int | None) -> None:
        digital = randomised(nn.MultiheadAttention(8, 2, kdim=kdim, add_bias_kv=True))
        analog: Any = convert_to_analog(digital, EXACT["torch"]())
        query, key = torch.randn(4, 2, 8), torch.randn(3, 2, kdim or 8)
        value = torch.randn(3, 2, 8)
        copied = copy.deepcopy(digital)
        for module in (copied, analog):
            module(query, key, value)[0].square().sum().backward()
        names = PROJECTIONS[:3]
        expected = [copied.q_proj_weight, copied.k_proj_weight, copied.v_proj_weight]
        wanted = (
            [part.grad for part in expected] if kdim else list(copied.in_proj_weight.grad.chunk(3))
        )
        for name, weight, bias in zip(
            names, wanted, copied.in_proj_bias.grad.chunk(3), strict=True
        ):
            tile = getattr(analog, name).analog_module
            torch.testing.assert_close(tile.tile.weight.grad, weight, **CLOSE)
            torch.testing.assert_close(tile.bias.grad, bias, **CLOSE)
        out = analog.out_proj.analog_module
        torch.testing.assert_close(out.tile.weight.grad, copied.out_proj.weight.grad, **CLOSE)
        torch.testing.assert_close(analog.bias_k.grad, copied.bias_k.grad, **CLOSE)

    def test_a_step_of_pulsed_tiles(self) -> None:
        config = FloatingPointRPUConfig(device=FloatingPointDevice())
        digital = randomised(nn.MultiheadAttention(8, 2, batch_first=True))
        analog: Any = convert_to_analog(digital, config)
        optimizers = [
            torch.optim.SGD(digital.parameters(), lr=0.1),
            AnalogSGD(analog.parameters(), lr=0.1),
        ]
        x = torch.randn(2, 5, 8)
        for module, optimizer in zip((digital, analog), optimizers, strict=True):
            module(x, x, x)[0].square().sum().backward()
            optimizer.step()
        torch.testing.assert_close(
            analog.in_proj_weight.clone(), digital.in_proj_weight.detach(), **CLOSE
        )
        torch.testing.assert_close(
            analog.out_proj.weight.clone(), digital.out_proj.weight.detach(), **CLOSE
        )

    @pytest.mark.parametrize("norm_first", [True, False])
    @pytest.mark.parametrize("training", [True, False])
    def test_transformer(self, norm_first: bool, training: bool) -> None:
        """Encoder and decoder, with all three kinds of attention."""
        digital = nn.Transformer(
            8, 2, 1, 1, 16, dropout=0.0, batch_first=True, norm_first=norm_first
        ).train(training)
        analog: Any = convert_to_analog(digital, EXACT["inference"]())
        assert len(list(analog.analog_layers())) == 3 * 4 + 2 * 2
        source, target = torch.randn(2, 4, 8), torch.randn(2, 3, 8)
        padded = torch.arange(4) >= torch.tensor([[4], [3]])
        call = {
            "tgt_mask": nn.Transformer.generate_square_subsequent_mask(3),
            "src_key_padding_mask": padded,
            "memory_key_padding_mask": padded,
            "tgt_is_causal": True,
        }
        with torch.set_grad_enabled(training):
            expected = digital(source, target, **call)
            torch.testing.assert_close(analog(source, target, **call), expected, **CLOSE)


class TestFusedPath:
    """In evaluation torch hands the weights of a transformer to kernels of its own."""

    def encoder(self, **more: Any) -> nn.TransformerEncoder:
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **more)
        return nn.TransformerEncoder(layer, 2).eval()

    def calls(self, model: Any) -> list[str]:
        """Return a list that gets the names of the analog layers that are called."""
        called: list[str] = []
        for name, layer in model.named_analog_layers():
            layer.register_forward_hook(lambda *_, name=name: called.append(name))
        return called

    def test_every_tile_is_called(self) -> None:
        analog: Any = convert_to_analog(self.encoder(), EXACT["inference"]())
        x = torch.randn(2, 4, 8)
        called = self.calls(analog)
        with torch.inference_mode():
            analog(x, src_key_padding_mask=torch.zeros(2, 4, dtype=torch.bool))
        assert sorted(called) == sorted(name for name, _ in analog.named_analog_layers())
        assert len(called) == 12

    @pytest.mark.parametrize("converted", [["self_attn"], ["linear1"], ["self_attn.out_proj"]])
    def test_layers_with_one_analog_part(self, converted: list[str]) -> None:
        """Also where a user puts it there by hand, so that no conversion has seen the encoder."""
        model = self.encoder()
        x = torch.randn(2, 4, 8)
        with torch.no_grad():
            expected = model(x)
            for layer in model.layers:
                attention = convert_to_analog(layer.self_attn, EXACT["inference"]())
                if converted == ["self_attn"]:
                    layer.self_attn = attention
                elif converted == ["linear1"]:
                    layer.linear1 = convert_to_analog(layer.linear1, EXACT["inference"]())
                else:
                    kept = [f"self_attn.{name}" for name in PROJECTIONS[:3]]
                    layer.self_attn = convert_to_analog(
                        layer.self_attn,
                        EXACT["inference"](),
                        module_name="self_attn",
                        exclude_modules=kept,
                    )
            called: list[int] = []
            for part in model.modules():
                if isinstance(part, AnalogLinear):
                    part.register_forward_pre_hook(lambda *_: called.append(1))
            torch.testing.assert_close(model(x), expected, **CLOSE)
        assert len(called) == (8 if converted == ["self_attn"] else 2)

    def test_is_on_again_when_all_is_digital(self) -> None:
        model = self.encoder(activation="gelu")
        before = [model.use_nested_tensor, *(m.activation_relu_or_gelu for m in model.layers)]
        analog: Any = convert_to_analog(model, EXACT["inference"]())
        assert not analog.use_nested_tensor and not analog.layers[1].activation_relu_or_gelu
        copied = pickle.loads(pickle.dumps(analog))
        back: Any = convert_to_digital(copied)
        after = [back.use_nested_tensor, *(m.activation_relu_or_gelu for m in back.layers)]
        assert after == before == [True, 2, 2]
        assert vars(back.layers[0]).keys() == vars(model.layers[0]).keys()
        x, padded = torch.randn(2, 4, 8), torch.arange(4) >= torch.tensor([[4], [2]])
        with torch.no_grad():
            expected = model(x, src_key_padding_mask=padded)
            assert torch.equal(back(x, src_key_padding_mask=padded), expected)

    def test_new_encoders_of_analog_layers(self) -> None:
        layer: Any = convert_to_analog(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), EXACT["inference"]()
        )
        with pytest.warns(UserWarning, match="activation_relu_or_gelu"):
            model = nn.TransformerEncoder(layer, 2).eval()
        x, padded = torch.randn(2, 4, 8), torch.arange(4) >= torch.tensor([[4], [2]])
        with torch.no_grad():
            assert model(x, src_key_padding_mask=padded).isfinite().all()

    def test_nested_tensors_are_refused(self) -> None:
        analog: Any = convert_to_analog(
            nn.MultiheadAttention(8, 2, batch_first=True), EXACT["inference"]()
        )
        nested = torch.nested.nested_tensor([torch.randn(3, 8)], layout=torch.jagged)
        with pytest.raises(InputError, match="key_padding_mask"):
            analog(nested, nested, nested)


class TestConversion:
    def test_there_and_back(self) -> None:
        for kdim, bias in ((None, True), (3, True), (None, False), (3, False)):
            digital = randomised(
                nn.MultiheadAttention(8, 2, 0.1, bias, True, True, kdim, batch_first=True)
            ).eval()
            digital.tag = "mine"
            analog: Any = convert_to_analog(digital, EXACT["torch"]())
            assert analog.tag == "mine" and not analog.training
            back: Any = convert_to_digital(analog)
            assert type(back) is nn.MultiheadAttention and back.tag == "mine"
            assert vars(back).keys() == vars(digital).keys() and not back.training
            state = back.state_dict()
            assert list(state) == list(digital.state_dict())
            for name, value in digital.state_dict().items():
                torch.testing.assert_close(state[name], value)
            for name in (
                "embed_dim",
                "num_heads",
                "dropout",
                "kdim",
                "batch_first",
                "add_zero_attn",
            ):
                assert getattr(back, name) == getattr(digital, name)

    def test_additional_vectors_stay_the_same_parameters(self) -> None:
        digital = nn.MultiheadAttention(8, 2, add_bias_kv=True)
        analog: Any = convert_to_analog(digital, EXACT["inference"](), inplace=True)
        assert analog.bias_k is digital.bias_k
        assert "bias_v" in dict(analog.named_parameters())
        assert convert_to_digital(analog, inplace=True).bias_k is digital.bias_k

    def test_each_projection_has_a_name_of_its_own(self) -> None:
        model = nn.ModuleDict({"attn": nn.MultiheadAttention(8, 2), "head": nn.Linear(8, 2)})
        seen = []

        def choose(name: str, module: nn.Module, config: Any) -> Any:
            seen.append(name)
            if name.endswith("k_proj"):
                config.mapping.max_input_size = 4
            return config

        analog: Any = convert_to_analog(
            model,
            exact(InferenceRPUConfig()),
            specific_rpu_config_fun=choose,
            exclude_modules=["attn.v_proj", "attn.out_proj"],
        )
        assert seen == ["attn", "attn.q_proj", "attn.k_proj", "head"]
        assert [name for name, _ in analog.named_analog_layers()] == [
            "attn.q_proj", "attn.k_proj", "head",
        ]  # fmt: skip
        tiles = [len(list(getattr(analog["attn"], n).analog_tiles())) for n in PROJECTIONS[:2]]
        assert tiles == [1, 2]
        x = torch.randn(3, 2, 8)
        expected = model["attn"](x, x, x)[0]
        torch.testing.assert_close(analog["attn"](x, x, x)[0], expected, **CLOSE)
        report = conversion_report(analog)
        assert [entry.name for entry in report.digital] == ["attn.v_proj", "attn.out_proj"]
        back = convert_to_digital(analog)
        assert list(back.state_dict()) == list(model.state_dict())
        torch.testing.assert_close(back["attn"](x, x, x)[0], expected, **CLOSE)
        with pytest.raises(ArgumentError, match=r"attn\.q_projection"):
            convert_to_analog(model, None, exclude_modules=["attn.q_projection"])

    def test_excluded_as_a_whole(self) -> None:
        model = nn.ModuleDict({"attn": nn.MultiheadAttention(8, 2), "head": nn.Linear(8, 2)})
        analog: Any = convert_to_analog(model, EXACT["inference"](), exclude_modules=["attn"])
        assert type(analog["attn"]) is nn.MultiheadAttention
        assert type(analog["attn"].out_proj) is type(model["attn"].out_proj)
        x = torch.randn(3, 2, 8)
        assert torch.equal(analog["attn"](x, x, x)[0], model["attn"](x, x, x)[0])

    def test_subclasses_stay_digital_with_their_projection(self) -> None:
        """They multiply with the weights of the projection themselves."""

        class Own(nn.MultiheadAttention):
            pass

        model = nn.ModuleDict({"attn": Own(8, 2), "head": nn.Linear(8, 2)})
        analog: Any = convert_to_analog(model, EXACT["inference"]())
        x = torch.randn(3, 2, 8)
        assert torch.equal(analog["attn"](x, x, x)[0], model["attn"](x, x, x)[0])
        reasons = {e.name: e.reason for e in conversion_report(analog).digital}
        assert "register_analog(Own)(AnalogMultiheadAttention)" in reasons["attn"]
        assert "MultiheadAttention" in reasons["attn.out_proj"]

    def test_conversion_maps(self) -> None:
        digital = nn.MultiheadAttention(8, 2)
        only: Any = convert_to_analog(
            digital,
            EXACT["inference"](),
            conversion_map={nn.MultiheadAttention: AnalogMultiheadAttention},
        )
        assert len(list(only.analog_layers())) == 4
        mapped: Any = convert_to_analog(
            digital, EXACT["inference"](), conversion_map=MAPPED_CONVERSIONS
        )
        assert {type(layer) for layer in mapped.analog_layers()} == {AnalogLinearMapped}
        none: Any = convert_to_analog(
            nn.Sequential(digital, nn.Linear(8, 8)),
            EXACT["inference"](),
            conversion_map={nn.Linear: AnalogLinear},
        )
        assert type(none[0]) is nn.MultiheadAttention

    def test_frozen_parametrised_and_hooked(self) -> None:
        digital = nn.MultiheadAttention(8, 2)
        digital.in_proj_weight.requires_grad_(False)
        digital.out_proj.bias.requires_grad_(False)
        called = []
        digital.register_forward_hook(lambda *_: called.append(1))
        parametrizations.weight_norm(digital.out_proj)
        with pytest.warns(UserWarning, match="layer 'out_proj': weight was computed"):
            analog: Any = convert_to_analog(digital, EXACT["inference"]())
        trained = [getattr(analog, name).weight.requires_grad for name in PROJECTIONS]
        assert trained == [False, False, False, True]
        assert analog.in_proj_bias.requires_grad and not analog.out_proj.bias.requires_grad
        x = torch.randn(3, 2, 8)
        torch.testing.assert_close(analog(x, x, x)[0], digital(x, x, x)[0], **CLOSE)
        assert len(called) == 2
        back: Any = convert_to_digital(analog)
        assert not back.in_proj_weight.requires_grad and back.in_proj_bias.requires_grad
        other = nn.MultiheadAttention(8, 2)
        nn.utils.parametrize.register_parametrization(other, "in_proj_weight", nn.Tanh())
        with pytest.warns(UserWarning, match="in_proj_weight was computed"):
            analog = convert_to_analog(other, EXACT["inference"]())
        torch.testing.assert_close(analog(x, x, x)[0], other(x, x, x)[0], **CLOSE)

    def test_dtype_and_meta(self) -> None:
        digital = nn.MultiheadAttention(8, 2, dtype=torch.float64)
        analog: Any = convert_to_analog(digital, EXACT["torch"]())
        x = torch.randn(3, 2, 8, dtype=torch.float64)
        torch.testing.assert_close(analog(x, x, x)[0], digital(x, x, x)[0])
        assert convert_to_digital(analog).in_proj_weight.dtype is torch.float64
        empty: Any = convert_to_analog(
            nn.MultiheadAttention(8, 2, device="meta"), EXACT["inference"]()
        )
        full: Any = convert_to_analog(nn.MultiheadAttention(8, 2), EXACT["inference"]())
        empty.load_state_dict(full.state_dict())
        y = torch.randn(3, 2, 8)
        assert torch.equal(empty(y, y, y)[0], full(y, y, y)[0])

    def test_projections_that_are_no_linear_layer_any_more(self) -> None:
        analog: Any = convert_to_analog(nn.MultiheadAttention(8, 2), EXACT["inference"]())
        analog.v_proj = nn.Sequential(analog.v_proj)
        with pytest.raises(ArgumentError, match="v_proj is Sequential"):
            convert_to_digital(analog)
        with pytest.raises(ArgumentError, match="module"):
            AnalogMultiheadAttention.from_digital(nn.Linear(1, 1), None)  # type: ignore[arg-type]

    def test_state(self) -> None:
        analog: Any = convert_to_analog(nn.MultiheadAttention(8, 2), InferenceRPUConfig())
        file = io.BytesIO()
        torch.save(analog.state_dict(), file)
        file.seek(0)
        other: Any = convert_to_analog(nn.MultiheadAttention(8, 2), InferenceRPUConfig())
        other.load_state_dict(torch.load(file, weights_only=True))
        x = torch.randn(3, 2, 8)
        assert torch.equal(analog(x, x, x)[0], other(x, x, x)[0])


class TestConstructor:
    def test_weights_and_draws_of_torch(self) -> None:
        arguments = {"kdim": 3, "add_bias_kv": True, "batch_first": True}
        torch.manual_seed(3)
        digital, after = nn.MultiheadAttention(8, 2, **arguments), torch.rand(1)
        torch.manual_seed(3)
        analog = AnalogMultiheadAttention(8, 2, **arguments, rpu_config=EXACT["torch"]())
        assert torch.equal(torch.rand(1), after)
        state = convert_to_digital(analog).state_dict()
        for name, value in digital.state_dict().items():
            torch.testing.assert_close(state[name], value)
        assert {type(p) for p in (analog.bias_k, analog.bias_v)} == {nn.Parameter}

    def test_default_is_pulsed(self) -> None:
        analog = AnalogMultiheadAttention(8, 2)
        assert {type(t.rpu_config) for t in analog.analog_tiles()} == {SingleRPUConfig}
        seeds = {int(t.state_dict()["analog_tile_seed"]) for t in analog.analog_tiles()}
        assert len(seeds) == 4

    def test_refused(self) -> None:
        for arguments, name in (
            ((7, 2), "embed_dim"),
            ((0, 1), "embed_dim"),
            ((8, 0), "num_heads"),
        ):
            with pytest.raises(ArgumentError, match=name):
                AnalogMultiheadAttention(*arguments)
        for more in ({"kdim": 0}, {"dropout": 2.0}, {"batch_first": "no"}):
            with pytest.raises(ArgumentError, match=next(iter(more))):
                AnalogMultiheadAttention(8, 2, **more)
        with pytest.raises(ArgumentError, match="rpu_config"):
            AnalogMultiheadAttention(8, 2, rpu_config=3)  # type: ignore[arg-type]
        bad = SingleRPUConfig(device=ConstantStepDevice())
        bad.update.desired_bl = -1
        with pytest.raises(ConfigError):
            AnalogMultiheadAttention(8, 2, rpu_config=bad)


class TestWeights:
    def test_views_of_all_inputs(self) -> None:
        digital = randomised(nn.MultiheadAttention(8, 2))
        analog: Any = convert_to_analog(digital, EXACT["torch"]())
        torch.testing.assert_close(analog.in_proj_weight.clone(), digital.in_proj_weight.detach())
        torch.testing.assert_close(analog.in_proj_bias.clone(), digital.in_proj_bias.detach())
        assert analog.q_proj_weight is None
        with torch.no_grad():
            analog.in_proj_weight[8:16].mul_(2)
            nn.init.ones_(analog.in_proj_bias)
        expected = digital.in_proj_weight.detach().clone()
        expected[8:16] *= 2
        torch.testing.assert_close(analog.in_proj_weight.clone(), expected)
        torch.testing.assert_close(analog.k_proj.weight.clone(), expected[8:16])
        assert (analog.v_proj.bias == 1).all()
        for name in ("in_proj_weight", "in_proj_bias", "v_proj_weight"):
            with pytest.raises(ModuleError, match=name):
                setattr(analog, name, nn.Parameter(torch.ones(1)))

    def test_frozen_together(self) -> None:
        analog: Any = convert_to_analog(nn.MultiheadAttention(8, 2), EXACT["torch"]())
        analog.in_proj_bias.requires_grad_(False)
        assert analog.q_proj.weight.requires_grad and not analog.k_proj.bias.requires_grad

    def test_separate_ones(self) -> None:
        analog: Any = convert_to_analog(nn.MultiheadAttention(8, 2, kdim=3), EXACT["torch"]())
        assert analog.in_proj_weight is None and analog.k_proj_weight.shape == (8, 3)
        assert analog.v_proj_weight.shape == analog.q_proj_weight.shape == (8, 8)

    def test_products_past_the_tiles_are_refused(self) -> None:
        analog: Any = convert_to_analog(nn.MultiheadAttention(8, 2), EXACT["torch"]())
        x = torch.randn(3, 2, 8)
        with pytest.raises(ModuleError, match="digital product"):
            nn.functional.multi_head_attention_forward(
                x, x, x, 8, 2, analog.in_proj_weight, analog.in_proj_bias, None, None, False, 0.0,
                analog.out_proj.weight, analog.out_proj.bias,
            )  # fmt: skip


class TestRefusedInputs:
    X = torch.randn(3, 2, 8)

    @pytest.mark.parametrize(
        ("call", "match"),
        [
            (lambda a, x: a(x, x[:, 0], x[:, 0]), "key: expected a tensor of two axes"),
            (lambda a, x: a(x[None], x[None], x[None]), "query"),
            (lambda a, x: a(None, x, x), "query"),
            (lambda a, x: a(x, x[:2], x), "value"),
            (lambda a, x: a(x, x[:, :1], x[:, :1]), "key: batch of 1"),
            (lambda a, x: a(x[..., :4], x, x), "4"),
            (lambda a, x: a(x, x, x, is_causal=True), "is_causal"),
            (lambda a, x: a(x, x, x, attn_mask=torch.zeros(2, 3)), r"attn_mask.*\[3, 3\]"),
            (lambda a, x: a(x, x, x, attn_mask=torch.zeros(3, 3, 3)), r"attn_mask.*\[4, 3, 3\]"),
            (lambda a, x: a(x, x, x, torch.zeros(3, 2)), "key_padding_mask"),
            (lambda a, x: a(x, x, x, torch.zeros(2, 3, dtype=torch.int64)), "int64"),
            (lambda a, x: a(x, x, x, attn_mask=[[0.0]]), "attn_mask: expected a tensor, got"),
            (lambda a, x: a(x, x, x, [[True]]), "key_padding_mask: expected a tensor, got"),
            (lambda a, x: a(x[0], x[0], x[0], True), "key_padding_mask: expected a tensor, got"),
        ],
    )
    def test_names_what_does_not_fit(self, call: Any, match: str) -> None:
        analog: Any = convert_to_analog(nn.MultiheadAttention(8, 2), EXACT["inference"]())
        with pytest.raises(InputError, match=match):
            call(analog, self.X)


def test_noise_and_drift_act_on_every_projection() -> None:
    config = InferenceRPUConfig(forward=IOParameters(out_noise=0.1))
    analog: Any = convert_to_analog(nn.MultiheadAttention(8, 2), config).eval()
    x = torch.randn(3, 2, 8)
    with torch.no_grad():
        assert not torch.equal(analog(x, x, x)[0], analog(x, x, x)[0])
        before = [tile.get_weights()[0] for tile in analog.analog_tiles()]
        analog.drift_analog_weights(1e6)
    after = [tile.get_weights()[0] for tile in analog.analog_tiles()]
    assert not any(torch.equal(*pair) for pair in zip(before, after, strict=True))


@pytest.mark.skipif(
    torch.__version__ < (2, 5), reason="before torch 2.5 its own transformers are no part of graphs"
)
@pytest.mark.parametrize("training", [True, False])
def test_compiled(training: bool) -> None:
    """No graph breaks, and the tiles are called."""
    digital = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).train(training)
    analog: Any = convert_to_analog(digital, EXACT["inference"]())
    compiled = torch.compile(analog, backend="eager", fullgraph=True)
    x = torch.randn(2, 4, 8)
    with torch.set_grad_enabled(training):
        output = compiled(x)
        torch.testing.assert_close(output, digital(x), **CLOSE)
    if training:
        output.sum().backward()
        assert all(tile.shared_weights.grad is not None for tile in analog.analog_tiles())


def test_autocast() -> None:
    digital = nn.MultiheadAttention(8, 2, batch_first=True)
    analog: Any = convert_to_analog(digital, EXACT["inference"]())
    x = torch.randn(2, 4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        given, weights = analog(x, x, x)
        expected = digital(x, x, x)[0]
    # Of bfloat16, with 8 bits.
    torch.testing.assert_close(given.float(), expected.float(), rtol=0.05, atol=0.02)
    assert weights is not None
    given.float().sum().backward()
