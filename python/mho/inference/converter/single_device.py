"""One bidirectional device per weight."""

from typing import Any

import torch
from torch import Tensor

from mho.exceptions import ArgumentError
from mho.inference.converter.base import ZERO, BaseConductanceConverter, check_range
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.signatures import checked


@register_config_class
class SingleDeviceConductanceConverter(BaseConductanceConverter):
    """Maps the range of the weights of a matrix to the range of one device."""

    g_max: float
    g_min: float

    @checked
    def __init__(self, g_max: float | None = None, g_min: float | None = None) -> None:
        """Set the range of the device.

        Args:
            g_max: Largest conductance in microsiemens, 88.199997 by default.
            g_min: Smallest conductance in microsiemens, 9 by default.

        Raises:
            ArgumentError: The limits are negative or not in order.
        """
        self.g_max = 88.199997 if g_max is None else g_max
        self.g_min = 9.0 if g_min is None else g_min
        self.check_values()

    def check_values(self) -> None:
        """Check that the limits are in order; see the base class."""
        check_range(self.g_min, self.g_max)

    def __str__(self) -> str:
        """Return the constructor call."""
        return f"{type(self).__name__}(g_max={self.g_max:1.2f}, g_min={self.g_min:1.2f})"

    @checked
    @torch.no_grad()
    def convert_to_conductances(self, weights: Tensor) -> tuple[list[Tensor], dict[str, Any]]:
        """Return the conductances of the devices.

        Args:
            weights: Weights of a tile, shape `[out, in]`.

        Returns:
            A list of one tensor in microsiemens, and the scale and the smallest weight.
        """
        if weights.numel() == 0:
            lowest = highest = weights.new_zeros(())
        else:
            lowest, highest = weights.min(), weights.max()
        scale = (self.g_max - self.g_min) / (highest - lowest).clamp(min=ZERO)
        return [(weights - lowest) * scale + self.g_min], {"scale_ratio": scale, "min": lowest}

    @checked
    @torch.no_grad()
    def convert_back_to_weights(self, conductances: list[Tensor], params: dict[str, Any]) -> Tensor:
        """Return the weights of the devices.

        Args:
            conductances: One tensor in microsiemens.
            params: As returned by `convert_to_conductances`.

        Raises:
            ArgumentError: There is not one tensor, or a parameter is missing.
        """
        if len(conductances) != 1:
            raise ArgumentError(f"conductances: expected 1 tensor, got {len(conductances)}")
        if not {"scale_ratio", "min"} <= params.keys():
            raise ArgumentError(
                "params: scale_ratio or min is missing; pass what convert_to_conductances returned"
            )
        lowest: Tensor = params["min"]
        scale: Tensor = params["scale_ratio"]
        return lowest + (conductances[0] - self.g_min) / scale
