"""Constant steps."""

from typing import Any

import numpy as np

from pulsed import Array, build, put, raw, tile_of

SETTINGS: list[dict[str, Any]] = [{"up_down": 0.3, "dw_min_dtod_log_normal": True}]


def size(w: Array, up: bool, cell: Any, device: Any) -> Any:
    return cell.dwmin_up if up else cell.dwmin_down


def test_steps_do_not_depend_on_the_weight() -> None:
    import torch

    tile = tile_of(build("ConstantStep", dw_min_std=0.0, w_max_dtod=0.0, w_min_dtod=0.0), 3, 50)
    changes = []
    for w in (-0.3, 0.0, 0.4):
        start = put(tile, np.full((3, 50), w))
        tile.update(-torch.ones(1, 50), torch.ones(1, 3))
        changes.append(raw(tile) - start)
    # Weights below 0.5 are rounded by 1.5e-8 at most, the start is exact.
    np.testing.assert_allclose(changes[1], changes[0], atol=3e-8)
    np.testing.assert_allclose(changes[1], changes[2], atol=3e-8)
