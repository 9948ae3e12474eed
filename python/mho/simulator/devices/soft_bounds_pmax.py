"""Soft-bounds device described by its number of pulses."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mho.exceptions import ConfigError
from mho.simulator.devices.soft_bounds import SoftBoundsDevice
from mho.simulator.parameters.checking import describe, join
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.wire import value_to_wire


def _derived() -> Any:
    return field(default_factory=lambda: None, metadata={"hide_if": None})


@register_config_class
@dataclass
class SoftBoundsPmaxDevice(SoftBoundsDevice):
    r"""Soft-bounds device given by the pulse response $a + b (1 - e^{-\alpha n})$.

    With $B = (r_{max} - r_{min}) / (1 - e^{-\alpha p_{max}})$, `n` pulses up from `range_min` give
    $r_{min} + B (1 - e^{-\alpha n})$ and reach `range_max` at `p_max`, and `n` pulses down from
    `range_max` give $r_{max} - B (1 - e^{-\alpha n})$, to second order in `alpha`. The fields
    `dw_min`, `up_down`, `w_max` and `w_min` follow from these and stay None; `dw_min` may be zero
    for infinitely fine steps between the bounds that follow.
    """

    dw_min: float | None = _derived()  # type: ignore[assignment]
    up_down: float | None = _derived()  # type: ignore[assignment]
    w_max: float | None = _derived()  # type: ignore[assignment]
    w_min: float | None = _derived()  # type: ignore[assignment]

    p_max: int = 1000
    """Number of pulses from `range_min` to `range_max`."""

    alpha: float = 0.0005
    """Curvature of the response per pulse."""

    range_min: float = -1.0
    """Weight before the first pulse up."""

    range_max: float = 1.0
    """Weight after `p_max` pulses up."""

    def soft_bounds_values(self, path: str = "") -> Mapping[str, float]:
        """Return the values of `dw_min`, `up_down`, `w_max` and `w_min` that give the response.

        Args:
            path: Prefix of the field names in messages.

        Raises:
            ConfigError: The response has no such device: `p_max * alpha` is not positive, or the
                range does not contain zero with room on both sides.
        """
        if not 0 < self.p_max < 2**63:
            raise ConfigError(f"{join(path, 'p_max')}: must be positive and fit into 64 bits")
        if not self.alpha > 0:
            raise ConfigError(f"{join(path, 'alpha')}: must be positive")
        if not self.range_min < self.range_max:
            raise ConfigError(f"{join(path, 'range_min')}: must be below range_max")
        scale = (self.range_max - self.range_min) / -math.expm1(-self.p_max * self.alpha)
        up_bound, down_bound = self.range_min + scale, scale - self.range_max
        if not (up_bound > 0 and down_bound > 0):
            raise ConfigError(
                f"{join(path, 'range_min')}: the bounds that follow, {-down_bound:g} and"
                f" {up_bound:g}, must lie on both sides of zero; move range_min and range_max"
                " or reduce p_max * alpha"
            )
        larger = max(up_bound, down_bound)
        return {
            "dw_min": self.alpha * larger,
            "up_down": (up_bound - down_bound) / larger,
            "w_max": up_bound,
            "w_min": -down_bound,
        }

    def calc_weight_granularity(self) -> float:
        """Return the mean change of the weight by one pulse at weight zero, in units of the weight.

        Raises:
            ConfigError: As `soft_bounds_values`.
        """
        values = self.soft_bounds_values()
        return 0.0 if self.flows() else values["dw_min"]

    def calc_num_states(self) -> float:
        """Return the number of steps between the mean bounds.

        Raises:
            ConfigError: As `soft_bounds_values`.
        """
        values = self.soft_bounds_values()
        return math.inf if self.flows() else (values["w_max"] - values["w_min"]) / values["dw_min"]

    def _wire_params(self, path: str) -> dict[str, Any]:
        values = dict(self.soft_bounds_values(path))
        if self.flows():
            values["dw_min"] = 0.0
        for name, value in values.items():
            given = getattr(self, name)
            if given is not None and not math.isclose(given, value):
                raise ConfigError(
                    f"{join(path, name)}: follows from p_max, alpha and the range ({value:g}), got"
                    f" {describe(given)}; leave it None or use SoftBoundsDevice"
                )
        params = super()._wire_params(path)
        for name in ("p_max", "alpha", "range_min", "range_max"):
            del params[name]
        derived = {name: value_to_wire(v, join(path, name)) for name, v in values.items()}
        return {**params, "pulsed": {**params["pulsed"], **derived}}
