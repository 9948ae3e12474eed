"""Draws the figure of docs/custom_rules.md with the code of that page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
from PIL import Image

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "custom_rules.md"
BATCHES = 1500
# Okabe-Ito colours, which stay apart for colour-blind readers.
BLUE, RED, GREEN = "#0072B2", "#D55E00", "#009E73"


def page() -> dict[str, Any]:
    """Return the names that the code blocks of the page define."""
    names: dict[str, Any] = {"__name__": "page_of_rules"}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    exec(compile("\n".join(blocks), str(PAGE), "exec"), names)
    return names


def main() -> None:
    """Draw the figure."""
    names = page()
    errors, with_shifts = names["errors"], names["with_shifts"]
    curves = (
        ("buffer, offset of 0.3", RED, errors(with_shifts(0), 0.02, BATCHES)),
        ("buffer, offset of 0.3, 300 pulses first", BLUE, errors(with_shifts(300), 0.02, BATCHES)),
        ("rank 4, no offset", GREEN, errors(names["factored"], 0.1, BATCHES)),
    )
    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    for label, colour, values in curves:
        axes.semilogy(range(1, BATCHES + 1), values, color=colour, label=label, linewidth=1.0)
    axes.set(xlabel="batches of ten samples", ylabel="relative error of the weights")
    axes.set_ylim(top=9.0)  # room for the legend
    axes.legend(frameon=False, fontsize="small", loc="upper right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path = FOLDER / "custom_rules.png"
    figure.savefig(path, dpi=150)
    plt.close(figure)
    # Few colours are enough, and a third of the bytes.
    with Image.open(path) as image:
        image.convert("RGB").quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main()
