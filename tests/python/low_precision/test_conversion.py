"""Models with quantised digital layers."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mho.exceptions import ArgumentError, ConfigError
from mho.nn import AnalogLinear, convert_to_analog
from mho.nn.low_precision_conversion import convert_to_quantized, quantize_model
from mho.nn.low_precision_modules import quantization_states as states
from mho.nn.low_precision_modules.conversion_utils import (
    append_default_conversions,
    get_module_args,
)
from mho.nn.low_precision_modules.quantized_base_modules import (
    QuantBatchNorm2d,
    QuantConv2d,
    QuantEmbedding,
    QuantizedModel,
    QuantLayerNorm,
    QuantLinear,
)
from mho.nn.low_precision_modules.quantized_input_module import QuantizedInputModule
from mho.optim import AnalogSGD
from mho.simulator.configs import InferenceRPUConfig
from mho.simulator.digital_low_precision.quantization_manager import Qstates
from mho.simulator.parameters.enums import RangeEstimators
from mho.simulator.parameters.quantization import (
    ActivationQuantConfig,
    QuantizationConfig,
    QuantizationMap,
    QuantizedModuleConfig,
    WeightQuantConfig,
)
from mho.simulator.parameters.range_estimators import RunningMinMaxEstimatorParams


def bits(weights: int = 8, acts: int = 8, **weight: Any) -> QuantizationConfig:
    """Return a configuration with some numbers of bits."""
    return QuantizationConfig(
        activation_quant=ActivationQuantConfig(n_bits=acts),
        weight_quant=WeightQuantConfig(n_bits=weights, **weight),
    )


def default_map(config: QuantizationConfig | None = None) -> QuantizationMap:
    """Return a map with the default conversions."""
    found = QuantizationMap(default_qconfig=config or bits())
    append_default_conversions(found)
    return found


class Net(nn.Module):
    """One layer of each kind, and one twice."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 12, padding_idx=0)
        self.conv = nn.Conv2d(1, 3, 3, padding=1, padding_mode="circular", bias=False)
        self.norm2d = nn.BatchNorm2d(3)
        self.norm = nn.LayerNorm(12)
        self.body = nn.Sequential(nn.Linear(12, 12), nn.ReLU())
        self.shared = self.body[0]
        self.head = nn.Linear(12, 4)

    def forward(self, index: Tensor) -> Tensor:
        images = self.table(index).reshape(-1, 1, 3, 4)
        features = self.norm2d(self.conv(images)).mean(1).reshape(-1, 12)
        result: Tensor = self.head(self.shared(self.body(self.norm(features))))
        return result


INDEX = torch.arange(10)


def test_default_conversions() -> None:
    torch.manual_seed(0)
    net = Net()
    converted: Any = convert_to_quantized(net, default_map(bits(16, 16)))
    kinds = [type(m) for m in (converted.table, converted.conv, converted.norm, converted.head)]
    assert kinds == [QuantEmbedding, QuantConv2d, QuantLayerNorm, QuantLinear]
    assert converted.body[0] is converted.shared and type(converted.shared) is QuantLinear
    assert type(converted.norm2d) is nn.BatchNorm2d
    assert type(net.head) is nn.Linear
    assert {n: p.shape for n, p in converted.named_parameters()} == {
        n: p.shape for n, p in net.named_parameters()
    }
    torch.testing.assert_close(converted(INDEX), net(INDEX), rtol=0.0, atol=1e-3)
    states.full_precision(converted)
    torch.testing.assert_close(converted.eval()(INDEX), net.eval()(INDEX))


def test_weights_and_outputs_have_levels() -> None:
    layer: Any = convert_to_quantized(nn.Linear(6, 5), default_map(bits(3, 4)))
    y = layer(torch.randn(200, 6))
    assert len(layer.get_params()[0].unique()) <= 8
    assert 8 < len(y.unique()) <= 16
    states.full_precision_acts(layer)
    assert len(layer(torch.randn(200, 6)).unique()) > 16
    states.full_precision_weights(layer)
    assert torch.equal(layer.get_params()[0], layer.weight)
    states.set_quant_state(layer, True, False)
    assert len(layer.get_params()[0].unique()) <= 8


def test_channels_of_weights() -> None:
    digital = nn.Linear(50, 3)
    digital.weight.data.mul_(torch.tensor([[1.0], [100.0], [0.01]]))
    layer: Any = convert_to_quantized(digital, default_map(bits(8, 0, per_channel=True)))
    error = (layer.get_params()[0] - digital.weight).abs().amax(1)
    assert (error <= digital.weight.abs().amax(1) / 127 / 2 * 1.001).all()


def test_no_bits_and_exclusions() -> None:
    net = Net()
    found: Any = convert_to_quantized(net, default_map(bits(0, 0)))
    assert type(found.head) is nn.Linear
    only = default_map()
    only.excluded_modules = ["body", "head"]
    found = convert_to_quantized(net, only)
    assert type(found.body[0]) is nn.Linear and type(found.head) is nn.Linear
    assert type(found.norm) is QuantLayerNorm


def test_names_go_before_classes() -> None:
    given = default_map(bits(8, 8))
    given.instance_qconfig_map["head"] = QuantizedModuleConfig(QuantLinear, bits(4, 0))
    given.instance_qconfig_map["norm2d"] = QuantizedModuleConfig(QuantBatchNorm2d, bits(8, 8))
    given.input_activation_qconfig_map["head"] = ActivationQuantConfig(n_bits=2)
    net: Any = convert_to_quantized(Net(), given)
    assert isinstance(net.head, QuantizedInputModule)
    assert net.head.module.n_bits == 4 and net.head.module.n_bits_act == 0
    assert type(net.norm2d) is QuantBatchNorm2d and isinstance(net.norm2d, QuantizedModel)
    seen: list[Tensor] = []
    net.head.module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    net(INDEX)
    assert 1 < len(seen[0].unique()) <= 4
    net.eval()
    assert torch.equal(net(INDEX), net(INDEX))


def test_batch_norm() -> None:
    torch.manual_seed(0)
    digital = nn.BatchNorm2d(3)
    x = torch.randn(8, 3, 4, 4)
    given = QuantizationMap()
    given.module_qconfig_map[nn.BatchNorm2d] = QuantizedModuleConfig(QuantBatchNorm2d, bits(16, 16))  # type: ignore[index]
    quantized: Any = convert_to_quantized(digital, given)
    for _ in range(3):
        torch.testing.assert_close(quantized(x), digital(x), rtol=0.0, atol=1e-3)
    assert torch.equal(quantized.norm.running_mean, digital.running_mean)
    assert quantized.norm.num_batches_tracked == digital.num_batches_tracked == 3
    states.full_precision_acts(quantized)  # whose range is that of training
    torch.testing.assert_close(quantized.eval()(x), digital.eval()(x), rtol=0.0, atol=1e-3)


def test_analog_layers() -> None:
    model = convert_to_analog(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), InferenceRPUConfig())
    kept: Any = convert_to_quantized(model, default_map())
    assert isinstance(kept[0], AnalogLinear) and type(kept[1]) is QuantLayerNorm
    given = default_map()
    given.instance_qconfig_map["0"] = QuantizedModuleConfig(QuantLinear, bits(16, 0))
    found: Any = convert_to_quantized(model, given)
    assert type(found[0]) is QuantLinear
    torch.testing.assert_close(found[0].weight.detach(), model[0].get_weights()[0])
    found(torch.rand(2, 4))


def test_refused() -> None:
    net = Net()
    for field, value in (
        ("excluded_modules", ["nothing"]),
        ("instance_qconfig_map", {"nothing": QuantizedModuleConfig(QuantLinear, bits())}),
        ("input_activation_qconfig_map", {"nothing": ActivationQuantConfig(n_bits=2)}),
    ):
        given = default_map()
        setattr(given, field, value)
        with pytest.raises(ArgumentError, match=rf"{field}: .*'nothing'"):
            convert_to_quantized(net, given)
    given = default_map()
    given.instance_qconfig_map["head"] = QuantizedModuleConfig(QuantLayerNorm, bits())
    with pytest.raises(
        ArgumentError, match="QuantLayerNorm cannot take the place of Linear 'head'"
    ):
        convert_to_quantized(net, given)
    with pytest.raises(ArgumentError, match="quantization_map"):
        convert_to_quantized(net, "all")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="model"):
        convert_to_quantized("net", given)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="module"):
        get_module_args(nn.ReLU())
    with pytest.raises(ArgumentError, match="n_bits"):
        convert_to_quantized(net, default_map(bits(1, 0)))
    wrong: Any = "8"
    with pytest.raises(ConfigError, match=r"weight_quant\.n_bits: expected int, got '8'"):
        convert_to_quantized(net, default_map(bits(wrong)))
    given = default_map()
    given.instance_qconfig_map["norm2d"] = QuantizedModuleConfig(QuantLinear, bits())
    with pytest.raises(ArgumentError, match="QuantLinear cannot take the place of BatchNorm2d"):
        convert_to_quantized(net, given)
    with pytest.raises(ArgumentError, match="sparse: gradients of quantised tables are dense"):
        convert_to_quantized(nn.Embedding(10, 4, sparse=True), default_map())


def test_hooks_and_attributes_stay() -> None:
    given = default_map()
    given.module_qconfig_map[nn.BatchNorm2d] = QuantizedModuleConfig(QuantBatchNorm2d, bits())
    net = Net()
    net.head.note, seen = "classes", []
    for layer in (net.head, net.norm2d):
        layer.register_forward_hook(lambda module, args, y: seen.append(type(module)))
    found: Any = convert_to_quantized(net, given)
    found(INDEX)
    assert found.head.note == "classes"
    assert seen == [QuantBatchNorm2d, QuantLinear]


def test_computed_weights_are_quantised_with_their_present_values() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(3.0)
    with pytest.warns(UserWarning, match="layer '0': weight was computed"):
        found: Any = convert_to_quantized(nn.Sequential(layer), default_map(bits(32, 0)))
    assert type(found[0]) is QuantLinear and "weight" in dict(found[0].named_parameters())
    x = torch.rand(5, 4)
    torch.testing.assert_close(found(x), layer(x))


def test_a_map_that_names_nothing_of_a_model_warns() -> None:
    with pytest.warns(UserWarning, match="nothing was quantised"):
        convert_to_quantized(nn.Sequential(nn.Conv1d(1, 2, 3)), default_map())
    with pytest.warns(UserWarning, match="nothing was quantised"):
        convert_to_quantized(nn.Linear(4, 3), QuantizationMap(default_qconfig=bits()))


def managers(model: nn.Module) -> list[Any]:
    """Return all managers of a model."""
    return [m for m in model.modules() if hasattr(m, "range_estimator")]


def test_switches_of_states() -> None:
    net = convert_to_quantized(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), default_map())
    weights = [m.weight_quantizer for m in net.modules() if hasattr(m, "weight_quantizer")]
    acts = [m.activation_quantizer for m in net.modules() if hasattr(m, "weight_quantizer")]
    assert {m.state for m in managers(net)} == {Qstates.estimate_ranges_train}
    net(torch.randn(3, 4))
    for switch, touched, state in (
        (states.fix_act_ranges, acts, Qstates.fix_ranges),
        (states.estimate_act_ranges, acts, Qstates.estimate_ranges),
        (states.fix_weight_ranges, weights, Qstates.fix_ranges),
        (states.fix_ranges, weights + acts, Qstates.fix_ranges),
        (states.estimate_ranges, weights + acts, Qstates.estimate_ranges),
        (states.learn_ranges, weights + acts, Qstates.learn_ranges),
        (states.estimate_ranges_train, weights + acts, Qstates.estimate_ranges_train),
    ):
        before = {id(m): m.state for m in managers(net)}
        switch(net)
        for manager in managers(net):
            is_touched = any(manager is other for other in touched)
            assert manager.state is (state if is_touched else before[id(manager)])
    states.reset_act_ranges(net)
    assert not any(m.quantizer.is_initialized for m in acts)
    assert all(m.quantizer.is_initialized for m in weights)


def test_container_switches_as_the_functions_do() -> None:
    class Container(QuantizedModel):
        def __init__(self) -> None:
            super().__init__()
            self.layer = convert_to_quantized(nn.Linear(4, 4), default_map())

    names = [
        name for name in states.__all__ if name not in ("QuantizedModule", "enable_quant_states")
    ]
    for name in names:
        ours, theirs = Container(), Container()
        extra = (True, False) if name == "set_quant_state" else ()
        getattr(ours, name)(*extra)
        getattr(states, name)(theirs, *extra)
        assert [m.state for m in managers(ours)] == [m.state for m in managers(theirs)]
        assert (ours.layer._quant_w, ours.layer._quant_a) == (
            theirs.layer._quant_w,
            theirs.layer._quant_a,
        )


@pytest.mark.parametrize("learn", [False, True])
def test_training_and_saving(learn: bool) -> None:
    torch.manual_seed(0)
    model: Any = convert_to_quantized(
        nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), default_map(bits(4, 4))
    )
    x = torch.rand(64, 4)
    target = x.sum(1, keepdim=True)
    model(x)
    if learn:
        states.learn_ranges(model)
    steps = [p for n, p in model.named_parameters() if n.endswith("_delta")]
    assert len(steps) == (4 if learn else 0)
    first = [p.detach().clone() for p in steps]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert all(not torch.equal(p, old) for p, old in zip(steps, first, strict=True))
    model.eval()
    fresh: Any = convert_to_quantized(
        nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), default_map(bits(4, 4))
    )
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh.eval()(x), model(x))
    assert torch.equal(copy.deepcopy(model)(x), model(x))


def test_ranges_follow_training_only() -> None:
    layer: Any = convert_to_quantized(nn.Linear(2, 2), default_map()).eval()
    layer(torch.ones(1, 2))  # the first batch gives the range
    first = layer.activation_quantizer.quantizer.delta.clone()
    layer(100 * torch.ones(1, 2))
    assert torch.equal(layer.activation_quantizer.quantizer.delta, first)
    layer.train()(100 * torch.ones(1, 2))
    assert not torch.equal(layer.activation_quantizer.quantizer.delta, first)


@pytest.mark.parametrize("estimator", list(RangeEstimators))
@pytest.mark.parametrize("symmetric", [True, False])
def test_every_estimator(estimator: RangeEstimators, symmetric: bool) -> None:
    torch.manual_seed(0)
    config = QuantizationConfig(
        activation_quant=ActivationQuantConfig(8, symmetric, estimator),
        weight_quant=WeightQuantConfig(8, symmetric, False, estimator),
    )
    digital = nn.Linear(8, 4)
    layer = convert_to_quantized(digital, default_map(config))
    x = torch.randn(100, 8)
    error = (layer(x) - digital(x)).abs().max()
    assert 0.0 < error < 0.1


def test_inside_an_analog_model() -> None:
    model = nn.Sequential(AnalogLinear(4, 4, rpu_config=InferenceRPUConfig()), nn.LayerNorm(4))
    found = convert_to_quantized(model, default_map())
    optimizer = AnalogSGD(found.parameters(), lr=0.1)
    found(torch.rand(5, 4)).sum().backward()
    optimizer.step()


def test_compiled() -> None:
    layer = convert_to_quantized(nn.Linear(4, 3), default_map())
    x = torch.rand(5, 4)
    layer(x)
    layer.eval()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), layer(x))
    exported = torch.export.export(layer, (x,)).module()
    assert torch.equal(exported(x), layer(x))


def test_channels_are_counted_in_compiled_passes_as_well() -> None:
    layer = convert_to_quantized(nn.Linear(4, 3), default_map(bits(4, 4, per_channel=True)))
    other = copy.deepcopy(layer)
    x = torch.rand(5, 4)
    assert torch.equal(torch.compile(other, backend="eager")(x), layer(x))
    assert other.weight_quantizer.quantizer.delta.shape == (3,)


def test_quantize_model_leaves_precision_alone() -> None:
    net = nn.Sequential(nn.Linear(4, 3))
    found = quantize_model(net, default_map(bits(2, 2)))
    assert found is net and type(net[0]) is QuantLinear
    x = torch.rand(5, 4)
    assert torch.equal(net(x), nn.functional.linear(x, net[0].weight, net[0].bias))


@pytest.mark.parametrize("empty", [QuantizationMap(), QuantizationMap(default_qconfig=bits())])
def test_map_that_quantises_nothing_says_so(empty: QuantizationMap) -> None:
    """As one without `append_default_conversions` does."""
    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.warns(UserWarning, match="nothing was quantised.*append_default_conversions"):
        same = convert_to_quantized(model, empty)
    assert type(same.get_submodule("0")) is nn.Linear


def test_map_of_inputs_alone_quantises_something() -> None:
    inputs = QuantizationMap()
    inputs.input_activation_qconfig_map["0"] = ActivationQuantConfig(n_bits=4)
    convert_to_quantized(nn.Sequential(nn.Linear(3, 2)), inputs)


@pytest.mark.parametrize("name", [name for name in states.__all__ if name[0].islower()])
def test_states_of_digital_models_say_that_there_are_none(name: str) -> None:
    arguments = (True, False) if name == "set_quant_state" else ()
    with pytest.warns(UserWarning, match="no quantised layers.*convert_to_quantized"):
        getattr(states, name)(nn.Linear(3, 2), *arguments)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (ActivationQuantConfig(), "ActivationQuantConfig()"),
        (ActivationQuantConfig(8, symmetric=False), None),
        (WeightQuantConfig(4, per_channel=True), "WeightQuantConfig(n_bits=4, per_channel=True)"),
        (WeightQuantConfig(range_estimator=RangeEstimators.allminmax), None),
        (
            ActivationQuantConfig(range_estimator_params=RunningMinMaxEstimatorParams(0.5)),
            "ActivationQuantConfig(range_estimator_params=RunningMinMaxEstimatorParams(momentum=0.5))",
        ),
    ],
)
def test_configurations_print_the_call_that_makes_them(config: Any, text: str | None) -> None:
    assert text in (None, str(config))
    names = {cls.__name__: cls for cls in (ActivationQuantConfig, WeightQuantConfig)}
    names |= {"RunningMinMaxEstimatorParams": RunningMinMaxEstimatorParams}
    assert eval(str(config), {**names, "RangeEstimators": RangeEstimators}) == config
    assert "_range_estimator_to_params" not in repr(config)
