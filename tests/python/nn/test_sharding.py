"""Wrappers that shard parameters are refused: products and steps of tiles need whole weights."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn
from torch.nn.utils import parametrize, prune

from mho.exceptions import TileModuleError
from mho.nn import AnalogLinear
from mho.simulator.configs import InferenceRPUConfig, SingleRPUConfig, TorchInferenceRPUConfig


@pytest.mark.skipif(not distributed.is_available(), reason="torch without torch.distributed")
def test_sharded_models() -> None:
    """Optimizers would train shards, after whose steps nothing would be clipped or remapped."""
    worker = Path(__file__).parent / "sharding_worker.py"
    done = subprocess.run(
        [sys.executable, str(worker)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) >= 6
    for case, error in found.items():
        assert error, case
        assert error[0] == "TileModuleError", case
        assert "cannot be sharded" in error[1] and "DistributedDataParallel" in error[1], case


@pytest.mark.parametrize("value", [torch.zeros(4, 5), nn.Parameter(torch.zeros(20))])
def test_other_tensors_in_place_of_the_weights(value: torch.Tensor) -> None:
    core = AnalogLinear(5, 4, rpu_config=InferenceRPUConfig()).analog_module
    with pytest.raises(TileModuleError, match=r"shared_weights.*set_weights"):
        core.shared_weights = value
    in_torch = AnalogLinear(5, 4, rpu_config=TorchInferenceRPUConfig()).analog_module
    with pytest.raises(TileModuleError, match=r"weight.*set_weights"):
        in_torch.tile.weight = value


@pytest.mark.parametrize("method", [prune.l1_unstructured, prune.random_unstructured])
def test_pruned_weights_of_torch_tiles(method: Callable[..., Any]) -> None:
    """What torch computes from parameters of the raw tile is no shard."""
    config = TorchInferenceRPUConfig()
    config.forward.is_perfect = True
    layer = AnalogLinear(5, 4, bias=False, rpu_config=config)
    method(layer.analog_module.tile, "weight", amount=0.5)
    x = torch.ones(2, 5)
    weight = layer.get_weights()[0]
    assert int((weight == 0.0).sum()) == 10
    torch.testing.assert_close(layer(x), x @ weight.t())
    core = AnalogLinear(5, 4, rpu_config=InferenceRPUConfig())
    with pytest.raises(TileModuleError, match=r"prune .* digital layers"):
        method(core.analog_module, "shared_weights", amount=0.5)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # they are deprecated, and still there
def test_weights_that_were_taken_out() -> None:
    """The older norms of torch change the module before it can refuse them."""
    tile = AnalogLinear(5, 4, rpu_config=InferenceRPUConfig()).analog_module
    with pytest.raises(TileModuleError, match=r"shared_weights.*parametrise digital layers"):
        nn.utils.weight_norm(tile, "shared_weights")
    with pytest.raises(TileModuleError, match=r"shared_weights: was taken out.* anew"):
        tile(torch.ones(2, 5))


@pytest.mark.parametrize("config", [InferenceRPUConfig, SingleRPUConfig, TorchInferenceRPUConfig])
def test_what_a_tile_is_made_of_stays(config: Callable[[], Any]) -> None:
    """Removing or parametrising a part of a tile is refused before anything has changed."""
    layer = AnalogLinear(5, 4, rpu_config=config())
    tile, x = layer.analog_module, torch.ones(2, 5)
    state = sorted(layer.state_dict())
    for name in [*tile._parameters, *tile._buffers, *tile._modules]:
        with pytest.raises(TileModuleError, match=rf"{name}: cannot be taken out"):
            delattr(tile, name)
    for name in tile._parameters:
        if tile._parameters[name] is not None:
            with pytest.raises(TileModuleError, match=rf"{name}: .*nor parametrised"):
                parametrize.register_parametrization(tile, name, nn.Identity())
            with pytest.raises(TileModuleError, match=rf"{name}: of .* computed from {name}_orig"):
                prune.random_unstructured(tile, name, amount=0.5)
    assert sorted(layer.state_dict()) == state
    layer(x).sum().backward()
    copy.deepcopy(layer)(x)


@pytest.mark.parametrize("config", [InferenceRPUConfig, SingleRPUConfig, TorchInferenceRPUConfig])
def test_what_users_add_to_a_tile_can_be_removed(config: Callable[[], Any]) -> None:
    tile = AnalogLinear(5, 4, rpu_config=config()).analog_module
    state = sorted(tile.state_dict())
    tile.register_buffer("operations", torch.zeros(1))
    tile.probe, tile.extra = nn.Identity(), nn.Parameter(torch.zeros(2))
    for name in ("operations", "probe", "extra"):
        delattr(tile, name)
    assert sorted(tile.state_dict()) == state
