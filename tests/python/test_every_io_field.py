"""Every field and enum member of the product's parameters acts, or is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mho.exceptions import ConfigError
from mho.simulator.configs import (
    AnalogMVType,
    BoundManagementType,
    IOParameters,
    NoiseManagementType,
    SingleRPUConfig,
    WeightNoiseType,
)
from mho.simulator.tiles import AnalogTile

DEFAULTS = json.loads((Path(__file__).parent / "data" / "defaults.json").read_text())

# Everything off, so that one field can be seen to act.
QUIET = {
    "inp_res": -1.0,
    "out_res": -1.0,
    "out_noise": 0.0,
    "inp_bound": 1.0,
    "out_bound": 0.0,
    "noise_management": NoiseManagementType.NONE,
    "bound_management": BoundManagementType.NONE,
}
ITERATIVE = {
    "out_bound": 0.2,
    "inp_res": 1 / 126,
    "bound_management": BoundManagementType.ITERATIVE,
}
NP_SUM = {"noise_management": NoiseManagementType.ABS_MAX_NP_SUM, "inp_res": 1 / 126}
POS_NEG = {"mv_type": AnalogMVType.POS_NEG_SEPARATE}
AVERAGE = {"noise_management": NoiseManagementType.AVERAGE_ABS_MAX}

# field -> (what has to be on for it to act, a value that changes the result)
ACTS: dict[str, tuple[dict[str, Any], Any]] = {
    "is_perfect": ({"inp_res": 0.2}, True),
    "mv_type": ({"out_bound": 0.3}, AnalogMVType.POS_NEG_SEPARATE_DIGITAL_SUM),
    "inp_bound": ({}, 0.3),
    "inp_noise": ({}, 0.1),
    "inp_res": ({}, 0.2),
    "inp_sto_round": ({"inp_res": 0.2}, True),
    "inp_asymmetry": ({}, 0.1),
    "out_bound": ({}, 0.1),
    "out_noise": ({}, 0.1),
    "out_noise_std": ({"out_noise": 0.1}, 0.5),
    "out_res": ({"out_bound": 1.0}, 0.2),
    "out_sto_round": ({"out_bound": 1.0, "out_res": 0.2}, True),
    "out_scale": ({}, 2.0),
    "out_asymmetry": ({}, 0.1),
    "bound_management": ({"out_bound": 0.2}, BoundManagementType.ITERATIVE),
    "noise_management": ({}, NoiseManagementType.ABS_MAX),
    "w_noise": ({"w_noise_type": WeightNoiseType.PCM_READ}, 0.1),
    "w_noise_type": ({"w_noise": 0.1}, WeightNoiseType.ADDITIVE_CONSTANT),
    "ir_drop": ({"ir_drop_g_ratio": 100.0}, 1.0),
    "ir_drop_g_ratio": ({"ir_drop": 1.0}, 100.0),
    "out_nonlinearity": ({}, 0.5),
    "out_nonlinearity_std": ({"out_nonlinearity": 0.5}, 0.5),
    "slope_calibration": ({"out_nonlinearity": 0.5}, 0.5),
    "v_offset_std": ({}, 0.5),
    "v_offset_w_min": ({"v_offset_std": 0.5}, -0.5),
    "r_series": ({}, 0.1),
    "w_read_asymmetry_dtod": (POS_NEG, 0.3),
    "max_bm_factor": (ITERATIVE, 0),
    "max_bm_res": (ITERATIVE, 0.001),
    # Only the negated first sample has an output beyond this, and that one is negative.
    "bm_test_negative_bound": ({**ITERATIVE, "out_bound": 0.8}, False),
    "nm_thres": ({"noise_management": NoiseManagementType.ABS_MAX}, 0.5),
    "nm_assumed_wmax": ({**NP_SUM, "out_bound": 0.1}, 3.0),
    "nm_decay": (AVERAGE, 0.9),
}
# The quantiser shows the scale that noise management chose.
NEEDS_GRID = {"noise_management", "nm_thres", "nm_decay"}

# Choices that no product has; the message names the field.
REFUSED = {
    BoundManagementType.SHIFT: "bound_management",
    AnalogMVType.SPLIT_MODE: "mv_type",
    AnalogMVType.BIT_WISE: "mv_type",
}
FIELD_OF = {
    AnalogMVType: "mv_type",
    BoundManagementType: "bound_management",
    NoiseManagementType: "noise_management",
    WeightNoiseType: "w_noise_type",
}


def output(field: str, settings: dict[str, Any], direction: str) -> torch.Tensor:
    """Return two products of a fresh tile, the same one each time."""
    extra = {"inp_res": 1 / 14} if field in NEEDS_GRID else {}
    io = IOParameters(**{**QUIET, **extra, **settings})
    config = SingleRPUConfig(**{direction: io})
    torch.manual_seed(3)
    tile = AnalogTile(4, 4, config)
    tile.set_hidden_parameters(
        {
            name: torch.full_like(plane, {"max_bound": 1.0, "min_bound": -1.0}.get(name, 0.001))
            for name, plane in tile.get_hidden_parameters().items()
        }
    )
    weight = torch.tensor(
        [
            [0.5, -0.25, 0.125, 0.75],
            [-0.6, 0.3, 0.9, -0.15],
            [0.2, 0.8, -0.45, 0.05],
            [-0.7, 0.1, -0.6, 0.3],
        ]
    )
    tile.set_weights(weight)
    x = torch.tensor([[0.9, -0.37, 0.16, 0.62], [-0.4, 0.21, 0.7, -0.55]])
    x = torch.cat([x, -x[:1]])
    if direction == "forward":
        return torch.cat([tile.tile.forward(x), tile.tile.forward(x)])
    return torch.cat([tile.tile.backward(x), tile.tile.backward(x)])


# Bound management is part of the forward pass only.
FORWARD_ONLY = {"bound_management", "max_bm_factor", "max_bm_res", "bm_test_negative_bound"}


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("field", DEFAULTS["classes"]["IOParameters"]["fields"])
def test_field_acts(field: str, direction: str) -> None:
    """Changing the field changes the result, all draws being the same."""
    needed, value = ACTS[field]
    before = output(field, needed, direction)
    after = output(field, {**needed, field: value}, direction)
    acts = not torch.equal(before, after)
    assert acts == (direction == "forward" or field not in FORWARD_ONLY)


def test_nothing_is_listed_twice() -> None:
    """The table has the fields of the peer and the two that only this package has."""
    assert set(ACTS) == {
        *DEFAULTS["classes"]["IOParameters"]["fields"],
        "nm_assumed_wmax",
        "nm_decay",
    }


@pytest.mark.parametrize("field", ["nm_assumed_wmax", "nm_decay"])
def test_added_field_acts(field: str) -> None:
    """Fields that the peer does not expose."""
    needed, value = ACTS[field]
    before = output(field, needed, "forward")
    assert not torch.equal(before, output(field, {**needed, field: value}, "forward"))


@pytest.mark.parametrize("member", [m for enum in FIELD_OF for m in enum], ids=str)
def test_choice_runs_or_is_refused(member: Any) -> None:
    """Every member of every enumeration gives a finite result or an error that names the field."""
    field = FIELD_OF[type(member)]
    settings = {field: member, "inp_res": 1 / 126, "w_noise": 0.1, "out_bound": 1.0}
    if member in REFUSED:
        with pytest.raises(ConfigError, match=REFUSED[member]):
            output(field, settings, "forward")
    else:
        assert bool(torch.isfinite(output(field, settings, "forward")).all())


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize(
    "field", ["inp_noise", "out_noise", "out_noise_std", "w_noise", "ir_drop", "v_offset_std"]
)
def test_strengths_below_zero_are_off(field: str, direction: str) -> None:
    needed, value = ACTS[field]
    off = output(field, {**needed, field: 0.0}, direction)
    torch.testing.assert_close(
        output(field, {**needed, field: -value}, direction), off, rtol=0.0, atol=0.0
    )
