"""Conversion by rules: which layer gets which configuration, and rules that change nothing."""

import warnings
import weakref
from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import ArgumentError, ConfigError, StateError
from mho.nn import (
    AnalogLinear,
    AnalogSequential,
    AnalogWrapper,
    analog_map,
    conversion_report,
    convert_by_map,
)
from mho.nn.conversion import convert_to_analog, convert_to_digital
from mho.nn.modules.container import AnalogContainerBase
from mho.nn.modules.rnn.converted import ConvertedLSTM
from mho.simulator.configs import (
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    MappingParameter,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.tiles.module import TileModule
from unchanged import differences, everything

A = SingleRPUConfig(device=IdealDevice())
B = InferenceRPUConfig()
C = FloatingPointRPUConfig()


class Attention(nn.Module):
    """Four projections."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 4) for _ in range(3))
        self.out = nn.Linear(4, 4)


class Block(nn.Module):
    """Attention and a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = Attention()
        self.norm = nn.LayerNorm(4)
        self.mlp = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))


class Net(nn.Module):
    """Two blocks between an embedding and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.lm_head = nn.Linear(4, 10, bias=False)


def chosen(model: Any) -> dict[str, str]:
    """Return the configuration of each layer, by name."""
    return {
        name.removesuffix(".analog_module"): type(tile.rpu_config).__name__
        for name, tile in model.named_modules()
        if isinstance(tile, TileModule)
    }


ATTENTION = [f"blocks.{i}.attn.{name}" for i in (0, 1) for name in ("q", "k", "v", "out")]
MLP = [f"blocks.{i}.mlp.{j}" for i in (0, 1) for j in (0, 2)]


def test_patterns_names_and_the_rest() -> None:
    rules = {"re:.*attn.*": A, "lm_head": None}
    analog = convert_to_analog(Net(), B, rules=rules)
    expected = dict.fromkeys(ATTENTION, "SingleRPUConfig")
    assert chosen(analog) == {**expected, **dict.fromkeys(MLP, "InferenceRPUConfig")}
    assert type(analog.lm_head) is nn.Linear
    assert isinstance(analog, AnalogWrapper)


def test_the_first_rule_counts() -> None:
    rules = {"blocks.0.attn.q": None, "blocks.0.attn": A, "re:blocks\\.0\\..*": C, "blocks": B}
    analog = chosen(convert_to_analog(Net(), None, rules=rules))
    assert "blocks.0.attn.q" not in analog and "lm_head" not in analog
    assert analog["blocks.0.attn.k"] == "SingleRPUConfig"
    assert analog["blocks.0.mlp.0"] == "FloatingPointRPUConfig"
    assert analog["blocks.1.attn.q"] == analog["blocks.1.mlp.2"] == "InferenceRPUConfig"


def test_names_stand_for_all_inside_and_match_as_a_whole() -> None:
    net = Net()
    net.blocks_extra = nn.Linear(4, 4)
    assert "blocks_extra" not in chosen(convert_to_analog(net, None, rules={"blocks": A}))
    # A pattern has to match a whole name, and what it matches stands for all inside.
    analog = chosen(convert_to_analog(net, None, rules={r"re:blocks\.\d": A}))
    assert list(analog) == [n for i in (0, 1) for n in ATTENTION + MLP if n[7] == str(i)]
    with pytest.raises(ArgumentError, match=r"^rules: 're:attn' selects no module"):
        convert_to_analog(net, A, rules={"re:attn": B})


def test_classes_are_keys_with_their_subclasses() -> None:
    class Special(Attention):
        """An attention."""

    net = Net()
    net.blocks[1].attn = Special()
    analog = chosen(convert_to_analog(net, None, rules={Special: B, Attention: A}))
    assert analog == {n: "InferenceRPUConfig" if "1" in n else "SingleRPUConfig" for n in ATTENTION}
    with pytest.warns(UserWarning, match="nothing was converted"):
        convert_to_analog(net, B, rules={nn.Linear: None, nn.Module: None})


def test_without_a_default_the_rest_stays_digital() -> None:
    analog = convert_to_analog(Net(), None, rules={"lm_head": A})
    assert list(chosen(analog)) == ["lm_head"]
    # Without rules, None is the default of every layer.
    with pytest.warns(UserWarning, match="were clipped"):
        assert len(chosen(convert_to_analog(Net(), None))) == len(ATTENTION + MLP) + 1


def test_containers_are_analog_if_something_inside_is() -> None:
    analog = convert_to_analog(Net(), None, rules={"blocks.0.mlp.0": A})
    assert type(analog.blocks[0].mlp) is AnalogSequential
    assert type(analog.blocks[1].mlp) is nn.Sequential
    root = convert_to_analog(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), A, rules={"0": None})
    assert type(root) is AnalogSequential and type(root[0]) is nn.Linear


def test_a_whole_model_is_a_layer() -> None:
    assert isinstance(convert_to_analog(nn.Linear(2, 2), A, rules={"": B}), AnalogLinear)
    with pytest.warns(UserWarning, match="nothing was converted"):
        assert type(convert_to_analog(nn.Linear(2, 2), A, rules={"": None})).__bases__[1:] == (
            nn.Linear,
        )


def test_recurrent_layers_are_one_layer() -> None:
    net = nn.Sequential()
    net.add_module("rnn", nn.LSTM(2, 3))
    net.add_module("fc", nn.Linear(3, 2))
    analog = convert_to_analog(net, A, rules={"rnn": B})
    assert isinstance(analog.rnn, ConvertedLSTM)
    assert {type(tile.rpu_config) for tile in analog.rnn.analog_tiles()} == {InferenceRPUConfig}
    assert type(next(analog.fc.analog_tiles()).rpu_config) is SingleRPUConfig
    digital = convert_to_analog(net, A, rules={"rnn": None})
    assert type(digital.rnn) is nn.LSTM


def test_shared_layers_are_known_by_all_their_names() -> None:
    net = Net()
    net.again = net.blocks[0].attn.q
    analog = convert_to_analog(net, None, rules={"again": B, "blocks.0": A})
    assert analog.again is analog.blocks[0].attn.q
    assert type(next(analog.again.analog_tiles()).rpu_config) is InferenceRPUConfig
    analog = convert_to_analog(net, A, rules={"again": None})
    assert analog.again is analog.blocks[0].attn.q and type(analog.again) is nn.Linear


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"lm_haed": A}, r"rules: 'lm_haed' selects no module.*did you mean 'lm_head'"),
        ({"re:.*atn.*": A}, r"rules: 're:\.\*atn\.\*' selects no module"),
        ({"blocks.0.atn.q": None}, r"did you mean 'blocks.0.attn.q'"),
        ({"re:attn": None}, r"a whole name has to match, as 'blocks.0.attn' does 're:.\*attn"),
        ({"blocks.*.attn": A}, r"patterns are regular expressions, such as 're:blocks"),
        ({"embed": A}, r"'embed' selects no layer that can be converted: there is no analog layer"),
        ({"re:.*norm": A}, r"selects no layer that can be converted.*LayerNorm"),
        ({nn.Conv2d: A}, r"rules: Conv2d selects no module"),
        ({"re:.*": A, "lm_head": None}, r"'lm_head' comes too late.*'re:\.\*' before it.*move it"),
        ({"blocks": A, "lm_head": B, "blocks.1.mlp": B}, r"'blocks.1.mlp' comes too late"),
        ({"re:(": A}, r"rules: 're:\(' is no regular expression"),
        ({int: A}, r"a key is the name of a module"),
        ({3: A}, r"rules"),
        ({"lm_head": SingleRPUConfig}, r"rules\['lm_head'\]"),
        ({"lm_head": "analog"}, r"rules\['lm_head'\]"),
        ([("lm_head", A)], r"rules: expected"),
    ],
)
def test_rules_that_change_nothing_are_refused(rules: Any, message: str) -> None:
    net = Net()
    before = {name: id(module) for name, module in net.named_modules()}
    with pytest.raises(ArgumentError, match=message):
        convert_to_analog(net, B, rules=rules, inplace=True)
    assert before == {name: id(module) for name, module in net.named_modules()}


def test_rules_that_say_what_is_so_already_are_fine() -> None:
    """Nobody is misled by them: what has no analog layer stays digital, and so does the head."""
    rules = {"embed": None, "re:.*norm": None, "re:lm_.*": None, "lm_head": None}
    assert "lm_head" not in chosen(convert_to_analog(Net(), A, rules=rules))


def test_analog_layers_keep_their_configurations() -> None:
    """Layers are converted one after another; a rule for one that is analog would do nothing."""
    analog = convert_to_analog(Net(), None, rules={"lm_head": A})
    analog = convert_to_analog(analog, None, rules={"blocks.0": B}, inplace=True)
    assert chosen(analog)["lm_head"] == "SingleRPUConfig"
    with pytest.raises(ArgumentError, match=r"'lm_head' selects no layer.*is analog already"):
        convert_to_analog(analog, None, rules={"lm_head": B})


def test_other_arguments_go_on_working() -> None:
    seen = []

    def choose(name: str, module: nn.Module, config: Any) -> Any:
        seen.append((name, type(config).__name__))
        if name.endswith(".q"):
            config.mapping = MappingParameter(max_input_size=2)
        return config

    rules = {"re:.*attn.*": B, "lm_head": None, "full.blocks.1.mlp": None}
    with pytest.raises(ArgumentError, match=r"rules: 'lm_head' selects no module"):
        convert_to_analog(Net(), A, rules=rules, module_name="full")
    rules = {"re:.*attn.*": B, "full.lm_head": None, "full.blocks.1.mlp": None}
    analog = convert_to_analog(
        Net(),
        A,
        rules=rules,
        module_name="full",
        specific_rpu_config_fun=choose,
        exclude_modules=["full.blocks.0.mlp.2"],
    )
    names = [name for name, _ in seen]
    assert "full.lm_head" not in names and "full.blocks.0.mlp.2" not in names
    assert ("full.blocks.0.attn.q", "InferenceRPUConfig") in seen
    assert ("full.blocks.0.mlp.0", "SingleRPUConfig") in seen
    assert len(list(analog.blocks[0].attn.q.analog_module.array)) == 2
    # Copies: the function has changed those of single layers only.
    assert B.mapping.max_input_size != 2


def test_exclusion_comes_first() -> None:
    net = Net()
    analog = convert_to_analog(net, None, rules={"blocks": A}, exclude_modules=["blocks.0"])
    assert all(name.startswith("blocks.1") for name in chosen(analog))
    with pytest.raises(ArgumentError, match=r"exclude_modules keeps blocks.0.* digital"):
        convert_to_analog(net, A, rules={"blocks.0": B}, exclude_modules=["blocks.0"])


def test_the_conversion_map_says_what_can_be_converted() -> None:
    rules = {"lm_head": B}
    with pytest.raises(ArgumentError, match=r"'lm_head' selects no layer that can be converted"):
        convert_to_analog(Net(), A, rules=rules, conversion_map={nn.Sequential: AnalogSequential})
    seen = convert_to_analog(Net(), None, rules=rules, conversion_map={nn.Linear: AnalogLinear})
    assert list(chosen(seen)) == ["lm_head"]


def test_layers_inside_of_a_layer_that_is_converted_as_one() -> None:
    class Gate(nn.Module):
        """A block for which there is an analog one."""

        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 2)

    class AnalogGate(AnalogLinear):
        """It."""

        @classmethod
        def from_digital(cls, module: Any, config: Any, tile: Any = None) -> Any:
            return AnalogLinear.from_digital(module.fc, config, tile)

    net = nn.Sequential(Gate(), nn.Linear(2, 2))
    classes = {Gate: AnalogGate, nn.Linear: AnalogLinear}
    with pytest.raises(ArgumentError, match=r"0\.fc is a part of 0, which is converted as one"):
        convert_to_analog(net, A, conversion_map=classes, rules={"0.fc": B})
    # Where the block stays digital, what is inside of it is a layer.
    analog = convert_to_analog(net, A, conversion_map=classes, rules={"0.fc": B, Gate: None})
    assert chosen(analog) == {"0.fc": "InferenceRPUConfig", "1": "SingleRPUConfig"}


def test_errors_of_layers_leave_the_model() -> None:
    net = Net()
    bad = TorchInferenceRPUConfig()
    bad.forward.inp_bound = "wide"
    with pytest.raises(ConfigError, match=r"forward.inp_bound.*in layer 'lm_head'"):
        convert_to_analog(net, A, rules={"lm_head": bad}, inplace=True)
    assert not any(isinstance(module, TileModule) for module in net.modules())


def test_the_report_tells_of_rules() -> None:
    report = conversion_report(convert_to_analog(Net(), A, rules={"lm_head": None}))
    reasons = {entry.name: entry.reason for entry in report}
    assert "left digital by a rule" in reasons["lm_head"]


def test_selected_layers_become_digital_again() -> None:
    net = Net()
    analog = convert_to_analog(net, B)
    back = convert_to_digital(analog, layers=["lm_head", r"re:.*\.mlp"])
    assert list(chosen(back)) == ATTENTION
    assert type(back.blocks[0].mlp) is nn.Sequential and isinstance(back, AnalogWrapper)
    assert torch.equal(back.lm_head.weight, analog.lm_head.get_weights()[0])
    assert list(chosen(convert_to_digital(analog, layers=Attention))) == [*MLP, "lm_head"]
    with pytest.raises(ArgumentError, match=r"layers: 'embed' selects no analog layer"):
        convert_to_digital(analog, layers="embed")
    with pytest.raises(ArgumentError, match=r"layers: no keys"):
        convert_to_digital(analog, layers=[])


def test_a_copy_does_not_hold_the_weights_of_what_is_replaced() -> None:
    """Parameters of layers that are replaced are not copied, those that stay are."""
    net = Net()
    net.tied = nn.Linear(4, 10, bias=False)
    net.tied.weight = net.embed.weight
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analog = convert_to_analog(net, B, rules={"blocks.0": None})
    ours, before = {id(p) for p in net.parameters()}, everything(net)
    assert not any(id(parameter) in ours for parameter in analog.parameters())
    assert torch.equal(analog.embed.weight, net.embed.weight)
    with torch.no_grad():
        analog.embed.weight.zero_()
        analog.blocks[0].attn.q.weight.zero_()
        for layer in analog.analog_layers():
            layer.set_weights(torch.zeros(layer.out_features, layer.in_features))
    assert not differences(before, everything(net))


def test_an_analog_class_that_keeps_parameters_gets_copies() -> None:
    class Kept(AnalogLinear):
        """It keeps the digital bias."""

        @classmethod
        def from_digital(cls, module: Any, config: Any, tile: Any = None) -> Any:
            layer = super().from_digital(module, config, tile)
            layer.register_parameter("offset", module.bias)
            return layer

    net = nn.Sequential(nn.Linear(2, 2))
    with pytest.warns(UserWarning, match=r"tied to '0.offset'"):
        analog: Any = convert_to_analog(net, A, conversion_map={nn.Linear: Kept})
    assert analog[0].offset is not net[0].bias and torch.equal(analog[0].offset, net[0].bias)


def test_digital_layers_are_given_up() -> None:
    """Nothing holds the digital layers of a copy when it has been converted."""
    net = nn.Sequential(nn.Linear(2, 2))
    reference = weakref.ref(net[0])
    analog = convert_to_analog(net, A, inplace=True)
    del net
    assert reference() is None and isinstance(analog[0], AnalogLinear)


class Pair(nn.Module):
    """Two products in one module, with weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.rand(2, 3, 3))


class AnalogPair(AnalogContainerBase, nn.Module):
    """It, opened into two layers."""

    STANDS_FOR_LAYER = True
    OWN_ENTRIES = ("first", "second")

    @classmethod
    def from_digital(cls, digital: Any, *_: Any) -> Any:
        raise AssertionError("modules that can be opened are")

    @classmethod
    def opened(cls, digital: Any) -> Any:
        pair = cls()
        for name, weight in zip(cls.OWN_ENTRIES, digital.weights, strict=True):
            layer = nn.Linear(3, 3, False, device="meta")
            layer.weight = nn.Parameter(weight.detach().clone())
            setattr(pair, name, layer)
        return pair


def test_layers_that_modules_are_opened_into() -> None:
    classes = {Pair: AnalogPair, nn.Linear: AnalogLinear}

    def digital() -> nn.Module:
        net = nn.Sequential()
        net.add_module("a", Pair())
        net.add_module("b", Pair())
        return net

    def converted(**rules: Any) -> Any:
        return convert_to_analog(digital(), None, conversion_map=classes, rules=rules)

    net = converted(**{"re:.*second": None, "a.first": A, "b": B})
    assert chosen(net) == {"a.first": "SingleRPUConfig", "b.first": "InferenceRPUConfig"}
    assert type(net.a.second) is nn.Linear
    net = converted(**{"b.second": A})
    assert type(net.a) is Pair and list(chosen(net)) == ["b.second"]
    with pytest.raises(ArgumentError, match=r"'a.third' selects no module.*did you mean"):
        converted(**{"a.third": A})
    # The map has the layers, and what they are in as a container.
    found = analog_map(net)
    assert list(found["layers"]) == ["b.second"] and len(found["containers"]) == 2
    again: Any = convert_by_map(digital(), found, analog_classes=[AnalogPair])
    assert type(again.a) is Pair and list(chosen(again)) == ["b.second"]
    found["layers"]["b.third"] = found["layers"]["b.second"]
    with pytest.raises(StateError, match="'b' has no layer 'third'"):
        convert_by_map(digital(), found, analog_classes=[AnalogPair])
