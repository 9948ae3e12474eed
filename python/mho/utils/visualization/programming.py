"""Figures of programmed weights: their errors, and how they drift."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mho.exceptions import ArgumentError, TileError
from mho.inference.noise.base import BaseNoiseModel
from mho.inference.noise.pcm import PCMLikeNoiseModel
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.signatures import checked
from mho.simulator.presets.utils import PresetIOParameters
from mho.simulator.tiles.analog import SingleRPUConfig, UnitCellRPUConfig
from mho.simulator.tiles.inference import InferenceRPUConfig
from mho.simulator.tiles.periphery import TileWithPeriphery
from mho.utils.visualization.backend import check_axes, check_count, pyplot
from mho.utils.visualization.response import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@checked
def plot_weight_drift(
    noise_model: BaseNoiseModel | None = None,
    t_inference_list: NDArray[np.generic] | None = None,
    w_inits: NDArray[np.generic] | None = None,
    n_repeats: int = 25,
) -> "Figure":
    """Plot mean and spread of programmed weights over time, in a new figure.

    The largest absolute weight has the largest conductance.

    Args:
        noise_model: Noise of programming and reading, by default `PCMLikeNoiseModel()`.
        t_inference_list: Times since programming in seconds, by default from 1 to 1e7.
        w_inits: Weights to program, by default from -1 to 1.
        n_repeats: Number of devices for each weight.

    Returns:
        The figure.

    Raises:
        ArgumentError: `n_repeats` is not positive.
        ImportError: matplotlib is not installed.
    """
    plt = pyplot()
    model = PCMLikeNoiseModel() if noise_model is None else noise_model
    times = np.logspace(0, 7, 29) if t_inference_list is None else np.asarray(t_inference_list)
    weights = np.linspace(-1, 1, 9) if w_inits is None else np.asarray(w_inits).ravel()
    mean, std = _drift(model, times, weights, n_repeats)
    figure: Figure = plt.figure(figsize=(10, 5))
    axes = figure.add_subplot()
    for middle, spread in zip(mean.T, std.T, strict=True):
        (line,) = axes.plot(times, middle)
        band = (middle - spread, middle + spread)
        axes.fill_between(times, *band, color=line.get_color(), alpha=0.3, linewidth=0)
    axes.set(
        title=type(model).__name__,
        xlabel="time since programming (s)",
        ylabel="weight, mean and standard deviation",
        xscale="log",
    )
    return figure


def _drift(
    model: BaseNoiseModel, times: Array, weights: Array, n_repeats: int
) -> tuple[Array, Array]:
    check_count("n_repeats", n_repeats)
    for name, values in (("t_inference_list", times), ("w_inits", weights)):
        if values.ndim != 1 or values.size == 0:
            raise ArgumentError(f"{name}: expected a list of numbers, got shape {values.shape}")
    targets = torch.tensor(weights, dtype=torch.float32, device="cpu").repeat(n_repeats, 1)
    programmed, parameters = model.apply_programming_noise(targets)
    read = [model.apply_drift_noise(programmed, parameters, float(t)).numpy() for t in times]
    drifted = np.stack(read).astype(np.float64)
    return drifted.mean(axis=1), drifted.std(axis=1)


@checked
def plot_programming_error(
    config: CrosspointDevice | RPUConfigBase,
    w_range: tuple[float, float] = (-1.0, 1.0),
    w_init: NDArray[np.generic] | None = None,
    n_rows: int = 100,
    realistic_read: bool = False,
    n_bins: int = 101,
    use_cuda: bool = False,
    label: str | None = None,
    axes: "Axes | None" = None,
    t_inference: float | None = None,
    **kwargs: Any,
) -> "Axes":
    """Plot the mean absolute error of programmed weights over their targets.

    Weights are programmed by `program_weights`: by pulses on training devices, with the noise
    model in inference tiles. Bars are standard errors of the mean.

    Args:
        config: Device or unit cell, which is read with `PresetIOParameters`, or a configuration.
        w_range: Range of targets; half of it is 100 %.
        w_init: Targets, shape `[out, in]`; by default uniform in `w_range`.
        n_rows: Rows and columns of the default targets.
        realistic_read: Read with the noise of the products instead of exactly.
        n_bins: Number of edges of the bins over `w_range`.
        use_cuda: Move the tile to CUDA.
        label: Label of the curve.
        axes: Axes to draw into, by default the current ones.
        t_inference: Time since programming in seconds, for inference configurations.
        kwargs: Further arguments of `program_weights`.

    Returns:
        The axes.

    Raises:
        ArgumentError: `w_range` is not ascending, there are fewer than two edges, or `t_inference`
            is given for a configuration without drift of programmed weights.
        ConfigError: The configuration cannot be built.
        CudaError: The tile cannot be moved to CUDA.
        ImportError: matplotlib is not installed.
    """
    target_axes: Axes = check_axes("axes", axes)
    rpu_config = _configuration(config)
    edges = _edges(w_range, n_bins)
    if t_inference is not None and not isinstance(rpu_config, InferenceRPUConfig):
        raise ArgumentError("t_inference: needs an InferenceRPUConfig")
    targets = _targets(w_range, n_rows) if w_init is None else torch.as_tensor(w_init).float()
    if targets.dim() != 2 or targets.numel() == 0:
        raise ArgumentError(f"w_init: expected shape [out, in], got {tuple(targets.shape)}")
    tile: Any = rpu_config.tile_class(*targets.shape, rpu_config)
    if use_cuda:
        tile.cuda()
    tile.set_weights(targets, apply_weight_scaling=False)
    tile.program_weights(**kwargs)
    if t_inference is not None:
        tile.drift_weights(t_inference)
    weights, _ = tile.get_weights(apply_weight_scaling=False, realistic=realistic_read)
    _draw_errors(target_axes, targets, weights, edges, label=label)
    target_axes.set(xlabel="target weight", ylabel="error (% of half the range)")
    return target_axes


@checked
def plot_model_programming_error(
    analog_model: nn.Module,
    n_bins: int = 51,
    apply_weight_scaling: bool = False,
    axes: "Axes | None" = None,
    **kwargs: Any,
) -> "Axes":
    """Plot the mean absolute error of the weights of a programmed model over their targets.

    Weights are read by products with all their noise, as they are now: programmed, and drifted if
    they were drifted. Bars are standard errors of the mean.

    Args:
        analog_model: Programmed model, or one of its layers; it is not changed.
        n_bins: Number of edges of the bins between the extreme targets.
        apply_weight_scaling: Compare logical instead of raw weights.
        axes: Axes to draw into, by default the current ones.
        kwargs: Further arguments of `matplotlib.axes.Axes.errorbar`.

    Returns:
        The axes; both are in units of the largest absolute target.

    Raises:
        ArgumentError: There are fewer than two edges, or all targets are zero.
        ImportError: matplotlib is not installed.
        TileError: There are no tiles, or one was never programmed.
    """
    target_axes: Axes = check_axes("axes", axes)
    tiles = [module for module in analog_model.modules() if isinstance(module, TileWithPeriphery)]
    if not tiles:
        raise TileError("analog_model: has no analog tiles; convert it first")
    pairs = [_target_and_read(tile, apply_weight_scaling) for tile in tiles]
    targets, weights = (torch.cat([pair[i].flatten() for pair in pairs]) for i in (0, 1))
    largest = float(targets.abs().max())
    if not largest > 0:
        raise ArgumentError("analog_model: all target weights are zero")
    edges = _edges((-1.0, 1.0), n_bins)
    _draw_errors(target_axes, targets / largest, weights / largest, edges, **kwargs)
    target_axes.set(xlabel="target weight", ylabel="error (% of the largest target)", xlim=(-1, 1))
    return target_axes


def _target_and_read(tile: TileWithPeriphery, apply_weight_scaling: bool) -> tuple[Tensor, Tensor]:
    reference = getattr(tile, "reference_combined_weights", None)
    if reference is None:
        raise TileError("analog_model: a tile was never programmed; call program_analog_weights")
    scales = tile.get_scales() if apply_weight_scaling else None
    target = reference.cpu() if scales is None else (reference * scales.reshape(-1, 1)).cpu()
    weights, bias = tile.get_weights(apply_weight_scaling=apply_weight_scaling, realistic=True)
    if tile.analog_bias and bias is not None:
        weights = torch.cat([weights, bias.reshape(-1, 1)], dim=1)
    return target, weights


def _configuration(config: CrosspointDevice | RPUConfigBase) -> Any:
    if isinstance(config, RPUConfigBase):
        return config
    if isinstance(config, PulsedDevice):
        return SingleRPUConfig(device=config, forward=PresetIOParameters())
    return UnitCellRPUConfig(device=config, forward=PresetIOParameters())


def _targets(w_range: tuple[float, float], n_rows: int) -> Tensor:
    check_count("n_rows", n_rows)
    return torch.empty(n_rows, n_rows, device="cpu").uniform_(*w_range)


def _edges(w_range: tuple[float, float], n_bins: int) -> Array:
    if not w_range[0] < w_range[1] or n_bins < 2:
        raise ArgumentError(
            f"w_range, n_bins: need an ascending range and two edges, got {w_range} and {n_bins}"
        )
    return np.linspace(*w_range, check_count("n_bins", n_bins))


def _draw_errors(
    axes: "Axes", targets: Tensor, weights: Tensor, edges: Array, **kwargs: Any
) -> None:
    """Draw errors in percent of half the range; what has no target in a bin is left out."""
    error = (weights - targets).abs().double().numpy().ravel()
    count, total, square = (
        np.histogram(targets.numpy().ravel(), edges, weights=share)[0].astype(np.float64)
        for share in (np.ones_like(error), error, error**2)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        bar = np.sqrt(np.maximum(square / count - mean**2, 0) / count)
    scale = 200 / (edges[-1] - edges[0])
    axes.errorbar((edges[:-1] + edges[1:]) / 2, mean * scale, bar * scale, **kwargs)
