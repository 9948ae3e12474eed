"""Updates of unit cells, by those of aihwkit and by those of their devices."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch

from libraries import Library
from timing import Row, Work, measure
from updates import BATCH, SIZE, pulsed_tile, repeated_update, update_input

ALGORITHMS = {
    "tt": ">= 60 aihwkit",
    "ttv2": ">= 60 aihwkit",
    "c-ttv2": ">= 60 aihwkit",
    "agad": ">= 60 aihwkit",
    "mp": ">= 15 aihwkit",
}
DEVICE = "SoftBoundsReference"
# Few pulses, as in training, and many.
SHOWN = ("few pulses", "medium pulses")


def cell_tile(library: Library, make: Callable[[Library], Any], lr: float) -> torch.nn.Module:
    """Return a tile of a configuration with the learning rate set."""
    tile = library.tiles.AnalogTile(SIZE, SIZE, make(library))
    tile.set_learning_rate(lr)
    return tile


def named(algorithm: str) -> Callable[[Library], Any]:
    """Return what makes the configuration of an algorithm with defaults."""

    def make(library: Library) -> Any:
        device = getattr(library.configs, f"{DEVICE}Device")()
        return library.configs.build_config(algorithm, device)

    return make


def pair(library: Library) -> Any:
    """Return two devices that take the same pulses."""
    devices = [getattr(library.configs, f"{DEVICE}Device")() for _ in range(2)]
    cell = library.configs.VectorUnitCell(unit_cell_devices=devices)
    return library.configs.UnitCellRPUConfig(device=cell)


def cell_rows(libraries: list[Library], threads: int) -> Iterator[Row]:
    """Time the update of every algorithm, and of two devices by twice that of one."""
    for (algorithm, target), regime in itertools.product(ALGORITHMS.items(), SHOWN):
        x, d, lr = update_input(regime)
        works: dict[str, Work] = {
            library.name: repeated_update(cell_tile(library, named(algorithm), lr), x, d)
            for library in libraries
        }
        name = f"update, {algorithm}, {SIZE}x{SIZE}, batch {BATCH}, {regime}"
        yield Row(name, threads, measure(works, budget=2.0), target)
    ours = libraries[0]
    for algorithm in ALGORITHMS:
        tile = cell_tile(ours, named(algorithm), 0.01)
        state = sum(value.nbytes for value in tile.state_dict().values()) / SIZE**2
        yield Row(f"memory, {algorithm}, {SIZE}x{SIZE}", threads, {}, "", {"bytes of state": state})
    for regime in SHOWN:
        x, d, lr = update_input(regime)
        works = {
            "one": repeated_update(pulsed_tile(ours, DEVICE, lr), x, d),
            ours.name: repeated_update(cell_tile(ours, pair, lr), x, d),
        }
        seconds = measure(works)
        ratio = {"of its devices": seconds[ours.name] / (2 * seconds["one"])}
        name = f"update, VectorUnitCell of 2, {SIZE}x{SIZE}, batch {BATCH}, {regime}"
        yield Row(name, threads, {ours.name: seconds[ours.name]}, "<= 1.3 of its devices", ratio)
