"""Pulsed updates, and what a second thread brings."""

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

import mho
from libraries import Library
from timing import Row, Work, measure

SIZE, BATCH = 512, 128
TARGETS = {"ConstantStep": ">= 100 aihwkit", "SoftBounds": ">= 40 aihwkit"}


def update_input() -> tuple[Tensor, Tensor, float]:
    """Return x, d and a learning rate that ask for about ten coincidences at the largest cell."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, SIZE, generator=generator)
    return x, 0.01 * torch.randn(BATCH, SIZE, generator=generator), 0.1


def pulsed_tile(library: Library, device: str) -> torch.nn.Module:
    """Return a tile of the named device with the learning rate set."""
    config = library.configs.SingleRPUConfig(device=getattr(library.configs, f"{device}Device")())
    tile = library.tiles.AnalogTile(SIZE, SIZE, config)
    tile.set_learning_rate(update_input()[2])
    return tile


def repeated_update(tile: torch.nn.Module, x: Tensor, d: Tensor) -> Work:
    """Return an update whose direction alternates, so that weights stay inside their bounds."""
    directions = itertools.cycle((d, -d))
    return lambda: tile.update(x, next(directions))


def update_rows(libraries: list[Library], threads: int) -> Iterator[Row]:
    """Time the update of every device that has a target; torch is the plain outer product."""
    x, d, lr = update_input()
    weight = torch.zeros(SIZE, SIZE)
    for device, target in TARGETS.items():
        works: dict[str, Work] = {"torch": lambda: weight.addmm_(d.T, x, alpha=-lr)}
        for library in libraries:
            tile = pulsed_tile(library, device)
            works[library.name] = repeated_update(tile, x, d)
        seconds = measure(works)
        yield Row(f"update, {device}, {SIZE}x{SIZE}, batch {BATCH}", threads, seconds, target)


def scaling_rows(library: Library, threads: int) -> Iterator[Row]:
    """Time mho with one thread against mho with all, in turn."""
    if threads == 1:
        return
    x, d, _ = update_input()
    for device in TARGETS:
        tile = pulsed_tile(library, device)
        yield _scaling(f"update, {device}", repeated_update(tile, x, d), threads)
    forward = library.tiles.InferenceTile(1024, 1024, library.configs.InferenceRPUConfig()).eval()
    large = torch.randn(256, 1024)
    with torch.no_grad():
        yield _scaling("forward, 1024x1024, batch 256", lambda: forward(large), threads)


def _scaling(name: str, work: Work, threads: int) -> Row:
    def with_threads(count: int) -> Work:
        def run() -> object:
            mho.set_num_threads(count)
            return work()

        return run

    seconds = measure({"mho, 1 thread": with_threads(1), "mho": with_threads(threads)})
    mho.set_num_threads(threads)
    gain = seconds["mho, 1 thread"] / seconds["mho"]
    return Row(f"{threads} threads, {name}", threads, seconds, ">= 1.8", {"gain": gain})
