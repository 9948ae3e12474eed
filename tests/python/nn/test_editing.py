"""Configurations of some layers are changed, by the rules of the conversion."""

from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import ArgumentError, ConfigError, ModuleError, TileModuleError
from mho.nn import convert_to_analog, edit_by_rules, edit_config
from mho.simulator.configs import (
    InferenceRPUConfig,
    IOParameters,
    MappingParameter,
    SingleRPUConfig,
    SoftBoundsDevice,
)
from unchanged import differences, everything

X = torch.rand(3, 4)


def model(config: Any = None) -> Any:
    """A model with two parts, one of which is an array of tiles."""
    torch.manual_seed(1)
    config = InferenceRPUConfig() if config is None else config
    config.mapping = MappingParameter(max_input_size=4)
    net = nn.Sequential()
    net.add_module("attn", nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4)))
    net.add_module("head", nn.Linear(4, 2))
    return convert_to_analog(net, config)


def noises(net: Any) -> dict[str, float]:
    return {n: tile.rpu_config.forward.out_noise for n, tile in net.named_analog_tiles()}


def test_one_field_of_some_layers() -> None:
    net = model()
    edit_config(net, "forward.out_noise", 0.5, layers="attn.1")
    found = noises(net)
    assert [n for n, v in found.items() if v == 0.5] == [n for n in found if n.startswith("attn.1")]
    assert len(found) == 4  # the second layer is an array
    edit_config(net, "forward.out_noise", 0.25, layers=["head", r"re:attn\.0"])
    assert sorted(noises(net).values()) == [0.25, 0.25, 0.5, 0.5]
    edit_config(net, "forward.out_noise", 0.125, layers=nn.Module)
    assert set(noises(net).values()) == {0.125}


def test_keys_that_select_nothing_are_refused() -> None:
    net = model()
    before = everything(net)
    for key, message in {
        "hed": "layers: 'hed' selects no analog tile; did you mean",
        "re:head[": "no regular expression",
        nn.Conv2d: "layers: Conv2d selects no analog tile; there are",
    }.items():
        with pytest.raises(ArgumentError, match=message):
            edit_config(net, "forward.out_noise", 0.5, layers=["attn", key])
    with pytest.raises(ModuleError, match="has no analog tiles"):
        edit_config(nn.Linear(2, 2), "forward.out_noise", 0.5, layers="")
    assert not differences(before, everything(net))


def test_rules() -> None:
    net = model()
    quiet = IOParameters(is_perfect=True)
    whole = InferenceRPUConfig(mapping=MappingParameter(max_input_size=4))
    whole.forward.out_noise = 0.75
    edit_by_rules(
        net,
        {
            "attn.1.analog_module.array.0": None,
            "attn.1": {"forward.out_noise": 0.5, "drift_compensation": None},
            "re:attn.*": whole,
            nn.Linear: {"forward": quiet},
        },
    )
    tiles = dict(net.named_analog_tiles())
    assert noises(net) == {
        "attn.0.analog_module": 0.75,
        "attn.1.analog_module.array.0.0": IOParameters().out_noise,
        "attn.1.analog_module.array.1.0": 0.5,
        "head.analog_module": IOParameters().out_noise,
    }
    assert tiles["head.analog_module"].rpu_config.forward.is_perfect
    assert tiles["attn.1.analog_module.array.1.0"].rpu_config.drift_compensation is None
    assert tiles["attn.0.analog_module"].rpu_config is not whole
    weight, bias = net.head.get_weights()
    expected = nn.functional.linear(X, weight, bias)
    torch.testing.assert_close(net.head(X), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("rules", "error", "message"),
    [
        ({"head": {"forward.nothing": 1}}, ConfigError, r"tile 'head.analog_module'"),
        ({"head": {"forward.inp_bound": "a"}}, ConfigError, "forward.inp_bound"),
        ({"head": {"runtime.backend": "wgpu"}}, TileModuleError, "runtime.backend"),
        ({"head": SingleRPUConfig(device=SoftBoundsDevice())}, TileModuleError, "does not fit"),
        ({"heads": None}, ArgumentError, "selects no analog tile; did you mean 'head"),
        ({"": {}, "head": {}}, ArgumentError, "'head' comes too late"),
        ({"head": 3}, ArgumentError, "rules"),
        ({3: None}, ArgumentError, "rules"),
    ],
)
def test_all_tiles_or_none(rules: Any, error: type[Exception], message: str) -> None:
    net = model()
    config = InferenceRPUConfig(mapping=MappingParameter(max_input_size=4))
    config.forward.out_noise = 0.75
    first = {"attn.0": config, "attn.1": {"forward.out_noise": 0.5}}
    before, kept = everything(net), [str(tile.rpu_config) for tile in net.analog_tiles()]
    with pytest.raises(error, match=message):
        edit_by_rules(net, {**first, **rules} if "" not in rules else rules)
    assert not differences(before, everything(net))
    assert kept == [str(tile.rpu_config) for tile in net.analog_tiles()]


def test_shared_layers_change_once() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net.add_module("again", net[0])
    analog: Any = convert_to_analog(net, InferenceRPUConfig())
    edit_by_rules(analog, {"again": {"forward.out_noise": 0.5}, "1": {"forward.out_noise": 0.25}})
    assert analog[0] is analog.again
    assert [tile.rpu_config.forward.out_noise for tile in analog.analog_tiles()] == [0.5, 0.25]
