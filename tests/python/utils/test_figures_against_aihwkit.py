"""Pulse responses and statistics equal those of aihwkit where nothing is random."""

import numpy as np
import pytest

from mho.simulator import configs
from mho.utils import visualization
from peer import peer_module

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
peer_configs = peer_module("aihwkit.simulator.configs")
peer_visualization = peer_module("aihwkit.utils.visualization")

QUIET = {
    "dw_min": 0.02,
    "dw_min_dtod": 0.0,
    "dw_min_std": 0.0,
    "up_down_dtod": 0.0,
    "w_max_dtod": 0.0,
    "w_min_dtod": 0.0,
}
DEVICES = {
    "ConstantStepDevice": {},
    "SoftBoundsDevice": {},
    "ExpStepDevice": {},
    "PowStepDevice": {"pow_gamma_dtod": 0.0},
    "PiecewiseStepDevice": {"piecewise_up": [1.0, 0.4], "piecewise_down": [0.3, 1.2]},
}
DIRECTION = np.tile(np.repeat([1.0, -1.0], 50), 2)


@pytest.mark.parametrize("name", DEVICES)
def test_equal_responses_and_statistics(name: str) -> None:
    results = []
    for config, plots in ((configs, visualization), (peer_configs, peer_visualization)):
        device = getattr(config, name)(**QUIET, **DEVICES[name])
        rpu_config = config.SingleRPUConfig(device=device)
        tile = plots.get_tile_for_plotting(rpu_config, 2)
        results.append((plots.compute_pulse_response(tile, DIRECTION), rpu_config, plots))
    (ours, our_config, _), (theirs, their_config, _) = results
    # Both round to float32 at every pulse, at most one unit in the last place apart in each.
    np.testing.assert_allclose(ours, theirs, atol=len(DIRECTION) * 2**-24)
    nodes = np.linspace(-0.5, 0.5, 12)
    for up_direction in (True, False):
        statistics = [
            plots.compute_pulse_statistics(nodes, theirs, DIRECTION, up_direction, 0.5)
            for _, _, plots in results
        ]
        # The same sums in float64 in another order.
        np.testing.assert_allclose(statistics[0], statistics[1], atol=1e-12)
    assert visualization.estimate_n_steps(our_config) == pytest.approx(
        peer_visualization.estimate_n_steps(their_config), abs=1
    )
