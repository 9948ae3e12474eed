"""Interface of the conversion between weights and conductances."""

from typing import Any

from torch import Tensor

from mho.exceptions import ArgumentError
from mho.simulator.parameters.attribute_config import AttributeConfig
from mho.simulator.parameters.signatures import checked

ZERO = 1e-7
"""Smallest largest weight a scale is computed from, so that zero matrices convert too."""


class BaseConductanceConverter(AttributeConfig):
    """Maps a weight matrix to the conductances of one or more devices per weight, and back."""

    @checked
    def convert_to_conductances(self, weights: Tensor) -> tuple[list[Tensor], dict[str, Any]]:
        """Return the conductances that stand for weights.

        Args:
            weights: Weights of a tile, shape `[out, in]`.

        Returns:
            One tensor of target conductances in microsiemens per device of a weight, each shaped as
            the weights, and what `convert_back_to_weights` needs to know.
        """
        raise NotImplementedError(f"{type(self).__name__} lacks convert_to_conductances")

    @checked
    def convert_back_to_weights(self, conductances: list[Tensor], params: dict[str, Any]) -> Tensor:
        """Return the weights that conductances stand for.

        Args:
            conductances: One tensor in microsiemens per device of a weight.
            params: As returned by `convert_to_conductances`.

        Returns:
            Weights, shaped as each of the conductances.
        """
        raise NotImplementedError(f"{type(self).__name__} lacks convert_back_to_weights")


def check_range(g_min: float, g_max: float) -> None:
    """Check the limits of a device.

    Args:
        g_min: Smallest conductance, in microsiemens.
        g_max: Largest conductance, in microsiemens.

    Raises:
        ArgumentError: A limit is negative or not a number, or they are not in order.
    """
    if not g_min >= 0.0:
        raise ArgumentError(f"g_min: must not be negative, got {g_min}")
    if not g_max >= 0.0:
        raise ArgumentError(f"g_max: must not be negative, got {g_max}")
    if not g_min < g_max:
        raise ArgumentError(f"g_min: must be below g_max, got {g_min} and {g_max}")


def weight_scale(weights: Tensor, g_span: float) -> Tensor:
    """Return the conductance per weight that maps the largest absolute weight to `g_span`.

    Args:
        weights: Weights of a tile; may be empty.
        g_span: Conductance of the largest weight above the smallest one, in microsiemens.
    """
    largest = weights.abs().max() if weights.numel() else weights.new_zeros(())
    return g_span / largest.clamp(min=ZERO)
