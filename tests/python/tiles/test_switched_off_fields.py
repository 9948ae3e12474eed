"""Values for hardware-aware training that do nothing because their type was forgotten."""

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from mho.nn import AnalogLinear, edit_config
from mho.simulator.configs import (
    InferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
    WeightClipParameter,
    WeightClipType,
    WeightModifierParameter,
    WeightModifierType,
    WeightRemapParameter,
    WeightRemapType,
)
from mho.simulator.presets import StandardHWATrainingPreset
from mho.simulator.tiles import ineffective

CONFIGS = [InferenceRPUConfig, TorchInferenceRPUConfig]
FORGOTTEN = {
    "modifier.std_dev": WeightModifierParameter(std_dev=0.1),
    "modifier.pdrop": WeightModifierParameter(pdrop=0.1),
    "modifier.coeffs": WeightModifierParameter(coeffs=[1.0]),
    "clip.fixed_value": WeightClipParameter(fixed_value=1.0),
    "clip.sigma": WeightClipParameter(sigma=2.0),
    "remap.remapped_wmax": WeightRemapParameter(remapped_wmax=0.5),
}
KINDS = {
    "modifier": WeightModifierType.ADD_NORMAL,
    "clip": WeightClipType.LAYER_GAUSSIAN,
    "remap": WeightRemapType.CHANNELWISE_SYMMETRIC,
}


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ineffective, "_warned", set())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def config_of(cls: Any, path: str) -> Any:
    field = path.split(".")[0]
    return cls(**{field: copy.deepcopy(FORGOTTEN[path])})


@pytest.mark.parametrize("cls", CONFIGS)
@pytest.mark.parametrize("path", FORGOTTEN)
def test_a_forgotten_type_is_named_once(cls: Any, path: str) -> None:
    field = path.split(".")[0]
    with pytest.warns(UserWarning, match=f"{path} without effect, {field}.type is NONE"):
        AnalogLinear(4, 3, rpu_config=config_of(cls, path))
    AnalogLinear(4, 3, rpu_config=config_of(cls, path))
    config_of(cls, path).create_tile(2, 3)


@pytest.mark.parametrize("cls", CONFIGS)
@pytest.mark.parametrize("path", FORGOTTEN)
def test_with_a_type_nothing_is_said(cls: Any, path: str) -> None:
    config = config_of(cls, path)
    field = path.split(".")[0]
    getattr(config, field).type = KINDS[field]
    layer = AnalogLinear(4, 3, rpu_config=config)
    edit_config(layer, f"{field}.type", type(KINDS[field]).NONE)  # type: ignore[attr-defined]
    copy.deepcopy(layer).load_state_dict(layer.state_dict())


@pytest.mark.parametrize("cls", [*CONFIGS, StandardHWATrainingPreset])
def test_types_switch_off(cls: Any) -> None:
    config = cls()
    for field, kind in KINDS.items():
        getattr(config, field).type = type(kind).NONE  # type: ignore[attr-defined]
    AnalogLinear(4, 3, rpu_config=config)


def test_pulsed_tiles_have_no_such_fields() -> None:
    AnalogLinear(4, 3, rpu_config=SingleRPUConfig())
