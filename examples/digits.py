"""Handwritten digits on analog crossbars: programmed and ageing, or trained in memory.

A small network reads scikit-learn's 8x8 digits. Four hidden layers of 24 units make it sensitive:
errors of every layer go through all that follow.

* Floating point: an ordinary torch network.
* Converted: its weights programmed onto a chip of phase-change memory, with converters and noise
  of ``StandardHWATrainingPreset``. Then the chip ages for a year, with and without compensation of
  its drift.
* Hardware-aware: the same after some epochs of training with the noise of weights and products,
  by ``hardware_aware.py``.
* Trained in memory: the same network on crossbars of ConstantStep or SoftBoundsReference devices,
  where every weight change is made by pulses (``AnalogSGD``), and on the latter also by the
  algorithm of ``--algorithm``, with the settings that ``tune`` derives.

Everything runs offline. ``torch.manual_seed`` determines every number that is printed.
"""

import argparse
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from tqdm import tqdm

import mho
from figure_digits import draw
from hardware_aware import hardware_aware
from mho.nn import AnalogLinear, convert_to_analog, edit_config
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    SingleRPUConfig,
    SoftBoundsReferenceDevice,
    build_config,
)
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.presets import StandardHWATrainingPreset

HIDDEN = (24, 24, 24, 24)
ALGORITHMS = {
    "tt": "Tiki-Taka",
    "ttv2": "TTv2",
    "c-ttv2": "c-TTv2",
    "agad": "AGAD",
    "mp": "mixed precision",
}
AGES = {
    "1 s": 1.0,
    "1 min": 60.0,
    "1 hour": 3600.0,
    "1 day": 86400.0,
    "1 month": 30 * 86400.0,
    "1 year": 365 * 86400.0,
}
"""Seconds since programming, by the names of the ticks of the figure."""


@dataclass
class Digits:
    """Images ``[samples, 64]`` scaled to [0, 1] and their labels."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


class Batches:
    """Shuffled batches of the training images; faster than a ``DataLoader`` for rows this short."""

    def __init__(self, data: Digits, size: int) -> None:
        self.data, self.size = data, size

    def __len__(self) -> int:
        return -(-len(self.data.train_x) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for chosen in torch.randperm(len(self.data.train_x)).split(self.size):
            yield self.data.train_x[chosen], self.data.train_y[chosen]


@dataclass
class Results:
    """Test accuracies in percent."""

    floating_point: list[float] = field(default_factory=list)
    """Of every network."""
    ageing: dict[tuple[str, bool], list[list[float]]] = field(default_factory=dict)
    """By network and whether drift is compensated: of every chip, at all `AGES`."""
    curves: dict[str, list[list[float]]] = field(default_factory=dict)
    """By devices: of every network trained in memory, after every epoch."""


def load_data() -> Digits:
    """Return 1078 images for training and 719 for testing, the same split in every run."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        (images / 16).astype(np.float32), labels, test_size=0.4, random_state=0, stratify=labels
    )
    train_x, test_x, train_y, test_y = (torch.from_numpy(part) for part in parts)
    return Digits(train_x, train_y, test_x, test_y)


def network(config: RPUConfigBase | None = None) -> nn.Sequential:
    """Return the untrained network, in floating point or on crossbars."""
    sizes = (64, *HIDDEN, 10)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        if config is None:
            layers.append(nn.Linear(inputs, outputs))
        else:
            layers.append(AnalogLinear(inputs, outputs, rpu_config=config))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers[:-1])


def accuracy(model: nn.Module, data: Digits) -> float:
    """Return the share of correct test digits in percent."""
    model.eval()
    with torch.no_grad():
        correct = model(data.test_x).argmax(1) == data.test_y
    return 100 * correct.double().mean().item()


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: Digits, epochs: int, batch: int
) -> list[float]:
    """Train with one cycle of the learning rate; return the test accuracy after every epoch."""
    batches = Batches(data, batch)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        optimizer.param_groups[0]["lr"],
        total_steps=epochs * len(batches),
        cycle_momentum=False,
    )
    curve = []
    for _ in range(epochs):
        model.train()
        for x, target in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), target).backward()
            optimizer.step()
            scheduler.step()
        curve.append(accuracy(model, data))
    return curve


def ages(analog: nn.Module, data: Digits, chips: int) -> dict[bool, list[list[float]]]:
    """Program chips and let them age.

    Returns:
        Accuracies of every chip at all `AGES`, by whether drift is compensated.
    """
    compensation = StandardHWATrainingPreset().drift_compensation
    found: dict[bool, list[list[float]]] = {True: [], False: []}
    for _ in range(chips):
        mho.inference.program_analog_weights(analog.eval())
        chip: dict[bool, list[float]] = {True: [], False: []}
        for age in AGES.values():
            mho.inference.drift_analog_weights(analog, age)
            chip[True].append(accuracy(analog, data))
            edit_config(analog, "drift_compensation", None)
            chip[False].append(accuracy(analog, data))
            edit_config(analog, "drift_compensation", compensation)
        for compensated, accuracies in chip.items():
            found[compensated].append(accuracies)
    return found


def digital_network(seed: int, data: Digits, epochs: int = 60) -> nn.Module:
    """Return a trained floating-point network."""
    torch.manual_seed(seed)
    model = network()
    train(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), data, epochs, 64)
    return model


def converted(model: nn.Module, data: Digits) -> nn.Module:
    """Return a network on analog tiles, calibrated as those that are trained on.

    Narrower input ranges suit it better; see `docs/hardware_aware.md`.
    """
    analog = convert_to_analog(model, StandardHWATrainingPreset()).eval()
    with mho.calibrate(analog, quantile=0.999, absolute=True):
        analog(data.train_x)
    return analog


def inference(seed: int, epochs: int, chips: int) -> Results:
    """Train one network, program it onto chips as it is and after hardware-aware training."""
    data = load_data()
    digital = digital_network(seed, data, 3 * epochs)
    results = Results(floating_point=[accuracy(digital, data)])
    chip = StandardHWATrainingPreset()
    aware, _ = hardware_aware(digital, Batches(data, 64), chip, epochs=epochs, quiet=True)
    for name, analog in (("converted", converted(digital, data)), ("hardware-aware", aware)):
        for compensated, found in ages(analog, data, chips).items():
            results.ageing[name, compensated] = found
    return results


def in_memory_configs(algorithm: str | None) -> dict[str, RPUConfigBase]:
    """Return crossbars of single devices, and of the cells of an algorithm if there is one."""
    configs: dict[str, RPUConfigBase] = {
        "SGD, ConstantStep": SingleRPUConfig(device=ConstantStepDevice()),
        "SGD, SoftBoundsReference": SingleRPUConfig(device=SoftBoundsReferenceDevice()),
    }
    if algorithm is not None:
        tuned = build_config(algorithm, SoftBoundsReferenceDevice(), tune="fast")
        configs[f"{ALGORITHMS[algorithm]}, SoftBoundsReference"] = tuned
    return configs


def in_memory(seed: int, name: str, algorithm: str | None, epochs: int) -> Results:
    """Train one network by pulses."""
    torch.manual_seed(seed)
    model = network(in_memory_configs(algorithm)[name])
    curve = train(model, AnalogSGD(model.parameters(), lr=0.2), load_data(), epochs, 10)
    return Results(curves={name: [curve]})


def merge(results: Results, more: Results) -> None:
    """Append the networks and chips of ``more``."""
    results.floating_point += more.floating_point
    for network_, chips in more.ageing.items():
        results.ageing.setdefault(network_, []).extend(chips)
    for name, curves in more.curves.items():
        results.curves.setdefault(name, []).extend(curves)


def print_table(results: Results) -> None:
    """Print means and standard deviations over the chips, or over the networks."""

    def cells(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> str:
        spread = values.std(0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
        pairs = zip(values.mean(0), spread, strict=True)
        return "".join(f"{mean:7.1f} ±{std:4.1f}" for mean, std in pairs)

    networks = len(results.floating_point)
    chips = len(next(iter(results.ageing.values())))
    print(f"\nTest accuracy in percent, {networks} networks")
    print(f"{'floating point':34}{cells(np.array(results.floating_point)[:, None])}")
    print(f"\nPhase-change memory, {chips} chips{'':{34 - 24 - len(str(chips))}}", end="")
    print("".join(f"{age:>13}" for age in AGES))
    for (name, compensated), accuracies in results.ageing.items():
        label = f"{name}, {'' if compensated else 'not '}compensated"
        print(f"{label:34}{cells(np.array(accuracies))}")
    print("\nTrained in memory")
    for name, curves in results.curves.items():
        print(f"{name:34}{cells(np.array(curves)[:, -1:])}")


def prepare(backend: str, adapter: str | None) -> None:
    """Set up a process."""
    # Networks this small are faster without a second thread.
    torch.set_num_threads(1)
    mho.set_backend(backend, adapter)


def main() -> None:
    """Run the comparison, print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of networks")
    parser.add_argument("--chips", type=int, default=8, help="chips per network")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of every training")
    parser.add_argument("--output", type=Path, default=Path("out/digits.png"))
    parser.add_argument(
        "--backend",
        default="cpu",
        choices=("cpu", "wgpu"),
        help="where the crossbars are computed; layers this small are faster on the processor",
    )
    parser.add_argument("--adapter", help="number or part of the name of a graphics processor")
    parser.add_argument(
        "--algorithm", choices=(*ALGORITHMS, "none"), default="ttv2", help="of training in memory"
    )
    options = parser.parse_args()
    algorithm = None if options.algorithm == "none" else options.algorithm

    results = Results()
    # Processes that are spawned can use a graphics processor; forked ones could not.
    workers = ProcessPoolExecutor(
        min(os.cpu_count() or 1, 8),
        multiprocessing.get_context("spawn"),
        prepare,
        (options.backend, options.adapter),
    )
    with workers:
        jobs: list[Future[Results]] = []
        for seed in range(1, options.seeds + 1):
            jobs.append(workers.submit(inference, seed, options.epochs, options.chips))
            for name in in_memory_configs(algorithm):
                jobs.append(workers.submit(in_memory, seed, name, algorithm, options.epochs))
        for _ in tqdm(as_completed(jobs), total=len(jobs), unit="network", desc="digits"):
            pass
    for job in jobs:
        merge(results, job.result())
    print_table(results)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    draw(results, AGES, options.output)
    print(f"\nFigure: {options.output}")


if __name__ == "__main__":
    main()
