"""What every option of the analog product costs, relative to the default."""

from collections.abc import Iterator
from typing import Any

import torch

from libraries import Library
from timing import Row, measure

SIZE, BATCH = 512, 128
OPTIONS: dict[str, dict[str, Any]] = {
    "is_perfect": {"is_perfect": True},
    "no noise management": {"noise_management": "NONE"},
    "no bound management": {"bound_management": "NONE"},
    "AVERAGE_ABS_MAX": {"noise_management": "AVERAGE_ABS_MAX"},
    "ABS_MAX_NP_SUM": {"noise_management": "ABS_MAX_NP_SUM"},
    "ITERATIVE_WORST_CASE": {"bound_management": "ITERATIVE_WORST_CASE"},
    "retries of all rows": {"out_bound": 0.25},
    "inp_noise": {"inp_noise": 0.05},
    "no out_noise": {"out_noise": 0.0},
    "inp_sto_round": {"inp_sto_round": True},
    "out_sto_round": {"out_sto_round": True},
    "inp_asymmetry": {"inp_asymmetry": 0.1},
    "out_asymmetry": {"out_asymmetry": 0.1},
    "out_noise_std": {"out_noise_std": 0.2},
    "w_noise ADDITIVE_CONSTANT": {"w_noise": 0.02, "w_noise_type": "ADDITIVE_CONSTANT"},
    "w_noise PCM_READ": {"w_noise": 0.02, "w_noise_type": "PCM_READ"},
    "ir_drop": {"ir_drop": 1.0},
    "out_nonlinearity": {"out_nonlinearity": 0.1},
    "r_series": {"r_series": 0.01},
    "v_offset_std": {"v_offset_std": 0.05},
    "POS_NEG_SEPARATE": {"mv_type": "POS_NEG_SEPARATE"},
    "POS_NEG_SEPARATE_DIGITAL_SUM": {"mv_type": "POS_NEG_SEPARATE_DIGITAL_SUM"},
}
ENUMS = {
    "noise_management": "NoiseManagementType",
    "bound_management": "BoundManagementType",
    "mv_type": "AnalogMVType",
    "w_noise_type": "WeightNoiseType",
}


def option_rows(library: Library, threads: int) -> Iterator[Row]:
    """Time the forward product of an inference tile with one option changed at a time."""
    x = torch.randn(BATCH, SIZE)
    default = _tile(library, {})
    for name, fields in OPTIONS.items():
        changed = _tile(library, fields)
        with torch.no_grad():
            seconds = measure(
                {"default": lambda: default(x), "mho": lambda changed=changed: changed(x)}, 0.3
            )
        cost = seconds["mho"] / seconds["default"]
        yield Row(f"option {name}", threads, seconds, notes={"of default": cost})


def _tile(library: Library, fields: dict[str, Any]) -> torch.nn.Module:
    config = library.configs.InferenceRPUConfig()
    for name, value in fields.items():
        member = getattr(getattr(library.configs, ENUMS[name]), value) if name in ENUMS else value
        setattr(config.forward, name, member)
    tile = library.tiles.InferenceTile(SIZE, SIZE, config)
    tile.set_weights(0.05 * torch.randn(SIZE, SIZE))
    return tile.eval()
