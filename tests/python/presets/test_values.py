"""All presets against those of the standard, field by field, and what a preset can do."""

import copy
import dataclasses
import importlib
import importlib.util
import json
import pickle
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from mho.exceptions import ConfigError
from mho.simulator import configs, presets
from mho.simulator.configs import MappingParameter, build_config
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.registry import config_class
from mho.simulator.presets import PresetIOParameters, PresetUpdateParameters

DATA = json.loads((Path(__file__).parent.parent / "data" / "presets.json").read_text())
TRAINING = [name for name in DATA if DATA[name]["module"] == "simulator.presets.configs"]
DEVICES = [name for name in DATA if DATA[name]["module"] == "simulator.presets.devices"]


def preset(name: str) -> Any:
    return getattr(importlib.import_module("mho." + DATA[name]["module"]), name)


def agrees(value: Any, expected: Any) -> bool:
    """Return whether a value is the one that the data file describes."""
    if isinstance(expected, list):
        return len(value) == len(expected) and all(map(agrees, value, expected))
    if not isinstance(expected, dict):
        return isinstance(value, bool) == isinstance(expected, bool) and value == expected
    if "__enum__" in expected:
        return isinstance(value, Enum) and str(value) == expected["__enum__"]
    listed = {name: item for name, item in expected.items() if name != "__class__"}
    # The defaults of the class itself have their own tests, here or with the parameters.
    same_class = type(value).__name__ == expected["__class__"]
    return same_class and differences(value, listed, type(value)()) == []


def differences(value: Any, listed: dict[str, Any], defaults: Any) -> list[str]:
    """Return the fields that are neither as listed nor, if not listed, as in `defaults`."""
    fields = [f.name for f in dataclasses.fields(value)]
    wrong = [name for name in listed if name not in fields]
    for name in fields:
        found = getattr(value, name)
        as_expected = (
            agrees(found, listed[name]) if name in listed else found == getattr(defaults, name)
        )
        if not as_expected:
            wrong.append(f"{name}: {found}")
    return wrong


@pytest.mark.parametrize("name", DATA)
def test_values(name: str) -> None:
    cls, base = preset(name), config_class(DATA[name]["base"])
    assert base in cls.__bases__
    assert [f.name for f in dataclasses.fields(cls)] == [f.name for f in dataclasses.fields(base)]
    assert differences(cls(), DATA[name]["changes"], base()) == []


def test_every_preset_is_compared() -> None:
    """Guards against a data file that became empty and against presets that nobody compares."""
    assert (len(DATA), len(TRAINING), len(DEVICES)) == (75, 52, 10)
    assert set(presets.__all__) == {n for n in DATA if "presets.web" not in DATA[n]["module"]}


def test_comparison_notices_differences() -> None:
    device = presets.EcRamPresetDevice()
    changes = DATA["EcRamPresetDevice"]["changes"]
    base = configs.LinearStepDevice()
    assert differences(device, {**changes, "dw_min": 0.1}, base) == ["dw_min: 0.002"]
    assert differences(device, {**changes, "no_field": 1}, base) == ["no_field"]
    device.reset = 0.5
    assert differences(device, changes, base) == ["reset: 0.5"]


@pytest.mark.parametrize("name", DATA)
def test_round_trip(name: str) -> None:
    """JSON text, pickles and copies restore class and values."""
    original = preset(name)()
    for restored in (
        ConfigBase.from_json(original.to_json()),
        pickle.loads(pickle.dumps(original)),
        copy.deepcopy(original),
    ):
        assert type(restored) is type(original)
        assert restored == original
    assert repr(original).startswith(name + "(") and str(original).startswith(name + "(")


@pytest.mark.parametrize("name", [*TRAINING, *DEVICES, "PCMPresetUnitCell"])
def test_the_core_is_told_the_plain_values(name: str) -> None:
    """On the wire a preset is its base class with the same values."""
    original = preset(name)()
    plain = config_class(DATA[name]["base"])()
    for field in dataclasses.fields(plain):
        setattr(plain, field.name, getattr(original, field.name))
    assert original.to_wire() == plain.to_wire()


@pytest.mark.parametrize("name", TRAINING)
def test_nothing_is_shared_between_instances(name: str) -> None:
    first, second = preset(name)(), preset(name)()
    first.forward.out_noise = 7.0
    first.device.construction_seed = 7
    for inner in getattr(first.device, "unit_cell_devices", []):
        inner.construction_seed = 7
    assert second == preset(name)()
    assert first.backward.out_noise != 7.0


def test_fields_can_be_given() -> None:
    mapping = MappingParameter(max_input_size=3)
    given = presets.GokmenVlasovPreset(mapping=mapping)
    assert given.mapping == mapping
    assert given.device == presets.GokmenVlasovPresetDevice()
    assert presets.EcRamPresetDevice(dw_min=0.5).dw_min == 0.5
    with pytest.raises(TypeError, match="no_field"):
        presets.GokmenVlasovPreset(no_field=1)


def test_presets_can_be_subclassed() -> None:
    @dataclasses.dataclass
    class Mine(presets.EcRamPreset):
        mapping: MappingParameter = dataclasses.field(
            default_factory=lambda: MappingParameter(max_input_size=3)
        )

    assert isinstance(Mine(), configs.SingleRPUConfig)
    assert Mine().device == presets.EcRamPresetDevice()
    assert Mine().mapping.max_input_size == 3


def test_wrong_types_are_found() -> None:
    config = presets.TTv2EcRamPreset()
    config.device.fast_lr = "0.1"
    with pytest.raises(ConfigError, match=r"device\.fast_lr"):
        config.core_json()


SYSTEMS = ["ReRamES", "Capacitor", "EcRam", "EcRamMO", "Idealized"]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(
    ("algorithm", "pattern", "n_devices"),
    [
        ("sgd", "{}Preset", 1),
        ("sgd", "{}2Preset", 2),
        ("sgd", "{}4Preset", 4),
        ("tiki-taka", "TikiTaka{}Preset", 1),
        ("mp", "MixedPrecision{}Preset", 1),
    ],
)
def test_build_config_gives_the_preset(
    algorithm: str, pattern: str, n_devices: int, system: str
) -> None:
    """Two ways to the same values; the other algorithms differ in their learning rates."""
    built = build_config(
        algorithm,
        preset(f"{system}PresetDevice"),
        PresetIOParameters,
        PresetUpdateParameters,
        n_devices=n_devices,
    )
    expected = preset(pattern.format(system))()
    assert isinstance(built, RPUConfigBase)
    assert vars(built) == vars(expected)


def test_the_crate_tests_the_same_devices() -> None:
    text = (Path(__file__).parents[2] / "rust" / "presets.json").read_text()
    devices = importlib.import_module("mho.simulator.presets.devices")
    built = {name: getattr(devices, name)() for name in sorted(devices.__all__)}
    assert json.loads(text) == {name: device.to_wire("device") for name, device in built.items()}


def script(path: Path) -> Any:
    """Return a script of the repository as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_crate_compares_its_presets_with_these() -> None:
    made = script(Path(__file__).parents[1] / "data" / "make_preset_configs.py")
    assert json.loads(made.TARGET.read_text()) == json.loads(json.dumps(made.content()))


def test_both_languages_have_what_the_table_says(capsys: pytest.CaptureFixture[str]) -> None:
    made = script(Path(__file__).parents[3] / "tools" / "make_presets.py")
    assert made.main(check=True) == 0, capsys.readouterr().out
    names = {
        *(name for group in made.table().values() for name in group),
        "PCMPresetUnitCell",
    }
    assert names == set(presets.__all__)
