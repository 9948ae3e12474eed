"""Names, order, types and defaults of all configuration classes against those of the standard."""

import dataclasses
import importlib
import json
import typing
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters import enums, range_estimators
from mho.simulator.parameters.checking import field_types

DATA = json.loads((Path(__file__).parent.parent / "data" / "defaults.json").read_text())
CLASSES = DATA["classes"]

# Modules whose classes are data here and therefore live beside the other parameters.
MOVED = {
    "simulator.digital_low_precision.config_utils": "simulator.parameters.range_estimators",
}
# Fields that mho adds; they stand at the end of the class that declares them.
ADDED = {
    "IOParameters": ["nm_assumed_wmax", "nm_decay"],
    "IOParametersIRDropT": ["split_mode_bit_shift"],
    "RuntimeParameter": ["backend"],
    "TunableRPUConfig": ["tuning"],
    "UpdateParameters": ["exact_pulses", "update_mode"],
    # A bare attribute in the standard, neither compared nor printed.
    "WeightQuantConfig": ["per_channel"],
}
# The sum of the currents replaces the trapezoidal rule, which adds half a step to every input.
CHANGED_DEFAULTS = {("IOParametersIRDropT", "ir_drop_integration_sum"): True}
# Types that are wider or narrower than those of the standard.
CHANGED_TYPES = {
    # Any device may stand in any analog configuration; the standard accepts that without saying so.
    ("SingleRPUConfig", "device"): CrosspointDevice,
    ("UnitCellRPUConfig", "device"): CrosspointDevice,
    ("DigitalRankUpdateRPUConfig", "device"): CrosspointDevice,
    ("InferenceRPUConfig", "device"): CrosspointDevice,
    ("DigitalRankUpdateCell", "device"): CrosspointDevice,
    ("UnitCell", "unit_cell_devices"): list[CrosspointDevice],
    # Their default is None: they follow from the other fields.
    ("SoftBoundsPmaxDevice", "dw_min"): float | None,
    ("SoftBoundsPmaxDevice", "up_down"): float | None,
    ("SoftBoundsPmaxDevice", "w_max"): float | None,
    ("SoftBoundsPmaxDevice", "w_min"): float | None,
}


def find_class(name: str) -> Any:
    module = CLASSES[name]["module"]
    return getattr(importlib.import_module("mho." + MOVED.get(module, module)), name)


def declared_in(cls: type, name: str) -> str:
    return next(c.__name__ for c in cls.__mro__ if name in vars(c).get("__annotations__", {}))


def short_type(hint: Any) -> str:
    """Return an annotation in the notation of the data file, without modules."""
    if hint is type(None):
        return "None"
    if hint is type:
        return "Type"
    origin, args = typing.get_origin(hint), [short_type(arg) for arg in typing.get_args(hint)]
    if origin in (list, dict):
        return f"{origin.__name__.capitalize()}[{', '.join(args)}]"
    if origin is not None:
        return f"Optional[{next(arg for arg in args if arg != 'None')}]"
    return str(getattr(hint, "__name__", hint))


def without_modules(text: str) -> str:
    for char in "[],":
        text = text.replace(char, f" {char} ")
    words = [word.rsplit(".", 1)[-1] for word in text.split()]
    return "".join(words).replace(",", ", ")


def agrees(value: Any, expected: Any) -> bool:
    """Return whether a value is the one that the data file describes."""
    if isinstance(expected, list):
        return len(value) == len(expected) and all(map(agrees, value, expected))
    if not isinstance(expected, dict):
        return type(value) is type(expected) and value == expected
    if "__enum__" in expected:
        return isinstance(value, Enum) and str(value) == expected["__enum__"]
    if "__type__" in expected:
        return value.__name__ == expected["__type__"].rsplit(".", 1)[-1]
    if "__class__" in expected:
        return agrees_object(value, expected)
    return {str(k): None if v is None else v.__name__ for k, v in value.items()} == {
        k: None if v is None else v["__type__"].rsplit(".", 1)[-1] for k, v in expected.items()
    }


def agrees_object(value: Any, expected: dict[str, Any]) -> bool:
    if type(value).__name__ != expected["__class__"]:
        return False
    listed = {k: v for k, v in expected.items() if not k.startswith("__") and k != "scale_ratio"}
    if not all(agrees(getattr(value, name), item) for name, item in listed.items()):
        return False
    if not dataclasses.is_dataclass(value):
        return set(listed) == set(vars(value))
    # Fields that are not listed have the default of the class, which has a test of its own.
    return all(
        getattr(value, f.name) == f.default
        for f in dataclasses.fields(value)
        if f.name not in listed and f.default is not dataclasses.MISSING
    )


@pytest.mark.parametrize("name", CLASSES)
def test_field_names_and_order(name: str) -> None:
    cls = find_class(name)
    fields = [field.name for field in dataclasses.fields(cls)]
    added = [n for base in reversed(cls.__mro__) for n in ADDED.get(base.__name__, [])]
    assert [n for n in fields if n not in added] == list(CLASSES[name]["fields"])
    own = [n for n in fields if declared_in(cls, n) == name]
    assert own[len(own) - len(ADDED.get(name, [])) :] == ADDED.get(name, [])


@pytest.mark.parametrize("name", CLASSES)
def test_field_types(name: str) -> None:
    cls = find_class(name)
    hints = field_types(cls)
    for field, entry in CLASSES[name]["fields"].items():
        changed = CHANGED_TYPES.get((declared_in(cls, field), field))
        if field == "tile_array_class":
            # None switches arrays off, in every class.
            assert hints[field] == type | None
        elif changed is not None:
            assert hints[field] == changed, field
        else:
            assert short_type(hints[field]) == without_modules(entry["type"]), field


@pytest.mark.parametrize("name", CLASSES)
def test_defaults(name: str) -> None:
    cls = find_class(name)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    obj = None if needs_arguments(cls) else cls()
    for field, entry in CLASSES[name]["fields"].items():
        assert fields[field].init == entry.get("init", True), field
        assert fields[field].compare == entry.get("compare", True), field
        expected = CHANGED_DEFAULTS.get((name, field), entry.get("default"))
        if entry.get("required"):
            continue
        value = field_default(fields[field]) if obj is None else getattr(obj, field)
        assert agrees(value, expected), (field, value, expected)


def needs_arguments(cls: Any) -> bool:
    try:
        cls()
    except TypeError:
        return True
    return False


def field_default(field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory()


@pytest.mark.parametrize(
    ("cls", "field", "default"),
    [
        ("IOParameters", "nm_assumed_wmax", 0.6),
        ("IOParameters", "nm_decay", 1e-3),
        ("IOParametersIRDropT", "split_mode_bit_shift", 3),
        ("RuntimeParameter", "backend", None),
        ("UpdateParameters", "exact_pulses", False),
        ("UpdateParameters", "update_mode", enums.UpdateMode.FLOW),
    ],
)
def test_added_defaults(cls: str, field: str, default: object) -> None:
    assert getattr(find_class(cls)(), field) == default


# Members that only this package has; they stand last.
ADDED_MEMBERS = {"WeightNoiseType": {"RELATIVE": "Relative"}}


@pytest.mark.parametrize("name", DATA["enums"])
def test_enums(name: str) -> None:
    cls = getattr(enums, name, None) or getattr(range_estimators, name)
    expected = {
        k: v[0] if isinstance(v, list) else v for k, v in DATA["enums"][name]["members"].items()
    }
    expected |= ADDED_MEMBERS.get(name, {})
    assert {member.name: member.value for member in cls} == expected
    assert list(cls.__members__) == list(expected)


def test_every_class_of_the_data_is_compared() -> None:
    """Guards against a data file that became empty."""
    assert len(CLASSES) == 64
    assert len(DATA["enums"]) == 14
