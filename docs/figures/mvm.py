"""Draws the figures of docs/mvm.md: the signal path, and what each non-ideality does to y."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

from mho.simulator.configs import (
    AnalogMVType,
    BoundManagementType,
    IdealDevice,
    IOParameters,
    NoiseManagementType,
    SingleRPUConfig,
    WeightNoiseType,
)
from mho.simulator.tiles import AnalogTile

FOLDER = Path(__file__).parent
INPUTS, OUTPUTS, SAMPLES = 64, 8, 150
QUIET: dict[str, Any] = {
    "inp_res": -1.0,
    "inp_bound": -1.0,
    "out_res": -1.0,
    "out_bound": -1.0,
    "out_noise": 0.0,
    "noise_management": NoiseManagementType.NONE,
    "bound_management": BoundManagementType.NONE,
}
POS_NEG = AnalogMVType.POS_NEG_SEPARATE


@dataclass
class Figure:
    """One non-ideality: per panel its title and the fields that differ from a perfect array."""

    name: str
    panels: dict[str, dict[str, Any]]
    inputs: Callable[[Tensor], Tensor] = field(default=lambda x: x)


def strengths(name: str, mild: float, strong: float, **shared: Any) -> Figure:
    """Return a figure of one number at two strengths."""
    values = (mild, strong)
    return Figure(name, {f"{name} = {value:.4g}": {**shared, name: value} for value in values})


FIGURES = (
    Figure(
        "inp_res",
        {
            "inp_res = 1/14 (4 bit)": {"inp_bound": 1.0, "inp_res": 1 / 14},
            "inp_res = 1/2 (2 bit)": {"inp_bound": 1.0, "inp_res": 1 / 2},
        },
    ),
    strengths("inp_bound", 0.8, 0.4),
    strengths("inp_noise", 0.05, 0.2),
    strengths("inp_asymmetry", 0.1, 0.4),
    Figure(
        "out_res",
        {
            "out_res = 1/30 (5 bit)": {"out_bound": 4.0, "out_res": 1 / 30},
            "out_res = 1/6 (3 bit)": {"out_bound": 4.0, "out_res": 1 / 6},
        },
    ),
    strengths("out_bound", 2.0, 1.0),
    strengths("out_noise", 0.06, 0.3),
    strengths("out_asymmetry", 0.1, 0.4),
    strengths("out_nonlinearity", 0.2, 1.0, out_bound=4.0),
    strengths("w_noise", 0.02, 0.1, w_noise_type=WeightNoiseType.ADDITIVE_CONSTANT),
    Figure(
        "w_noise_type",
        {
            f"{kind.name}, w_noise = 0.1": {"w_noise": 0.1, "w_noise_type": kind}
            for kind in (
                WeightNoiseType.RELATIVE,
                WeightNoiseType.PCM_READ,
                WeightNoiseType.ADDITIVE_CONSTANT,
            )
        },
    ),
    strengths("ir_drop", 1.0, 3.0, ir_drop_g_ratio=2000.0),
    strengths("r_series", 0.01, 0.05),
    strengths("v_offset_std", 0.01, 0.05),
    strengths("w_read_asymmetry_dtod", 0.1, 0.4, mv_type=POS_NEG),
    Figure(
        "noise_management",
        {
            "NONE: 4-bit DAC with bound 1": {"inp_bound": 1.0, "inp_res": 1 / 14},
            "ABS_MAX: the DAC follows max|x|": {
                "inp_bound": 1.0,
                "inp_res": 1 / 14,
                "noise_management": NoiseManagementType.ABS_MAX,
            },
        },
        lambda x: 2.5 * x,
    ),
    Figure(
        "bound_management",
        {
            "NONE: the ADC clips at 1": {
                "inp_bound": 1.0,
                "out_bound": 1.0,
                "noise_management": NoiseManagementType.ABS_MAX,
            },
            "ITERATIVE: clipped rows are run again": {
                "inp_bound": 1.0,
                "out_bound": 1.0,
                "noise_management": NoiseManagementType.ABS_MAX,
                "bound_management": BoundManagementType.ITERATIVE,
            },
        },
    ),
)


def analog_product(fields: dict[str, Any], weight: Tensor, x: Tensor) -> Tensor:
    """Return the product of a tile that is perfect but for ``fields``; seeded."""
    torch.manual_seed(1)
    config = SingleRPUConfig(device=IdealDevice(), forward=IOParameters(**{**QUIET, **fields}))
    tile = AnalogTile(OUTPUTS, INPUTS, config)
    tile.set_weights(weight)
    with torch.no_grad():
        return tile(x)


def draw_effect(figure: Figure) -> None:
    """Write one figure: y against ideal y, one panel per setting."""
    torch.manual_seed(2)
    weight = 0.25 * torch.randn(OUTPUTS, INPUTS)
    x = figure.inputs(2 * torch.rand(SAMPLES, INPUTS) - 1) * torch.rand(SAMPLES, 1)
    ideal = x @ weight.T
    size = (3.2 * len(figure.panels), 3.0)
    canvas, axes = plt.subplots(
        1, len(figure.panels), figsize=size, sharey=True, layout="constrained"
    )
    for axis, (title, fields) in zip(axes, figure.panels.items(), strict=True):
        _scatter(axis, ideal, analog_product(fields, weight, x))
        axis.set_title(title, fontsize=9)
    axes[0].set_ylabel("y")
    canvas.savefig(FOLDER / f"{figure.name}.png", dpi=80)
    plt.close(canvas)


def _scatter(axes: Axes, ideal: Tensor, y: Tensor) -> None:
    limit = 1.05 * ideal.abs().max().item()
    axes.plot((-limit, limit), (-limit, limit), color="#999999", linewidth=1, zorder=0)
    axes.scatter(ideal, y, s=3, color="#0072B2", linewidths=0)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel="ideal y")


STAGES = (
    ("digital\ninput", "x", "#EEEEEE"),
    ("scale", "noise\nmanagement", "#DDEEFF"),
    ("DAC", "inp_res\ninp_bound\ninp_noise\ninp_asymmetry", "#CCE5D8"),
    ("crossbar", "W v\nir_drop\nv_offset_std\nr_series\nw_noise", "#FFE8CC"),
    ("column\namplifier", "out_nonlinearity\nout_asymmetry\nout_noise", "#CCE5D8"),
    ("ADC", "out_res\nout_bound", "#CCE5D8"),
    ("rescale", "out_scale\nundo scale", "#DDEEFF"),
    ("digital\noutput", "y", "#EEEEEE"),
)


def draw_path() -> None:
    """Write the signal path from the digital input to the digital output."""
    canvas, axes = plt.subplots(figsize=(11, 2.6), layout="constrained")
    for index, (title, fields, colour) in enumerate(STAGES):
        axes.add_patch(plt.Rectangle((index, 0), 0.8, 1.0, facecolor=colour, edgecolor="#444444"))
        axes.text(index + 0.4, 0.84, title, ha="center", va="center", fontweight="bold", fontsize=9)
        axes.text(index + 0.4, 0.36, fields, ha="center", va="center", fontsize=7.5)
        if index:
            axes.annotate("", (index, 0.5), (index - 0.2, 0.5), arrowprops={"arrowstyle": "->"})
    _retry_arrow(axes)
    axes.set(xlim=(-0.1, len(STAGES)), ylim=(-0.55, 1.05))
    axes.axis("off")
    canvas.savefig(FOLDER / "path.png", dpi=90)
    plt.close(canvas)


def _retry_arrow(axes: Axes) -> None:
    axes.plot((5.4, 5.4, 1.4), (-0.02, -0.25, -0.25), color="#D55E00", linewidth=1)
    axes.annotate("", (1.4, 0), (1.4, -0.26), arrowprops={"arrowstyle": "->", "color": "#D55E00"})
    text = (
        "bound management: an input with outputs beyond out_bound is driven again at half its size"
    )
    axes.text(3.4, -0.4, text, ha="center", va="center", fontsize=8, color="#D55E00")


if __name__ == "__main__":
    draw_path()
    for each in FIGURES:
        draw_effect(each)
