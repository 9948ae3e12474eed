"""Draws the figure of docs/evaluation.md: a classifier of digits over a year."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

import mho
from mho.nn import convert_to_analog
from mho.simulator.configs import InferenceRPUConfig, IOParameters

FOLDER = Path(__file__).parent


def digits() -> list[Tensor]:
    """Return images and classes for training, then those for testing."""
    images, labels = load_digits(return_X_y=True)
    x, test_x, y, test_y = train_test_split(
        (images / 16).astype(np.float32), labels, test_size=0.4, random_state=0, stratify=labels
    )
    return [torch.from_numpy(part) for part in (x, y, test_x, test_y)]


def trained(x: Tensor, y: Tensor) -> nn.Module:
    """Return a network that was trained in floating point."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(100):
        for batch in torch.randperm(len(x)).split(64):
            loss = functional.cross_entropy(network(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


def main() -> None:
    """Draw the figure."""
    x, y, test_x, test_y = digits()
    config = InferenceRPUConfig(
        forward=IOParameters(inp_res=1 / 254, out_res=1 / 254, out_noise=0.04)
    )
    config.mapping.weight_scaling_omega = 1.0
    result = mho.evaluate(
        convert_to_analog(trained(x, y), config),
        [(test_x, test_y)],
        n_programmings=25,
        layer_error=256,
        ablation="both",
    )
    print(result)
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    for kind, place in zip(("drift", "ablation", "layers"), axes, strict=True):
        result.plot(kind, axes=place)
    axes[0].set_ylabel("accuracy (%)")
    path = FOLDER / "evaluation.png"
    figure.savefig(path, dpi=110)
    # A palette is enough for few colours and keeps the repository small.
    Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(
        path, optimize=True
    )


if __name__ == "__main__":
    main()
