"""Draws the figure of docs/ir_drop_time.md: what the wires of a crossbar take from a product."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
import torch
from PIL import Image
from torch import Tensor

from mho.simulator.configs import (
    AnalogMVType,
    BoundManagementType,
    IOParametersIRDropT,
    NoiseManagementType,
    TorchInferenceRPUConfigIRDropT,
)
from mho.simulator.tiles import TorchInferenceTile

FOLDER = Path(__file__).parent
ROWS, COLUMNS, SAMPLES = 512, 16, 200
# Okabe-Ito colours, which stay apart for colour-blind readers.
COLOURS = ("#999999", "#0072B2", "#E69F00", "#D55E00")
WIRES = (0.0, 0.15, 0.35, 1.0)
QUIET: dict[str, Any] = {
    "out_noise": 0.0,
    "out_res": -1.0,
    "out_bound": -1.0,
    "noise_management": NoiseManagementType.NONE,
    "bound_management": BoundManagementType.NONE,
    "ir_drop_v_read": 0.4,
    "adc_quantization": False,
}


def product(weight: Tensor, x: Tensor, **changes: Any) -> Tensor:
    """Return the product of a tile with the given weights in evaluation mode."""
    forward = IOParametersIRDropT(**{**QUIET, **changes})
    tile = TorchInferenceTile(*weight.shape, TorchInferenceRPUConfigIRDropT(forward=forward))
    tile.set_weights(weight)
    return tile.eval()(x).detach()


def draw_transfer(axes: Any, weight: Tensor, x: Tensor) -> None:
    """Draw results against the exact product for several wires."""
    exact = (x @ weight.T).flatten()
    for wire, colour in zip(WIRES[1:], COLOURS[1:], strict=True):
        y = product(weight, x, ir_drop_rs=wire).flatten()
        axes.plot(exact, y, ".", markersize=1.5, color=colour, label=f"{wire} Ω", rasterized=True)
    limits = [float(exact.min()), float(exact.max())]
    axes.plot(limits, limits, color="black", linewidth=0.8)
    axes.set(xlabel="exact product", ylabel="result", title="512 rows, wire between two cells")
    axes.legend(markerscale=6, frameon=False)


def draw_place(axes: Any) -> None:
    """Draw what is left of a single active input, by its row and the side of the converter."""
    x = torch.eye(ROWS)
    # A single active row among conducting ones, which load the column.
    weight = torch.full((2, ROWS), 0.5)
    for wire, colour in zip(WIRES[1:], COLOURS[1:], strict=True):
        y = product(weight, x, ir_drop_rs=wire, ir_drop_segments=64) / 0.5
        axes.plot(y[:, 0], color=colour, label=f"{wire} Ω")
        axes.plot(y[:, 1], color=colour, linestyle="--")
    axes.set(
        xlabel="row of the active input",
        ylabel="part of its product that arrives",
        title="even columns (full), odd columns (dashed)",
        ylim=(0.0, 1.05),
    )


def draw_modes(axes: Any, weight: Tensor, x: Tensor) -> None:
    """Draw errors of the modes with noise of every output conversion."""
    exact = x @ weight.T
    modes = {
        "ONE_PASS": {"mv_type": AnalogMVType.ONE_PASS},
        "SPLIT_MODE": {"mv_type": AnalogMVType.SPLIT_MODE},
        "BIT_WISE": {"mv_type": AnalogMVType.BIT_WISE},
    }
    steps = {"ONE_PASS": 64, "SPLIT_MODE": 8 + 8, "BIT_WISE": 6 * 2}
    for place, changes in enumerate(modes.values()):
        quiet = product(weight, x, ir_drop_rs=0.35, **changes)
        noisy = product(weight, x, ir_drop_rs=0.35, out_noise=0.02, **changes)
        for shift, y, colour in ((-0.2, quiet, COLOURS[1]), (0.2, noisy, COLOURS[3])):
            axes.bar(place + shift, (y - exact).square().mean().sqrt(), 0.35, color=colour)
    axes.set(
        title="0.35 Ω (blue), with output noise (red)",
        ylabel="rms error",
        xticks=range(len(modes)),
        xticklabels=[f"{name}\n{steps[name]} steps" for name in modes],
    )


def main() -> None:
    """Draw the figure."""
    torch.manual_seed(0)
    weight = 0.3 * torch.randn(COLUMNS, ROWS).clamp(-3, 3)
    x = torch.randint(-63, 64, (SAMPLES, ROWS)) / 63 * (torch.rand(SAMPLES, ROWS) < 0.3)
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    draw_transfer(axes[0], weight, x)
    draw_place(axes[1])
    draw_modes(axes[2], weight, x)
    path = FOLDER / "ir_drop_time.png"
    figure.savefig(path, dpi=110)
    # A palette is enough for few colours and keeps the repository small.
    Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(path)


if __name__ == "__main__":
    main()
