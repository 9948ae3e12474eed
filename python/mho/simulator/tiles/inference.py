"""Inference tile of the core."""

from typing import Any

from torch import Tensor, nn

from mho.exceptions import ConfigError
from mho.inference.noise.base import BaseNoiseModel
from mho.simulator.configs.devices import IdealDevice
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.enums import PulseType
from mho.simulator.parameters.registry import config_class, register_tile_class
from mho.simulator.tiles import native, native_tile
from mho.simulator.tiles.functions import AnalogFunction
from mho.simulator.tiles.lifecycle import InferenceTileWithPeriphery
from mho.simulator.tiles.module import TileModule
from mho.simulator.tiles.periphery import TileWithPeriphery
from mho.simulator.tiles.placement import BACKENDS

__all__ = [
    "AnalogFunction",
    "BaseNoiseModel",
    "InferenceTile",
    "InferenceTileWithPeriphery",
    "TileModule",
    "TileWithPeriphery",
]


@register_tile_class
class InferenceTile(InferenceTileWithPeriphery):
    """Tile with analog forward products whose weights follow an exact gradient.

    `shared_weights` is a parameter on the very storage of the tile weights, so that any torch
    optimizer trains it.
    """

    supports_ddp = True
    known_backends = BACKENDS

    def __init__(
        self,
        out_size: int,
        in_size: int,
        rpu_config: RPUConfigBase | None = None,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        shared_weights: bool = True,
    ) -> None:
        """Build the tile with zero weights.

        Args:
            out_size: Number of outputs.
            in_size: Number of inputs.
            rpu_config: Configuration, copied; `InferenceRPUConfig()` by default.
            bias: Whether there is a bias.
            in_trans: Whether features are on the first axis of inputs instead of the last.
            out_trans: Whether features are on the first axis of outputs.
            shared_weights: Train the weights through a parameter; otherwise by updates of an analog
                optimizer.

        Raises:
            ArgumentError: A size is not a positive integer or `rpu_config` is not a configuration.
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        config = config_class("InferenceRPUConfig")() if rpu_config is None else rpu_config
        self._share_weights = shared_weights
        super().__init__(out_size, in_size, config, bias, in_trans, out_trans)

    def _check_config(self, config: Any) -> None:
        super()._check_config(config)
        device, update = getattr(config, "device", None), getattr(config, "update", None)
        if (
            not isinstance(device, IdealDevice)
            and getattr(update, "pulse_type", None) is not PulseType.NONE
        ):
            raise ConfigError(
                "update.pulse_type: weights of an inference tile follow a gradient, not pulses; use"
                " PulseType.NONE"
            )

    def _create_simulator_tile(self) -> native.AnalogTile:
        raw = native_tile.create(self, native.AnalogTile)
        raw.live_weights().zero_()
        return raw

    def _bind(self) -> None:
        super()._bind()
        if not self._share_weights:
            return
        live = self._get_tile_weights_ref()
        present: nn.Parameter | None = self._parameters.get("shared_weights")
        if present is None:
            self.shared_weights = nn.Parameter(live)
        else:
            present.data = live
        self.analog_ctx.use_torch_update = True

    @property
    def _shared_weight_tensor(self) -> Tensor | None:
        return self._parameters.get("shared_weights")

    def _is_trained(self) -> bool:
        shared = self._shared_weight_tensor
        return super()._is_trained() if shared is None else shared.requires_grad
