"""Trains an inference layer as one of two ranks; prints what the test compares.

Usage: python ddp_worker.py RANK FILE, where FILE is the meeting point of the ranks.
"""

import json
import sys

import torch
from torch import distributed, nn

from mho.nn import AnalogLinear
from mho.simulator.configs import InferenceRPUConfig

RANKS = 2


def train(rank: int, store: str) -> dict[str, object]:
    """Train for some steps with the same data and seed on all ranks."""
    distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=RANKS)
    torch.manual_seed(5)
    layer = AnalogLinear(4, 3, rpu_config=InferenceRPUConfig())
    start = layer.get_weights()[0].tolist()
    layer.prepare_for_ddp()
    wrapped = nn.parallel.DistributedDataParallel(layer)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
    output = []
    for _ in range(3):
        optimizer.zero_grad()
        y = wrapped(torch.ones(2, 4))
        output.append(y.tolist())
        y.square().mean().backward()
        optimizer.step()
    distributed.destroy_process_group()
    return {"start": start, "weight": layer.get_weights()[0].tolist(), "output": output}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(train(int(sys.argv[1]), sys.argv[2])))
