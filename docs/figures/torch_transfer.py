"""Draws the figure of docs/torch_transfer.md: how a gradient gets from one array to the other."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
import torch
from PIL import Image

from mho.simulator.configs import (
    ChoppedTransferCompound,
    DynamicTransferCompound,
    IOParameters,
    SoftBoundsReferenceDevice,
    UnitCellRPUConfig,
    UpdateParameters,
)
from mho.simulator.tiles.transfer import TorchTransferTile

FOLDER = Path(__file__).parent
STEPS = 1600
PERIOD = 0.005
GRADIENTS = (1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, -1.0)
# Okabe-Ito colours, which stay apart for colour-blind readers.
BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"
CELLS = {
    "c-TTv2: the offset averages out": ChoppedTransferCompound,
    "AGAD: the offset is subtracted": DynamicTransferCompound,
}


def traces(cell: type[ChoppedTransferCompound]) -> dict[str, list[float]]:
    """Return what one crosspoint goes through whose gradient is mostly up.

    The symmetry point of its fast device is at 0.2 instead of zero.
    """
    torch.manual_seed(3)
    spreads = [name for name in vars(SoftBoundsReferenceDevice()) if name.endswith(("dtod", "std"))]
    fields = dict.fromkeys(spreads, 0.0) | {"w_max": 1.0, "w_min": -1.0, "dw_min": 0.02}
    pair = [SoftBoundsReferenceDevice(reference_mean=mean, **fields) for mean in (-0.2, 0.0)]
    config = UnitCellRPUConfig(
        tile_class=TorchTransferTile,
        device=cell(
            unit_cell_devices=pair,
            in_chop_prob=PERIOD,
            in_chop_random=False,
            forget_buffer=False,
            transfer_forward=IOParameters(is_perfect=True),
            fast_lr=0.02,
        ),
        update=UpdateParameters(desired_bl=1),
    )
    raw = TorchTransferTile(1, 1, config).tile
    raw.set_weights(torch.zeros(1, 1))
    raw.set_learning_rate(0.005)
    found: dict[str, list[float]] = {"A": [], "sign": [], "H": [], "C": []}
    for step in range(STEPS):
        raw.update(torch.ones(1, 1), torch.tensor([[GRADIENTS[step % len(GRADIENTS)]]]))
        found["A"].append(float(raw.grad_tile.weights))
        found["sign"].append(float(raw.in_chopper))
        found["H"].append(float(raw.hidden_weight))
        found["C"].append(float(raw.get_weights()))
    return found


def main() -> None:
    """Draw the figure."""
    figure, axes = plt.subplots(3, 2, figsize=(7.0, 4.6), sharex=True, sharey="row")
    for column, (title, cell) in enumerate(CELLS.items()):
        found = traces(cell)
        fast, buffer, slow = axes[:, column]
        fast.set_title(title, fontsize=10)
        fast.plot(found["A"], color=BLUE, linewidth=0.8)
        fast.fill_between(
            range(STEPS),
            *fast.get_ylim(),
            where=[sign < 0 for sign in found["sign"]],
            color=GREY,
            alpha=0.25,
            linewidth=0,
        )
        fast.axhline(0.2, color=GREY, linestyle="--", linewidth=0.8)
        buffer.plot(found["H"], color=RED, linewidth=0.8)
        slow.plot(found["C"], color=GREEN, linewidth=1.0)
        slow.set_xlabel("updates")
    for axis, label in zip(
        axes[:, 0], ("fast weight $A$", "buffer $H$", "weight $C$"), strict=True
    ):
        axis.set_ylabel(label)
    figure.tight_layout()
    path = FOLDER / "torch_transfer.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    with Image.open(path) as image:
        image.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(path, optimize=True)


if __name__ == "__main__":
    main()
