"""Figures of what happens inside of unit cells while they are trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn
from tqdm import tqdm

from mho.exceptions import ArgumentError, TileError
from mho.simulator.parameters.signatures import checked
from mho.simulator.tiles.module import TileModule
from mho.utils.visualization.backend import check_count, pyplot
from mho.utils.visualization.response import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Beginnings of the names of what moves while a cell is trained, and what it is called in a figure.
_KINDS = {
    "hidden_weights_chi": "accumulator",
    "hidden_weights": "device",
    "fast_weight": "fast weight",
    "slow_weight": "slow weight",
    "buffered_FP_weight": "buffer",
    "hidden_weight": "buffer",
    "running_mean_weight": "running mean",
    "past_mean_weight": "past mean",
    "reference_weight": "reference",
    "rule_": "",
}
_SHOWN = 4


@dataclass
class TransferTrace:
    """What cells held before the first step and after each, `[steps + 1, crosspoints]` each."""

    crosspoints: list[tuple[int, int]]
    """Row and column of each crosspoint."""

    weights: Array
    """Weights that products see, without output scales."""

    planes: dict[str, Array]
    """Weights of the devices, buffers and means by the names of the hidden parameters."""

    choppers: Array | None
    """Sign of each crosspoint, 1 or -1; None for cells without choppers."""


@checked
def compute_transfer(
    module: nn.Module,
    step: Callable[[], object],
    n_steps: int = 200,
    crosspoints: Sequence[tuple[int, int]] | None = None,
) -> TransferTrace:
    """Train, and return what a few crosspoints of a cell went through.

    Args:
        module: Tile of unit cells, or a module with one; the first such tile is watched.
        step: Called without arguments for each training step.
        n_steps: Number of steps.
        crosspoints: Row and column of those to watch, by default four along the diagonal.

    Returns:
        The values, `[n_steps + 1, crosspoints]` each.

    Raises:
        ArgumentError: There is no such crosspoint, or `n_steps` is not positive.
        TileError: No tile of the module has unit cells.
    """
    check_count("n_steps", n_steps)
    tile = _tile_of(module)
    points = _points(tile, crosspoints)
    rows, columns = (list(side) for side in zip(*points, strict=True))
    names = _moving(tile)
    weights, signs, planes = [], [], []

    def look() -> None:
        hidden = tile.get_hidden_parameters()
        weights.append(tile.tile.get_weights()[rows, columns].cpu().numpy())
        planes.append(np.stack([hidden[name][rows, columns].cpu().numpy() for name in names]))
        sign = _signs(tile, points)
        if sign is not None:
            signs.append(sign)

    look()
    for _ in tqdm(range(n_steps), desc="training", unit="step", leave=False):
        step()
        look()
    found = np.stack(planes, 1)
    return TransferTrace(
        points,
        np.stack(weights),
        dict(zip(names, found, strict=True)),
        np.stack(signs) if signs else None,
    )


@checked
def plot_transfer(
    module: nn.Module,
    step: Callable[[], object],
    n_steps: int = 200,
    crosspoints: Sequence[tuple[int, int]] | None = None,
) -> "Figure":
    """Train, and plot what a few crosspoints of a cell went through, in a new figure.

    From top to bottom: the weight of each device, buffers and means, the sign of the chopper if it
    flips, and the weight that products see. Each crosspoint has its colour.

    Args:
        module: Tile of unit cells, or a module with one; the first such tile is watched.
        step: Called without arguments for each training step.
        n_steps: Number of steps.
        crosspoints: Row and column of those to watch, by default four along the diagonal.

    Returns:
        The figure.

    Raises:
        ArgumentError: There is no such crosspoint, or `n_steps` is not positive.
        ImportError: matplotlib is not installed.
        TileError: No tile of the module has unit cells.
    """
    plt = pyplot()
    trace = compute_transfer(module, step, n_steps, crosspoints)
    panels = [(_label(name), values) for name, values in trace.planes.items()]
    if trace.choppers is not None and np.ptp(trace.choppers) > 0:
        panels.append(("chopper", trace.choppers))
    panels.append(("weight", trace.weights))
    figure: Figure = plt.figure(figsize=(8, 1.5 * len(panels) + 0.6), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (label, values) in zip(axes, panels, strict=True):
        _draw(axis, label, values, trace.crosspoints)
    axes[0].set_title(type(_tile_of(module).rpu_config.device).__name__)
    axes[-1].set_xlabel("step")
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=_SHOWN)
    return figure


def _draw(axis: "Axes", label: str, values: Array, points: list[tuple[int, int]]) -> None:
    for at, (row, column) in enumerate(points):
        shift = 0.0
        if label == "chopper":
            shift = 0.06 * at  # lines of equal signs would hide each other
        axis.plot(values[:, at] + shift, linewidth=1, label=f"({row}, {column})")
    axis.set_ylabel(label)
    axis.grid(alpha=0.3)


def _tile_of(module: nn.Module) -> Any:
    for child in module.modules():
        if isinstance(child, TileModule) and _moving(child):
            return child
    raise TileError(
        "module: none of its tiles has unit cells; use UnitCellRPUConfig or"
        " DigitalRankUpdateRPUConfig"
    )


def _moving(tile: Any) -> list[str]:
    """Return the names of the hidden parameters that training moves."""
    names = tile.tile.get_hidden_parameter_names()
    return [name for name in names if name.startswith(tuple(_KINDS))]


def _label(name: str) -> str:
    start = next(start for start in _KINDS if name.startswith(start))
    number = name.removeprefix(start).strip("_")
    return f"{_KINDS[start]} {number}".strip()


def _points(tile: Any, crosspoints: Sequence[tuple[int, int]] | None) -> list[tuple[int, int]]:
    shape = tuple(tile.tile.get_weights().shape)
    if crosspoints is None:
        number = min(_SHOWN, *shape)
        return [tuple(at * size // number for size in shape) for at in range(number)]
    try:
        points = [(int(row), int(column)) for row, column in crosspoints]
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"crosspoints: expected pairs of row and column, got {crosspoints!r:.80}"
        ) from error
    outside = [p for p in points if not all(0 <= at < n for at, n in zip(p, shape, strict=True))]
    if outside or not points:
        raise ArgumentError(
            f"crosspoints: expected pairs of row and column of a tile of {shape}, got"
            f" {outside[0] if outside else 'none'}"
        )
    return points


def _signs(tile: Any, points: list[tuple[int, int]]) -> Array | None:
    extra = tile.tile.dump_extra() or {}
    if "in_chopper" not in extra or "out_chopper" not in extra:
        return None
    by_columns = tile.rpu_config.device.transfer_columns
    inputs, outputs = (np.asarray(extra[f"{side}_chopper"], float) for side in ("in", "out"))
    of_columns, of_rows = (inputs, outputs) if by_columns else (outputs, inputs)
    return np.asarray([of_rows[row] * of_columns[column] for row, column in points])
