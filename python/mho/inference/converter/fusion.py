"""Conductances of one device per weight, whose sign is kept in digital form."""

from typing import Any

import torch
from torch import Tensor

from mho.exceptions import ArgumentError
from mho.inference.converter.base import BaseConductanceConverter
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.signatures import checked

_SMALLEST_ROW = 1e-10
_G_MAX_LIMITS = (10.0, 40.0)


@register_config_class
class FusionConductanceConverter(BaseConductanceConverter):
    r"""Magnitudes of weights as conductances, $g = |w| g_{max} / \max |w|$ over each row.

    Signs, and what a row of conductances is worth, are taken from the original weights when
    conductances are converted back. `mho.utils.export` writes such conductances to files for the
    Fusion test chip.
    """

    g_max: float

    @checked
    def __init__(self, g_max: float = 40) -> None:
        """Set the range of the devices.

        Args:
            g_max: Largest conductance in microsiemens, between 10 and 40.

        Raises:
            ArgumentError: It is outside of these limits.
        """
        self.g_max = g_max
        self.check_values()

    def check_values(self) -> None:
        """Check that the devices can have such conductances; see the base class."""
        low, high = _G_MAX_LIMITS
        if not low <= self.g_max <= high:
            raise ArgumentError(f"g_max: expected between {low:g} and {high:g}, got {self.g_max}")

    def __str__(self) -> str:
        """Return the constructor call."""
        return f"{type(self).__name__}(g_max={self.g_max:1.2f})"

    @checked
    @torch.no_grad()
    def convert_to_conductances(self, weights: Tensor) -> tuple[list[Tensor], dict[str, Any]]:
        """Return the conductances of the devices.

        Args:
            weights: Weights of a tile, shape `[out, in]`.

        Returns:
            A list of one tensor in microsiemens, and the weights under `original_weights`.
        """
        size = weights.abs()
        largest = size.amax(dim=1, keepdim=True) if size.numel() else size.new_zeros(len(size), 1)
        conductances = size * (self.g_max / largest.clamp(min=_SMALLEST_ROW))
        return [conductances.clamp(0.0, self.g_max)], {"original_weights": weights.clone()}

    @checked
    @torch.no_grad()
    def convert_back_to_weights(self, conductances: list[Tensor], params: dict[str, Any]) -> Tensor:
        """Return the signed conductances of each row times the factor that fits its weights best.

        The fit is the least-squares line through the original weights, whose offset is dropped; for
        rows of conductances that are all the same with their signs, a line through the origin.

        Args:
            conductances: One tensor in microsiemens, shape `[out, in]`.
            params: As returned by `convert_to_conductances`.

        Raises:
            ArgumentError: There is not one tensor, the original weights are missing, or shapes
                differ.
        """
        if len(conductances) != 1:
            raise ArgumentError(f"conductances: expected 1 tensor, got {len(conductances)}")
        if "original_weights" not in params:
            raise ArgumentError(
                "params: original_weights is missing; pass what convert_to_conductances returned"
            )
        original = params["original_weights"]
        if not isinstance(original, Tensor):
            raise ArgumentError(f"params: original_weights: expected a tensor, got {original!r}")
        if conductances[0].shape != original.shape:
            raise ArgumentError(
                f"conductances: expected shape {tuple(original.shape)}, got"
                f" {tuple(conductances[0].shape)}"
            )
        wanted = original.to(conductances[0].device, torch.float64)
        signed = conductances[0].double() * wanted.sign()
        factor = _slope(signed, wanted)
        return (factor * signed).to(original.dtype)


def _slope(x: Tensor, y: Tensor) -> Tensor:
    """Return the slope of the line through each row of points, shape `[rows, 1]`."""
    if x.shape[1] == 0:
        return x.new_zeros(len(x), 1)
    is_flat = (x == x[:, :1]).all(dim=1, keepdim=True)
    x_of_fit = torch.where(is_flat, x, x - x.mean(dim=1, keepdim=True))
    y_of_fit = torch.where(is_flat, y, y - y.mean(dim=1, keepdim=True))
    square = (x_of_fit**2).sum(dim=1, keepdim=True)
    slope = (x_of_fit * y_of_fit).sum(dim=1, keepdim=True) / square
    return torch.where(square > 0.0, slope, torch.zeros_like(slope))
