"""States that lack something or were damaged: refused with everything as it was, or harmless.

The kinds of damage one by one; `fuzz/damage_cases.py` does them and others at random.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fuzz.damage import HEADERS, VALUES, State, as_entry, header_of
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


@pytest.mark.parametrize("damage", HEADERS)
@pytest.mark.parametrize("which", [0, -1])
def test_damaged_headers_change_nothing(model: Any, damage: str, which: int) -> None:
    state = saved(model)
    name = [name for name in state if name.endswith("analog_tile_config")][which]
    state = {
        name: value if value.dtype is torch.uint8 else value * 0.5 for name, value in state.items()
    }
    state[name] = as_entry(HEADERS[damage](header_of(state[name])))
    assert not load(model, state)


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
