"""What is done with weights beside products and updates."""

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator

import torch

from libraries import Library
from timing import Row, Work, measure
from updates import repeated_update, update_input

SIZE, LAYER = 1024, 4096


def tile_rows(library: Library, threads: int) -> Iterator[Row]:
    """Time operations on a tile, and its construction."""
    configs = library.configs
    device = configs.ConstantStepDevice(diffusion=0.01, lifetime=1000.0)
    tile = library.tiles.AnalogTile(SIZE, SIZE, configs.SingleRPUConfig(device=device)).tile
    plain = configs.SingleRPUConfig(device=configs.ConstantStepDevice())
    works: dict[str, tuple[Work, str]] = {
        "decay": (lambda: tile.decay_weights(1.0), "<= 1 ms"),
        "diffusion": (tile.diffuse_weights, "<= 2 ms"),
        "reset of all columns": (lambda: tile.reset_columns(0, -1, 0.5), "<= 2 ms"),
        "construction": (lambda: library.tiles.AnalogTile(SIZE, SIZE, plain), "<= 15 ms"),
    }
    for name, (work, target) in works.items():
        seconds = measure({library.name: work}, budget=1)
        yield Row(f"{name}, {SIZE}x{SIZE}", threads, seconds, target)


def write_noise_row(library: Library, threads: int) -> Row:
    """Time an update with noise of the visible weights, by the time without."""
    x, d, lr = update_input()
    works = {}
    for name, std in ((library.name, 1.0), ("none", 0.0)):
        device = library.configs.SoftBoundsDevice(write_noise_std=std)
        config = library.configs.SingleRPUConfig(device=device)
        tile = library.tiles.AnalogTile(x.shape[1], d.shape[1], config)
        tile.set_learning_rate(lr)
        works[name] = repeated_update(tile, x, d)
    seconds = measure(works, budget=2)
    ratio = {"of none": seconds[library.name] / seconds.pop("none")}
    return Row("update with write noise, SoftBounds", threads, seconds, "<= 1.2 of none", ratio)


def conversion_rows(library: Library, threads: int) -> Iterator[Row]:
    """Time the conversion of a large layer."""
    configs, layer = library.configs, torch.nn.Linear(LAYER, LAYER)
    kinds = {
        "inference": (configs.InferenceRPUConfig(), "<= 0.2 s"),
        "pulsed": (configs.SingleRPUConfig(device=configs.ConstantStepDevice()), "<= 0.8 s"),
    }
    for kind, (config, target) in kinds.items():

        def convert(config: object = config) -> object:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # some weights are beyond the bounds of devices
                return library.nn.convert_to_analog(layer, config)

        seconds = measure({library.name: convert}, budget=2, least=3)
        yield Row(f"conversion, {kind}, {LAYER}x{LAYER}", threads, seconds, target)


def import_row() -> Row:
    """Time `import mho.nn` in fresh processes, beyond the import of torch."""
    program = (
        "import time, torch; t = time.perf_counter(); import mho.nn; print(time.perf_counter() - t)"
    )
    # The first one writes compiled files, which users have.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    taken = []
    for _ in range(6):
        time.sleep(0.1)
        found = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env=environment,
        )  # fmt: skip
        taken.append(float(found.stdout))
    return Row("import mho.nn after torch", 1, {"mho": min(taken)}, "<= 0.15 s")
