"""The configuration exists once per language; these tests are the alarm that guards the pair."""

import dataclasses
import json

import pytest

from mho import _core
from mho.exceptions import ConfigError
from mho.simulator import configs
from mho.simulator.configs import FloatingPointRPUConfig, InferenceRPUConfig, SingleRPUConfig
from mho.simulator.parameters.enums import WeightModifierType
from mho.simulator.parameters.inference import WeightModifierParameter


def _python_wire(device_name: str) -> dict:
    device = getattr(configs, device_name + "Device")()
    if device_name == "FloatingPoint":
        return json.loads(FloatingPointRPUConfig(device=device).core_json())
    return json.loads(SingleRPUConfig(device=device).core_json())


@pytest.mark.parametrize("name", _core.device_names())
def test_device_defaults_agree(name: str) -> None:
    """Names and defaults of every registered device equal those of its dataclass."""
    rust = json.loads(_core.default_config(name))
    assert _python_wire(name)["device"] == rust["device"]


@pytest.mark.parametrize("group", ["forward", "backward", "update"])
def test_group_defaults_agree(group: str) -> None:
    """Names and defaults of the parameter groups are equal."""
    rust = json.loads(_core.default_config("ConstantStep"))
    assert _python_wire("ConstantStep")[group] == rust[group]


@pytest.mark.parametrize("group", ["forward", "backward", "update"])
def test_every_field_reaches_the_core(group: str) -> None:
    """A changed value of any field arrives in the parsed configuration."""
    config = SingleRPUConfig()
    parameters = getattr(config, group)
    for field in dataclasses.fields(parameters):
        changed = SingleRPUConfig()
        value = getattr(parameters, field.name)
        if isinstance(value, bool):
            new: object = not value
        elif isinstance(value, int | float):
            new = value + 1
        else:
            new = next(member for member in type(value) if member is not value)
        setattr(getattr(changed, group), field.name, new)
        sent = json.loads(changed.core_json())[group]
        assert sent != json.loads(config.core_json())[group], field.name
        try:
            spec = _core.TileSpec(changed.core_json(), 3, 2)
        except ConfigError as error:
            assert field.name in str(error)
        else:
            assert json.loads(spec.config)[group] == sent, field.name


def test_modifier_agrees() -> None:
    """Names, defaults and choices of the modifier, but for what says when it acts."""
    rust = json.loads(_core.WeightModifier("{}").config)
    own = WeightModifierParameter()
    when = {"per_batch_sample", "enable_during_test"}
    assert {**own.to_wire(), **rust} == own.to_wire()
    assert rust.keys() == own.to_wire().keys() - when
    for kind in WeightModifierType:
        sent = {**rust, "type": kind.value}
        assert json.loads(_core.WeightModifier(json.dumps(sent)).config) == sent
    with pytest.raises(ConfigError, match="pcm_t"):
        _core.WeightModifier(json.dumps({**rust, "pcm_t": 1.0}))


def test_round_trip_is_canonical() -> None:
    """What the core writes is what it reads."""
    for config in (SingleRPUConfig(), InferenceRPUConfig(), FloatingPointRPUConfig()):
        spec = _core.TileSpec(config.core_json(), 3, 2)
        assert json.loads(spec.config) == json.loads(config.core_json())


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"device":{"type":"ConstantStep","params":{}},"forward":{"out_nois":1}}', "out_nois"),
        ('{"device":{"type":"ConstantStep","params":{}},"forward":{"out_noise":"x"}}', "out_noise"),
        ('{"device":{"type":"NoSuch","params":{}}}', "NoSuch"),
        ('{"device":{"type":"ConstantStep","params":{"pulsed":{"dw_min":-1}}}}', "dw_min"),
        ('{"device":{"type":"ConstantStep","params":{"pulsed":{"w_max":-1}}}}', "w_max"),
        ('{"device":{"type":"ConstantStep","params":{}},"update":{"desired_bl":0}}', "desired_bl"),
        (
            '{"device":{"type":"ConstantStep","params":{}},"forward":{"out_noise":null}}',
            "out_noise",
        ),
        ("{", "config"),
    ],
)
def test_bad_json_names_the_field(text: str, field: str) -> None:
    """Unknown fields, wrong types and impossible values are refused by name."""
    with pytest.raises(ConfigError, match=field):
        _core.TileSpec(text, 3, 2)
