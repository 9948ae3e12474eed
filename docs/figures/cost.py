"""Draws the figure of docs/cost.md with the code of that page."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
from PIL import Image

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "cost.md"


def page() -> dict[str, Any]:
    """Return the names that the code blocks of the page define, which write into a folder."""
    names: dict[str, Any] = {"__name__": "page_of_costs"}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    with tempfile.TemporaryDirectory() as folder:
        before = os.getcwd()
        os.chdir(folder)
        try:
            exec(compile("\n".join(blocks), str(PAGE), "exec"), names)
        finally:
            os.chdir(before)
    return names


def main() -> None:
    """Draw the figure."""
    path = FOLDER / "cost.png"
    figure = page()["figure"]
    figure.savefig(path, dpi=150)
    plt.close(figure)
    # Few colours are enough, and a third of the bytes.
    with Image.open(path) as image:
        image.convert("RGB").quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main()
