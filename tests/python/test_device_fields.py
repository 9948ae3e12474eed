"""Fields of all devices on their way into the core: each arrives, and bad values are named."""

import dataclasses
import json
import math
from typing import Any

import pytest

from mho import _core
from mho.exceptions import ConfigError
from mho.simulator import configs
from mho.simulator.configs import SingleRPUConfig
from pulsed import PULSED, build, cases

FIELDS = [
    (name, field.name)
    for name in PULSED
    for field in dataclasses.fields(getattr(configs, f"{name}Device"))
    if field.name != "drift"
]
# What a valid other value looks like where adding one to the default gives none.
OTHER: dict[str, Any] = {
    "corrupt_devices_prob": 0.5,
    "w_min": -0.7,
    "piecewise_up": [1.5],
    "piecewise_down": [0.5],
    "gamma_up": 0.25,
    "gamma_down": 0.25,
    "a": 0.1,
    "b": 0.1,
}
# Fields that may not be negative, and what lies out of their range.
OUT_OF_RANGE: dict[str, Any] = {
    "corrupt_devices_prob": 1.01,
    "dw_min": -1e-3,
    "dw_min_std": -0.1,
    "w_max": -0.1,
    "w_min": 0.1,
}


def changed(device: Any, field: str, value: Any) -> Any:
    setattr(device, field, value)
    return device


def wire(device: Any) -> Any:
    return json.loads(SingleRPUConfig(device=device).core_json())["device"]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_every_field_arrives(name: str, field: str) -> None:
    """A changed value stands in the parsed configuration, and is the only one that changed."""
    device = build(name)
    old = getattr(device, field)
    new = not old if isinstance(old, bool) else OTHER[field] if field in OTHER else old + 1
    config = SingleRPUConfig(device=changed(device, field, new))
    parsed = json.loads(_core.TileSpec(config.core_json(), 3, 2).config)["device"]
    assert parsed == wire(device)
    flat = parsed["params"]["pulsed"] | parsed["params"]
    default = wire(build(name))["params"]
    default = default["pulsed"] | default
    assert [key for key in flat if flat[key] != default[key] and key != "pulsed"] == [field]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_bad_values_are_named(name: str, field: str) -> None:
    default = getattr(build(name), field)
    bad: list[Any] = ["1", None, 1j]
    if isinstance(default, bool):
        bad += [1, 0.0]
    elif isinstance(default, float):
        bad += [True, math.nan, math.inf, -math.inf]
    elif isinstance(default, int):
        bad += [True, 0.5, 2**63]
    else:
        bad += [[math.nan], ["1"], [1.0, math.inf], []]
    bad += [value for key, value in OUT_OF_RANGE.items() if key == field]
    for value in bad:
        with pytest.raises(ConfigError) as error:
            config = SingleRPUConfig(device=changed(build(name), field, value))
            _core.TileSpec(config.core_json(), 3, 2)
        assert field.removesuffix("_down") in str(error.value), (value, str(error.value))


@pytest.mark.parametrize("name", PULSED)
def test_unknown_fields_are_named(name: str) -> None:
    device = build(name)
    device.dw_mim = 0.1
    with pytest.raises(ConfigError, match="dw_mim"):
        SingleRPUConfig(device=device).core_json()


@pytest.mark.parametrize("name", PULSED)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_core_checks_by_itself(name: str, value: float) -> None:
    """A number that JSON cannot write comes as null, and a field that is not known is refused."""
    text = json.loads(_core.default_config(name))
    text["device"]["params"]["pulsed"]["dw_min_dtod"] = None if math.isnan(value) else "x"
    with pytest.raises(ConfigError, match="dw_min_dtod"):
        _core.TileSpec(json.dumps(text), 3, 2)
    text["device"]["params"]["pulsed"]["dw_min_dtod"] = 0.1
    text["device"]["params"]["dw_mim"] = 1.0
    with pytest.raises(ConfigError, match="dw_mim"):
        _core.TileSpec(json.dumps(text), 3, 2)


@pytest.mark.parametrize(("name", "at"), cases())
def test_settings_survive_the_core(name: str, at: int) -> None:
    config = SingleRPUConfig(device=build(name, at))
    spec = _core.TileSpec(config.core_json(), 3, 2)
    assert json.loads(spec.config) == json.loads(config.core_json())
    again = _core.TileSpec(spec.config, 3, 2)
    assert again.config == spec.config
    assert spec.weight_granularity == config.device.calc_weight_granularity()


@pytest.mark.parametrize(
    ("name", "fields", "match"),
    [
        ("LinearStep", {"reverse_up": True, "mult_noise": False}, "reverse_up"),
        ("SoftBounds", {"reverse_down": True, "mult_noise": False}, "reverse_down"),
        ("ExpStep", {"gamma_up": 500.0}, "gamma_up"),
    ],
)
def test_impossible_combinations_are_named(name: str, fields: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        _core.TileSpec(SingleRPUConfig(device=build(name, **fields)).core_json(), 3, 2)
