"""States that lack something or were damaged: refused with everything as it was, or harmless."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mho.exceptions import AihwkitException
from mho.nn import AnalogLinear, AnalogLinearMapped, AnalogSequential
from mho.simulator.configs import (
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
)
from mho.simulator.tiles.custom import CustomRPUConfig
from unchanged import differences, everything

State = dict[str, Any]


def pulsed() -> Any:
    """Pulsed tiles with hidden planes, lines, scales and an input range."""
    config = SingleRPUConfig(device=SoftBoundsDevice(write_noise_std=0.1))
    config.mapping.weight_scaling_omega = 0.5
    config.mapping.learn_out_scaling = True
    config.pre_post.input_range.enable = True
    config.forward.out_noise_std = 0.2
    return config


CONFIGS: dict[str, Callable[[], Any]] = {
    "pulsed": pulsed,
    "inference": InferenceRPUConfig,
    "floating point": FloatingPointRPUConfig,
    "torch": TorchInferenceRPUConfig,
    "custom": CustomRPUConfig,
}


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> Any:
    """Model of three tiles, two of them in an array, programmed if they can be."""
    config = CONFIGS[request.param]()
    config.mapping.max_input_size = 4
    config.mapping.max_output_size = 4
    model = AnalogSequential(
        AnalogLinear(4, 3, rpu_config=config), AnalogLinearMapped(3, 5, rpu_config=config)
    ).eval()
    if "inference" in request.param or request.param == "torch":
        model.drift_analog_weights(100.0)
    return model


def saved(model: Any) -> State:
    return {name: value.clone() for name, value in model.state_dict().items()}


def load(model: Any, state: State) -> bool:
    """Load a state; whether it was accepted. A refusal leaves everything as it was."""
    before = everything(model)
    try:
        model.load_state_dict(state)
    except (AihwkitException, RuntimeError):
        assert differences(before, everything(model)) == []
        return False
    return True


def text_of(state: State, name: str) -> State:
    header: State = json.loads(bytes(state[name].tolist()).decode())
    return header


def as_entry(header: Any) -> torch.Tensor:
    return torch.frombuffer(bytearray(json.dumps(header).encode()), dtype=torch.uint8).clone()


HEADERS: dict[str, Callable[[State], Any]] = {
    "foreign key": lambda h: h | {"other": 1},
    "foreign key instead of the format": lambda h: (
        {k: v for k, v in h.items() if k != "format"} | {"other": 1}
    ),
    "foreign key instead of the rate": lambda h: (
        {k: v for k, v in h.items() if k != "learning_rate"} | {"other": 1}
    ),
    "no configuration": lambda h: {k: v for k, v in h.items() if k != "rpu_config"} | {"a": 1},
    "no class": lambda h: {k: v for k, v in h.items() if k != "tile_class"} | {"a": 1},
    "no version": lambda h: {k: v for k, v in h.items() if k != "mho_version"} | {"a": 1},
    "class is a number": lambda h: h | {"tile_class": 3},
    "class is a list": lambda h: h | {"tile_class": ["AnalogTile"]},
    "configuration is a number": lambda h: h | {"rpu_config": 3},
    "configuration is none": lambda h: h | {"rpu_config": None},
    "format is a list": lambda h: h | {"format": [1]},
    "rate is text": lambda h: h | {"learning_rate": "0.1"},
    "rate is negative": lambda h: h | {"learning_rate": -1.0},
    "version is a number": lambda h: h | {"mho_version": 1},
    "a list": lambda h: list(h.items()),
    "nothing": lambda h: {},
}


@pytest.mark.parametrize("damage", HEADERS)
@pytest.mark.parametrize("which", [0, -1])
def test_damaged_headers_change_nothing(model: Any, damage: str, which: int) -> None:
    state = saved(model)
    name = [name for name in state if name.endswith("analog_tile_config")][which]
    state = {
        name: value if value.dtype is torch.uint8 else value * 0.5 for name, value in state.items()
    }
    state[name] = as_entry(HEADERS[damage](text_of(state, name)))
    assert not load(model, state)


VALUES: dict[str, Callable[[torch.Tensor], Any]] = {
    "NaN": lambda v: torch.full_like(v, torch.nan) if v.is_floating_point() else v - 2**62,
    "infinity": lambda v: torch.full_like(v, torch.inf) if v.is_floating_point() else v.double(),
    "another rank": lambda v: v[None].repeat(2, *[1] * v.dim()),
    "another type": lambda v: v.to(torch.complex64),
    "text": lambda v: "text",
    "none": lambda v: None,
    "a number": lambda v: 3,
}


@pytest.mark.parametrize("damage", VALUES)
def test_damaged_entries_change_nothing_or_are_complete(model: Any, damage: str) -> None:
    state = saved(model)
    accepted = [
        name for name, value in state.items() if load(model, {**state, name: VALUES[damage](value)})
    ]
    # Loading is complete where it is accepted: what can be saved can be loaded.
    assert load(model, saved(model))
    if damage in ("text", "none", "a number", "another type"):
        assert accepted == []


def test_missing_entries_change_nothing_and_say_which(model: Any) -> None:
    state = saved(model)
    for name in state:
        rest = {n: v for n, v in state.items() if n != name}
        before = everything(model)
        try:
            model.load_state_dict(rest)
        except RuntimeError as error:
            assert differences(before, everything(model)) == []
            assert name.rsplit(".", 1)[-1] in str(error), (name, error)
        else:
            # What may be absent in a state that is complete: nothing was programmed, no scales.
            assert any(
                part in name
                for part in ("programmed", "reference", "drift_", "mapping_scales", "alpha")
            ), name
            model.load_state_dict(state)


def test_lists_are_numbered_without_gaps(model: Any) -> None:
    state = saved(model)
    names = [name for name in state if "drift_noise_parameters." in name]
    for name in names:
        renamed = {n if n != name else name[:-1] + "7": v for n, v in state.items()}
        assert not load(model, renamed)
        renamed = {n if n != name else name[:-1] + "first": v for n, v in state.items()}
        assert not load(model, renamed)
