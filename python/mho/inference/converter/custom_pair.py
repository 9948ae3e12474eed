"""Pairs of devices with tabulated programmes."""

from typing import Any

import torch
from torch import Tensor

from mho.exceptions import ArgumentError
from mho.inference.converter.base import BaseConductanceConverter, check_range, weight_scale
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.signatures import checked

_TEST_WEIGHTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
_TEST_TOLERANCE = 1e-4


@register_config_class
class CustomPairConductanceConverter(BaseConductanceConverter):
    r"""Pairs with factors $f_j$ whose conductances are interpolated between given values.

    Every list in `g_lst` tabulates one device over equally spaced weights from the smallest to the
    largest; the sums $\sum_j f_j (g^+_j - g^-_j)$ must therefore increase evenly.
    """

    f_lst: list[float]
    g_lst: list[list[float]]
    g_max: float
    g_min: float

    @checked
    def __init__(
        self,
        f_lst: list[float],
        g_lst: list[list[float]],
        g_max: float | None = None,
        g_min: float | None = None,
        invertibility_test: bool | None = True,
    ) -> None:
        """Set the factors and tables.

        Args:
            f_lst: Factor of each pair, least significant first.
            g_lst: Tables in microsiemens: two per factor, for positive and for negative weights,
                all of one length.
            g_max: Largest conductance in microsiemens, 25 by default.
            g_min: Smallest conductance in microsiemens, 0 by default.
            invertibility_test: Check that weights survive the conversion and its reverse.

        Raises:
            ArgumentError: The tables do not fit the factors or the limits are not in order.
            ArithmeticError: Weights do not survive.
        """
        _check_tables(f_lst, g_lst)
        self.f_lst = list(f_lst)
        self.g_lst = [list(table) for table in g_lst]
        self.g_max = 25.0 if g_max is None else g_max
        self.g_min = 0.0 if g_min is None else g_min
        self.check_values()
        if invertibility_test:
            self.invertibility_test()

    def check_values(self) -> None:
        """Check that tables and limits are possible; see the base class."""
        _check_tables(self.f_lst, self.g_lst)
        check_range(self.g_min, self.g_max)

    def invertibility_test(self) -> None:
        """Check that weights between -1 and 1 survive the conversion and its reverse.

        Raises:
            ArithmeticError: They do not.
        """
        weights = torch.tensor([_TEST_WEIGHTS], device="cpu")
        back = self.convert_back_to_weights(*self.convert_to_conductances(weights))
        if not torch.allclose(back, weights, atol=_TEST_TOLERANCE):
            raise ArithmeticError(
                f"g_lst: the weights {_TEST_WEIGHTS} come back as {back[0].tolist()};"
                " the weighted sums of the tables must increase evenly"
            )

    def __str__(self) -> str:
        """Return the constructor call."""
        limits = f"g_max={self.g_max:1.2f}, g_min={self.g_min:1.2f}"
        return f"{type(self).__name__}(f_lst={self.f_lst}, g_lst={self.g_lst}, {limits})"

    @checked
    @torch.no_grad()
    def convert_to_conductances(self, weights: Tensor) -> tuple[list[Tensor], dict[str, Any]]:
        """Return the tabulated conductances of all pairs.

        Args:
            weights: Weights of a tile, shape `[out, in]`.

        Returns:
            Two tensors in microsiemens per factor, positive then negative, and the scale and
            factors.

        Raises:
            ArgumentError: A weight is not finite: no table has a conductance for it.
        """
        tables = weights.new_tensor(self.g_lst)
        if not all_finite(weights):
            raise ArgumentError("weights: values must be finite; found NaN or infinity")
        factors = weights.new_tensor(self.f_lst)
        largest = float((factors @ (tables[::2] - tables[1::2])).abs().max())
        scale = weight_scale(weights, largest)
        position = (weights * scale / largest + 1.0) / 2.0 * (tables.shape[1] - 1)
        conductances = [_interpolate(position, table) for table in tables]
        return conductances, {"scale_ratio": scale, "f_lst": list(self.f_lst)}

    @checked
    @torch.no_grad()
    def convert_back_to_weights(self, conductances: list[Tensor], params: dict[str, Any]) -> Tensor:
        """Return the weighted sum of the differences of all pairs as weights.

        Args:
            conductances: Two tensors in microsiemens per factor.
            params: As returned by `convert_to_conductances`.

        Raises:
            ArgumentError: A parameter is missing, or the number of tensors does not fit the
                factors.
        """
        if not {"scale_ratio", "f_lst"} <= params.keys():
            raise ArgumentError(
                "params: scale_ratio or f_lst is missing;"
                " pass what convert_to_conductances returned"
            )
        factors = params["f_lst"]
        if len(conductances) != 2 * len(factors):
            raise ArgumentError(
                f"conductances: expected {2 * len(factors)} tensors, got {len(conductances)}"
            )
        pairs = zip(factors, conductances[::2], conductances[1::2], strict=True)
        total = torch.stack([factor * (plus - minus) for factor, plus, minus in pairs]).sum(dim=0)
        scale: Tensor = params["scale_ratio"]
        return total / scale


def _check_tables(f_lst: list[float], g_lst: list[list[float]]) -> None:
    if not isinstance(f_lst, list) or not f_lst or max(f_lst) < 0:
        raise ArgumentError(f"f_lst: expected a list of factors, got {f_lst!r}")
    if not isinstance(g_lst, list) or not all(isinstance(table, list) for table in g_lst):
        raise ArgumentError("g_lst: expected a list of lists")
    if len(g_lst) != 2 * len(f_lst):
        raise ArgumentError(
            f"g_lst: expected {2 * len(f_lst)} lists (two per factor), got {len(g_lst)}"
        )
    lengths = {len(table) for table in g_lst}
    if len(lengths) != 1 or min(lengths) < 2:
        raise ArgumentError(
            f"g_lst: lists need one common length of at least 2, got {sorted(lengths)}"
        )


def _interpolate(position: Tensor, table: Tensor) -> Tensor:
    position = position.clamp(0.0, len(table) - 1.0)
    lower = position.floor().clamp(max=len(table) - 2.0)
    below = table[lower.long()]
    return below + (position - lower) * (table[lower.long() + 1] - below)
