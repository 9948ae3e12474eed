"""Draws the figure of docs/low_precision.md: levels of a quantiser, and what few bits cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
import torch
from PIL import Image

from mho.nn import AnalogLinear
from mho.simulator.configs import (
    IOParameters,
    MappingParameter,
    QuantizedTorchInferenceRPUConfig,
)
from mho.simulator.digital_low_precision.quantizers import (
    AsymmetricUniformQuantizer,
    SymmetricUniformQuantizer,
)
from mho.simulator.parameters.quantization import ActivationQuantConfig

FOLDER = Path(__file__).parent
# Okabe-Ito colours, which stay apart for colour-blind readers.
BLUE, ORANGE, RED = "#0072B2", "#E69F00", "#D55E00"
BITS = (2, 3, 4, 5, 6, 7, 8)


def draw_levels(axes: Any) -> None:
    """Draw the levels of both kinds for the same range."""
    x = torch.linspace(-1.0, 2.4, 2000)
    for cls, colour, label in (
        (SymmetricUniformQuantizer, BLUE, "symmetric"),
        (AsymmetricUniformQuantizer, RED, "asymmetric"),
    ):
        quantizer = cls(3)
        quantizer.set_quant_range(-0.6, 2.0)
        axes.plot(x, quantizer(x), color=colour, label=label)
    axes.plot(x, x, color="black", linewidth=0.6)
    axes.set(xlabel="value", ylabel="level", title="3 bits, range from -0.6 to 2")
    axes.legend(frameon=False)


def error(periphery: int, outputs: int) -> float:
    """Return the relative rms error of a layer whose analog product is exact."""
    config = QuantizedTorchInferenceRPUConfig(
        forward=IOParameters(is_perfect=True),
        mapping=MappingParameter(weight_scaling_omega=1.0, weight_scaling_columnwise=True),
    )
    config.pre_post.periph_quant.n_bits = periphery
    if outputs:
        config.act_quant_config = ActivationQuantConfig(outputs)
    torch.manual_seed(0)
    layer = AnalogLinear(64, 128, rpu_config=config)
    with torch.no_grad():
        layer.set_weights(torch.randn(128, 64) * torch.rand(128, 1), torch.randn(128))
    x = torch.randn(500, 64)
    exact = x @ layer.get_weights()[0].T + layer.get_weights()[1]
    return float((layer(x).detach() - exact).std() / exact.std())


def draw_errors(axes: Any) -> None:
    """Draw errors of the periphery and of the outputs by their bits."""
    curves = {
        "scale and bias": (BLUE, [error(bits, 0) for bits in BITS]),
        "outputs": (ORANGE, [error(0, bits) for bits in BITS]),
        "both": (RED, [error(bits, bits) for bits in BITS]),
    }
    for label, (colour, values) in curves.items():
        axes.semilogy(BITS, values, "o-", color=colour, label=label)
    axes.set(xlabel="bits", ylabel="relative rms error", title="64 inputs, a scale per output")
    axes.legend(frameon=False)


def main() -> None:
    """Draw the figure."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    draw_levels(axes[0])
    draw_errors(axes[1])
    path = FOLDER / "low_precision.png"
    figure.savefig(path, dpi=110)
    # A palette is enough for few colours and keeps the repository small.
    Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(path)


if __name__ == "__main__":
    main()
