"""Devices without variation, shared by tests."""

from typing import Any

import torch
from torch import Tensor

from mho.simulator.configs import ConstantStepDevice, SingleRPUConfig
from mho.simulator.tiles import AnalogTile

SPREADS = ("dw_min_dtod", "dw_min_std", "up_down_dtod", "w_max_dtod", "w_min_dtod")


def clean(cls: type[Any] = ConstantStepDevice, **fields: Any) -> Any:
    """Device without any variation and wide bounds."""
    return cls(**dict.fromkeys(SPREADS, 0.0) | {"w_max": 1.0, "w_min": -1.0} | fields)


def tile_of(device: Any, rows: int = 3, columns: int = 4, **config: Any) -> AnalogTile:
    """Pulsed tile of a device."""
    return AnalogTile(rows, columns, SingleRPUConfig(device=device, **config))


def raw(tile: Any) -> Tensor:
    """Raw weights."""
    weights: Tensor = tile.tile.get_weights()
    return weights


def assert_moments(values: Tensor, mean: float, std: float) -> None:
    """Mean and deviation of normal draws are within five standard errors."""
    n, values = values.numel(), values.double()
    assert abs(float(values.mean()) - mean) < 5 * std / n**0.5
    assert abs(float(values.std()) - std) < 5 * std / (2 * n) ** 0.5


def assert_near(found: Tensor, expected: Tensor, atol: float = 1.2e-7) -> None:
    """Results rounded to float32 once, of weights up to one, agree with a formula."""
    torch.testing.assert_close(found, expected.to(found), atol=atol, rtol=0.0)
