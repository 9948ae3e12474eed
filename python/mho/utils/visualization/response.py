"""Weights of a tile pulse by pulse, and the size of the steps between them."""

import numpy as np
import torch
from numpy.typing import NDArray

from mho.exceptions import ArgumentError
from mho.simulator.parameters.signatures import checked
from mho.simulator.tiles.periphery import TileWithPeriphery

Array = NDArray[np.float64]

MIN_SHARE = 0.1
"""Sum of the Gaussians below which a mean is not worth showing."""


@checked
@torch.no_grad()
def compute_pulse_response(
    analog_tile: TileWithPeriphery, direction: NDArray[np.generic], use_forward: bool = False
) -> Array:
    """Return the weights after each of a series of pulses.

    All crosspoints get one update of the input -1 and the given output gradient per entry. Tiles
    of `get_tile_for_plotting` make exactly one pulse of it. What is read in between is part of the
    result, so pulses are not merged.

    Args:
        analog_tile: Tile without bias; its weights are changed.
        direction: Shape `[steps]`; 1 is up, -1 is down, 0 is no pulse.
        use_forward: Read with the noise of the forward product instead of exactly.

    Returns:
        Raw weights of shape `[steps, out_size, in_size]`.

    Raises:
        ArgumentError: `direction` is not a vector of 1, 0 and -1, or the tile has a bias.
    """
    steps = _checked_direction(direction)
    if analog_tile.use_bias:
        raise ArgumentError("analog_tile: has a bias; build the tile without")
    pulse = -torch.ones(1, analog_tile.in_size, device="cpu")
    gradients = torch.from_numpy(steps.astype(np.float32)).reshape(-1, 1, 1)
    gradients = gradients.expand(-1, 1, analog_tile.out_size).contiguous()
    identity = torch.eye(analog_tile.in_size, device="cpu")
    trace = np.empty((len(steps), analog_tile.out_size, analog_tile.in_size))
    for row, gradient in zip(trace, gradients, strict=True):
        analog_tile.update(pulse, gradient)
        read = analog_tile(identity).t() if use_forward else analog_tile.tile.get_weights()
        row[:] = read.numpy()
    return trace


@checked
def compute_pulse_statistics(
    w_nodes: NDArray[np.generic],
    w_trace: NDArray[np.generic],
    direction: NDArray[np.generic],
    up_direction: bool,
    smoothness: float = 0.5,
) -> tuple[Array, Array]:
    """Return mean and standard deviation of the steps of one direction as functions of the weight.

    Steps that follow one of the same direction count by a Gaussian of the distance between their
    starting weight and the node, whose width is `smoothness` times half the distance of the nodes
    (Nadaraya-Watson regression).

    Args:
        w_nodes: Weights to estimate at, evenly spaced, shape `[nodes]`.
        w_trace: Weights of `compute_pulse_response`, shape `[steps, out, in]`.
        direction: Directions that gave them, shape `[steps]`.
        up_direction: Whether to look at steps up; otherwise at those down.
        smoothness: Width of the Gaussian, in halves of the distance of two nodes.

    Returns:
        Mean and standard deviation, each of shape `[nodes, out, in]`. They are NaN where steps add
        up to less than a tenth of one.

    Raises:
        ArgumentError: Shapes do not fit or `smoothness` is not positive.
    """
    steps = _checked_direction(direction)
    nodes, trace = np.asarray(w_nodes, np.float64), np.asarray(w_trace, np.float64)
    if nodes.ndim != 1 or len(nodes) < 2:
        raise ArgumentError(f"w_nodes: expected a vector of at least 2, got shape {nodes.shape}")
    if trace.ndim != 3 or len(trace) != len(steps):
        raise ArgumentError(
            f"w_trace: expected shape [{len(steps)}, out, in], got {list(trace.shape)}"
        )
    width = (nodes[1] - nodes[0]) / 2 * smoothness
    if not smoothness > 0 or not abs(width) > 0:
        raise ArgumentError("smoothness, w_nodes: must be positive and evenly spaced")
    # The direction of a step stands with the weight after it.
    sign = 1.0 if up_direction else -1.0
    chosen = (steps[1:] == sign) & (steps[:-1] == sign)
    start, change = trace[:-1][chosen], np.diff(trace, axis=0)[chosen]
    moments = np.array([_moments(start - node, change, width) for node in nodes])
    return moments[:, 0], moments[:, 1]


def _moments(distance: Array, change: Array, width: float) -> tuple[Array, Array]:
    share = np.exp(-0.5 * (distance / width) ** 2)
    total = share.sum(axis=0)
    total = np.where(total < MIN_SHARE, np.nan, total)
    mean = np.asarray((share * change).sum(axis=0) / total)
    return mean, np.sqrt((share * (change - mean) ** 2).sum(axis=0) / total)


def _checked_direction(direction: NDArray[np.generic]) -> Array:
    steps = np.asarray(direction, np.float64)
    if steps.ndim != 1 or steps.size == 0 or not np.isin(steps, (-1.0, 0.0, 1.0)).all():
        raise ArgumentError(
            f"direction: expected a vector of 1, 0 and -1, got shape {steps.shape}; use np.sign"
        )
    return steps
