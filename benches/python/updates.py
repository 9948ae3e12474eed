"""Pulsed updates, and what a second thread brings."""

import functools
import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

import mho
from libraries import Library
from timing import Row, Work, measure

SIZE, BATCH = 512, 128
TARGETS = {"ConstantStep": ">= 100 aihwkit", "SoftBounds": ">= 40 aihwkit"}
# Spread of d and learning rate. The middle one, with about 15 coincidences at the largest
# crosspoint of a sample, takes aihwkit the 290 ms for which the targets were set.
REGIMES = {"few pulses": (0.01, 0.01), "many pulses": (0.015, 0.1), "saturated": (1.0, 0.01)}
REFERENCE = "many pulses"


def update_input(regime: str = REFERENCE) -> tuple[Tensor, Tensor, float]:
    """Return x, d and the learning rate of a regime."""
    generator = torch.Generator().manual_seed(1)
    spread, lr = REGIMES[regime]
    x = torch.randn(BATCH, SIZE, generator=generator)
    return x, spread * torch.randn(BATCH, SIZE, generator=generator), lr


def pulsed_tile(library: Library, device: str, lr: float) -> torch.nn.Module:
    """Return a tile of the named device with the learning rate set."""
    config = library.configs.SingleRPUConfig(device=getattr(library.configs, f"{device}Device")())
    tile = library.tiles.AnalogTile(SIZE, SIZE, config)
    tile.set_learning_rate(lr)
    return tile


def repeated_update(tile: torch.nn.Module, x: Tensor, d: Tensor) -> Work:
    """Return an update whose direction alternates, so that weights stay inside their bounds."""
    directions = itertools.cycle((d, -d))
    return lambda: tile.update(x, next(directions))


def update_rows(libraries: list[Library], threads: int) -> Iterator[Row]:
    """Time the update of every device that has a target; torch is the plain outer product."""
    weight = torch.zeros(SIZE, SIZE)
    for (device, target), regime in itertools.product(TARGETS.items(), REGIMES):
        x, d, lr = update_input(regime)
        works: dict[str, Work] = {"torch": functools.partial(weight.addmm_, d.T, x, alpha=-lr)}
        for library in libraries:
            tile = pulsed_tile(library, device, lr)
            works[library.name] = repeated_update(tile, x, d)
        name = f"update, {device}, {SIZE}x{SIZE}, batch {BATCH}, {regime}"
        yield Row(name, threads, measure(works), target if regime == REFERENCE else "")


def scaling_rows(library: Library, threads: int) -> Iterator[Row]:
    """Time mho with one thread against mho with all, in turn."""
    if threads == 1:
        return
    x, d, lr = update_input()
    for device in TARGETS:
        tile = pulsed_tile(library, device, lr)
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
