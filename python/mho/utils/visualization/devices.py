"""Figures of how devices answer to pulses."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mho.exceptions import ArgumentError
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.signatures import checked
from mho.simulator.tiles.analog import SingleRPUConfig, UnitCellRPUConfig
from mho.simulator.tiles.periphery import TileWithPeriphery
from mho.utils.visualization.backend import check_axes, check_count, pyplot
from mho.utils.visualization.plotting_tile import (
    estimate_n_steps,
    get_tile_for_plotting,
    noise_free_twin,
    plotting_config,
    pulse_cycles,
)
from mho.utils.visualization.response import (
    Array,
    compute_pulse_response,
    compute_pulse_statistics,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_NODES = 100
MIN_PULSES, MAX_PULSES = 1000, 50_000


@checked
def plot_pulse_response(
    analog_tile: TileWithPeriphery, direction: NDArray[np.generic], use_forward: bool = False
) -> Array:
    """Plot the weight of every crosspoint over a series of pulses, in the current axes.

    Args:
        analog_tile: As for `compute_pulse_response`.
        direction: As for `compute_pulse_response`.
        use_forward: As for `compute_pulse_response`.

    Returns:
        The weights, shape `[steps, out_size, in_size]`.

    Raises:
        ArgumentError: As `compute_pulse_response`.
        ImportError: matplotlib is not installed.
    """
    axes = pyplot().gca()
    trace = compute_pulse_response(analog_tile, direction, use_forward)
    _draw_traces(axes, trace, linewidth=1)
    reading = "" if use_forward else " (read exactly)"
    axes.set_title(f"{type(analog_tile.rpu_config.device).__name__}{reading}")
    return trace


@checked
def plot_pulse_statistics(
    w_trace: NDArray[np.generic],
    direction: NDArray[np.generic],
    up_direction: bool,
    num_nodes: int = 100,
    smoothness: float = 0.5,
) -> tuple[Array, Array, Array]:
    """Plot the mean step over the weight with its standard deviation, in the current axes.

    Args:
        w_trace: As for `compute_pulse_statistics`.
        direction: As for `compute_pulse_statistics`.
        up_direction: As for `compute_pulse_statistics`.
        num_nodes: Number of weights at which to estimate, at least two.
        smoothness: As for `compute_pulse_statistics`.

    Returns:
        The weights of shape `[nodes]`, and mean and standard deviation of the steps, each of shape
        `[nodes, out_size, in_size]`.

    Raises:
        ArgumentError: As `compute_pulse_statistics`.
        ImportError: matplotlib is not installed.
    """
    axes = pyplot().gca()
    nodes, mean, std = _statistics(w_trace, direction, up_direction, num_nodes, smoothness)
    traces = zip(mean.reshape(len(nodes), -1).T, std.reshape(len(nodes), -1).T, strict=True)
    for middle, spread in traces:
        (line,) = axes.plot(nodes, middle)
        band = (middle - spread, middle + spread)
        axes.fill_between(nodes, *band, color=line.get_color(), alpha=0.3, linewidth=0)
    axes.set(xlabel="weight", ylabel="mean step", title="up" if up_direction else "down")
    return nodes, mean, std


@checked
def plot_response_overview(
    rpu_config: SingleRPUConfig | UnitCellRPUConfig,
    n_loops: int = 5,
    n_steps: int | None = None,
    n_traces: int = 5,
    use_cuda: bool = False,
    smoothness: float = 0.1,
) -> "Figure":
    """Plot pulse response and steps of a configuration in the current figure, which is cleared.

    The panels are: weights with all noise; the same devices without noise; their mean steps up and
    down.

    Args:
        rpu_config: Configuration.
        n_loops: Number of cycles up and down; they are repeated until there are 1000 pulses and
            cut at 50000, but one cycle is always shown.
        n_steps: Number of pulses in one direction, by default `estimate_n_steps`.
        n_traces: Number of devices.
        use_cuda: Move the tile to CUDA.
        smoothness: As for `compute_pulse_statistics`.

    Returns:
        The figure.

    Raises:
        ArgumentError: A number is not positive.
        ConfigError: The configuration cannot be built, or it does not tell `n_steps`.
        CudaError: The tile cannot be moved to CUDA.
        ImportError: matplotlib is not installed.
    """
    plt = pyplot()
    steps = _number_of_steps(rpu_config, n_steps)
    cycles = 2 * check_count("n_loops", n_loops) * steps
    direction = pulse_cycles(steps, min(max(cycles, MIN_PULSES), max(MAX_PULSES, 2 * steps)))
    tile = get_tile_for_plotting(rpu_config, n_traces, use_cuda)
    twin = noise_free_twin(tile, None)
    plt.clf()
    plt.subplot(3, 1, 1)
    plot_pulse_response(tile, direction, use_forward=True)
    plt.subplot(3, 1, 2)
    trace = plot_pulse_response(twin, direction)
    plt.gca().set_title("the same devices without noise")
    for position, up_direction in ((5, True), (6, False)):
        plt.subplot(3, 2, position)
        nodes = min(max(steps, 2), MAX_NODES)
        plot_pulse_statistics(trace, direction, up_direction, nodes, smoothness)
    plt.tight_layout()
    figure: Figure = plt.gcf()
    return figure


@checked
def plot_device(device: CrosspointDevice, w_noise: float = 0.0, **kwargs: Any) -> "Figure":
    """Plot pulse response and steps of a device in a new figure.

    Args:
        device: Device or unit cell.
        w_noise: Standard deviation of the noise of each read, in units of the weight.
        kwargs: Further arguments of `plot_response_overview`.

    Returns:
        The figure.

    Raises:
        ArgumentError: As `plot_response_overview`.
        ConfigError: As `plot_response_overview`.
        CudaError: As `plot_response_overview`.
        ImportError: matplotlib is not installed.
    """
    pyplot().figure(figsize=(7, 7))
    return plot_response_overview(plotting_config(device, w_noise), **kwargs)


@checked
def plot_device_compact(
    device: CrosspointDevice,
    w_noise: float = 0.0,
    n_steps: int | None = None,
    n_traces: int = 3,
    n_loops: int = 2,
    w_init: float | None = None,
    use_cuda: bool = False,
    axes: "Axes | None" = None,
    **plot_kwargs: Any,
) -> "Figure | Axes":
    """Plot the pulse response of a device in one panel, with its mean steps as insets.

    Args:
        device: Device or unit cell.
        w_noise: Standard deviation of the noise of each read, in units of the weight.
        n_steps: Number of pulses in one direction, by default `estimate_n_steps`.
        n_traces: Number of devices.
        n_loops: Number of cycles up and down.
        w_init: Weight to start from; see `get_tile_for_plotting`.
        use_cuda: Move the tile to CUDA.
        axes: Axes to draw into; by default those of a new figure.
        plot_kwargs: Further arguments of the lines.

    Returns:
        The new figure, or `axes`.

    Raises:
        ArgumentError: A number is not positive.
        ConfigError: The device cannot be built, or it does not tell `n_steps`.
        CudaError: The tile cannot be moved to CUDA.
        ImportError: matplotlib is not installed.
    """
    plt = pyplot()
    if axes is not None:
        check_axes("axes", axes)
    config = plotting_config(device, w_noise)
    steps = _number_of_steps(config, n_steps)
    pulses = check_count("n_loops, n_steps", 2 * check_count("n_loops", n_loops) * steps)
    direction = pulse_cycles(steps, pulses)
    tile = get_tile_for_plotting(config, n_traces, use_cuda, w_init=w_init)
    twin = noise_free_twin(tile, w_init)
    trace = compute_pulse_response(tile, direction, use_forward=True)
    if not np.isfinite(trace).all():
        raise ArgumentError("w_noise: too large, what is read is not finite")
    target: Axes = plt.figure(figsize=(12, 4)).add_subplot() if axes is None else axes
    _draw_traces(target, trace, **{"linewidth": 1, **plot_kwargs})
    limit = 1.2 * float(np.abs(trace).max()) or 1.0
    # The insets stand in the free part on the right.
    right = 1.25 * len(direction)
    target.set(title=type(device).__name__, xlim=(0, right), ylim=(-limit, limit))
    cycle = direction[: 2 * steps]
    _draw_insets(target, compute_pulse_response(twin, cycle), cycle)
    return target if axes is not None else plt.gcf()


@checked
def plot_device_symmetry(
    device: CrosspointDevice,
    w_noise: float = 0.0,
    n_pulses: int = 10000,
    n_traces: int = 3,
    use_cuda: bool = False,
    w_init: float = 1.0,
) -> "Figure":
    """Plot how pulses up and down in turn move the weight to the symmetry point, in a new figure.

    Args:
        device: Device or unit cell.
        w_noise: Standard deviation of the noise of each read, in units of the weight.
        n_pulses: Number of pulses; the first one is up.
        n_traces: Number of devices.
        use_cuda: Move the tile to CUDA.
        w_init: Weight to start from, brought into the bounds of each device.

    Returns:
        The figure.

    Raises:
        ArgumentError: A number is not positive.
        ConfigError: The device cannot be built.
        CudaError: The tile cannot be moved to CUDA.
        ImportError: matplotlib is not installed.
    """
    plt = pyplot()
    direction = pulse_cycles(1, check_count("n_pulses", n_pulses))
    tile = get_tile_for_plotting(
        plotting_config(device, w_noise), n_traces, use_cuda, w_init=w_init
    )
    trace = compute_pulse_response(tile, direction, use_forward=True)
    figure: Figure = plt.figure(figsize=(7, 4))
    axes = figure.add_subplot()
    _draw_traces(axes, trace, linewidth=1)
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set(title=f"{type(device).__name__}: pulses up and down in turn", xlim=(0, n_pulses))
    return figure


def _statistics(
    trace: NDArray[np.generic],
    direction: NDArray[np.generic],
    up_direction: bool,
    num_nodes: int,
    smoothness: float,
) -> tuple[Array, Array, Array]:
    values = np.asarray(trace, np.float64)
    check_count("num_nodes", num_nodes, 2)
    if values.size == 0:
        raise ArgumentError("w_trace: is empty")
    nodes = np.linspace(values.min(), values.max(), num_nodes)
    return nodes, *compute_pulse_statistics(nodes, values, direction, up_direction, smoothness)


def _draw_traces(axes: "Axes", trace: Array, **plot_kwargs: Any) -> None:
    axes.plot(trace.reshape(len(trace), -1), **plot_kwargs)
    axes.set(xlabel="pulse", ylabel="weight")


def _draw_insets(axes: "Axes", trace: Array, direction: Array) -> None:
    nodes = min(max(len(direction) // 10, 2), MAX_NODES // 2)
    for bottom, up_direction in ((0.6, True), (0.12, False)):
        weights, mean, _ = _statistics(trace, direction, up_direction, nodes, 1.0)
        inset = axes.inset_axes((0.86, bottom, 0.12, 0.28))
        inset.plot(weights, mean.reshape(len(weights), -1), linewidth=1)
        inset.set_title("step up" if up_direction else "step down", fontsize=8)
        inset.tick_params(labelsize=6)


def _number_of_steps(rpu_config: SingleRPUConfig | UnitCellRPUConfig, n_steps: int | None) -> int:
    return estimate_n_steps(rpu_config) if n_steps is None else check_count("n_steps", n_steps)
