"""Draws the figure of docs/networks.md: how a convolution uses a tile."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle
from PIL import Image

FOLDER = Path(__file__).parent
# Okabe-Ito colours, which stay apart for colour-blind readers.
BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#dddddd"


def grid(
    axes: Axes,
    x: float,
    y: float,
    shape: tuple[int, int],
    filled: set[tuple[int, int]],
    colour: str,
) -> None:
    """Draw cells, some of them filled; (x, y) is the upper left corner."""
    for row in range(shape[0]):
        for column in range(shape[1]):
            face = colour if (row, column) in filled else "white"
            corner = x + column, y - row - 1
            axes.add_patch(Rectangle(corner, 1, 1, facecolor=face, edgecolor="grey", linewidth=0.7))


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow."""
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=10, color="black"))


def main() -> None:
    """Draw the figure."""
    figure, axes = plt.subplots(figsize=(7.6, 2.3), layout="constrained")
    patch = {(r, c) for r in (1, 2, 3) for c in (2, 3, 4)}
    grid(axes, 1.0, 6.2, (6, 6), patch, GREY)
    grid(axes, 0.0, 5.2, (6, 6), patch, BLUE)
    axes.text(3.2, 6.7, "image, C channels", ha="center")
    arrow(axes, (7.3, 2.6), (9.2, 2.6))
    for row in range(11):
        face = BLUE if row == 5 else "white"
        axes.add_patch(
            Rectangle(
                (9.6, 5.4 - 0.6 * row), 6, 0.6, facecolor=face, edgecolor="grey", linewidth=0.7
            )
        )
    axes.text(12.6, 6.7, "patches, L rows of K", ha="center")
    arrow(axes, (15.9, 2.6), (17.8, 2.6))
    axes.add_patch(Rectangle((18.2, -0.6), 4.4, 6.0, facecolor=GREEN, alpha=0.25, edgecolor="grey"))
    for i in range(6):
        axes.plot([18.2, 22.6], [0.0 + i, 0.0 + i], color=GREEN, linewidth=0.8)
    for i in range(4):
        axes.plot([18.9 + i, 18.9 + i], [-0.6, 5.4], color=GREEN, linewidth=0.8)
    axes.text(20.4, 6.7, "tile, K x out", ha="center")
    arrow(axes, (22.9, 2.6), (24.8, 2.6))
    grid(axes, 26.0, 5.2, (4, 4), {(1, 2)}, GREY)
    grid(axes, 25.2, 4.4, (4, 4), {(1, 2)}, RED)
    axes.text(27.6, 6.7, "output", ha="center")
    axes.set(xlim=(-0.3, 30.5), ylim=(-1.1, 7.4), aspect="equal")
    axes.axis("off")
    path = FOLDER / "networks.png"
    figure.savefig(path, dpi=150)
    plt.close(figure)
    # Few colours are enough, and a third of the bytes.
    with Image.open(path) as image:
        image.convert("RGB").quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main()
