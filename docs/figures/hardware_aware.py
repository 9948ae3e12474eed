"""Draws the figure of docs/hardware_aware.md: modified weights against weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
import torch
from PIL import Image

from mho.simulator.configs import InferenceRPUConfig, WeightModifierParameter, WeightModifierType

FOLDER = Path(__file__).parent
BLUE = "#0072B2"
PCM = [0.26348, 1.9650, -1.1731]
KINDS: dict[str, dict[str, Any]] = {
    "DISCRETIZE": {"res": 0.25},
    "ADD_NORMAL": {"std_dev": 0.05},
    "MULT_NORMAL": {"std_dev": 0.15},
    "DISCRETIZE_ADD_NORMAL": {"res": 0.25, "std_dev": 0.02},
    "DOREFA": {"res": 0.1, "dorefa_clip": 0.6},
    "POLY": {"std_dev": 1.0},
    "PROG_NOISE": {"std_dev": 1.0, "coeffs": PCM},
    "PCM_NOISE": {"std_dev": 1.0, "pcm_t_inference": 86400.0},
    "DROP_CONNECT": {"pdrop": 0.2},
}


def modified(name: str, weights: torch.Tensor) -> torch.Tensor:
    """Return what a step of a tile of the core makes of weights, `[1, n]`."""
    kind = WeightModifierParameter(type=WeightModifierType[name], **KINDS[name])
    torch.manual_seed(0)
    tile = InferenceRPUConfig(modifier=kind).create_tile(*weights.shape)
    tile.set_weights(weights)
    tile.post_update_step()
    result: torch.Tensor = tile.get_modified_weights()[0]
    return result


def main() -> None:
    """Draw the figure."""
    weights = torch.linspace(-1.0, 1.0, 1601).reshape(1, -1)
    figure, grid = plt.subplots(3, 3, figsize=(7.2, 6.6), layout="constrained", sharex=True)
    for axes, name in zip(grid.flat, KINDS, strict=True):
        axes.plot([-1.0, 1.0], [-1.0, 1.0], color="0.7", linewidth=0.8)
        axes.plot(weights[0], modified(name, weights)[0], ".", color=BLUE, markersize=1.2)
        settings = ", ".join(
            f"{field}={value:g}" for field, value in KINDS[name].items() if field != "coeffs"
        )
        axes.set_title(f"{name}\n{settings}", fontsize="small")
        axes.set_ylim(-1.35, 1.35)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.supxlabel("weight", fontsize="medium")
    figure.supylabel("modified weight", fontsize="medium")
    path = FOLDER / "hardware_aware.png"
    figure.savefig(path, dpi=150)
    plt.close(figure)
    # Few colours are enough, and a third of the bytes.
    with Image.open(path) as image:
        image.convert("RGB").quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main()
