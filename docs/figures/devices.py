"""Draws the figures of docs/devices.md: how devices answer to pulses, and all preset devices."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from mho.simulator import presets
from mho.simulator.configs import (
    ConstantStepDevice,
    ExpStepDevice,
    LinearStepDevice,
    PiecewiseStepDevice,
    PowStepDevice,
    PowStepReferenceDevice,
    SingleRPUConfig,
    SoftBoundsDevice,
    SoftBoundsPmaxDevice,
    SoftBoundsReferenceDevice,
)
from mho.simulator.configs.devices import PulsedDevice
from mho.utils.visualization import (
    compute_pulse_response,
    estimate_n_steps,
    get_tile_for_plotting,
)

FOLDER = Path(__file__).parent
TRACES = 3
CYCLES = 2
POINTS = 500
# Okabe-Ito colours, which stay apart for colour-blind readers.
BLUE, RED, GREEN = "#0072B2", "#D55E00", "#009E73"
COARSE = {"dw_min": 0.01}

DEVICES: dict[str, PulsedDevice] = {
    "constant_step": ConstantStepDevice(**COARSE, up_down=0.3),
    "linear_step": LinearStepDevice(**COARSE, gamma_up=0.3, gamma_down=0.8),
    "soft_bounds": SoftBoundsDevice(**COARSE),
    "soft_bounds_pmax": SoftBoundsPmaxDevice(p_max=200, alpha=0.01),
    "soft_bounds_reference": SoftBoundsReferenceDevice(**COARSE, reference_mean=0.3),
    "exp_step": ExpStepDevice(**COARSE),
    "pow_step": PowStepDevice(dw_min=0.04, pow_gamma=2.0),
    "pow_step_reference": PowStepReferenceDevice(dw_min=0.04, pow_gamma=2.0, reference_mean=0.3),
    "piecewise_step": PiecewiseStepDevice(
        **COARSE, piecewise_up=[0.5, 1.5, 1.5, 1, 0.3], piecewise_down=[0.2, 0.5, 1, 1.5, 2]
    ),
}

PRESETS = (
    "IdealizedPresetDevice",
    "GokmenVlasovPresetDevice",
    "CapacitorPresetDevice",
    "EcRamPresetDevice",
    "EcRamMOPresetDevice",
    "ReRamESPresetDevice",
    "ReRamSBPresetDevice",
    "ReRamArrayOMPresetDevice",
    "ReRamArrayHfO2PresetDevice",
    "PCMPresetDevice",
)


def without_noise(device: PulsedDevice) -> SingleRPUConfig:
    """Return a configuration of one typical device, without spread or noise."""
    spreads = [n for n in vars(device) if n.endswith(("_dtod", "reference_std", "dw_min_std"))]
    quiet = {name: 0.0 for name in (*spreads, "write_noise_std") if hasattr(device, name)}
    fields = {n: value for n, value in vars(device).items() if value is not None}
    return SingleRPUConfig(device=type(device)(**{**fields, **quiet}))


def cycles(steps: int) -> np.ndarray:
    """Return the directions of pulses up and down in turn."""
    return np.tile(np.repeat([1.0, -1.0], steps), CYCLES)


def draw_response(axes: Axes, device: PulsedDevice, steps: int) -> None:
    """Draw some devices with all their noise, and the typical one without."""
    torch.manual_seed(4)
    noisy = get_tile_for_plotting(SingleRPUConfig(device=device), TRACES)
    typical = get_tile_for_plotting(without_noise(device), 1)
    for tile, colour, width in ((noisy, BLUE, 0.6), (typical, "black", 1.2)):
        trace = compute_pulse_response(tile, cycles(steps))[:, :, 0]
        shown = np.arange(0, len(trace), max(1, len(trace) // POINTS))
        axes.plot(shown, trace[shown], color=colour, linewidth=width)
    axes.set(xlabel="pulse", ylabel="weight")


def draw_steps(axes: Axes, device: PulsedDevice, steps: int) -> None:
    """Draw the step of the typical device up and down over the weight."""
    trace = compute_pulse_response(get_tile_for_plotting(without_noise(device), 1), cycles(steps))
    weight, change = trace[:-1, 0, 0], np.diff(trace[:, 0, 0])
    for sign, name, colour in ((1, "up", RED), (-1, "down", GREEN)):
        chosen = cycles(steps)[1:] == sign
        order = np.argsort(weight[chosen])
        axes.plot(weight[chosen][order], sign * change[chosen][order], color=colour, label=name)
    axes.set(xlabel="weight", ylabel="size of the step", ylim=(0, None))
    axes.legend(fontsize=8)


def save(canvas: Figure, name: str, dpi: int) -> None:
    """Write a figure with a palette of 64 colours, which halves the file."""
    path = FOLDER / f"{name}.png"
    canvas.savefig(path, dpi=dpi)
    plt.close(canvas)
    with Image.open(path) as image:
        image.convert("RGB").quantize(64).save(path, optimize=True)


def draw_device(name: str, device: PulsedDevice) -> None:
    """Write the figure of one kind of device."""
    steps = estimate_n_steps(SingleRPUConfig(device=device))
    size = (8, 2.6)
    canvas, (left, right) = plt.subplots(
        1, 2, figsize=size, width_ratios=(2, 1), layout="constrained"
    )
    draw_response(left, device, steps)
    draw_steps(right, device, steps)
    save(canvas, name, 80)


def draw_presets() -> None:
    """Write one figure with all preset devices."""
    canvas, axes = plt.subplots(5, 2, figsize=(8, 9), layout="constrained")
    for panel, name in zip(axes.ravel(), PRESETS, strict=True):
        device = getattr(presets, name)()
        steps = max(estimate_n_steps(SingleRPUConfig(device=device)), 10)
        draw_response(panel, device, steps)
        panel.set_title(name, fontsize=9)
    save(canvas, "preset_devices", 70)


if __name__ == "__main__":
    for each_name, each_device in DEVICES.items():
        draw_device(each_name, each_device)
    draw_presets()
