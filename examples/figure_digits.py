"""The figure of `digits.py`: accuracy of chips that age beside training in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator
from PIL import Image

if TYPE_CHECKING:
    from digits import Results

# Okabe-Ito colours, which stay apart for colour-blind readers; lines differ in style as well.
NETWORKS = {"converted": ("#D55E00", "s"), "hardware-aware": ("#0072B2", "o")}
DEVICES = ("#009E73", "#CC79A7", "#56B4E9")
STYLES = ("-", "-.", "--")
BOTTOM = 0.0


def draw(results: Results, ages: dict[str, float], path: Path) -> None:
    """Write the figure as PNG.

    Args:
        results: Accuracies in percent.
        ages: Seconds of the columns of `results.ageing`, by label.
        path: The file to write.
    """
    settings = {"font.size": 8, "axes.linewidth": 0.7, "lines.linewidth": 1.4}
    with plt.rc_context(settings):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(7.2, 3.1), layout="constrained", sharey=True, width_ratios=(3, 2)
        )
        exact = float(np.mean(results.floating_point))
        for axes in (left, right):
            axes.axhline(exact, color="black", linestyle=":", label="floating point", zorder=1)
            axes.grid(alpha=0.25, linewidth=0.5)
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
        _draw_ageing(left, results, ages)
        _draw_training(right, results)
        figure.savefig(path, dpi=200)
        plt.close(figure)
    # Few colours are enough, and a third of the bytes.
    with Image.open(path) as image:
        image.convert("RGB").quantize(128).save(path, optimize=True)


def _band(axes: Axes, x: list[float], values: list[list[float]], colour: str, **line: str) -> None:
    """Draw the mean of rows, and one standard deviation around it."""
    rows = np.array(values)
    mean = rows.mean(0)
    spread = rows.std(0, ddof=1) if len(rows) > 1 else np.zeros_like(mean)
    low, high = np.clip(mean - spread, 0, 100), np.clip(mean + spread, 0, 100)
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(x, mean, color=colour, markersize=4, **line)


def _draw_ageing(axes: Axes, results: Results, ages: dict[str, float]) -> None:
    seconds = list(ages.values())
    for (name, compensated), chips in results.ageing.items():
        colour, marker = NETWORKS[name]
        _band(
            axes,
            seconds,
            chips,
            colour,
            marker=marker,
            markerfacecolor=colour if compensated else "white",
            linestyle="-" if compensated else "--",
            label=name if compensated else f"{name}, no compensation",
        )
    axes.set_xscale("log")
    axes.set_xticks(seconds, list(ages))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(BOTTOM, 101)
    axes.set_xlabel("time since programming")
    axes.set_ylabel("test accuracy (%)")
    axes.set_title("(a) programmed onto phase-change memory", loc="left", fontsize="medium")
    axes.legend(loc="lower left", frameon=False)


def _draw_training(axes: Axes, results: Results) -> None:
    for (name, curves), colour, style in zip(results.curves.items(), DEVICES, STYLES, strict=False):
        epochs = list(range(1, len(curves[0]) + 1))
        _band(axes, epochs, curves, colour, linestyle=style, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_title("(b) trained in memory", loc="left", fontsize="medium")
    handles = [line for line in axes.lines if line.get_label() in results.curves]
    axes.legend(
        handles=handles,
        loc="center right",
        bbox_to_anchor=(1.03, 0.48),
        frameon=False,
        fontsize=7,
        handlelength=1.6,
    )
