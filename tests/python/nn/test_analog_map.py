"""The map of a model: what is in it, and digital models made analog by it."""

import copy
import json
from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import AihwkitException, ConfigError, StateError
from mho.nn import (
    AnalogConv2d,
    AnalogLinear,
    AnalogLinearMapped,
    AnalogSequential,
    AnalogWrapper,
    analog_map,
    convert_by_map,
    convert_to_analog,
    edit_config,
)
from mho.nn.conversion import convert_to_digital
from mho.nn.conversion_table import MAPPED_CONVERSIONS
from mho.simulator.configs import (
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    MappingParameter,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.tiles import InferenceTile, TileModuleArray
from unchanged import differences, everything


class Net(nn.Module):
    """Layers of several kinds, one of them under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.body = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4))
        self.rnn = nn.GRU(4, 3)
        self.again = self.body[0]
        self.head = nn.Linear(4, 2, bias=False)


RULES = {
    "conv": TorchInferenceRPUConfig(),
    "body.0": SingleRPUConfig(device=IdealDevice()),
    "body": InferenceRPUConfig(mapping=MappingParameter(max_input_size=4)),
    "rnn": InferenceRPUConfig(mapping=MappingParameter(max_input_size=4)),
    "head": None,
}


def analog() -> Any:
    torch.manual_seed(3)
    return convert_to_analog(Net(), None, rules=RULES)


def test_what_is_in_a_map() -> None:
    found = json.loads(json.dumps(analog_map(analog())))
    assert list(found["layers"]) == ["conv", "body.0", "body.2", "rnn"]
    assert found["layers"]["body.2"] == {
        "class": "mho.nn.modules.linear.AnalogLinear",
        "config": 2,
        "tile": None,
        "dtype": "float32",
        "tiles": {},
    }
    # Equal configurations are there once.
    assert found["layers"]["rnn"]["config"] == 2 and len(found["configs"]) == 3
    types = [type(RPUConfigBase.from_json(json.dumps(config))) for config in found["configs"]]
    assert types == [TorchInferenceRPUConfig, SingleRPUConfig, InferenceRPUConfig]
    assert found["containers"] == {
        "": "mho.nn.modules.container.AnalogWrapper",
        "body": "mho.nn.modules.container.AnalogSequential",
    }
    assert found["shared"] == {"again": "body.0"}
    assert set(found["versions"]) == {"mho", "torch"}


def structure(model: nn.Module) -> list[Any]:
    """Return names, classes and configurations of all modules."""
    return [
        (name, type(module).__name__, str(getattr(module, "rpu_config", "")))
        for name, module in model.named_modules(remove_duplicate=False)
    ]


def test_a_digital_model_becomes_analog_in_the_same_way() -> None:
    first = analog()
    back = convert_to_digital(first)
    before = everything(back)
    again: Any = convert_by_map(back, json.loads(json.dumps(analog_map(first))))
    assert structure(again) == structure(first)
    assert analog_map(again) == analog_map(first)
    assert again.again is again.body[0]
    assert type(back) is Net and not differences(before, everything(back))
    for mine, theirs in zip(again.analog_layers(), first.analog_layers(), strict=True):
        a, b = mine.get_weights()[0], theirs.get_weights()[0]
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    # And the way back: digital weights do not change by it.
    twice = convert_to_digital(again)
    for name, value in convert_to_digital(first).state_dict().items():
        torch.testing.assert_close(twice.state_dict()[name], value, rtol=0, atol=1e-6)


def test_in_place() -> None:
    first, net = analog(), Net()
    body = net.body[0].weight.detach().clone()
    root: Any = convert_by_map(net, analog_map(first), inplace=True)
    assert isinstance(root, AnalogWrapper) and type(net.conv) is AnalogConv2d
    torch.testing.assert_close(root.body[0].get_weights()[0], body)


def test_a_model_without_values() -> None:
    """Tiles are on the host, where their state is loaded to."""
    first = analog()
    with torch.device("meta"):
        net = Net()
    second = convert_by_map(net, analog_map(first))
    assert {tile.device.type for tile in second.analog_tiles()} == {"cpu"}
    assert second.head.weight.is_meta
    del second.head, first.head
    second.load_state_dict(first.state_dict())
    assert not [n for n, v in first.state_dict().items() if not v.equal(second.state_dict()[n])]


def test_precision_of_a_model_without_values() -> None:
    """Layers have the precision of the model, so that they work together with the rest of it."""
    net = nn.Sequential(nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Linear(8, 4), nn.LSTM(4, 2))
    net = net.to(torch.bfloat16)
    config = TorchInferenceRPUConfig()
    first = convert_to_analog(net, config).eval()
    for second in (
        convert_to_analog(copy.deepcopy(net).to("meta"), config),
        convert_by_map(copy.deepcopy(net).to("meta"), analog_map(first)),
    ):
        assert {p.dtype for p in second.parameters()} == {torch.bfloat16}
        second.load_state_dict(first.state_dict())
        x = torch.rand(3, 2, 4, dtype=torch.bfloat16)
        torch.manual_seed(1)
        expected = first(x)[0]
        torch.manual_seed(1)
        assert torch.equal(second.eval()(x)[0], expected)


@pytest.mark.parametrize("size", [3, 600])
def test_tiles_other_than_usual(size: int) -> None:
    """An array where one tile would do, and one tile where the configuration would take several."""
    config = InferenceRPUConfig()
    net = nn.Sequential(nn.Linear(size, 2), nn.LSTM(2, 3))
    small = convert_to_analog(net, config, conversion_map=MAPPED_CONVERSIONS)
    assert type(small[0]) is AnalogLinearMapped
    for tile in (InferenceTile, TileModuleArray):
        chosen = convert_to_analog(net, config, tile_module_class=tile)
        again = convert_by_map(net, analog_map(chosen))
        assert structure(again) == structure(chosen)
        assert type(again[0].analog_module) is tile
    assert structure(convert_by_map(net, analog_map(small))) == structure(small)


def test_configurations_of_single_tiles() -> None:
    config = InferenceRPUConfig(mapping=MappingParameter(max_input_size=2))
    net = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2))
    first = convert_to_analog(net, config)
    edit_config(first, "forward.out_noise", 0.5, layers="0.analog_module.array.1")
    found = analog_map(first)
    assert found["layers"]["0"]["tiles"] == {"analog_module.array.1.0": 1}
    assert structure(convert_by_map(net, found)) == structure(first)


def test_the_backend_is_up_to_the_machine() -> None:
    config = FloatingPointRPUConfig()
    config.runtime.backend = "cpu"
    text = json.dumps(analog_map(convert_to_analog(nn.Linear(2, 2), config)))
    assert '"backend": null' in text and '"cpu"' not in text


def test_classes_are_known_or_handed_over() -> None:
    class Mine(AnalogLinear):
        """A layer of a user."""

    net = nn.Sequential(nn.Linear(2, 2))
    first = convert_to_analog(net, FloatingPointRPUConfig(), conversion_map={nn.Linear: Mine})
    found = analog_map(first)
    with pytest.raises(StateError, match=r"the class '.*Mine' of '0' is not known; import"):
        convert_by_map(net, found)
    assert type(convert_by_map(net, found, analog_classes=[Mine])[0]) is Mine
    # A model that is built with it needs no class: its layers are analog already.
    assert type(convert_by_map(nn.Sequential(copy.deepcopy(first[0])), found)[0]) is Mine
    for name in ("os.system", "torch.nn.modules.linear.Linear", "builtins.eval"):
        found["layers"]["0"]["class"] = name
        with pytest.raises(StateError, match="is not known"):
            convert_by_map(net, found)


def test_models_that_are_analog_already() -> None:
    config = SingleRPUConfig()
    net = AnalogSequential(AnalogLinear(2, 2, rpu_config=config), nn.ReLU())
    found = analog_map(net)
    assert structure(convert_by_map(copy.deepcopy(net), found)) == structure(net)
    other = AnalogSequential(AnalogLinearMapped(2, 2, rpu_config=config), nn.ReLU())
    with pytest.raises(StateError, match=r"'0' is .*AnalogLinear, but .*AnalogLinearMapped"):
        convert_by_map(other, found)


def damage(found: Any, path: str, value: Any) -> Any:
    """Return a map with one entry changed, or removed."""
    found = copy.deepcopy(found)
    *before, last = path.split("/")
    holder = found
    for key in before:
        holder = holder[int(key)] if isinstance(holder, list) else holder[key]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    return found


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", 2, r"format 2 is not supported by mho .*written by \{'mho'"),
        ("format", True, "format True is not supported"),
        ("format", ..., "no format and no layers"),
        ("layers", [], "layers must be an object"),
        ("more", 1, r"expected the keys .*got .*'more'"),
        ("versions", ..., "expected the keys"),
        ("versions/mho", 3, r"versions\['mho'\] must be text"),
        ("configs", {}, "configs must be a list"),
        ("configs", [{1}], r"configs\[0\]: is no JSON"),
        ("configs/0/type", "NoConfig", r"configs\[0\]: .*NoConfig.* unknown"),
        ("configs/0/params/forward", 3, r"configs\[0\]: forward"),
        ("layers/head", {}, r"layers\['head'\]: expected the keys"),
        ("layers/conv/config", 7, r"layers\['conv'\]: there is no configuration 7"),
        ("layers/conv/config", "0", r"there is no configuration '0'"),
        ("layers/conv/tiles", {"analog_module": -1}, r"there is no configuration -1"),
        ("layers/conv/tiles", {"nothing": 0}, r"there is no tile 'nothing'.*in layer 'conv'"),
        ("layers/conv/dtype", "load", r"'load' is no floating-point type"),
        ("layers/conv/dtype", "int8", r"'int8' is no floating-point type"),
        ("layers/conv/tile", "NoTile", r"tile class 'NoTile' is not available"),
        ("layers/conv/tile", 3, r"tile must be text"),
        ("layers/conv/class", None, r"class must be text"),
        ("layers/body.0/class", "mho.nn.modules.conv.AnalogConv2d", r"in layer 'body.0'"),
        ("shared/again", "nothing", r"shared\['again'\]: 'nothing' is no layer"),
        ("shared/again", ..., r"one and the same under several names: \{\} in the map"),
        ("containers/nothing", "mho.nn.modules.container.AnalogSequential", "no module 'nothing'"),
        ("containers/body", "os.path", "'os.path' of 'body' is not known"),
    ],
)
def test_damaged_maps_are_refused(path: str, value: Any, message: str) -> None:
    net = Net()
    before = {name: id(module) for name, module in net.named_modules()}
    found = damage(analog_map(analog()), path, value)
    with pytest.raises((StateError, ConfigError, AihwkitException), match=message):
        convert_by_map(net, found, inplace=True)
    assert before == {name: id(module) for name, module in net.named_modules()}


def test_maps_of_other_models_are_refused() -> None:
    found = analog_map(analog())
    net = Net()
    del net.conv
    with pytest.raises(StateError, match="the model has no module 'conv'"):
        convert_by_map(net, found)
    net = Net()
    net.again = nn.Linear(4, 6)
    with pytest.raises(StateError, match="one and the same"):
        convert_by_map(net, found)
    net = Net()
    net.more = AnalogLinear(2, 2)
    with pytest.raises(StateError, match="'more' of the model is analog, but no layer of the map"):
        convert_by_map(net, found)
    net.more = net.body[2]
    with pytest.raises(StateError, match="one and the same"):
        convert_by_map(net, found)
