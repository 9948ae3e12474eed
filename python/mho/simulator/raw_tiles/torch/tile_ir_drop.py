"""Raw torch tile with time-stepped voltage loss along the lines."""

from typing import Any

from mho.exceptions import TorchTileConfigError
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.io import IOParametersIRDropT
from mho.simulator.parameters.registry import register_tile_class
from mho.simulator.raw_tiles.torch.product_ir_drop import (
    AnalogMVMIRDropT,
    check_array,
    converter_of,
    rows_of,
)
from mho.simulator.raw_tiles.torch.tile import TorchSimulatorTile


@register_tile_class
class TorchSimulatorTileIRDropT(TorchSimulatorTile):
    """Weights of a tile as a torch parameter, and their analog product by `AnalogMVMIRDropT`.

    The crossbar has `mapping.max_input_size` rows, the inputs in the middle of them, and pairs of
    devices as `noise_model.g_converter` makes them of the weights.
    """

    def __init__(self, x_size: int, d_size: int, rpu_config: Any, bias: bool = False) -> None:
        """Build the tile with zero weights; see the base class.

        Args:
            x_size: Number of inputs.
            d_size: Number of outputs.
            rpu_config: Configuration, kept by reference; `forward` is `IOParametersIRDropT`.
            bias: Refused: torch tiles have a digital bias only.

        Raises:
            AnalogBiasConfigError: `bias` is true.
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        super().__init__(x_size, d_size, rpu_config, bias, AnalogMVMIRDropT)

    @classmethod
    def _check_forward(cls, rpu_config: Any) -> None:
        if not isinstance(rpu_config.forward, IOParametersIRDropT):
            raise TorchTileConfigError(
                f"forward: expected IOParametersIRDropT, got {describe(rpu_config.forward)}"
            )
        AnalogMVMIRDropT.check_support(rpu_config.forward, "forward")

    def _check_array(self, config: Any) -> None:
        check_array(config.forward, self.x_size, config)

    def _array_parameters(self) -> dict[str, Any]:
        config = self._config
        return {"g_converter": converter_of(config), "phys_input_size": rows_of(config)}
