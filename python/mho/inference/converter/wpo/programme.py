"""A programme, conductances of pairs over weights, as a point of the unit cube.

A weight is the sum over pairs of `f_j (g_j+ - g_j-)`. On a grid of weights a point of the cube says
for every pair but the last what share of the weight it takes, and for every pair where in the range
of the devices its difference lies. So each point is a programme that represents all weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mho.exceptions import ArgumentError
from mho.simulator.parameters.arguments import check_size
from mho.simulator.parameters.signatures import checked

SMALLEST_RANGE = 0.05
"""Smallest conductance of the largest weight, as a fraction of that of all devices."""


@dataclass(frozen=True)
class Cube:
    """What the coordinates of the cube mean."""

    f_lst: tuple[float | None, ...]
    """Factor of each pair; None is found with the rest."""

    g_min: float
    """Smallest conductance, in microsiemens."""

    g_max: float
    """Largest conductance, in microsiemens."""

    symmetric: bool
    """Whether the programme of a negative weight is that of the positive one, exchanged."""

    nbins: int
    """Number of weights on the grid from the smallest to zero."""

    use_max_kw: bool
    """Give the largest weight the conductance of all devices, instead of finding one."""

    f_min: float
    """Smallest factor."""

    f_max: float
    """Largest factor."""

    g_err: float
    """How far pairs may be asked beyond their range, as a fraction of it."""

    @property
    def free_factors(self) -> int:
        """Number of factors to find."""
        return sum(factor is None for factor in self.f_lst)

    @property
    def points(self) -> int:
        """Number of weights whose programme is a coordinate; the others are mirrored."""
        return self.nbins if self.symmetric else 2 * self.nbins - 1

    @property
    def size(self) -> int:
        """Number of coordinates."""
        blocks = 2 * len(self.f_lst) - 1
        return self.free_factors + int(not self.use_max_kw) + blocks * self.points


def _check_point(x: Tensor, d: Cube) -> None:
    if tuple(x.shape) != (d.size,):
        raise ArgumentError(f"x: expected shape ({d.size},), got {tuple(x.shape)}")


@checked
def partition_parameters(x: Tensor, d: Cube) -> tuple[Tensor, Tensor, Tensor]:
    """Return the coordinates of factors, of the range of weights, and of conductances.

    Args:
        x: Point of the cube, shape `[d.size]`.
        d: Meaning of the coordinates.

    Returns:
        Shapes `[d.free_factors]`, `[1]` and `[rest]`; without a coordinate of the range, it is 1.

    Raises:
        ArgumentError: The point has another number of coordinates.
    """
    _check_point(x, d)
    factors, rest = x[: d.free_factors], x[d.free_factors :]
    if d.use_max_kw:
        return factors, x.new_ones(1), rest
    return factors, rest[:1], rest[1:]


@checked
def reformat_x_g(x_g: Tensor, len_f_lst: int, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Return what pairs take of the weight, and where in their range they lie.

    Args:
        x_g: Coordinates of conductances, `2 len_f_lst - 1` blocks of one coordinate per weight.
        len_f_lst: Number of pairs.
        symmetric: Not used: the weights of the grid are all the same to it.

    Returns:
        Both `[pairs, weights]`; the last pair takes all that is left, so its share is 1.

    Raises:
        ArgumentError: There are no pairs, or the coordinates are not so many blocks.
    """
    check_size("len_f_lst", len_f_lst)
    if x_g.dim() != 1 or x_g.numel() == 0 or x_g.numel() % (2 * len_f_lst - 1):
        raise ArgumentError(
            f"x_g: expected {2 * len_f_lst - 1} blocks of coordinates, got shape {tuple(x_g.shape)}"
        )
    blocks = x_g.reshape(2 * len_f_lst - 1, -1)
    shares = torch.cat([blocks[1::2], torch.ones_like(blocks[:1])])
    return shares, blocks[::2]


@checked
def span_of_remaining_pairs(span_of_each_pair: Sequence[float], ind: int) -> float:
    """Return what the pairs behind one can represent together.

    Args:
        span_of_each_pair: Largest weight of each pair, in microsiemens.
        ind: Number of the pair, from 0 on.

    Raises:
        ArgumentError: There is no such pair.
    """
    if not 0 <= ind < len(span_of_each_pair):
        raise ArgumentError(f"ind: expected 0 to {len(span_of_each_pair) - 1}, got {ind}")
    return float(sum(span_of_each_pair[ind + 1 :]))


@checked
def denormalize(x: Tensor, d: Cube) -> tuple[list[float], list[list[float]]]:
    """Return the programme of a point, in the form of `CustomPairConductanceConverter`.

    Args:
        x: Point of the cube, shape `[d.size]`.
        d: Meaning of the coordinates.

    Returns:
        Factor of each pair, and two lists of conductances in microsiemens per pair, for equally
        spaced weights from the smallest to the largest.

    Raises:
        ArgumentError: The point has another number of coordinates, or is outside of the cube.
    """
    _check_point(x, d)
    if not bool(((x >= 0.0) & (x <= 1.0)).all()):
        raise ArgumentError("x: expected coordinates between 0 and 1")
    x = x.double()
    of_factors, of_range, of_conductances = partition_parameters(x, d)
    found = iter((of_factors * (d.f_max - d.f_min) + d.f_min).tolist())
    f_lst = [float(next(found)) if factor is None else factor for factor in d.f_lst]
    spans = [factor * (d.g_max - d.g_min) for factor in f_lst]
    total = sum(spans)
    reach = float(of_range) * (total - SMALLEST_RANGE * total) + SMALLEST_RANGE * total
    weights = torch.linspace(-reach, reach, 2 * d.nbins - 1, dtype=x.dtype, device=x.device)
    shares, places = reformat_x_g(of_conductances, len(f_lst), d.symmetric)
    g_lst: list[list[float]] = []
    left = weights[: d.points]
    for j, (factor, span) in enumerate(zip(f_lst, spans, strict=True)):
        behind = span_of_remaining_pairs(spans, j)
        low, high = (left - behind).clamp(min=-span), (left + behind).clamp(max=span)
        taken = shares[j] * (high - low) + low
        left = left - taken
        g_lst += _pair(taken / factor, places[j], d)
    return f_lst, g_lst


def _pair(difference: Tensor, place: Tensor, d: Cube) -> list[list[float]]:
    """Return the conductances of both devices over the whole grid."""
    error = d.g_err * (d.g_max - d.g_min)
    low = d.g_min + difference.clamp(min=0.0) - error
    high = d.g_max + difference.clamp(max=0.0) + error
    plus = (place * (high - low) + low).clamp(d.g_min, d.g_max)
    minus = (plus - difference).clamp(d.g_min, d.g_max)
    if d.symmetric:  # the weight zero is its own mirror image
        plus, minus = (
            torch.cat([plus, minus[:-1].flip(0)]),
            torch.cat([minus, plus[:-1].flip(0)]),
        )
    return [plus.tolist(), minus.tolist()]
