"""The figure of `digits.py`: training curves beside the final accuracies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from digits import Result

# Okabe-Ito colours, which stay apart for colour-blind readers.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#999999", "#009E73", "#CC79A7")


def draw(results: dict[str, Result], path: Path) -> None:
    """Write the figure as PNG.

    Args:
        results: One entry per model, in the order in which they are drawn.
        path: The file to write.
    """
    colours = dict(zip(results, COLOURS, strict=False))
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    _draw_curves(left, results, colours)
    _draw_bars(right, results, colours)
    figure.suptitle("Handwritten digits on analog crossbars")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_curves(axes: Axes, results: dict[str, Result], colours: dict[str, str]) -> None:
    for name, result in results.items():
        if not result.curves:
            continue
        curves = np.array(result.curves)
        epochs = np.arange(1, curves.shape[1] + 1)
        axes.plot(epochs, curves.mean(0), color=colours[name], label=name)
        axes.fill_between(
            epochs, curves.min(0), curves.max(0), color=colours[name], alpha=0.15, linewidth=0
        )
    axes.set_ylim(70, 100)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("test accuracy (%)")
    axes.set_title("During training: mean and range over the seeds")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")


def _draw_bars(axes: Axes, results: dict[str, Result], colours: dict[str, str]) -> None:
    finals = np.array([result.final for result in results.values()])
    means, spread = finals.mean(1), finals.std(1, ddof=1) if finals.shape[1] > 1 else 0.0
    positions = np.arange(len(results))[::-1]
    axes.barh(positions, means, xerr=spread, color=list(colours.values()), capsize=4, alpha=0.85)
    for position, mean in zip(positions, means, strict=True):
        axes.text(71, position, f"{mean:.1f} %", va="center", color="white", fontweight="bold")
    axes.set_yticks(positions, results)
    axes.set_xlim(70, 100)
    axes.set_xlabel("test accuracy (%)")
    axes.set_title("At the end: mean and standard deviation")
    axes.grid(axis="x", alpha=0.3)
