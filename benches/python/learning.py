"""How well a small network learns digits by every algorithm on every preset device.

Each run trains 64-64-10 with sigmoids for 20 epochs in batches of 10 at a learning rate of 0.1, and
counts the mean test accuracy of the last two epochs. Settings are those that `build_config` gives
by default, and those with `tune=True` and `tune="fast"`. Runs go to a JSON file as soon as they are
done; what stands there is not run again. See docs/tuning.md.

Run it as `python benches/python/learning.py`; it needs scikit-learn for the images.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from tqdm import tqdm

from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.configs import SoftBoundsReferenceDevice, build_config
from mho.simulator.presets import devices as presets

DEVICES: dict[str, Any] = {
    "ReRamES": presets.ReRamESPresetDevice,
    "ReRamSB": presets.ReRamSBPresetDevice,
    "Capacitor": presets.CapacitorPresetDevice,
    "EcRam": presets.EcRamPresetDevice,
    "EcRamMO": presets.EcRamMOPresetDevice,
    "Idealized": presets.IdealizedPresetDevice,
    "ReRamArrayOM": presets.ReRamArrayOMPresetDevice,
    "SoftBoundsReference": SoftBoundsReferenceDevice,
}
ALGORITHMS = ("tt", "ttv2", "c-ttv2", "agad", "mp")
SETTINGS: dict[str, Any] = {"default": False, "tuned": True, "fast": "fast"}
EPOCHS, BATCH, HIDDEN, RATE = 20, 10, 64, 0.1


@cache
def images() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return images `[samples, 64]` and labels for training and for testing, always the same."""
    x, y = load_digits(return_X_y=True)
    scaled = (x / 16).astype(np.float32)
    parts = train_test_split(scaled, y, test_size=0.2, random_state=0, stratify=y)
    train_x, test_x, train_y, test_y = (torch.from_numpy(part) for part in parts)
    return train_x, train_y, test_x, test_y


def accuracy(config: Any, seed: int, epochs: int = EPOCHS) -> float:
    """Return the test accuracy in percent, the mean of the last two epochs.

    Args:
        config: Configuration of both layers.
        seed: Seed of torch.
        epochs: Epochs, two or more.
    """
    train_x, train_y, test_x, test_y = images()
    torch.manual_seed(seed)
    model = nn.Sequential(
        AnalogLinear(64, HIDDEN, rpu_config=config),
        nn.Sigmoid(),
        AnalogLinear(HIDDEN, 10, rpu_config=config),
    )
    optimizer = AnalogSGD(model.parameters(), lr=RATE)
    curve = []
    for _ in range(epochs):
        model.train()
        for chosen in torch.randperm(len(train_x)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(train_x[chosen]), train_y[chosen]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            correct = model(test_x).argmax(1) == test_y
        curve.append(100 * correct.double().mean().item())
    return statistics.mean(curve[-2:])


def wanted(options: argparse.Namespace) -> Iterator[tuple[str, str, str, int]]:
    """Yield algorithm, device, setting and seed of every run, those of one seed together."""
    for seed in range(options.seeds):
        for algorithm in options.algorithms:
            for device in options.devices:
                for setting in options.settings:
                    yield algorithm, device, setting, seed


def run(options: argparse.Namespace) -> None:
    """Do the runs that the file lacks, until the time is up."""
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    missing = [r for r in wanted(options) if key(*r) not in results]
    end = time.monotonic() + 60 * options.minutes
    for algorithm, device, setting, seed in (bar := tqdm(missing, unit="run")):
        if time.monotonic() > end:
            tqdm.write("the time is up; the same command goes on")
            break
        bar.set_postfix_str(f"{algorithm}, {device}, {setting}, seed {seed}")
        tune = {"tune": SETTINGS[setting]} if SETTINGS[setting] else {}
        config = build_config(algorithm, DEVICES[device](), **tune)
        results[key(algorithm, device, setting, seed)] = round(accuracy(config, seed), 2)
        part = options.output.with_suffix(".part")
        part.write_text(json.dumps(dict(sorted(results.items())), indent=0) + "\n")
        os.replace(part, options.output)


def key(*names: object) -> str:
    """Return the name of a run in the file."""
    return "|".join(map(str, names))


def table(results: dict[str, float]) -> str:
    """Return the mean accuracies as a table in Markdown.

    Args:
        results: Accuracies by name of the run.
    """
    lines = [f"| device | setting | {' | '.join(ALGORITHMS)} |"]
    lines.append("| --- | --- |" + " --- |" * len(ALGORITHMS))
    for device in DEVICES:
        for setting in SETTINGS:
            cells = [cell(results, algorithm, device, setting) for algorithm in ALGORITHMS]
            if any(cells):
                lines.append(f"| {device} | {setting} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(results: dict[str, float], algorithm: str, device: str, setting: str) -> str:
    """Return the mean over the seeds as text, with their number if it is not three."""
    start = key(algorithm, device, setting, "")
    values = [value for name, value in results.items() if name.startswith(start)]
    if not values:
        return ""
    return f"{statistics.mean(values):.1f}" + (f" ({len(values)})" if len(values) != 3 else "")


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("out/learning.json"))
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... of each cell")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time")
    for name, choices in (
        ("algorithms", ALGORITHMS), ("devices", DEVICES), ("settings", SETTINGS),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", nargs="+", choices=choices, default=list(choices))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    run(options)
    print(f"{time.strftime('%d %B %Y')}, {platform.processor() or platform.machine()}\n")
    print(table(json.loads(options.output.read_text())))


if __name__ == "__main__":
    main()
