"""Wrappers that shard parameters are refused: products and steps of tiles need whole weights."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import distributed, nn

from mho.exceptions import TileModuleError
from mho.nn import AnalogLinear
from mho.simulator.configs import (
    InferenceRPUConfig,
    MappingParameter,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)

pytestmark = [
    pytest.mark.skipif(not distributed.is_available(), reason="torch without torch.distributed"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

CONFIGS: dict[str, Callable[[], Any]] = {
    "inference": InferenceRPUConfig,
    "inference, split": lambda: InferenceRPUConfig(
        mapping=MappingParameter(max_input_size=3, max_output_size=2)
    ),
    "torch": TorchInferenceRPUConfig,
    "pulsed": SingleRPUConfig,
}


@pytest.fixture
def group() -> Iterator[None]:
    """A process group of this process alone."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def model(config: Any, bias: bool = False) -> nn.Sequential:
    return nn.Sequential(AnalogLinear(5, 4, bias=bias, rpu_config=config), nn.Linear(4, 3))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", CONFIGS)
def test_fully_shard(group: None, kind: str, bias: bool) -> None:
    """Its optimizers train shards, after whose steps nothing would be clipped or remapped."""
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    if not hasattr(fsdp, "fully_shard"):
        pytest.skip("this torch has no fully_shard")
    mesh = distributed.device_mesh.init_device_mesh("cpu", (1,))
    whole = model(CONFIGS[kind](), bias)
    with pytest.raises(TileModuleError, match=r"cannot be sharded.*DistributedDataParallel"):
        fsdp.fully_shard(whole, mesh=mesh)
    part = model(CONFIGS[kind](), bias)
    fsdp.fully_shard(part[1], mesh=mesh)
    assert part(torch.ones(2, 5)).shape == (2, 3)


@pytest.mark.filterwarnings("ignore:FSDP is switching to use:UserWarning")
@pytest.mark.parametrize("kind", ["inference", "inference, split", "torch"])
def test_flat_parameters(group: None, kind: str) -> None:
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    with pytest.raises(TileModuleError, match="cannot be sharded"):
        fsdp.FullyShardedDataParallel(model(CONFIGS[kind]()), device_id=torch.device("cpu"))


@pytest.mark.parametrize("value", [torch.zeros(4, 5), nn.Parameter(torch.zeros(20))])
def test_other_tensors_in_place_of_the_weights(value: torch.Tensor) -> None:
    core = AnalogLinear(5, 4, rpu_config=InferenceRPUConfig()).analog_module
    with pytest.raises(TileModuleError, match=r"shared_weights.*set_weights"):
        core.shared_weights = value
    in_torch = AnalogLinear(5, 4, rpu_config=TorchInferenceRPUConfig()).analog_module
    with pytest.raises(TileModuleError, match=r"weight.*set_weights"):
        in_torch.tile.weight = value
