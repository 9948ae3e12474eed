"""Several pairs of devices of different significance per weight."""

from typing import Any

import torch
from torch import Tensor

from mho.exceptions import ArgumentError
from mho.inference.converter.base import BaseConductanceConverter, check_range, weight_scale
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.signatures import checked


@register_config_class
class NPairConductanceConverter(BaseConductanceConverter):
    r"""Pairs with factors $f_j$: $w = \sum_j f_j (g^+_j - g^-_j) / k$.

    A pair is used only where the ones before it in the list are full.
    """

    f_lst: list[float]
    g_max: float
    g_min: float

    @checked
    def __init__(
        self, f_lst: list[float], g_max: float | None = None, g_min: float | None = None
    ) -> None:
        """Set the factors and the range of the devices.

        Args:
            f_lst: Factor of each pair, least significant first.
            g_max: Largest conductance in microsiemens, 25 by default.
            g_min: Smallest conductance in microsiemens, 0 by default.

        Raises:
            ArgumentError: The factors are no list or none is positive, or the limits are negative
                or not in order.
        """
        if not isinstance(f_lst, list):
            raise ArgumentError(f"f_lst: expected a list of factors, got {f_lst!r}")
        self.f_lst = list(f_lst)
        self.g_max = 25.0 if g_max is None else g_max
        self.g_min = 0.0 if g_min is None else g_min
        self.check_values()

    def check_values(self) -> None:
        """Check that factors and limits are possible; see the base class."""
        if not self.f_lst or max(self.f_lst) < 0:
            raise ArgumentError(f"f_lst: expected a list of factors, got {self.f_lst!r}")
        check_range(self.g_min, self.g_max)

    def __str__(self) -> str:
        """Return the constructor call."""
        limits = f"g_max={self.g_max:1.2f}, g_min={self.g_min:1.2f}"
        return f"{type(self).__name__}(f_lst={self.f_lst}, {limits})"

    @checked
    @torch.no_grad()
    def convert_to_conductances(self, weights: Tensor) -> tuple[list[Tensor], dict[str, Any]]:
        """Return the conductances of all pairs.

        Args:
            weights: Weights of a tile, shape `[out, in]`.

        Returns:
            Two tensors in microsiemens per factor, positive then negative, and the scale and
            factors.
        """
        spans = [factor * (self.g_max - self.g_min) for factor in self.f_lst]
        scale = weight_scale(weights, sum(spans))
        positive, negative = (weights * scale).clamp(min=0.0), (-weights * scale).clamp(min=0.0)
        conductances, filled = [], 0.0
        for factor, span in zip(self.f_lst, spans, strict=True):
            for part in (positive, negative):
                level = (part - filled) / factor + self.g_min
                conductances.append(level.clamp(self.g_min, self.g_max))
            filled += span
        return conductances, {"scale_ratio": scale, "f_lst": list(self.f_lst)}

    @checked
    @torch.no_grad()
    def convert_back_to_weights(self, conductances: list[Tensor], params: dict[str, Any]) -> Tensor:
        """Return the weighted sum of the differences of all pairs as weights.

        Args:
            conductances: Two tensors in microsiemens per factor.
            params: As returned by `convert_to_conductances`.

        Raises:
            ArgumentError: The number of tensors is wrong, or `scale_ratio` is missing.
        """
        if len(conductances) != 2 * len(self.f_lst):
            raise ArgumentError(
                f"conductances: expected {2 * len(self.f_lst)} tensors, got {len(conductances)}"
            )
        if "scale_ratio" not in params:
            raise ArgumentError(
                "params: scale_ratio is missing; pass what convert_to_conductances returned"
            )
        pairs = zip(self.f_lst, conductances[::2], conductances[1::2], strict=True)
        total = torch.stack([factor * (plus - minus) for factor, plus, minus in pairs]).sum(dim=0)
        scale: Tensor = params["scale_ratio"]
        return total / scale


@register_config_class
class DualPairConductanceConverter(NPairConductanceConverter):
    """Two pairs of devices per weight."""

    f_lst: list[float]

    @checked
    def __init__(
        self, f_lst: list[float], g_max: float | None = None, g_min: float | None = None
    ) -> None:
        """Set the factors and the range of the devices.

        Args:
            f_lst: Factor of both pairs, least significant first.
            g_max: Largest conductance in microsiemens, 25 by default.
            g_min: Smallest conductance in microsiemens, 0 by default.

        Raises:
            ArgumentError: There are not two factors, or the limits are negative or not in order.
        """
        super().__init__(f_lst, g_max, g_min)

    def check_values(self) -> None:
        """Check that there are two factors; see the base class."""
        super().check_values()
        if len(self.f_lst) != 2:
            raise ArgumentError(f"f_lst: expected two factors, got {len(self.f_lst)}")
