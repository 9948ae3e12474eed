"""The same devices, weights and operations in mho and in an installed aihwkit 1.2.

Operations without noise must agree to rounding. Both tiles get equal hidden parameters.
"""

from typing import Any

import pytest
import torch

from mho.simulator import configs
from mho.simulator.tiles import AnalogTile, FloatingPointTile
from peer import peer_module

peer_configs = peer_module("aihwkit.simulator.configs")
peer_tiles = peer_module("aihwkit.simulator.tiles")

DEVICES = (
    "ConstantStep", "LinearStep", "SoftBounds", "SoftBoundsReference", "ExpStep", "PowStep",
    "PowStepReference", "PiecewiseStep",
)  # fmt: skip


def pair(name: str, drift: dict[str, float], update: str | None = None) -> tuple[Any, Any]:
    """Tiles of mho and of aihwkit with the same devices and weights."""
    fields = {"lifetime": 10.0, "lifetime_dtod": 0.1, "reset": 0.05, "reset_dtod": 0.1}
    tiles = []
    for side, cls in ((configs, AnalogTile), (peer_configs, peer_tiles.analog.AnalogTile)):
        device = getattr(side, f"{name}Device")(
            **fields, reset_std=0.0, drift=side.DriftParameter(**drift)
        )
        config = side.SingleRPUConfig(device=device)
        if update is not None:
            config.update.pulse_type = side.PulseType(update)
        tiles.append(cls(5, 7, config))
    ours, peers = tiles
    if update is None:
        ours.set_hidden_parameters(peers.get_hidden_parameters())
    weight = 0.4 * torch.rand(5, 7) - 0.2
    for tile in tiles:
        tile.tile.set_weights(weight)
    return ours, peers


def assert_equal(ours: Any, peers: Any) -> None:
    # A few roundings of float32 in the peer, which computes in it throughout; weights are below 1.
    torch.testing.assert_close(
        ours.tile.get_weights(), peers.tile.get_weights(), rtol=0.0, atol=1e-6
    )


def drift_both(ours: Any, peers: Any, delta_t: float) -> None:
    ours.tile.drift_weights(delta_t)
    peers.tile.drift_weights(delta_t)
    assert_equal(ours, peers)


@pytest.mark.parametrize("name", DEVICES)
def test_operations(name: str) -> None:
    ours, peers = pair(name, {"nu": 0.1, "nu_dtod": 0.3, "t_0": 2.0})
    assert ours.tile.get_hidden_parameter_names() == peers.tile.get_hidden_parameter_names()
    assert_equal(ours, peers)
    for delta_t in (1.0, 5.0, 20.0):
        drift_both(ours, peers, delta_t)
    for tile in (ours, peers):
        tile.tile.decay_weights(0.5)  # changes all weights: the clocks start anew
    assert_equal(ours, peers)
    for delta_t in (7.0, 20.0):
        drift_both(ours, peers, delta_t)
    for tile in (ours, peers):
        tile.tile.reset_columns(5, 4, 1.0)
    assert_equal(ours, peers)
    drift_both(ours, peers, 3.0)


@pytest.mark.parametrize(
    "drift",
    [
        {"nu": 0.1},
        {"nu": 0.2, "t_0": 0.5, "wg_ratio": 0.5, "g_offset": 2.0, "nu_k": 0.05, "log_g0": -0.3},
        {"nu": 0.2, "w_offset": -0.5, "g_offset": 0.0, "reset_tol": 0.6},
    ],
)
def test_drift(drift: dict[str, float]) -> None:
    """Offsets of only one kind: with both, the peer has the other sign of `w_offset`."""
    if "w_offset" in drift:
        # A tolerance above |offset| turns the offset off in both, whatever its sign.
        assert abs(drift["w_offset"]) < drift["reset_tol"]
    ours, peers = pair("ConstantStep", drift)
    for delta_t in (0.5, 3.0, 10.0, 100.0):
        drift_both(ours, peers, delta_t)


def test_exact_updates_keep_drift() -> None:
    ours, peers = pair("ConstantStep", {"nu": 0.1, "t_0": 2.0}, update="None")
    for delta_t in (1.0, 5.0, 20.0):
        drift_both(ours, peers, delta_t)


def test_floating_point() -> None:
    tiles = []
    for side, cls in (
        (configs, FloatingPointTile),
        (peer_configs, peer_tiles.floating_point.FloatingPointTile),
    ):
        device = side.FloatingPointDevice(
            lifetime=10.0, drift=side.SimpleDriftParameter(nu=0.1, t_0=2.0)
        )
        tiles.append(cls(5, 7, side.FloatingPointRPUConfig(device=device)))
    weight = torch.randn(5, 7)
    for tile in tiles:
        tile.tile.set_weights(weight)
    for delta_t in (1.0, 5.0, 20.0):
        drift_both(*tiles, delta_t)
    for tile in tiles:
        tile.tile.decay_weights(3.0)
    assert_equal(*tiles)
    drift_both(*tiles, 2.0)
    drift_both(*tiles, 9.0)
