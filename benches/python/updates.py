"""Pulsed updates, and what a second thread brings."""

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

import mho
from libraries import Library
from timing import Row, Work, measure

SIZE, BATCH = 512, 128
SMALL_SIZE = 256
TARGETS = {
    "ConstantStep": ">= 100 aihwkit",
    "LinearStep": ">= 45 aihwkit",
    "SoftBounds": ">= 45 aihwkit",
    "SoftBoundsReference": ">= 45 aihwkit",
    "ExpStep": ">= 45 aihwkit",
    "PowStep": ">= 45 aihwkit",
    "PowStepReference": ">= 45 aihwkit",
    "PiecewiseStep": ">= 45 aihwkit",
}
# What differs from the defaults, to have something to interpolate.
NODES = [1.2, 1.1, 1.0, 1.0, 0.9, 0.8, 0.6, 0.5]
FIELDS = {"PiecewiseStep": {"piecewise_up": NODES, "piecewise_down": NODES[::-1]}}
# Measured in all regimes, and with both numbers of threads.
MAIN = ("ConstantStep", "SoftBounds", "ExpStep")
# Spread of d and learning rate: about 1, 10, 15 and 31 coincidences at the largest crosspoint of a
# sample.
REGIMES = {
    "few pulses": (0.01, 0.01),
    "medium pulses": (0.1, 0.01),
    "many pulses": (0.015, 0.1),
    "saturated": (1.0, 0.01),
}
REFERENCE = "medium pulses"
# The regimes with targets, by batch. A single sample has few pulses unless its trains are full.
TARGETED = {BATCH: (REFERENCE,), 1: (REFERENCE, "saturated")}

# Shares of the weights at a bound.
AT_BOUNDS = {0.0: "", 0.02: "<= 1.1 of none", 0.1: "<= 1.3 of none", 1.0: "<= 3 of none"}


def update_input(
    regime: str = REFERENCE, batch: int = BATCH, size: int = SIZE
) -> tuple[Tensor, Tensor, float]:
    """Return x, d and the learning rate of a regime."""
    generator = torch.Generator().manual_seed(1)
    spread, lr = REGIMES[regime]
    x = torch.randn(batch, size, generator=generator)
    return x, spread * torch.randn(batch, size, generator=generator), lr


def pulsed_tile(library: Library, device: str, lr: float, size: int = SIZE) -> torch.nn.Module:
    """Return a tile of the named device with the learning rate set."""
    crosspoint = getattr(library.configs, f"{device}Device")(**FIELDS.get(device, {}))
    config = library.configs.SingleRPUConfig(device=crosspoint)
    tile = library.tiles.AnalogTile(size, size, config)
    tile.set_learning_rate(lr)
    return tile


def repeated_update(tile: torch.nn.Module, x: Tensor, d: Tensor) -> Work:
    """Return an update whose direction alternates, so that weights stay inside their bounds."""
    directions = itertools.cycle((d, -d))
    return lambda: tile.update(x, next(directions))


def update_rows(libraries: list[Library], threads: int) -> Iterator[Row]:
    """Time the update of every device; torch is the plain outer product."""
    for batch, size in ((BATCH, SIZE), (1, SMALL_SIZE)):
        for device, regime in itertools.product(TARGETS, REGIMES):
            if regime in TARGETED[batch] or device in MAIN:
                yield _update_row(libraries, threads, device, regime, batch, size)


def _update_row(
    libraries: list[Library], threads: int, device: str, regime: str, batch: int, size: int
) -> Row:
    weight = torch.zeros(size, size)
    x, d, lr = update_input(regime, batch, size)
    works: dict[str, Work] = {"torch": functools.partial(weight.addmm_, d.T, x, alpha=-lr)}
    for library in libraries:
        works[library.name] = repeated_update(pulsed_tile(library, device, lr, size), x, d)
    target = TARGETS[device] if regime in TARGETED[batch] else ""
    name = f"update, {device}, {size}x{size}, batch {batch}, {regime}"
    return Row(name, threads, measure(works, budget=2.0), target)


def bound_rows(library: Library, threads: int) -> Iterator[Row]:
    """Time updates with some of the weights at a bound, by the time without such."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, SIZE, generator=generator)
    d = 0.1 * torch.randn(BATCH, SIZE, generator=generator)
    weights = 0.1 * torch.randn(SIZE, SIZE, generator=generator)
    place = torch.rand(SIZE, SIZE, generator=generator)
    for device in ("ConstantStep", "LinearStep", "SoftBounds", "ExpStep", "PowStep"):
        tile = pulsed_tile(library, device, 0.01).tile
        works = {"set": functools.partial(tile.set_weights, weights)}
        for share in AT_BOUNDS:
            # Far beyond the bounds, so that the tile puts them there.
            start = torch.where(place < share, 10.0, weights)
            works[f"{share:.0%}"] = functools.partial(_update_from, tile, start, x, d)
        seconds = measure(works, budget=2.0)
        taken = {share: seconds[f"{share:.0%}"] - seconds["set"] for share in AT_BOUNDS}
        for share, target in AT_BOUNDS.items():
            name = f"update, {device}, {SIZE}x{SIZE}, batch {BATCH}, {share:.0%} at a bound"
            ratio = {"of none": taken[share] / taken[0.0]}
            yield Row(name, threads, {library.name: taken[share]}, target, ratio)


def _update_from(tile: Any, start: Tensor, x: Tensor, d: Tensor) -> None:
    tile.set_weights(start)
    tile.update(x, d)


def scaling_rows(library: Library, threads: int) -> Iterator[Row]:
    """Time mho with one thread against mho with all, in turn."""
    if threads == 1:
        return
    x, d, lr = update_input()
    for device in MAIN:
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
