"""Steps interpolated between nodes."""

from typing import Any

import numpy as np
import pytest

from mho.exceptions import ConfigError
from pulsed import Array, build, tile_of

SETTINGS: list[dict[str, Any]] = [
    {"piecewise_up": [1.5, 0.2, 1.0, -0.3], "piecewise_down": [0.0, 1.0, 0.4, 2.0]},
    {"piecewise_up": [2, 0.1], "piecewise_down": [0, 2], "write_noise_std": 2.0},
    {"piecewise_up": [1 + (k % 3) for k in range(100)], "piecewise_down": [1.5] * 100},
]


def size(w: Array, up: bool, cell: Any, device: Any) -> Any:
    step, nodes = (
        (cell.dwmin_up, device.piecewise_up) if up else (cell.dwmin_down, device.piecewise_down)
    )
    last = len(nodes) - 1
    if last == 0:
        return step * nodes[0]
    u = np.clip((w - cell.min_bound) / (cell.max_bound - cell.min_bound) * last, 0, last)
    return step * np.interp(u, np.arange(last + 1), nodes)


@pytest.mark.parametrize(("nodes", "middle"), [([3], 3), ([1, 2], 2), ([1, 2, 4], 2)])
def test_granularity_is_the_middle_node(nodes: list[float], middle: float) -> None:
    device = build("PiecewiseStep", piecewise_up=nodes, piecewise_down=[1] * len(nodes))
    assert tile_of(device, 1, 1).tile.spec.weight_granularity == 0.001 * middle


@pytest.mark.parametrize(
    ("up", "down"), [([1, 2], [1]), ([], []), ([1.0] * 1025, [1.0] * 1025), ([1, 0, 1], [1, 1, 1])]
)
def test_impossible_nodes_are_named(up: list[float], down: list[float]) -> None:
    with pytest.raises(ConfigError, match="piecewise_up"):
        tile_of(build("PiecewiseStep", piecewise_up=up, piecewise_down=down), 1, 1)
