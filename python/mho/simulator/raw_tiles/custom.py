"""Raw tile that users write in Python: a class to derive from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mho.exceptions import AnalogBiasConfigError, ArgumentError, ConfigError, InputError, TileError
from mho.simulator.parameters.arguments import (
    check_flag,
    check_flags,
    check_not_negative,
    check_size,
)
from mho.simulator.parameters.checking import describe
from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.finite import all_finite
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.registry import register_config_class, register_tile_class
from mho.simulator.parameters.runtime import RuntimeParameter
from mho.simulator.parameters.signatures import checked
from mho.simulator.raw_tiles import weight_limits
from mho.simulator.raw_tiles.base import SimulatorTile
from mho.simulator.raw_tiles.rows import check_features, check_tensor
from mho.simulator.raw_tiles.torch.product import AnalogMVM
from mho.simulator.state.entries import check_module_entries
from mho.simulator.state.ordinary import ordinary_tensors
from mho.simulator.state.plan import load_with_tile


@register_config_class
@dataclass
class CustomUpdateParameters(ConfigBase):
    """Parameters of the update of the example tile."""

    gradient_noise: float = 0.0
    """Standard deviation of the noise on the weight gradient."""


class CustomTileConfig(Protocol):
    """What the raw tile needs of a configuration; `CustomRPUConfig` stands with its tile."""

    forward: IOParameters
    backward: IOParameters
    update: CustomUpdateParameters
    runtime: RuntimeParameter


@register_tile_class
class CustomSimulatorTile(SimulatorTile, nn.Module):
    """Raw tile in Python: analog products, and an update by gradient descent with noise.

    Derive from it, override what differs, and set `CustomRPUConfig.simulator_tile_class` to the new
    class. Buffers that a subclass registers are saved, moved and copied with the tile. Weights have
    shape `[out, in]`; the update is `W -= learning_rate (d^T x + gradient_noise xi)`, `xi` normal.
    """

    moves = True

    _analog_weight: Tensor

    @checked
    @ordinary_tensors()
    def __init__(
        self, x_size: int, d_size: int, rpu_config: CustomTileConfig, bias: bool = False
    ) -> None:
        """Build the tile with zero weights.

        Args:
            x_size: Number of inputs.
            d_size: Number of outputs.
            rpu_config: Configuration.
            bias: Refused: custom tiles have a digital bias only.

        Raises:
            AnalogBiasConfigError: `bias` is true.
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        super().__init__()
        if bias:
            raise AnalogBiasConfigError(
                "mapping.digital_bias: custom tiles have no analog bias; set it to True"
            )
        self.x_size, self.d_size = check_size("x_size", x_size), check_size("d_size", d_size)
        self.learning_rate = 0.1
        self.set_config(rpu_config)
        dtype = rpu_config.runtime.data_type.as_torch()
        self.register_buffer("_analog_weight", torch.zeros(d_size, x_size, dtype=dtype))

    def set_config(self, rpu_config: CustomTileConfig) -> None:
        """Follow a configuration.

        Args:
            rpu_config: Configuration.

        Raises:
            ConfigError: The configuration is invalid or not supported; the message names the field.
        """
        self.check(rpu_config)
        self._f_io, self._b_io = rpu_config.forward, rpu_config.backward
        self._update = rpu_config.update

    def follow(self, config: Any) -> None:
        """Follow a new configuration; see the base class."""
        self.set_config(config)

    def check(self, config: Any) -> None:
        """Refuse what the products and the update cannot simulate; see the base class.

        Override it together with them.
        """
        for field in ("forward", "backward", "update", "runtime"):
            if not hasattr(config, field):
                raise ConfigError(
                    f"rpu_config: custom tiles need a CustomRPUConfig; {field!r} is missing in"
                    f" {describe(config)}"
                )
        _check_product(config.forward, "forward")
        _check_product(config.backward, "backward")
        config.update.check("update")

    def check_entries(self, entries: Mapping[str, Any]) -> None:
        """Check the entries that this module loads itself; see the base class."""
        check_module_entries(self, "tile.", entries)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        load = super()._load_from_state_dict
        load_with_tile(load, self.state_dict(prefix=prefix), state_dict, prefix, *rest)

    @torch.no_grad()
    def forward(
        self,
        x_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        is_test: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """Return outputs, shape `[..., out]`.

        Args:
            x_input: Inputs, shape `[..., in]`.
            bias: Must be false.
            in_trans: Must be false.
            out_trans: Must be false.
            is_test: Evaluation mode; noise acts there as well.
            non_blocking: Accepted for compatibility.

        Raises:
            InputError: Wrong number of features or dtype.
            TileError: A bias or another layout is asked for.
        """
        self._check(bias, in_trans, out_trans, x_input=(x_input, self.x_size))
        return AnalogMVM.matmul(self._analog_weight, x_input, self._f_io, False, is_test)

    @torch.no_grad()
    def backward(
        self,
        d_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """Return the transposed product, shape `[..., in]`.

        Args:
            d_input: Gradients of the outputs, shape `[..., out]`.
            bias: Must be false.
            in_trans: Must be false.
            out_trans: Must be false.
            non_blocking: Accepted for compatibility.

        Raises:
            InputError: Wrong number of features or dtype.
            TileError: A bias or another layout is asked for.
        """
        self._check(bias, in_trans, out_trans, d_input=(d_input, self.d_size))
        return AnalogMVM.matmul(self._analog_weight, d_input, self._b_io, True)

    @torch.no_grad()
    def update(
        self,
        x_input: Tensor,
        d_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        non_blocking: bool = False,
    ) -> None:
        """Update the weights with pairs of inputs and output gradients.

        Args:
            x_input: Inputs, shape `[..., in]`.
            d_input: Gradients of the outputs, shape `[..., out]`.
            bias: Must be false.
            in_trans: Must be false.
            out_trans: Must be false.
            non_blocking: Accepted for compatibility.

        Raises:
            ArgumentError: A value is not finite; nothing is changed.
            InputError: Wrong number of features or samples, or another dtype.
            TileError: A bias or another layout is asked for.
        """
        inputs = {"x_input": (x_input, self.x_size), "d_input": (d_input, self.d_size)}
        self._check(bias, in_trans, out_trans, **inputs)
        if x_input.shape[:-1] != d_input.shape[:-1]:
            raise InputError(
                f"d_input: expected batch axes {tuple(x_input.shape[:-1])} as in x_input, got"
                f" {tuple(d_input.shape[:-1])}"
            )
        gradient = d_input.reshape(-1, self.d_size).t() @ x_input.reshape(-1, self.x_size)
        if not all_finite(gradient):
            raise ArgumentError("x_input, d_input: values must be finite; found NaN or infinity")
        if self._update.gradient_noise > 0.0:
            gradient = gradient + self._update.gradient_noise * torch.randn_like(gradient)
            gradient = torch.nan_to_num(gradient)
        weight, largest = self._analog_weight, torch.finfo(self._analog_weight.dtype).max
        # Absurd rates end at the largest number, as in the core.
        weight.sub_(gradient, alpha=min(self.learning_rate, largest)).clamp_(-largest, largest)

    def _check(
        self, bias: bool, in_trans: bool, out_trans: bool, **inputs: tuple[Tensor, int]
    ) -> None:
        if any(check_flags(bias=bias, in_trans=in_trans, out_trans=out_trans)):
            raise TileError(
                "bias, in_trans, out_trans: custom tiles have no bias column and their features on"
                " the last axis"
            )
        for name, (value, size) in inputs.items():
            check_tensor(value, name)
            check_features(value, size, False, name)
            if value.dtype is not self._analog_weight.dtype:
                raise InputError(
                    f"{name}: expected dtype {self._analog_weight.dtype}, got {value.dtype}"
                )

    def get_brief_info(self) -> str:
        """Return kind, size and device in one line."""
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        """Return size and device."""
        return f"{self.d_size}, {self.x_size}, {self._analog_weight.device}"

    def get_weights(self, as_ref: bool = False) -> Tensor:
        """Return the weights, shape `[out, in]`; a copy on the host.

        Args:
            as_ref: Return the live storage instead.
        """
        weight = self._analog_weight
        return weight if check_flag("as_ref", as_ref) else weight.detach().cpu().clone()

    @torch.no_grad()
    def set_weights(self, weight: Tensor) -> None:
        """Write the weights.

        Args:
            weight: Shape `[out, in]`; any floating-point dtype and device.

        Raises:
            ArgumentError: A value is not finite in the precision of the tile; nothing is changed.
            InputError: Wrong shape.
        """
        own, shape = self._analog_weight, (self.d_size, self.x_size)
        own.copy_(weight_limits.check_weights(weight, shape, dtype=own.dtype, device=own.device))

    @torch.no_grad()
    def set_weights_uniform_random(self, bmin: float, bmax: float) -> None:
        """Draw the weights uniformly from `[bmin, bmax)`.

        Raises:
            ArgumentError: The limits are not finite or not in order.
        """
        bmin, bmax = weight_limits.check_limits(bmin, bmax, self._analog_weight.dtype)
        self._analog_weight.uniform_(bmin, bmax)

    def get_x_size(self) -> int:
        """Return the number of inputs."""
        return self.x_size

    def get_d_size(self) -> int:
        """Return the number of outputs."""
        return self.d_size

    def get_learning_rate(self) -> float | None:
        """Return the learning rate."""
        return self.learning_rate

    def set_learning_rate(self, learning_rate: float | None) -> None:
        """Set the learning rate; None is ignored.

        Raises:
            ArgumentError: It is negative or not finite; the present one stays.
        """
        if learning_rate is not None:
            self.learning_rate = check_not_negative("learning_rate", learning_rate)

    def get_meta_parameters(self) -> Any:
        """Return the parameters of the products and of the update."""
        return self._f_io, self._b_io, self._update


def _check_product(io: IOParameters, path: str) -> None:
    AnalogMVM.check_support(io, path)
    if io.out_noise_std > 0.0 and not io.is_perfect:
        raise ConfigError(
            f"{path}.out_noise_std: this raw tile holds no values per line; set it to 0, or hand"
            " own out_noise_values to AnalogMVM in a subclass"
        )
