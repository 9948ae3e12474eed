"""Shards models in a process group of its own; prints what became of each as JSON.

A process of its own, since the threads of a group would survive no fork of other tests.
"""

import json
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed, nn

from mho.exceptions import AihwkitException
from mho.nn import AnalogLinear
from mho.simulator.configs import (
    InferenceRPUConfig,
    MappingParameter,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)

CONFIGS: dict[str, Callable[[], Any]] = {
    "inference": InferenceRPUConfig,
    "split": lambda: InferenceRPUConfig(
        mapping=MappingParameter(max_input_size=3, max_output_size=2)
    ),
    "torch": TorchInferenceRPUConfig,
    "pulsed": SingleRPUConfig,
}


def model(kind: str, bias: bool) -> nn.Sequential:
    """Return an analog layer and a digital one."""
    layer = AnalogLinear(5, 4, bias=bias, rpu_config=CONFIGS[kind]())
    return nn.Sequential(layer, nn.Linear(4, 3))


def fully_shard(module: nn.Module) -> None:
    """Shard as new versions of torch do."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    fully_shard(module, mesh=init_device_mesh("cpu", (1,)))


def flatten(module: nn.Module) -> None:
    """Wrap as all versions do."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    FullyShardedDataParallel(module, device_id=torch.device("cpu"))


def error_of(call: Callable[[], Any]) -> list[str]:
    """Return class and message of an error of the package, empty without one."""
    try:
        call()
    except AihwkitException as error:
        return [type(error).__name__, str(error)]
    return []


def digital_part(kind: str, bias: bool) -> None:
    """Shard the digital layer beside the analog one."""
    part = model(kind, bias)
    fully_shard(part[1])
    assert part(torch.ones(2, 5)).shape == (2, 3)


def main() -> None:
    """Print one entry for each case."""
    warnings.simplefilter("ignore")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    found = {}
    shards = hasattr(__import__("torch.distributed.fsdp", fromlist=["fsdp"]), "fully_shard")
    for kind in CONFIGS:
        for bias in (False, True):
            built = model(kind, bias)
            if kind != "pulsed":  # whose parameter refuses it by itself
                found[f"flat {kind} {bias}"] = error_of(lambda built=built: flatten(built))
            if shards:
                built = model(kind, bias)
                found[f"shards {kind} {bias}"] = error_of(lambda built=built: fully_shard(built))
                digital_part(kind, bias)
    print(json.dumps(found))
    distributed.barrier()  # see examples/distributed.py
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
