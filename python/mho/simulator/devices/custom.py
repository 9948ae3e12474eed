"""Base of devices whose step is written in Python."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from mho.documented import documented
from mho.exceptions import ConfigError
from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.parameters.checking import join
from mho.simulator.parameters.wire import fields_to_wire, value_to_wire

_TOP = ("", "device")


@documented
@dataclass
class CustomPulsedDevice(PulsedDevice):
    """Device of a user: a subclass computes what one pulse does, for all crosspoints at once.

    The subclass is a dataclass at the top level of a module. It overrides `step`, may add fields of
    its own, and with `plane_names` and `draw_planes` hidden parameters. Bounds, spreads, decay,
    diffusion, drift, reset, write noise and pulse counters are those of every pulsed device. Saving
    a tile needs [`register_config_class`][mho.simulator.parameters.registry.register_config_class].

    It stands alone at a crosspoint, as `SingleRPUConfig.device`; unit cells cannot contain it.
    """

    # In the core it is a device with equal steps everywhere: one node, which sets the granularity.
    wire_type: ClassVar[str] = "PiecewiseStep"

    plane_names: ClassVar[tuple[str, ...]] = ()
    """Names of the hidden parameters that `draw_planes` adds, in their order."""

    write_noise_std: float = 0.0
    """Noise of the visible weight around the stored one, relative to `dw_min`, absolute if that is
    zero; drawn at each change."""

    apply_write_noise_on_set: bool = True
    """Draw that noise when weights are set, too."""

    def step(
        self, weight: Tensor, up: Tensor, planes: Mapping[str, Tensor], noise: Tensor | None
    ) -> Tensor:
        """Return the weights after one pulse, before the bounds clip them.

        Called for all crosspoints with each pulse; what it returns for crosspoints without a pulse
        is not used. With write noise, the weights are the persistent ones.

        With `dw_min = 0` the weights follow `dw/du = step(w) - w` by Runge-Kutta steps of fourth
        order, eight for each sample. `dwmin_up` and `dwmin_down` are factors around one then, to
        which the change has to be proportional, and `noise` is zero.

        Args:
            weight: Present weights, float32 `[out, x_size]`.
            up: Whether the pulse goes up, bool `[out, x_size]`.
            planes: Hidden parameters by name, float32 `[out, x_size]` each, among them
                `dwmin_up` and `dwmin_down` (positive step sizes), `max_bound` and `min_bound`.
            noise: Standard normal draws, float32 `[out, x_size]`; None unless `needs_noise`.

        Raises:
            NotImplementedError: The subclass does not override it.
        """
        raise NotImplementedError(f"{type(self).__name__} lacks step")

    def draw_planes(
        self, planes: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Return the hidden parameters in `plane_names`, float32 `[out, x_size]` each.

        Called once, when a tile is built.

        Args:
            planes: Hidden parameters that all pulsed devices have.
            generator: Source of the draws, seeded by `construction_seed` or else by the tile.
        """
        return {}

    def needs_noise(self) -> bool:
        """Return whether `step` wants normal draws: by default, whether `dw_min_std` is not 0."""
        return self.dw_min_std != 0.0

    def to_wire(self, path: str = "") -> dict[str, Any]:
        """Return what the core needs to know, which is everything but the step.

        Args:
            path: Prefix of the field names in messages.

        Raises:
            ConfigError: A field is unknown, has the wrong type or cannot be expressed, `step` is
                not overridden, or the device stands in a unit cell.
        """
        name = type(self).__name__
        if path not in _TOP:
            raise ConfigError(
                f"{path}: {name} takes its steps in Python, which unit cells do not support; use it"
                " as device of SingleRPUConfig"
            )
        if type(self).step is CustomPulsedDevice.step:
            raise ConfigError(f"{path or name}: {name} does not override step")
        return super().to_wire(path)

    def _wire_params(self, path: str) -> dict[str, Any]:
        granularity = self.calc_weight_granularity()
        if not self.flows() and not (self.dw_min > 0.0 and granularity > 0.0):
            field = "dw_min" if not self.dw_min > 0.0 else "calc_weight_granularity"
            raise ConfigError(f"{join(path, field)}: must be positive")
        share = 1.0 if self.flows() else granularity / self.dw_min
        node = value_to_wire(share, join(path, "calc_weight_granularity"))
        names = ("write_noise_std", "apply_write_noise_on_set")
        return {
            "pulsed": fields_to_wire(self, path, [f.name for f in fields(PulsedDevice)]),
            "piecewise_up": [node],
            "piecewise_down": [node],
            **fields_to_wire(self, path, names),
        }
