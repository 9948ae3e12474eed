"""Training: a whole epoch, the memory of a tile, and whether memory grows."""

import gc
from collections.abc import Iterator

import psutil
import torch
from torch import nn
from torch.nn.functional import mse_loss

from libraries import Library
from timing import Row, Work, measure

SAMPLES, BATCH = 1000, 50
EPOCHS = {
    "ConstantStep": ">= 4 aihwkit",
    "TTv2": ">= 100 aihwkit",
    "hardware-aware": ">= 4 aihwkit",
}


def config(library: Library, kind: str) -> object:
    """Return the configuration of one of the epochs."""
    configs = library.configs
    if kind == "hardware-aware":
        return configs.InferenceRPUConfig()
    if kind == "TTv2":
        return configs.build_config("ttv2", configs.SoftBoundsReferenceDevice())
    return configs.SingleRPUConfig(device=configs.ConstantStepDevice())


def network(library: Library, kind: str) -> nn.Sequential:
    """Return a 64-256-128-10 network of analog layers."""
    layers: list[nn.Module] = []
    for in_size, out_size in ((64, 256), (256, 128), (128, 10)):
        layers += [
            library.nn.AnalogLinear(in_size, out_size, rpu_config=config(library, kind)),
            nn.Tanh(),
        ]
    return nn.Sequential(*layers[:-1])


def epoch(model: nn.Module, optimizer: torch.optim.Optimizer) -> Work:
    """Return a function that trains one epoch."""
    x, target = torch.randn(SAMPLES, 64), torch.randn(SAMPLES, 10)

    def run() -> None:
        for inputs, targets in zip(x.split(BATCH), target.split(BATCH), strict=True):
            optimizer.zero_grad()
            mse_loss(model(inputs), targets).backward()
            optimizer.step()

    return run


def epoch_rows(libraries: list[Library], threads: int) -> Iterator[Row]:
    """Time an epoch of 1000 samples in batches of 50."""
    for kind, target in EPOCHS.items():
        digital = nn.Sequential(
            nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 128), nn.Tanh(), nn.Linear(128, 10)
        )
        works = {"torch": epoch(digital, torch.optim.SGD(digital.parameters(), lr=0.01))}
        for library in libraries:
            model = network(library, kind)
            optimizer = library.optim.AnalogSGD(model.parameters(), lr=0.01)
            works[library.name] = epoch(model, optimizer)
        seconds = measure(works, budget=3)
        yield Row(f"epoch, {kind}, 64-256-128-10", threads, seconds, target)


def memory_row(library: Library, size: int = 4096, batch: int = 16) -> Row:
    """Weigh a ConstantStep tile after a forward and an update, in bytes per crosspoint."""
    gc.collect()
    before = psutil.Process().memory_info().rss
    tile = library.tiles.AnalogTile(size, size, config(library, "ConstantStep"))
    with torch.no_grad():
        tile(torch.randn(batch, size))
    tile.update(torch.randn(batch, size), 0.01 * torch.randn(batch, size))
    gc.collect()
    resident = (psutil.Process().memory_info().rss - before) / size**2
    state = sum(value.nbytes for value in tile.state_dict().values()) / size**2
    notes = {"bytes resident": resident, "bytes of state": state}
    return Row(f"memory, ConstantStep, {size}x{size}", 1, {}, "<= 24 bytes", notes)


def growth_row(library: Library, steps: int) -> Row:
    """Train a small layer for many steps and report by how many bytes the process grew."""
    layer = library.nn.AnalogLinear(8, 8, rpu_config=config(library, "ConstantStep"))
    optimizer = library.optim.AnalogSGD(layer.parameters(), lr=0.01)
    x = torch.randn(4, 8)

    def train(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            layer(x).square().sum().backward()
            optimizer.step()

    train(min(steps, 2000))
    gc.collect()
    before = psutil.Process().memory_info().rss
    train(steps)
    gc.collect()
    grown = psutil.Process().memory_info().rss - before
    return Row(f"growth over {steps} steps", 1, {}, "none", {"KiB grown": grown / 1024})
