"""Modified, clipped and remapped weights are distributed as those of an installed aihwkit."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mho.simulator import configs
from mho.simulator.parameters.enums import WeightModifierType, WeightRemapType
from peer import assert_same_distribution, peer_module

peer_configs = peer_module("aihwkit.simulator.configs")
peer_parameters = peer_module("aihwkit.simulator.configs.utils")

SAMPLES = 20_000
VALUES = torch.tensor([1.0, -0.7, 0.4, 0.26, -0.11, 0.05, 0.0, -1e-3, 0.8, 0.33]) * 0.5
PCM = [0.26348, 1.9650, -1.1731]
T = WeightModifierType

CORE: dict[str, tuple[WeightModifierType, dict[str, Any]]] = {
    "discretize": (T.DISCRETIZE, {"res": 0.1}),
    "discretize at random": (T.DISCRETIZE, {"res": 0.3, "sto_round": True}),
    "mult": (T.MULT_NORMAL, {"std_dev": 0.2}),
    "mult assumed": (
        T.MULT_NORMAL,
        {"std_dev": 0.2, "rel_to_actual_wmax": False, "assumed_wmax": 2.0},
    ),
    "add": (T.ADD_NORMAL, {"std_dev": 0.2}),
    "add kept": (T.ADD_NORMAL, {"std_dev": 0.2, "copy_last_column": True}),
    "add dropped": (T.ADD_NORMAL, {"std_dev": 0.2, "pdrop": 0.3}),
    "both": (T.DISCRETIZE_ADD_NORMAL, {"std_dev": 0.1, "res": 0.2}),
    "dorefa": (T.DOREFA, {"res": 0.13}),
    "dorefa at random": (T.DOREFA, {"res": 0.13, "sto_round": True, "dorefa_clip": 0.8}),
    "poly": (T.POLY, {"std_dev": 1.0}),
    "poly own": (T.POLY, {"std_dev": 1.0, "coeffs": [0.1, 0.2, -0.05]}),
    "prog": (T.PROG_NOISE, {"std_dev": 1.0, "coeffs": PCM}),
    "prog g_max": (T.PROG_NOISE, {"std_dev": 1.0, "coeffs": PCM, "g_max": 10.0}),
    "drop": (T.DROP_CONNECT, {"pdrop": 0.3}),
    "copy": (T.COPY, {"pdrop": 0.3}),
}
TORCH: dict[str, tuple[WeightModifierType, dict[str, Any]]] = {
    "discretize": (T.DISCRETIZE, {"res": 0.1}),
    "discretize steps": (T.DISCRETIZE, {"res": 7.0}),
    "discretize at random": (T.DISCRETIZE, {"res": 0.15, "sto_round": True}),
    "mult": (T.MULT_NORMAL, {"std_dev": 0.2}),
    "add": (T.ADD_NORMAL, {"std_dev": 0.2}),
    "add assumed": (
        T.ADD_NORMAL,
        {"std_dev": 0.2, "rel_to_actual_wmax": False, "assumed_wmax": 2.0},
    ),
    "copy": (T.COPY, {}),
}


def passes(side: Any, name: str, kind: WeightModifierType, fields: dict[str, Any]) -> np.ndarray:
    """Return weights that a training pass uses, one draw per row."""
    torch.manual_seed(4)
    config = getattr(side, name)()
    config.forward.is_perfect = True
    enums = peer_parameters if side is peer_configs else configs
    config.modifier = enums.WeightModifierParameter(
        type=getattr(enums.WeightModifierType, kind.name), **fields
    )
    tile = config.tile_class(SAMPLES, len(VALUES), config)
    tile.set_weights(VALUES.expand(SAMPLES, -1).contiguous())
    tile.train()
    tile.post_update_step()
    with torch.no_grad():
        seen: Tensor = tile(torch.eye(len(VALUES)))
    return seen.t().double().numpy()


@pytest.mark.parametrize("name", CORE)
def test_tiles_of_the_core(name: str) -> None:
    ours = passes(configs, "InferenceRPUConfig", *CORE[name])
    peers = passes(peer_configs, "InferenceRPUConfig", *CORE[name])
    assert_same_distribution(ours, peers, 0.0)


@pytest.mark.parametrize("name", TORCH)
def test_tiles_in_torch(name: str) -> None:
    ours = passes(configs, "TorchInferenceRPUConfig", *TORCH[name])
    peers = passes(peer_configs, "TorchInferenceRPUConfig", *TORCH[name])
    assert_same_distribution(ours, peers, 0.0)


@pytest.mark.parametrize("kind", ["FIXED_VALUE", "LAYER_GAUSSIAN", "AVERAGE_CHANNEL_MAX"])
@pytest.mark.parametrize("fixed", [-1.0, 0.25])
def test_clipping(kind: str, fixed: float) -> None:
    weight = torch.tensor([[0.5, -0.4, 1.0], [0.1, -0.25, 0.2]])
    found = []
    for side, enums in ((configs, configs), (peer_configs, peer_parameters)):
        config = side.InferenceRPUConfig()
        config.clip = enums.WeightClipParameter(
            type=getattr(enums.WeightClipType, kind), sigma=1.0, fixed_value=fixed
        )
        tile = config.tile_class(2, 3, config)
        tile.set_weights(weight)
        tile.post_update_step()
        found.append(tile.get_weights()[0])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", ["InferenceRPUConfig", "TorchInferenceRPUConfig"])
@pytest.mark.parametrize(
    ("kind", "limits"),
    [
        (WeightRemapType.LAYERWISE_SYMMETRIC, {}),
        (WeightRemapType.CHANNELWISE_SYMMETRIC, {}),
        (WeightRemapType.CHANNELWISE_SYMMETRIC, {"remapped_wmax": 0.5}),
        (WeightRemapType.CHANNELWISE_SYMMETRIC, {"max_scale_range": 2.0}),
        (WeightRemapType.CHANNELWISE_SYMMETRIC, {"max_scale_range": 1.5, "max_scale_ref": 1.0}),
    ],
)
def test_remapping(name: str, kind: WeightRemapType, limits: dict[str, float]) -> None:
    weight = torch.tensor([[2.0, -1.6, 4.0], [0.4, -1.0, 0.8]])
    if limits and name.startswith("Torch"):
        pytest.skip("aihwkit refuses it on torch tiles")
    found = []
    for side, enums in ((configs, configs), (peer_configs, peer_parameters)):
        config = getattr(side, name)()
        config.remap = enums.WeightRemapParameter(
            type=getattr(enums.WeightRemapType, kind.name), **limits
        )
        config.mapping.weight_scaling_columnwise = True
        tile = config.tile_class(2, 3, config)
        tile.set_weights(weight)
        tile.set_scales(torch.tensor([0.7, 3.0]))
        tile.post_update_step()
        found.append((tile.get_weights(False)[0], tile.get_scales()))
    torch.testing.assert_close(*found)
