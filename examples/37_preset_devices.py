"""How well a network learns on every preset device: accuracy by device and learning rate.

A network of two layers reads scikit-learn's 8x8 digits. Its weights are single devices, one preset
at a time, trained in memory by pulses with the converters and the noise of the presets. Every run
is repeated from several seeds; the table shows mean and standard deviation over them. With
``--aihwkit`` the same runs are made with aihwkit, which must be installed, and stand beside them.
"""

import argparse
import importlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from digits import Batches, Digits, accuracy, load_data

# Conductances of PCMPresetDevice can only grow: it learns in a pair with refresh, not alone.
DEVICES = (
    "IdealizedPresetDevice",
    "GokmenVlasovPresetDevice",
    "CapacitorPresetDevice",
    "EcRamPresetDevice",
    "EcRamMOPresetDevice",
    "ReRamESPresetDevice",
    "ReRamSBPresetDevice",
    "ReRamArrayOMPresetDevice",
    "ReRamArrayHfO2PresetDevice",
)
HIDDEN = 32
BATCH = 50
READINGS = 5


@dataclass(frozen=True)
class Run:
    """One cell of the table."""

    device: str
    package: str
    learning_rate: float


def build(package: str, device: str) -> nn.Sequential:
    """Return the network with both layers on crossbars of a preset device.

    Args:
        package: ``mho`` or ``aihwkit``; both have the same names.
        device: Name of the device class.
    """
    presets = importlib.import_module(f"{package}.simulator.presets")
    io_class = importlib.import_module(f"{package}.simulator.presets.utils").PresetIOParameters
    config = importlib.import_module(f"{package}.simulator.configs").SingleRPUConfig(
        device=getattr(presets, device)(), forward=io_class(), backward=io_class()
    )
    layer: Any = importlib.import_module(f"{package}.nn").AnalogLinear
    return nn.Sequential(
        layer(64, HIDDEN, rpu_config=config), nn.Tanh(), layer(HIDDEN, 10, rpu_config=config)
    )


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Digits,
    epochs: int,
    bar: "tqdm[None]",
) -> None:
    """Train with a learning rate that falls to zero."""
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    model.train()
    for _ in range(epochs):
        for x, target in Batches(data, BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), target).backward()
            optimizer.step()
        scheduler.step()
        bar.update()


def run_seed(run: Run, seed: int, data: Digits, epochs: int, bar: "tqdm[None]") -> float:
    """Return the test accuracy in percent after training from one seed."""
    torch.manual_seed(seed)
    model = build(run.package, run.device)
    optimizers = importlib.import_module(f"{run.package}.optim")
    optimizer = optimizers.AnalogSGD(model.parameters(), lr=run.learning_rate)
    optimizer.regroup_param_groups(model)
    train(model, optimizer, data, epochs, bar)
    return float(np.mean([accuracy(model, data) for _ in range(READINGS)]))


def run_all(
    packages: list[str], learning_rates: list[float], seeds: int, epochs: int
) -> dict[Run, list[float]]:
    """Return the accuracies of all seeds for every device, package and learning rate."""
    data = load_data()
    runs = [Run(*parts) for parts in itertools.product(DEVICES, packages, learning_rates)]
    results: dict[Run, list[float]] = {}
    with tqdm(total=len(runs) * seeds * epochs, unit="epoch", desc="devices") as bar:
        for run in runs:
            bar.set_postfix_str(f"{run.package} {run.device}, {run.learning_rate:g}")
            results[run] = [run_seed(run, s, data, epochs, bar) for s in range(1, seeds + 1)]
    return results


def spread(values: list[float]) -> float:
    """Return the standard deviation over the seeds, 0 for a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def table(results: dict[Run, list[float]], packages: list[str]) -> str:
    """Return the accuracies as a table in Markdown, the packages side by side."""
    rates = sorted({run.learning_rate for run in results})
    columns = list(itertools.product(rates, packages))
    heads = [f"{package}, lr {rate:g}" for rate, package in columns]
    lines = ["| device | " + " | ".join(heads) + " |", "| --- |" + " --- |" * len(heads)]
    for device in DEVICES:
        cells = [results[Run(device, package, rate)] for rate, package in columns]
        texts = [f"{np.mean(cell):.1f} ± {spread(cell):.1f}" for cell in cells]
        lines.append(f"| `{device}` | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def draw(results: dict[Run, list[float]], path: Path) -> None:
    """Write a figure: per device one mark with its spread for every rate (colour) and package."""
    series = list(dict.fromkeys((run.learning_rate, run.package) for run in results))
    colours = {rate: f"C{index}" for index, rate in enumerate(sorted({s[0] for s in series}))}
    figure, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    positions = np.arange(len(DEVICES))[::-1]
    for index, (rate, package) in enumerate(sorted(series, reverse=True)):
        cells = [results[Run(device, package, rate)] for device in DEVICES]
        axes.errorbar(
            [float(np.mean(cell)) for cell in cells],
            positions + 0.7 * (index + 0.5) / len(series) - 0.35,
            xerr=[spread(cell) for cell in cells],
            color=colours[rate],
            marker="o" if package == "mho" else "s",
            markerfacecolor=colours[rate] if package == "mho" else "white",
            linestyle="",
            capsize=2,
            label=f"{package}, rate {rate:g}",
        )
    axes.set_yticks(positions, [device.removesuffix("PresetDevice") for device in DEVICES])
    axes.set(xlabel="test accuracy (%), mean and standard deviation", xlim=(0, 100))
    axes.set_title("Handwritten digits, trained in memory")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", reverse=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    """Run the comparison, print the table and write it with the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of repetitions")
    parser.add_argument("--epochs", type=int, default=6, help="epochs of every training")
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[0.2])
    parser.add_argument("--aihwkit", action="store_true", help="run aihwkit as well")
    parser.add_argument("--output", type=Path, default=Path("out"), help="folder of the results")
    options = parser.parse_args()

    # Networks this small are faster without a second thread.
    torch.set_num_threads(1)
    packages = ["mho", "aihwkit"] if options.aihwkit else ["mho"]
    results = run_all(packages, options.learning_rates, options.seeds, options.epochs)
    text = table(results, packages)
    print(f"\nTest accuracy in percent, {options.seeds} seeds, {options.epochs} epochs\n\n{text}")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "preset_devices.md").write_text(text)
    draw(results, options.output / "preset_devices.png")
    print(f"Figure and table: {options.output}/preset_devices.png, .md")


if __name__ == "__main__":
    main()
