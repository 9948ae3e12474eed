"""Draws the figures of docs/algorithms.md: what a few crosspoints go through in each algorithm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
import torch
from PIL import Image

from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    ConstantStepDevice,
    IOParameters,
    OneSidedUnitCell,
    SoftBoundsReferenceDevice,
    UnitCellRPUConfig,
    UpdateParameters,
    build_config,
)
from mho.utils.visualization import plot_transfer

FOLDER = Path(__file__).parent
ROWS, COLUMNS, BATCH = 4, 8, 10
PERFECT = IOParameters(is_perfect=True)


def device(spread: float = 0.0) -> SoftBoundsReferenceDevice:
    """Return a device of 200 states; `spread` is that of its symmetry point."""
    return SoftBoundsReferenceDevice(
        dw_min=0.01, w_max=1.0, w_min=-1.0, up_down_dtod=0.1, dw_min_std=0.3, reference_std=spread
    )


def named(name: str, **fields: Any) -> Any:
    """Return the configuration of a named algorithm whose fast device is off its symmetry point."""
    config = build_config(name, device(), PERFECT)
    if hasattr(config.device, "unit_cell_devices"):
        config.device.unit_cell_devices[0] = device(0.3)
    for field, value in fields.items():
        setattr(config.device, field, value)
    return config


def one_sided() -> UnitCellRPUConfig:
    """Return one-sided pairs that are refreshed now and then."""
    pair = [ConstantStepDevice(dw_min=0.01, w_max=1.0, w_min=0.0) for _ in range(2)]
    cell = OneSidedUnitCell(
        pair,
        refresh_every=20,
        refresh_upper_thres=0.6,
        refresh_forward=PERFECT,
        refresh_update=UpdateParameters(desired_bl=100),
    )
    return UnitCellRPUConfig(device=cell, forward=PERFECT, backward=PERFECT)


ALGORITHMS: dict[str, tuple[Any, float]] = {
    "one_sided": (one_sided, 0.02),
    "tiki_taka": (lambda: named("tt"), 0.1),
    "ttv2": (lambda: named("ttv2", fast_lr=0.5, auto_scale=True), 0.05),
    "c_ttv2": (lambda: named("c-ttv2", fast_lr=0.5, in_chop_prob=0.05), 0.05),
    "agad": (lambda: named("agad", fast_lr=0.5, in_chop_prob=0.1), 0.05),
    "mixed_precision": (lambda: named("mp"), 0.02),
}


def draw(name: str, steps: int = 400) -> None:
    """Train a small layer on noisy targets, and draw two of its crosspoints."""
    make, rate = ALGORITHMS[name]
    torch.manual_seed(3)
    layer = AnalogLinear(COLUMNS, ROWS, False, make())
    layer.set_weights(torch.zeros(ROWS, COLUMNS))
    optimizer = AnalogSGD(layer.parameters(), lr=rate)
    teacher = torch.empty(ROWS, COLUMNS).uniform_(-0.6, 0.6)

    def step() -> None:
        x = torch.empty(BATCH, COLUMNS).uniform_(-1.0, 1.0)
        error = layer(x) - x @ teacher.T - 0.3 * torch.randn(BATCH, ROWS)
        optimizer.zero_grad()
        (error**2).sum().div(2).backward()
        optimizer.step()

    points = [(0, 1), (2, 5)]
    figure = plot_transfer(layer, step, steps, points)
    for at, (row, column) in enumerate(points):
        target = float(teacher[row, column])
        figure.axes[-1].axhline(target, color=f"C{at}", linestyle=":", linewidth=1)
    path = FOLDER / f"algorithm_{name}.png"
    figure.savefig(path, dpi=80)
    plt.close(figure)
    # A palette keeps the files small.
    Image.open(path).convert("RGB").quantize(32).save(path, optimize=True)


if __name__ == "__main__":
    for name in ALGORITHMS:
        draw(name)
