"""Several processes train one model with layers that learn by pulses and layers for inference.

    torchrun --nproc-per-node 2 examples/distributed.py

Each process takes its share of every batch. Gradients of the digital layers and of the layers for
inference are averaged, and pulses are made of what all processes have recorded: at the end all of
them have the same model, whose state the first one saves. Without `torchrun` one process does all.
"""

import hashlib
import os
import tempfile
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from mho.nn import AnalogConv2d, AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.configs import InferenceRPUConfig, SingleRPUConfig, SoftBoundsDevice

BATCH, EPOCHS = 32, 5


def images(count: int, seed: int) -> TensorDataset:
    """Return noisy images, `[count, 1, 8, 8]`, of ten patterns, and the numbers of the patterns."""
    patterns = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    draws = torch.Generator().manual_seed(seed)
    label = torch.randint(10, (count,), generator=draws)
    return TensorDataset(patterns[label] + torch.randn(count, 1, 8, 8, generator=draws), label)


def build() -> nn.Module:
    """Return a network whose first layers learn by pulses, and whose last one is for inference."""
    pulsed = SingleRPUConfig(device=SoftBoundsDevice(dw_min=0.001))
    return nn.Sequential(
        AnalogConv2d(1, 4, 3, padding=1, rpu_config=pulsed),
        nn.Tanh(),
        nn.Flatten(),
        AnalogLinear(256, 32, rpu_config=pulsed),
        nn.Tanh(),
        AnalogLinear(32, 10, rpu_config=InferenceRPUConfig()),
    )


def train(rank: int, ranks: int) -> None:
    """Train as one of several processes."""
    torch.manual_seed(rank)  # the wrapper copies the model of the first process to all
    model = DistributedDataParallel(build())
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    data = images(768, seed=1)
    sampler = DistributedSampler(data, ranks, rank, drop_last=True)
    batches = DataLoader(data, BATCH // ranks, sampler=sampler, drop_last=True)
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        total = torch.zeros(1)
        for x, label in batches:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), label)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        distributed.all_reduce(total)
        if rank == 0:
            print(f"epoch {epoch}: loss {total.item() / len(batches) / ranks:.3f}")
    check_equal(model.module, ranks)
    if rank == 0:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.pt"
            torch.save(model.module.state_dict(), file)
            trained = build()
            trained.load_state_dict(torch.load(file, weights_only=True))
        print(f"test: {100 * accuracy(trained):.1f} % correct")


def check_equal(model: nn.Module, ranks: int) -> None:
    """Show that all processes have the same weights, to the last bit."""
    found = hashlib.sha256()
    for layer in (model[0], model[3], model[5]):
        found.update(layer.get_weights()[0].numpy().tobytes())
    told: list[str] = [""] * ranks
    distributed.all_gather_object(told, found.hexdigest())
    assert len(set(told)) == 1
    if distributed.get_rank() == 0:
        print(f"{ranks} processes, one model: {told[0][:12]}")


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    """Return the fraction of new images that are recognised."""
    x, label = images(512, seed=2).tensors
    return float((model.eval()(x).argmax(1) == label).float().mean())


def main() -> None:
    """Meet the other processes and train."""
    torch.set_num_threads(1)
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if "RANK" in os.environ:
        distributed.init_process_group("gloo")
    else:
        store = distributed.HashStore()
        distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    train(rank, ranks)
    # A thread of torch holds tensors of the last exchange, and must not outlive the interpreter.
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
