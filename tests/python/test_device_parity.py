"""Devices and presets beside those of an installed aihwkit 1.2: responses to pulses, and updates.

The random numbers of aihwkit do not follow a seed, so limits are such that chance exceeds one of
them in about ten million. Its table of normals shifts the mean step by a fixed part of the noise,
for which 0.02 of the noise of a step is allowed.
"""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from mho.simulator import configs, presets
from mho.simulator.tiles import AnalogTile
from peer import peer_module
from pulsed import PULSED, Array, cases, formula

peer_configs = peer_module("aihwkit.simulator.configs")
peer_devices = peer_module("aihwkit.simulator.presets.devices")
peer_tiles = peer_module("aihwkit.simulator.tiles")

PRESETS = sorted(name for name in presets.devices.__all__ if hasattr(peer_devices, name))
ROWS, COLUMNS = 40, 50
PULSES = 80
# In these settings the formula of the peer is another one on purpose: references outside of which
# weights are set to the bounds of the raw weight, and resets of references.
SHIFTED = {"reference_mean", "reference_std", "subtract_symmetry_point"}
SETTINGS = [
    (name, at) for name, at in cases() if at and not SHIFTED & set(formula(name).SETTINGS[at - 1])
]


def device_of(module: Any, name: str, at: int = 0) -> Any:
    """Return a device or a preset of one of the packages."""
    if name in PRESETS:
        return getattr(presets.devices if module is configs else peer_devices, name)()
    fields = formula(name).SETTINGS[at - 1] if at else {}
    return getattr(module, f"{name}Device")(**fields)


def pair_of(name: str, at: int, rows: int, columns: int, **update: Any) -> list[Any]:
    """Return a tile of mho and one of the peer; each update makes one pulse of ``|x| = |d| = 1``.

    Without management, the probability of the only slot is the root of the learning rate over the
    granularity; twice that learning rate makes it certain for either package.
    """
    tiles = []
    for module, tile_class in ((configs, AnalogTile), (peer_configs, peer_tiles.AnalogTile)):
        kind = update.get("pulse_type", "STOCHASTIC_COMPRESSED")
        fields = update | {"pulse_type": getattr(module.PulseType, kind)}
        config = module.SingleRPUConfig(
            device=device_of(module, name, at), update=module.UpdateParameters(**fields)
        )
        tiles.append(tile_class(rows, columns, config))
    return tiles


ONE_SLOT = {"desired_bl": 1, "update_bl_management": False, "update_management": False}


def responses(name: str, at: int, up: bool, same: bool) -> list[Array]:
    """Return the weights of both packages after many pulses in one direction from weight 0."""
    pair = pair_of(name, at, ROWS, COLUMNS, **ONE_SLOT)
    if same:
        pair[0].set_hidden_parameters(pair[1].get_hidden_parameters())
    x, d = torch.ones(1, COLUMNS), (-1.0 if up else 1.0) * torch.ones(1, ROWS)
    found = []
    for tile in pair:
        tile.tile.set_weights(torch.zeros(ROWS, COLUMNS))
        tile.tile.set_learning_rate(1.0)
        tile.update(x.repeat(PULSES, 1), d.repeat(PULSES, 1))
        hidden = tile.get_hidden_parameters()
        weights = hidden.get("persistent_weights", tile.tile.get_weights())
        found.append(weights.double().numpy())
    return found


def bias(name: str, at: int) -> float:
    """Return what the peer's normals may shift the weight by after the pulses."""
    device = device_of(configs, name, at)
    add = getattr(device, "dw_min_std_add", 0.0) + getattr(device, "dw_min_std_slope", 0.0)
    # Steps of these devices are at most about three times those at weight zero.
    step = 3 * float(device.dw_min or 0.003)
    return float(0.02 * device.dw_min_std * (step + add) * PULSES)


RESPONSES = [(name, 0) for name in [*PULSED, *PRESETS]] + SETTINGS


@pytest.mark.parametrize(("name", "at"), RESPONSES)
@pytest.mark.parametrize("up", [True, False])
def test_responses_of_many_crosspoints(name: str, at: int, up: bool) -> None:
    """Mean, spread and quantiles over crosspoints that each package draws for itself."""
    ours, peers = responses(name, at, up, same=False)
    n, shift = ours.size, bias(name, at)
    variance = ours.var() + peers.var()
    assert abs(ours.mean() - peers.mean()) < 5.5 * np.sqrt(variance / n) + shift
    fourth = [((v - v.mean()) ** 2).var() for v in (ours, peers)]
    assert abs(ours.var() - peers.var()) < 5.5 * np.sqrt(sum(fourth) / n) + shift * variance**0.5
    # Crosspoints that do not move stay together; the others may be shifted.
    moved = peers + np.clip(ours.mean() - peers.mean(), -shift, shift)
    pairs = ((ours.ravel(), other.ravel()) for other in (peers, moved))
    assert max(stats.ks_2samp(*pair, method="asymp").pvalue for pair in pairs) > 1e-7


@pytest.mark.parametrize(("name", "at"), RESPONSES)
@pytest.mark.parametrize("up", [True, False])
def test_responses_of_equal_crosspoints(name: str, at: int, up: bool) -> None:
    """With the peer's hidden parameters only the noise of the pulses differs."""
    ours, peers = responses(name, at, up, same=True)
    difference = ours - peers
    error = 5.5 * difference.std() / difference.size**0.5
    assert abs(difference.mean()) < error + bias(name, at)
    # Where noise is small against the spread of the crosspoints, those are in the same order.
    noise = difference.std() / 2**0.5
    if noise < 0.3 * peers.std():
        assert np.corrcoef(ours.ravel(), peers.ravel())[0, 1] > 0.85


KINDS = [
    "STOCHASTIC_COMPRESSED",
    "STOCHASTIC",
    "MEAN_COUNT",
    "DETERMINISTIC_IMPLICIT",
    "NONE",
    "NONE_WITH_DEVICE",
]


@pytest.mark.parametrize("name", PULSED)
@pytest.mark.parametrize("kind", KINDS)
def test_moments_of_one_update(name: str, kind: str) -> None:
    """Mean and variance over repetitions at crosspoints with the same hidden parameters."""
    runs = 300
    x, d = torch.tensor([[0.8, -0.4, 0.1]]), torch.tensor([[0.5, -0.25]])
    pair = pair_of(name, 0, 2, 3, pulse_type=kind)
    if kind != "NONE":
        pair[0].set_hidden_parameters(pair[1].get_hidden_parameters())
    start = pair[1].get_hidden_parameters()
    low = start["min_bound"] if start else torch.full((2, 3), -0.1)
    samples = []
    for tile in pair:
        tile.tile.set_learning_rate(0.02)
        found = []
        for _ in range(runs):
            tile.tile.set_weights(0.2 * low)
            tile.update(x, d)
            found.append(tile.tile.get_weights())
        samples.append(torch.stack(found).double().numpy())
    means, variances = ([getattr(v, f)(0) for v in samples] for f in ("mean", "var"))
    # Up to eight pulses, up to 3e-3 each with a noise of 0.3.
    error = 5.5 * np.sqrt(sum(variances) / runs) + 0.02 * 0.3 * 3e-3 * 8 + 1e-6
    assert (np.abs(means[0] - means[1]) < error).all()
    fourth = sum(((v - v.mean(0)) ** 2).var(0) for v in samples)
    assert (np.abs(variances[0] - variances[1]) < 5.5 * np.sqrt(fourth / runs) + 1e-9).all()
    exact = kind.startswith("NONE")
    assert (variances[0].max() < 1e-12) == exact


def shifted(module: Any, tile_class: Any, name: str) -> Any:
    device = getattr(module, f"{name}Device")(reference_mean=0.3, w_max_dtod=0.0, w_min_dtod=0.0)
    device.dw_min_std = 0.0
    tile = tile_class(1, 1, module.SingleRPUConfig(device=device))
    tile.tile.set_weights(torch.tensor([[0.55]]))
    return tile


@pytest.mark.parametrize("name", ["SoftBoundsReference", "PowStepReference"])
def test_bounds_of_reference_devices_are_shifted(name: str) -> None:
    """The peer accepts a weight beyond the range, and the first pulse throws it back."""
    ours = shifted(configs, AnalogTile, name)
    peers = shifted(peer_configs, peer_tiles.AnalogTile, name)
    assert float(ours.tile.get_weights()) == pytest.approx(0.3, abs=1e-6)
    assert float(peers.tile.get_weights()) == pytest.approx(0.55, abs=1e-6)
    for tile in (ours, peers):
        tile.tile.set_learning_rate(0.001)
        tile.update(torch.ones(1, 1), torch.ones(1, 1))
    assert float(ours.tile.get_weights()) == pytest.approx(0.3, abs=3e-3)
    assert float(peers.tile.get_weights()) < 0.31


def test_a_reset_leads_to_the_symmetry_point() -> None:
    """The symmetry point is weight 0 once it is subtracted; the peer subtracts it twice."""
    found = []
    for module, tile_class in ((configs, AnalogTile), (peer_configs, peer_tiles.AnalogTile)):
        device = module.SoftBoundsReferenceDevice(
            subtract_symmetry_point=True, up_down=0.3, reset_std=0.0
        )
        tile = tile_class(20, 20, module.SingleRPUConfig(device=device))
        tile.tile.reset_columns(0, 20, 1.0)
        found.append(tile.tile.get_weights())
    assert float(found[0].abs().max()) == 0.0
    assert float(found[1].abs().mean()) > 0.05


def test_soft_bounds_pmax_departs() -> None:
    """The response of mho ends at `range_max` as documented; that of the peer does not."""
    ends = []
    for module, tile_class in ((configs, AnalogTile), (peer_configs, peer_tiles.AnalogTile)):
        spreads = dict.fromkeys(("dw_min_dtod", "up_down_dtod", "w_max_dtod", "w_min_dtod"), 0.0)
        device = module.SoftBoundsPmaxDevice(dw_min_std=0.0, **spreads)
        config = module.SingleRPUConfig(device=device, update=module.UpdateParameters(**ONE_SLOT))
        tile = tile_class(1, 1, config)
        tile.tile.set_weights(torch.tensor([[-1.0]]))
        tile.tile.set_learning_rate(1.0)
        tile.update(torch.ones(1000, 1), -torch.ones(1000, 1))
        ends.append(float(tile.tile.get_weights()))
    assert ends[0] == pytest.approx(1.0, abs=1e-3)
    assert ends[1] == pytest.approx(1.3559, abs=1e-3)


def test_granularity_of_exponential_steps_departs() -> None:
    """The peer takes the down step for both; at the defaults that is the same to 1e-5."""
    fields = {"A_up": 0.5, "gamma_up": 0.0, "A_down": 0.0, "dw_min": 0.01, "dw_min_std": 0.0}
    fields |= dict.fromkeys(("dw_min_dtod", "up_down_dtod"), 0.0)
    found = []
    for module, tile_class in ((configs, AnalogTile), (peer_configs, peer_tiles.AnalogTile)):
        config = module.SingleRPUConfig(
            device=module.ExpStepDevice(**fields),
            update=module.UpdateParameters(pulse_type=module.PulseType.DETERMINISTIC_IMPLICIT),
        )
        tile = tile_class(1, 1, config)
        tile.tile.set_weights(torch.zeros(1, 1))
        tile.tile.set_learning_rate(0.06)
        tile.update(torch.ones(1, 1), -torch.ones(1, 1))
        found.append(float(tile.tile.get_weights()) / 0.005)
    # Steps up have half of dw_min; the mean of up and down is 0.0075, so 8 pulses make 0.06.
    assert found == pytest.approx([8, 6], abs=1e-4)
