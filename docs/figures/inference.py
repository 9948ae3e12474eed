"""Draws the figures of docs/inference.md."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # writes files only, so it works without a display

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy import sparse
from torch import Tensor, nn

import mho
from mho.inference import (
    BaseNoiseModel,
    HermesNoiseModel,
    PCMLikeNoiseModel,
    ReRamWan2022NoiseModel,
    SinglePairConductanceConverter,
    StateIndependentNoiseModel,
)
from mho.inference.calibration import InputRangeCalibrationType, calibrate_input_ranges
from mho.inference.compensation.drift import GlobalDriftCompensation, PerColumnDriftCompensation
from mho.inference.converter.wpo import (
    WeightProgrammingOptimizer,
    downsample_weight_distribution,
    loss_weights,
)
from mho.linalg import AnalogMatrix
from mho.nn import AnalogLinear, convert_to_analog
from mho.simulator.configs import InferenceRPUConfig, IOParameters
from mho.simulator.parameters.enums import NoiseManagementType

FOLDER = Path(__file__).parent
# Okabe-Ito colours, which stay apart for colour-blind readers.
BLUE, RED, GREEN, ORANGE, GREY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#999999"
YEAR = 31536000.0
# Programming error over the relative conductance in microsiemens: large where that is small.
COARSE = [2.5, -2.0, 0.0]
MARKS = {1.0: "1 s", 60.0: "1 min", 3600.0: "1 hour", 86400.0: "1 day", YEAR: "1 year"}


def save(figure: Figure, name: str) -> None:
    """Write a figure with few colours."""
    figure.tight_layout()
    path = FOLDER / f"{name}.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    with Image.open(path) as image:
        image.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(path, optimize=True)


def time_axis(axes: plt.Axes) -> None:
    """Show times in words."""
    axes.set_xscale("log")
    axes.set_xticks(list(MARKS), list(MARKS.values()))
    axes.minorticks_off()
    axes.set_xlabel("time since programming")


def programming() -> None:
    """Error of programming over the target, and weights of one tile over time."""
    models: dict[str, tuple[BaseNoiseModel, float, str]] = {
        "PCM": (PCMLikeNoiseModel(), 25.0, BLUE),
        "PCM, Hermes": (HermesNoiseModel(), 20.7, GREEN),
        "ReRAM, NeuRRAM": (ReRamWan2022NoiseModel(), 25.0, RED),
        "state independent": (StateIndependentNoiseModel(), 25.0, GREY),
    }
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.0))
    for label, (model, g_max, colour) in models.items():
        g = torch.linspace(0.02, 1.0, 50).reshape(-1, 1) * g_max
        programmed = model.apply_programming_noise_to_conductance(g.expand(-1, 20_000))
        left.plot(g / g_max, (programmed - g).std(dim=1) / g_max * 100, color=colour, label=label)
    left.set(xlabel=r"target $g / g_{max}$", ylabel=r"programming error (% of $g_{max}$)")
    left.set_ylim(0, 13)  # room for the legend
    left.legend(fontsize=8, loc="upper right", ncols=2)
    model = PCMLikeNoiseModel()
    levels = torch.tensor([0.1, 0.3, 0.5, 0.7, 1.0]).repeat(2000, 1)
    weights, parameters = model.apply_programming_noise(levels)
    times = np.logspace(0, np.log10(YEAR), 40)
    read = torch.stack([model.apply_drift_noise(weights, parameters, t) for t in times.tolist()])
    for i in range(levels.shape[1]):
        mean, std = read[:, :, i].mean(1).numpy(), read[:, :, i].std(1).numpy()
        right.plot(times, mean, color=BLUE)
        right.fill_between(times, mean - std, mean + std, color=BLUE, alpha=0.25, linewidth=0)
    time_axis(right)
    right.set(ylabel="weight, mean and std (PCM)")
    save(figure, "inference_programming")


def relative_error(layer: AnalogLinear, x: Tensor, wanted: Tensor) -> float:
    """Mean over outputs of their error, relative to them."""
    return float(((layer(x) - wanted).norm(dim=0) / wanted.norm(dim=0)).mean())


@torch.no_grad()
def compensation() -> None:
    """Error of a layer over time, with and without compensation, over chips."""
    torch.manual_seed(1)
    weight = (torch.rand(32, 128) * 2 - 1) * torch.logspace(-1, 0, 32).reshape(-1, 1)
    x = torch.randn(200, 128)
    times = np.logspace(0, np.log10(YEAR), 13)
    figure, axes = plt.subplots(figsize=(4.6, 3.1))
    kinds = {
        "none": (None, RED),
        "one factor per tile": (GlobalDriftCompensation(), BLUE),
        "one factor per output": (PerColumnDriftCompensation(), GREEN),
    }
    for label, (kind, colour) in kinds.items():
        config = InferenceRPUConfig(forward=IOParameters(is_perfect=True), drift_compensation=kind)
        layer = AnalogLinear(128, 32, bias=False, rpu_config=config).eval()
        errors = np.zeros((20, len(times)))
        for chip in range(len(errors)):
            layer.set_weights(weight)
            for i, t in enumerate(times):
                layer.drift_analog_weights(float(t))
                errors[chip, i] = relative_error(layer, x, x @ weight.t())
        mean, std = 100 * errors.mean(0), 100 * errors.std(0)
        axes.plot(times, mean, color=colour, label=label)
        axes.fill_between(times, mean - std, mean + std, color=colour, alpha=0.25, linewidth=0)
    time_axis(axes)
    axes.set(ylabel="error of the outputs (%)")
    axes.set_ylim(0)
    axes.legend(title="compensation", fontsize=8, title_fontsize=8)
    save(figure, "inference_compensation")


def network() -> tuple[nn.Module, Tensor]:
    """A network with inputs of long tails, and data for it."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return model, torch.distributions.StudentT(4.0).sample((1000, 64))


@torch.no_grad()
def calibration() -> None:
    """Error of the outputs over the input range of the first layer, and where types put it."""
    digital, x = network()
    config = InferenceRPUConfig()
    config.forward.noise_management = NoiseManagementType.NONE
    config.pre_post.input_range.enable = True
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = True
    analog = convert_to_analog(digital, config).eval()
    with mho.calibrate(analog, absolute=True):
        analog(x)
    wanted = digital(x)
    tile = next(iter(analog[0].analog_tiles()))  # type: ignore[operator]
    ranges = np.logspace(0, np.log10(30), 25)
    errors = []
    for value in ranges:
        tile.set_input_range(float(value))
        errors.append(float((analog(x) - wanted).norm() / wanted.norm()) * 100)
    figure, axes = plt.subplots(figsize=(4.6, 3.1))
    axes.plot(ranges, errors, color=BLUE)
    types = InputRangeCalibrationType
    for kind, options, colour, label in (
        (types.MOVING_STD, {}, GREY, "MOVING_STD"),
        (types.CACHE_QUANTILE, {"quantile": 0.999, "absolute": True}, GREEN, "quantile 0.999"),
        (types.CACHE_QUANTILE, {}, ORANGE, "CACHE_QUANTILE"),
        (types.MAX, {}, RED, "MAX"),
    ):
        calibrate_input_ranges(analog, kind, x.split(50), **options)
        axes.axvline(tile.input_range.item(), color=colour, linestyle="--", label=label)  # type: ignore[arg-type]
    axes.set(
        xscale="log", xlabel="input range of the first layer", ylabel="error of the outputs (%)"
    )
    axes.set_xticks([1, 3, 10, 30], ["1", "3", "10", "30"])
    axes.minorticks_off()
    axes.legend(fontsize=8)
    save(figure, "inference_calibration")


def optimisation() -> None:
    """The usual programme, the one that is found, and the error of weights with both."""
    torch.manual_seed(4)
    config = InferenceRPUConfig(forward=IOParameters(is_perfect=True))
    config.noise_model = PCMLikeNoiseModel(prog_coeff=COARSE)
    weights = torch.randn(20_000).clamp(-3, 3) / 3
    usual = SinglePairConductanceConverter()
    search = WeightProgrammingOptimizer(
        weights, [1.0], config, [1.0, 60.0, 3600.0, 86400.0], usual, disp=False, callback=None,
        test_in_features=64, popsize=15, maxiter=100, polish=False,
    )  # fmt: skip
    found, _ = search.run_optimizer()
    print(f"loss {search.loss_baseline:.4f} -> {search.best_loss:.4f}")
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.0))
    w = torch.linspace(-1, 1, 201).reshape(1, -1)
    times = np.logspace(0, np.log10(86400.0), 11)
    test_weights = downsample_weight_distribution(weights, (128, 32))
    for converter, colour, label in ((usual, GREY, "usual"), (found, BLUE, "found")):
        (plus, minus), _ = converter.convert_to_conductances(w)
        left.plot(w[0], plus[0], color=colour, label=f"$g^+$, {label}")
        left.plot(w[0], minus[0], color=colour, linestyle="--", label=f"$g^-$, {label}")
        chosen = copy.deepcopy(config)
        chosen.noise_model = PCMLikeNoiseModel(prog_coeff=COARSE, g_converter=converter)
        layer = AnalogLinear(128, 32, bias=False, rpu_config=chosen).eval()
        losses = [
            [loss_weights(layer, [float(t)], test_weights, 1.0, 0.0, 0.0, True) for t in times]
            for _ in range(10)
        ]
        error = 10 * np.sqrt(losses)  # in per cent of the largest weight
        right.plot(times, error.mean(0), color=colour, label=label)
        band = (error.mean(0) - error.std(0), error.mean(0) + error.std(0))
        right.fill_between(times, *band, color=colour, alpha=0.25, linewidth=0)
    left.set(xlabel="weight", ylabel="target conductance (µS)")
    left.legend(fontsize=7)
    time_axis(right)
    right.set_xlim(0.6, 1.5e5)
    right.set(ylabel="error of the weights (%)")
    right.set_ylim(0)
    right.legend(fontsize=8)
    save(figure, "inference_wpo")


def residuals(a: sparse.sparray, b: np.ndarray, preconditioner: object, steps: int) -> list[float]:
    """Residuals of flexible GMRES, which takes a preconditioner that is another at each step."""
    basis, search, h = np.zeros((steps + 1, len(b))), [], np.zeros((steps + 1, steps))
    norm = np.linalg.norm(b)
    basis[0], found = b / norm, [1.0]
    for k in range(steps):
        search.append(preconditioner @ basis[k])  # type: ignore[operator]
        w = a @ search[k]
        for i in range(k + 1):
            h[i, k] = w @ basis[i]
            w = w - h[i, k] * basis[i]
        h[k + 1, k] = np.linalg.norm(w)
        basis[k + 1] = w / h[k + 1, k]
        right = np.zeros(k + 2)
        right[0] = norm
        y = np.linalg.lstsq(h[: k + 2, : k + 1], right, rcond=None)[0]
        found.append(float(np.linalg.norm(b - a @ (y @ np.array(search))) / norm))
    return found


def solver() -> None:
    """Residuals of a Krylov solver with and without an analog preconditioner."""
    torch.manual_seed(5)
    side = 14
    line = sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(side, side))
    eye = sparse.eye_array(side)
    a = (sparse.kron(line, eye) + sparse.kron(eye, line) - 1.25 * sparse.kron(eye, eye)).tocsr()
    inverse = np.linalg.inv(a.toarray())
    b = np.random.default_rng(6).normal(size=side * side)
    config = InferenceRPUConfig()
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = True
    steps = 40
    figure, axes = plt.subplots(figsize=(4.6, 3.1))
    cases: list[tuple[str, object, str]] = [
        ("none", sparse.eye_array(side * side), GREY),
        ("analog inverse", AnalogMatrix(inverse, config, realistic=True), BLUE),
    ]
    for label, preconditioner, colour in cases:
        axes.semilogy(residuals(a, b, preconditioner, steps), color=colour, label=label)
    axes.set(xlabel="step of FGMRES", ylabel="relative residual")
    axes.legend(title="preconditioner", fontsize=8, title_fontsize=8)
    save(figure, "inference_solver")


FIGURES: list[Callable[[], None]] = [
    programming, compensation, calibration, optimisation, solver,
]  # fmt: skip


def main() -> None:
    """Draw all figures."""
    for draw in FIGURES:
        torch.manual_seed(0)
        draw()


if __name__ == "__main__":
    main()
