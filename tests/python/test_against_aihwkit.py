"""The same inputs through mho and through an installed aihwkit 1.2.

Noiseless paths must agree to float rounding, noisy ones in mean and variance. Settings in which mho
differs on purpose (docs/porting.md) are left out of the drawn parameter sets.
"""

from typing import Any

import numpy as np
import pytest
import torch

from mho import _core
from mho.nn import AnalogLinear
from mho.simulator import configs
from mho.simulator.tiles import AnalogTile, InferenceTile
from peer import assert_same_distribution, peer_module

peer_configs = peer_module("aihwkit.simulator.configs")
peer_tiles = peer_module("aihwkit.simulator.tiles")
peer_nn = peer_module("aihwkit.nn")

ROWS = 8000
OUT, IN = 5, 7
# Peer defects surface where two flags meet in these fields, see docs/porting.md.
MV_TYPES = ("ONE_PASS", "POS_NEG_SEPARATE", "POS_NEG_SEPARATE_DIGITAL_SUM")


class Draw:
    """Random choices for one parameter set."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def maybe(self, probability: float, low: float, high: float, off: float = 0.0) -> float:
        """Return a number in [low, high) with the given probability, else ``off``."""
        return float(self.rng.uniform(low, high)) if self.rng.random() < probability else off

    def one_of(self, *choices: Any) -> Any:
        """Return one of the choices."""
        return choices[self.rng.integers(len(choices))]


def converters(draw: Draw) -> dict[str, Any]:
    """Return fields of the DAC, of the ADC and of their management."""
    noise_management = draw.one_of(
        "NONE", "ABS_MAX", "ABS_MAX", "ABS_MAX_NP_SUM", "MAX", "CONSTANT", "AVERAGE_ABS_MAX"
    )
    bounds = ("NONE", "ITERATIVE", "ITERATIVE_WORST_CASE")
    bound_management = draw.one_of(*bounds[: 2 if noise_management == "NONE" else 3])
    return {
        "noise_management": noise_management,
        "bound_management": bound_management,
        "inp_bound": 1.0 if noise_management != "NONE" else draw.one_of(-1.0, 1.0, 0.7),
        "inp_res": draw.one_of(-1.0, 1 / 126, 1 / 30, 62.0),
        "inp_sto_round": draw.one_of(False, False, True),
        "out_bound": draw.one_of(-1.0, 12.0, 1.5, 0.4),
        "out_res": draw.one_of(-1.0, 1 / 510, 1 / 62, 30.0),
        "out_sto_round": draw.one_of(False, False, True),
        "nm_thres": draw.one_of(0.0, 0.0, 1.3),
        "max_bm_factor": draw.one_of(1000, 3),
        "max_bm_res": draw.one_of(0.25, 0.1),
        "out_scale": draw.maybe(0.3, 0.5, 2),
    } | {"mv_type": draw.one_of(*MV_TYPES)}


def imperfections(draw: Draw) -> dict[str, Any]:
    """Return fields of noise, asymmetry, wires and nonlinearity."""
    fields = {
        "inp_noise": draw.maybe(0.3, 0.01, 0.1),
        "inp_asymmetry": draw.maybe(0.3, -0.2, 0.2),
        "out_noise": draw.maybe(0.6, 0.02, 0.2),
        "out_noise_std": draw.maybe(0.3, 0.1, 0.5),
        "out_asymmetry": draw.maybe(0.3, 0.05, 0.2),
        "ir_drop": draw.maybe(0.3, 0.5, 1.5),
        "ir_drop_g_ratio": draw.one_of(1 / 0.35 / 5e-6, 500.0),
        "out_nonlinearity": draw.maybe(0.3, 0.1, 0.6),
        "out_nonlinearity_std": draw.maybe(0.3, 0.1, 0.4),
        "slope_calibration": draw.maybe(0.3, 0.2, 0.6),
        "r_series": draw.maybe(0.3, 0.01, 0.1),
        "v_offset_w_min": draw.one_of(-1.0, 0.0, -0.5),
        "w_read_asymmetry_dtod": draw.maybe(0.3, 0.05, 0.2),
    }
    kind = draw.one_of("NONE", "ADDITIVE_CONSTANT", "PCM_READ")
    return fields | {"w_noise_type": kind, "w_noise": draw.maybe(0.7, 0.02, 0.1)}


ENUMS = {
    "noise_management": "NoiseManagementType",
    "bound_management": "BoundManagementType",
    "mv_type": "AnalogMVType",
    "w_noise_type": "WeightNoiseType",
}


def io_parameters(module: Any, fields: dict[str, Any]) -> Any:
    """Return the IO parameters of either package from names of enum members and plain values."""
    values = {
        name: getattr(getattr(module, ENUMS[name]), value) if name in ENUMS else value
        for name, value in fields.items()
    }
    return module.IOParameters(**values)


def tile_pair(direction: str, fields: dict[str, Any], weight: torch.Tensor) -> tuple[Any, Any]:
    """Return a tile of mho and one of the peer with equal weights and equal frozen values."""
    pair = []
    for module, tile_class in ((configs, AnalogTile), (peer_configs, peer_tiles.AnalogTile)):
        config = module.SingleRPUConfig(device=module.IdealDevice())
        setattr(config, direction, io_parameters(module, fields))
        tile = tile_class(*weight.shape, config)
        tile.set_weights(weight)
        pair.append(tile)
    ours, peers = pair
    frozen = getattr(peers, f"get_{direction}_parameters")()
    getattr(ours, f"set_{direction}_parameters")(frozen)
    return ours, peers


def run_both(direction: str, seed: int, columns: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return what both packages make of many copies of one random row."""
    draw = Draw(seed)
    fields = converters(draw) | imperfections(draw)
    fields["out_scale"] = fields["out_scale"] or 1.0
    generator = torch.Generator().manual_seed(seed)
    weight = 0.4 * torch.randn(OUT, IN, generator=generator)
    row = torch.randn(1, columns, generator=generator)
    ours, peers = tile_pair(direction, fields, weight)
    method = "forward" if direction == "forward" else "backward"
    with torch.no_grad():
        values = [
            getattr(tile, method)(row.repeat(ROWS, 1)).double().numpy() for tile in (ours, peers)
        ]
    resolution = np.abs(values[1]).max() if fields["out_res"] > 0 or fields["inp_res"] > 0 else 0
    return values[0], values[1], float(resolution)


@pytest.mark.parametrize("seed", range(120))
def test_forward_of_random_parameters(seed: int) -> None:
    ours, peers, resolution = run_both("forward", seed, IN)
    assert_same_distribution(ours, peers, resolution)


@pytest.mark.parametrize("seed", range(1000, 1060))
def test_backward_of_random_parameters(seed: int) -> None:
    ours, peers, resolution = run_both("backward", seed, OUT)
    assert_same_distribution(ours, peers, resolution)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_noiseless_default_product_is_equal(direction: str) -> None:
    weight = 0.3 * torch.randn(OUT, IN)
    ours, peers = tile_pair(direction, {"out_noise": 0.0}, weight)
    data = torch.randn(50, IN if direction == "forward" else OUT)
    with torch.no_grad():
        values = [getattr(tile, direction)(data).numpy() for tile in (ours, peers)]
    # Both quantise in float32; no drawn value lies within rounding of a half-way point.
    np.testing.assert_allclose(values[0], values[1], atol=2e-6)


@pytest.mark.parametrize("name", sorted(set(_core.device_names()) - {"FloatingPoint", "Ideal"}))
@pytest.mark.parametrize("up", [True, False])
def test_one_pulse_with_the_peers_devices(name: str, up: bool) -> None:
    pair = []
    for module, tile_class in ((configs, AnalogTile), (peer_configs, peer_tiles.AnalogTile)):
        device = getattr(module, f"{name}Device")(dw_min_std=0.0)
        update = module.UpdateParameters(
            desired_bl=1, update_bl_management=False, update_management=False
        )
        pair.append(tile_class(OUT, IN, module.SingleRPUConfig(device=device, update=update)))
    ours, peers = pair
    ours.set_hidden_parameters(peers.get_hidden_parameters())
    weight = 0.1 * torch.randn(OUT, IN)
    for tile in pair:
        tile.set_weights(weight)
        # The only slot fires with certainty, whatever the granularity.
        tile.set_learning_rate(1.0)
        tile.update(torch.ones(1, IN), (-1.0 if up else 1.0) * torch.ones(1, OUT))
    after = [tile.get_weights()[0] for tile in pair]
    assert not torch.equal(after[0], weight)
    torch.testing.assert_close(after[0], after[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["ConstantStep", "SoftBounds"])
@pytest.mark.parametrize("lr", [0.0005, 0.02, 0.2])
def test_update_statistics(name: str, lr: float) -> None:
    """Below one coincidence, some, and saturated: mean and variance over repetitions."""
    x, d = torch.tensor([[0.8, -0.4, 0.1]]), torch.tensor([[0.5, -0.25]])
    samples = []
    for module, tile_class in ((configs, AnalogTile), (peer_configs, peer_tiles.AnalogTile)):
        clean = dict.fromkeys(("dw_min_dtod", "up_down_dtod", "w_max_dtod", "w_min_dtod"), 0.0)
        tile = tile_class(
            2, 3, module.SingleRPUConfig(device=getattr(module, f"{name}Device")(**clean))
        )
        tile.set_learning_rate(lr)
        runs = []
        for _ in range(2000):
            tile.set_weights(torch.full((2, 3), 0.1))
            tile.update(x, d)
            runs.append(tile.get_weights()[0].double().numpy())
        samples.append(np.stack(runs))
    assert_same_distribution(samples[0], samples[1], 0.001)


def test_no_pulses_is_exact_descent() -> None:
    x, d = torch.randn(20, IN), torch.randn(20, OUT)
    results = []
    for module, tile_class in ((configs, AnalogTile), (peer_configs, peer_tiles.AnalogTile)):
        config = module.SingleRPUConfig(
            update=module.UpdateParameters(pulse_type=module.PulseType.NONE)
        )
        tile = tile_class(OUT, IN, config)
        tile.set_weights(0.1 * torch.ones(OUT, IN))
        tile.set_learning_rate(0.01)
        tile.update(x, d)
        results.append(tile.get_weights()[0])
    torch.testing.assert_close(results[0], results[1], atol=1e-6, rtol=1e-5)


def hardware_aware_config(module: Any, **mapping: Any) -> Any:
    """Return an inference configuration without noise."""
    config = module.InferenceRPUConfig()
    config.forward.out_noise = 0.0
    config.mapping = module.MappingParameter(**mapping)
    return config


@pytest.mark.parametrize(
    "mapping",
    [
        {},
        {"weight_scaling_omega": 0.6},
        {"weight_scaling_omega": 0.6, "weight_scaling_columnwise": True},
        {"weight_scaling_omega": 0.6, "learn_out_scaling": True, "out_scaling_columnwise": True},
    ],
)
def test_gradients_of_an_inference_layer(mapping: dict[str, Any]) -> None:
    x, target = torch.randn(9, IN), torch.randn(9, OUT)
    found = []
    for module, layer_class in ((configs, AnalogLinear), (peer_configs, peer_nn.AnalogLinear)):
        torch.manual_seed(3)
        layer = layer_class(IN, OUT, rpu_config=hardware_aware_config(module, **mapping))
        data = x.clone().requires_grad_()
        loss = ((layer(data) - target) ** 2).sum()
        loss.backward()
        gradients = {
            name: parameter.grad
            for name, parameter in layer.named_parameters()
            if parameter.grad is not None
        }
        found.append((loss.detach(), data.grad, gradients))
    torch.testing.assert_close(found[0][:2], found[1][:2], atol=1e-4, rtol=1e-4)
    peers = found[1][2]
    assert found[0][2].keys() == peers.keys()
    torch.testing.assert_close(found[0][2], peers, atol=1e-4, rtol=1e-4)


def test_input_range_gradient() -> None:
    x = 3 * torch.randn(64, IN)
    found = []
    for module, tile_class in ((configs, InferenceTile), (peer_configs, peer_tiles.InferenceTile)):
        config = hardware_aware_config(module)
        config.forward.is_perfect = True
        config.pre_post.input_range.enable = True
        config.pre_post.input_range.init_from_data = 0
        tile = tile_class(OUT, IN, config)
        tile.set_weights(torch.linspace(-0.5, 0.5, OUT * IN).reshape(OUT, IN))
        tile.set_input_range(2.0)
        data = x.clone().requires_grad_()
        y = tile(data)
        y.square().sum().backward()
        found.append((y.detach(), data.grad, tile.input_range.grad))
    torch.testing.assert_close(found[0], found[1], atol=1e-3, rtol=1e-5)
