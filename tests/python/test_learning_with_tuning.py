"""With derived settings every algorithm learns digits on every preset device.

A network of 64-64-10 sigmoids, batches of 10, learning rate 0.1, 20 epochs; the accuracy is the
mean of the last two epochs and of three seeds. `benches/python/learning.py` makes the whole table.
"""

import statistics
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.configs import SoftBoundsReferenceDevice, build_config
from mho.simulator.presets import devices as presets

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:tuning of")]

datasets = pytest.importorskip("sklearn.datasets", reason="the images are those of scikit-learn")

DEVICES = {
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
EPOCHS, BATCH, SEEDS, TESTED = 20, 10, 3, 360


@cache
def images() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return images and labels for training and for testing, the same split in every run."""
    x, y = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    pixels, labels = (
        torch.from_numpy((x[order] / 16).astype(np.float32)),
        torch.from_numpy(y[order]),
    )
    return pixels[TESTED:], labels[TESTED:], pixels[:TESTED], labels[:TESTED]


def accuracy(config: Any, seed: int) -> float:
    """Return the test accuracy in percent."""
    train_x, train_y, test_x, test_y = images()
    torch.manual_seed(seed)
    layers = (AnalogLinear(64, 64, rpu_config=config), AnalogLinear(64, 10, rpu_config=config))
    model = nn.Sequential(layers[0], nn.Sigmoid(), layers[1])
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    curve = []
    for _ in range(EPOCHS):
        model.train()
        for chosen in torch.randperm(len(train_x)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(train_x[chosen]), train_y[chosen]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = model(test_x).argmax(1) == test_y
        curve.append(100 * right.double().mean().item())
    return statistics.mean(curve[-2:])


@cache
def mean_accuracy(algorithm: str, device: str, tune: bool | str) -> float:
    """Return the mean of the seeds."""
    config = build_config(algorithm, DEVICES[device](), tune=tune)
    return statistics.mean(accuracy(config, seed) for seed in range(SEEDS))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_learns_on_every_device(algorithm: str, device: str) -> None:
    assert mean_accuracy(algorithm, device, "fast") >= 85.0


@pytest.mark.timeout(900)
@pytest.mark.parametrize("device", ["ReRamES", "EcRam", "SoftBoundsReference", "ReRamArrayOM"])
@pytest.mark.parametrize("algorithm", ["c-ttv2", "agad"])
def test_the_rate_of_the_learning_rate_is_enough(algorithm: str, device: str) -> None:
    assert mean_accuracy(algorithm, device, True) >= 82.0


@pytest.mark.timeout(900)
@pytest.mark.parametrize("algorithm", ["c-ttv2", "agad"])
def test_a_device_that_learns_by_default_does_not_lose(algorithm: str) -> None:
    by_default = mean_accuracy(algorithm, "ReRamArrayOM", False)
    assert mean_accuracy(algorithm, "ReRamArrayOM", "fast") >= by_default
