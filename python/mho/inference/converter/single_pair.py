"""One device for positive and one for negative weights."""

from typing import Any

import torch
from torch import Tensor

from mho.exceptions import ArgumentError
from mho.inference.converter.base import BaseConductanceConverter, check_range, weight_scale
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.signatures import checked


@register_config_class
class SinglePairConductanceConverter(BaseConductanceConverter):
    r"""Pair of devices whose difference is the weight: $w = (g^+ - g^-) / k$.

    The largest absolute weight of the matrix is mapped to `g_max`.
    """

    g_max: float
    g_min: float

    @checked
    def __init__(self, g_max: float | None = None, g_min: float | None = None) -> None:
        """Set the range of the devices.

        Args:
            g_max: Largest conductance in microsiemens, 25 by default.
            g_min: Smallest conductance in microsiemens, 0 by default.

        Raises:
            ArgumentError: The limits are negative or not in order.
        """
        self.g_max = 25.0 if g_max is None else g_max
        self.g_min = 0.0 if g_min is None else g_min
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
        """Return the conductances for positive and for negative weights.

        Args:
            weights: Weights of a tile, shape `[out, in]`.

        Returns:
            Two tensors in microsiemens, and `scale_ratio`, the conductance per weight.
        """
        scale = weight_scale(weights, self.g_max - self.g_min)
        scaled = weights * scale
        pair = [part.clamp(0.0, self.g_max) + self.g_min for part in (scaled, -scaled)]
        return pair, {"scale_ratio": scale}

    @checked
    @torch.no_grad()
    def convert_back_to_weights(self, conductances: list[Tensor], params: dict[str, Any]) -> Tensor:
        """Return the difference of a pair of conductances as weights.

        Args:
            conductances: Two tensors in microsiemens.
            params: As returned by `convert_to_conductances`.

        Raises:
            ArgumentError: There are not two tensors, or `scale_ratio` is missing.
        """
        if len(conductances) != 2:
            raise ArgumentError(f"conductances: expected 2 tensors, got {len(conductances)}")
        if "scale_ratio" not in params:
            raise ArgumentError(
                "params: scale_ratio is missing; pass what convert_to_conductances returned"
            )
        positive, negative = conductances
        scale: Tensor = params["scale_ratio"]
        return ((positive - self.g_min) - (negative - self.g_min)) / scale
