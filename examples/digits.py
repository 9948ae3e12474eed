"""Classifiers of handwritten digits: digital, trained in memory, and adapted to analog inference.

Five answers to one question, how well a small network reads scikit-learn's 8x8 digits:

* floating point: an ordinary torch network;
* trained in memory: the same network on crossbars of ConstantStep or SoftBounds devices, where
  every weight change is made by pulses (``AnalogSGD``);
* with ``--algorithm agad`` (or ``tt``, ``ttv2``, ``c-ttv2``, ``mp``) also trained in memory by that
  algorithm, with the settings that ``tune`` derives for the device and the layers;
* converted: the digital network moved to noisy crossbars with ``convert_to_analog``, as it is and
  after a few epochs of fine-tuning with the noise in the forward pass.

Everything runs offline. ``torch.manual_seed`` determines every number that is printed.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from tqdm import tqdm

import mho
from figure_digits import draw
from mho.nn import AnalogLinear
from mho.nn.conversion import convert_to_analog
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    InferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    SoftBoundsReferenceDevice,
    build_config,
)
from mho.simulator.parameters.base import RPUConfigBase

HIDDEN = 64
BATCH = 10
ALGORITHMS = ("tt", "ttv2", "c-ttv2", "agad", "mp")
# Reading a noisy network several times tells its accuracy apart from the luck of one reading.
READINGS = 10


@dataclass
class Digits:
    """Images ``[samples, 64]`` scaled to [0, 1] and their labels."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


@dataclass
class Result:
    """Test accuracies in percent: of every seed, and per epoch where the model was trained."""

    final: list[float] = field(default_factory=list)
    curves: list[list[float]] = field(default_factory=list)


def load_data() -> Digits:
    """Return 1437 images for training and 360 for testing, the same split in every run."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        (images / 16).astype(np.float32), labels, test_size=0.2, random_state=0, stratify=labels
    )
    train_x, test_x, train_y, test_y = (torch.from_numpy(part) for part in parts)
    return Digits(train_x, train_y, test_x, test_y)


def digital_network() -> nn.Sequential:
    """Return the floating-point network."""
    return nn.Sequential(nn.Linear(64, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 10))


def in_memory_network(config: RPUConfigBase) -> nn.Sequential:
    """Return the same network with both layers on crossbars."""
    return nn.Sequential(
        AnalogLinear(64, HIDDEN, rpu_config=config),
        nn.Tanh(),
        AnalogLinear(HIDDEN, 10, rpu_config=config),
    )


def in_memory_configs(algorithm: str | None) -> dict[str, RPUConfigBase]:
    """Return crossbars of single devices, and of the cells of an algorithm if there is one."""
    configs: dict[str, RPUConfigBase] = {
        "in memory, ConstantStep": SingleRPUConfig(device=ConstantStepDevice()),
        "in memory, SoftBounds": SingleRPUConfig(device=SoftBoundsDevice()),
    }
    if algorithm is not None:
        tuned = build_config(algorithm, SoftBoundsReferenceDevice(), tune="fast")
        configs[f"in memory, {algorithm}"] = tuned
    return configs


def inference_config() -> InferenceRPUConfig:
    """Return crossbars with a 4-bit DAC and strong read noise, the weights scaled to fill them."""
    config = InferenceRPUConfig()
    config.forward.inp_res = 1 / (2**4 - 2)
    config.forward.out_noise = 1.0
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = True
    return config


def accuracy(model: nn.Module, data: Digits, readings: int = 1) -> float:
    """Return the share of correct test digits in percent, averaged over ``readings``."""
    model.eval()
    with torch.no_grad():
        correct = [model(data.test_x).argmax(1) == data.test_y for _ in range(readings)]
    return 100 * torch.stack(correct).double().mean().item()


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Digits,
    epochs: int,
    bar: "tqdm[None]",
) -> list[float]:
    """Train with shuffled batches; return the test accuracy in percent after every epoch."""
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    curve = []
    for _ in range(epochs):
        model.train()
        for chosen in torch.randperm(len(data.train_x)).split(BATCH):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(data.train_x[chosen]), data.train_y[chosen])
            loss.backward()
            optimizer.step()
        scheduler.step()
        curve.append(accuracy(model, data))
        bar.update()
    return curve


def run_seed(
    seed: int,
    data: Digits,
    epochs: int,
    bar: "tqdm[None]",
    results: dict[str, Result],
    in_memory: dict[str, RPUConfigBase],
) -> None:
    """Run all models with one seed and append their accuracies to ``results``."""

    def trained(name: str, model: nn.Module, lr: float, epochs: int) -> nn.Module:
        bar.set_postfix_str(f"seed {seed}, {name}")
        curve = train(model, AnalogSGD(model.parameters(), lr=lr), data, epochs, bar)
        results[name].curves.append(curve)
        return model

    def start(build: Callable[[], nn.Module]) -> nn.Module:
        torch.manual_seed(seed)
        return build()

    digital = trained("floating point", start(digital_network), 0.2, epochs)
    results["floating point"].final.append(accuracy(digital, data))
    for name, config in in_memory.items():
        model = trained(name, start(lambda config=config: in_memory_network(config)), 0.1, epochs)
        results[name].final.append(accuracy(model, data, READINGS))

    torch.manual_seed(seed)
    analog = convert_to_analog(digital, inference_config())
    results["converted"].final.append(accuracy(analog, data, READINGS))
    trained("converted, fine-tuned", analog, 0.05, max(1, epochs // 2))
    results["converted, fine-tuned"].final.append(accuracy(analog, data, READINGS))


def print_table(results: dict[str, Result]) -> None:
    """Print mean and standard deviation over the seeds."""
    seeds = len(next(iter(results.values())).final)
    print(f"\nTest accuracy in percent, {seeds} seeds")
    print(f"{'model':28}{'mean':>8}{'std':>8}{'worst':>8}")
    for name, result in results.items():
        final = np.array(result.final)
        spread = final.std(ddof=1) if seeds > 1 else 0.0
        print(f"{name:28}{final.mean():8.1f}{spread:8.1f}{final.min():8.1f}")


def main() -> None:
    """Run the comparison, print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, help="number of repetitions")
    parser.add_argument("--epochs", type=int, default=15, help="epochs of every training")
    parser.add_argument("--output", type=Path, default=Path("out/digits.png"))
    parser.add_argument(
        "--backend",
        default="cpu",
        choices=("cpu", "wgpu"),
        help="where the crossbars are computed; layers this small are faster on the processor",
    )
    parser.add_argument("--adapter", help="number or part of the name of a graphics processor")
    parser.add_argument("--algorithm", choices=ALGORITHMS, help="train in memory by this one, too")
    options = parser.parse_args()
    mho.set_backend(options.backend, options.adapter)

    # Networks this small are faster without a second thread.
    torch.set_num_threads(1)
    in_memory = in_memory_configs(options.algorithm)
    names = ("floating point", *in_memory, "converted", "converted, fine-tuned")
    results = {name: Result() for name in names}
    data = load_data()
    trainings = (1 + len(in_memory)) * options.epochs + max(1, options.epochs // 2)
    epochs = options.seeds * trainings
    with tqdm(total=epochs, unit="epoch", desc="digits") as bar:
        for seed in range(1, options.seeds + 1):
            run_seed(seed, data, options.epochs, bar, results, in_memory)
    print_table(results)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    draw(results, options.output)
    print(f"\nFigure: {options.output}")


if __name__ == "__main__":
    main()
