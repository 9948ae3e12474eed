"""Draws the figure of docs/tuning.md: accuracies with default and with derived settings."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

FOLDER = Path(__file__).parent
ALGORITHMS = ("tt", "ttv2", "c-ttv2", "agad", "mp")
# Okabe-Ito colours, which stay apart for colour-blind readers.
SETTINGS = {
    "default": ("default", "#999999", "o"),
    "tuned": ("tune=True", "#0072B2", "D"),
    "fast": ('tune="fast"', "#D55E00", "s"),
}
CHANCE = 10.0


def main() -> None:
    """Draw the figure from the runs of `benches/python/learning.py`."""
    runs: dict[str, float] = json.loads((FOLDER / "learning.json").read_text())
    devices = list(dict.fromkeys(name.split("|")[1] for name in runs))
    figure, axes = plt.subplots(
        1, len(ALGORITHMS), figsize=(13, 4), sharey=True, layout="constrained"
    )
    for algorithm, panel in zip(ALGORITHMS, axes, strict=True):
        _draw(panel, algorithm, devices, runs)
    axes[0].set_yticks(range(len(devices)), devices)
    axes[0].invert_yaxis()
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(SETTINGS), frameon=False)
    figure.savefig(FOLDER / "learning.png", dpi=100)
    plt.close(figure)


def _draw(axes: Axes, algorithm: str, devices: list[str], runs: dict[str, float]) -> None:
    for setting, (label, colour, marker) in SETTINGS.items():
        places, means = [], []
        for place, device in enumerate(devices):
            start = f"{algorithm}|{device}|{setting}|"
            values = [value for name, value in runs.items() if name.startswith(start)]
            if values:
                places.append(place)
                means.append(statistics.mean(values))
        axes.scatter(means, places, color=colour, marker=marker, s=36, label=label, zorder=3)
    axes.axvline(CHANCE, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlim(0, 100)
    axes.set_title(algorithm)
    axes.set_xlabel("test accuracy (%)")
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    main()
