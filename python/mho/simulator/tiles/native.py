"""Raw simulator tiles of the extension module."""

import math

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import ArgumentError, ConfigError, InputError, TileError
from mho.simulator.parameters.enums import WeightClipType
from mho.simulator.parameters.inference import WeightClipParameter, WeightRemapParameter
from mho.simulator.tiles import weight_ops
from mho.simulator.tiles.layout import batch_shape, check_tensor, from_rows, to_rows

# As torch types them; entries that are None do not occur here.
from mho.simulator.tiles.native_core import NativeCore, check_weights


class NativeSimulatorTile(NativeCore):
    """Raw tile of the extension module with the interface of simulator tiles."""

    def __repr__(self) -> str:
        """Return kind and size."""
        return self.get_brief_info()

    def __str__(self) -> str:
        """Return a summary of several lines."""
        return self.get_info()

    def forward(
        self,
        x_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        is_test: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """Return outputs; see the base class.

        Raises:
            InputError: Wrong number of features, dtype or device.
        """
        rows = self._rows(x_input, self.spec.x_size - int(bias), in_trans, "x_input")
        y = self.run_forward(rows, 1.0 if bias else None, is_test)[0]
        return from_rows(y, batch_shape(x_input, in_trans), out_trans)

    def backward(
        self,
        d_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """Return gradients of the inputs without those of an analog bias; see the base class.

        Raises:
            InputError: Wrong number of features, dtype or device.
        """
        rows = self._rows(d_input, self.spec.d_size, in_trans, "d_input")
        y = self.run_backward(rows, self.next_call())
        return from_rows(y, batch_shape(d_input, in_trans), out_trans)

    def update(
        self,
        x_input: Tensor,
        d_input: Tensor,
        bias: bool = False,
        in_trans: bool = False,
        out_trans: bool = False,
        non_blocking: bool = False,
    ) -> None:
        """Update the weights; see the base class. On any error nothing is changed.

        Raises:
            ArgumentError: A value is not finite.
            InputError: Wrong number of features or samples, dtype or device.
        """
        x = self._rows(x_input, self.spec.x_size - int(bias), in_trans, "x_input")
        d = self._rows(d_input, self.spec.d_size, out_trans, "d_input")
        self.run_update(x, d, 1.0 if bias else None)

    def get_weights(self, as_ref: bool = False) -> Tensor:
        """Return the raw weights, shape `[out, x_size]`; see the base class."""
        return self.live_weights() if as_ref else self.live_weights().detach().clone()

    def set_weights(self, weight: Tensor) -> None:
        """Write the raw weights; pulsed devices clip them to their bounds.

        Args:
            weight: Shape `[out, x_size]`, float32.

        Raises:
            InputError: Wrong shape, dtype or a value that is not finite.
        """
        new = check_weights(weight, (self.spec.d_size, self.spec.x_size))
        with torch.no_grad():
            self.live_weights().copy_(new)
        self.clip_to_bounds()

    def set_weights_uniform_random(self, bmin: float, bmax: float) -> None:
        """Draw the weights uniformly from `[bmin, bmax)` and bring them into the device bounds.

        Raises:
            ArgumentError: The limits are not finite or not in order.
        """
        if not (math.isfinite(bmin) and math.isfinite(bmax) and bmin <= bmax):
            raise ArgumentError(f"bmin, bmax: expected finite limits in order, got {bmin}, {bmax}")
        _core.uniform_weights(self.live_weights(), bmin, bmax, self._seed(), self.next_call())
        self.clip_to_bounds()

    def clip_to_bounds(self) -> None:
        """Bring the weights into the device bounds and redraw write noise."""
        call = self.next_call()
        _core.clip_to_bounds(self.spec, self.live_weights(), self._hidden, self._seed(), call)

    def clip_weights(self, weight_clipper_params: WeightClipParameter) -> None:
        """Clip the weights.

        Args:
            weight_clipper_params: Kind and limits; pulsed devices support a fixed value only.

        Raises:
            ConfigError: The device does not support this kind.
        """
        if not self.spec.is_pulsed:
            weight_ops.clip_(self.live_weights(), weight_clipper_params)
            return
        if weight_clipper_params.type is WeightClipType.NONE:
            return
        if weight_clipper_params.type is not WeightClipType.FIXED_VALUE:
            raise ConfigError(
                f"clip.type: {self.spec.device} supports FIXED_VALUE only, got"
                f" {weight_clipper_params.type}"
            )
        weight, seed, call = self.live_weights(), self._seed(), self.next_call()
        _core.clip_weights(
            self.spec, weight, self._hidden, weight_clipper_params.fixed_value, seed, call
        )

    def remap_weights(self, weight_remap_params: WeightRemapParameter, scales: Tensor) -> Tensor:
        """Rescale the weights; scales times weights stay what they are.

        Args:
            weight_remap_params: Kind and limits.
            scales: Present scales, shape `[out]`.

        Returns:
            New scales, shape `[out]`.

        Raises:
            ConfigError: The device is pulsed, or the limits do not go together.
        """
        if self.spec.is_pulsed:
            raise ConfigError(
                f"remap.type: weights of the pulsed device {self.spec.device} cannot be remapped"
            )
        return weight_ops.remap_(self.live_weights(), weight_remap_params, scales)

    def decay_weights(self, alpha: float = 1.0) -> None:
        """Let the weights decay.

        Args:
            alpha: Number of calls it stands for.
        """
        weight, seed, call = self.live_weights(), self._seed(), self.next_call()
        _core.decay(self.spec, weight, self._hidden, alpha, seed, call)

    def diffuse_weights(self) -> None:
        """Add one step of the random walk of the device to the weights."""
        weight, seed, call = self.live_weights(), self._seed(), self.next_call()
        _core.diffuse(self.spec, weight, self._hidden, seed, call)

    def drift_weights(self, time_since_last_call: float = 1.0) -> None:
        """Refuse: no device with drift can be built, so there is nothing to drift.

        Args:
            time_since_last_call: Elapsed time.

        Raises:
            TileError: Always.
        """
        raise TileError(f"drift_weights: device {self.spec.device} has no drift; set device.drift")

    def reset_columns(
        self, start_column_idx: int = 0, num_columns: int = 1, reset_prob: float = 1.0
    ) -> None:
        """Reset columns to the reset value of the device.

        Args:
            start_column_idx: First column.
            num_columns: Number of columns, wrapping around; a negative number means all.
            reset_prob: Probability of each crosspoint to be reset.

        Raises:
            ArgumentError: The column does not exist or the probability is outside `[0, 1]`.
        """
        if not 0 <= start_column_idx < self.spec.x_size:
            raise ArgumentError(
                f"start_column_idx: expected 0 to {self.spec.x_size - 1}, got {start_column_idx}"
            )
        if not 0.0 <= reset_prob <= 1.0:
            raise ArgumentError(f"reset_prob: expected a probability, got {reset_prob}")
        weight, seed, call = self.live_weights(), self._seed(), self.next_call()
        _core.reset_columns(
            self.spec, weight, self._hidden, start_column_idx, num_columns, reset_prob, seed, call,
        )  # fmt: skip

    def get_hidden_parameter_names(self) -> list[str]:
        """Return the names of the per-crosspoint device parameters in their fixed order."""
        return list(self.spec.hidden_names)

    def get_hidden_parameters(self) -> Tensor:
        """Return all per-crosspoint device parameters, shape `[n, out, x_size]`, or empty."""
        planes = [self._plane(name) for name in self.spec.hidden_names]
        return torch.stack(planes) if planes else torch.empty(0)

    def set_hidden_parameters(self, params: Tensor) -> None:
        """Write all per-crosspoint device parameters and bring the weights into the new bounds.

        Args:
            params: Shape `[n, out, x_size]` in the order of `get_hidden_parameter_names`.

        Raises:
            InputError: Wrong shape or a value that is not finite.
        """
        names = self.spec.hidden_names
        if not names and params.numel() == 0:
            return
        shape = (len(names), self.spec.d_size, self.spec.x_size)
        if tuple(params.shape) != shape:
            raise InputError(f"params: expected shape {shape}, got {tuple(params.shape)}")
        if not bool(torch.isfinite(params).all()):
            raise ArgumentError("params: values must be finite")
        values = params.detach().to("cpu", torch.float32)
        self.store_planes({name: values[i] for i, name in enumerate(names)})
        self.clip_to_bounds()

    def get_hidden_update_index(self) -> int:
        """Return the index of the device that is updated; single devices have only one."""
        return 0

    def set_hidden_update_index(self, index: int) -> None:
        """Ignore the index: single devices have only one.

        Args:
            index: Accepted for compatibility.
        """

    def get_brief_info(self) -> str:
        """Return kind, device and size in one line."""
        kind = "RPUPulsed" if self.spec.is_pulsed else "RPUSimple"
        return f"{kind}<float>[{self.spec.device}]({self.spec.d_size},{self.spec.x_size})"

    def get_info(self) -> str:
        """Return kind, size, learning rate and hidden parameters in several lines."""
        hidden = ", ".join(self.spec.hidden_names) or "none"
        return (
            f"{self.get_brief_info()}\n  rows: {self.spec.d_size}, columns: {self.spec.x_size}\n"
            f"  learning rate: {self.learning_rate:g}\n"
            f"  weight granularity: {self.spec.weight_granularity:g}\n  hidden parameters: {hidden}"
        )

    def set_verbosity_level(self, level: int) -> None:
        """Ignore the level: the core prints nothing.

        Args:
            level: Accepted for compatibility.
        """

    def get_meta_parameters(self) -> str:
        """Return the configuration of the tile as JSON text."""
        return self.spec.config

    def _rows(self, value: Tensor, size: int, features_first: bool, name: str) -> Tensor:
        check_tensor(value, name)
        if value.dtype is not torch.float32:
            raise InputError(
                f"{name}: expected dtype torch.float32, got {value.dtype}; use .float()"
            )
        return to_rows(value.detach(), size, features_first, name)


class AnalogTile(NativeSimulatorTile):
    """Raw tile with a device, and with non-idealities of the products."""


class FloatingPointTile(NativeSimulatorTile):
    """Raw tile that computes exactly."""
