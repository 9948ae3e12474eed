"""Operations on the weights of raw tiles of the extension module."""

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import ArgumentError, ConfigError, InputError
from mho.simulator.parameters.arguments import (
    check_index,
    check_not_negative,
    check_parameters,
    check_probability,
)
from mho.simulator.parameters.enums import WeightClipType
from mho.simulator.parameters.inference import WeightClipParameter, WeightRemapParameter
from mho.simulator.raw_tiles import weight_limits
from mho.simulator.raw_tiles.core.native_core import Buffers
from mho.simulator.raw_tiles.core.native_hidden import NativeHidden
from mho.simulator.raw_tiles.weight_limits import check_limits, check_weights
from mho.simulator.state.names import PERSISTENT


class NativeWeights(NativeHidden):
    """Raw tile whose weights can be written, clipped, and changed by time."""

    def set_weights(self, weight: Tensor) -> None:
        """Write the raw weights; pulsed devices clip them to their bounds.

        Args:
            weight: Shape `[out, x_size]`, float32.

        Raises:
            InputError: Wrong shape, dtype or a value that is not finite.
        """
        new = check_weights(weight, (self.spec.d_size, self.spec.x_size))
        with torch.no_grad(), self.on_host(replaces_all=True):
            self.live_weights().copy_(new)
            self.clip_to_bounds()

    def set_weights_uniform_random(self, bmin: float, bmax: float) -> None:
        """Draw the weights uniformly from `[bmin, bmax)` and bring them into the device bounds.

        Raises:
            ArgumentError: The limits are not finite or not in order.
        """
        bmin, bmax = check_limits(bmin, bmax)
        with self.on_host(replaces_all=True), self.numbered() as call:
            _core.uniform_weights(self.live_weights(), bmin, bmax, self._seed(), call)
            self.clip_to_bounds()

    def clip_to_bounds(self) -> None:
        """Bring the weights into the device bounds and redraw write noise."""
        with self.on_host(), self.numbered() as call:
            _core.clip_to_bounds(self.spec, self.live_weights(), self._hidden, self._seed(), call)

    def clip_weights(self, weight_clipper_params: WeightClipParameter) -> None:
        """Clip the weights.

        Args:
            weight_clipper_params: Kind and limits; pulsed devices support a fixed value only.

        Raises:
            ConfigError: The device does not support this kind, or a limit is impossible.
        """
        check_parameters("clip", weight_clipper_params, WeightClipParameter)
        if not self.spec.is_pulsed:
            self._clip_exact(weight_clipper_params)
            return
        if weight_clipper_params.type is WeightClipType.NONE:
            return
        if weight_clipper_params.type is not WeightClipType.FIXED_VALUE:
            raise ConfigError(
                f"clip.type: {self.spec.device} supports FIXED_VALUE only, got"
                f" {weight_clipper_params.type}"
            )
        self._operate("clip_weights", weight_clipper_params.fixed_value)

    def _clip_exact(self, params: WeightClipParameter) -> None:
        fixed = params.type is WeightClipType.FIXED_VALUE and params.fixed_value == 0.0
        if not (fixed and self.spec.device == "FloatingPoint"):  # there, zero is no limit
            with self.on_host():
                weight_limits.clip_(self.live_weights(), params)

    def remap_weights(self, weight_remap_params: WeightRemapParameter, scales: Tensor) -> Tensor:
        """Rescale the weights; scales times weights stay what they are.

        Args:
            weight_remap_params: Kind and limits.
            scales: Present scales, shape `[out]`.

        Returns:
            New scales, shape `[out]`.

        Raises:
            ConfigError: The device is pulsed, or the limits do not go together.
            InputError: `scales` has another shape.
        """
        if self.spec.is_pulsed:
            raise ConfigError(
                f"remap.type: weights of the pulsed device {self.spec.device} cannot be remapped"
            )
        check_parameters("remap", weight_remap_params, WeightRemapParameter)
        if not isinstance(scales, Tensor) or tuple(scales.shape) != (self.spec.d_size,):
            raise InputError(f"scales: expected a tensor of shape {(self.spec.d_size,)}")
        with self.on_host():
            return weight_limits.remap_(self.live_weights(), weight_remap_params, scales)

    def decay_weights(self, alpha: float = 1.0) -> None:
        """Let the weights decay.

        Args:
            alpha: Number of calls it stands for.

        Raises:
            ArgumentError: It is negative or not finite; nothing is changed.
        """
        self._operate("decay", check_not_negative("alpha", alpha))

    def diffuse_weights(self) -> None:
        """Add one step of the random walk of the device to the weights."""
        self._operate("diffuse")

    def drift_weights(self, delta_t: float = 1.0) -> None:
        """Let the weights drift by a power law; without drift in the device nothing happens.

        The clock of a weight starts at the first call, and again at the call that finds it changed
        by anything else.

        Args:
            delta_t: Time since the last call, in the unit of `drift.t_0`.

        Raises:
            ArgumentError: It is negative or not finite; nothing is changed.
        """
        delta_t = check_not_negative("delta_t", delta_t)
        if not self.spec.drifts:
            return
        state = dict(self._drift) or self.fresh_drift()
        weight, seed = self.live_weights(), self._seed()
        with self.numbered() as call:
            _core.drift(self.spec, weight, self._hidden, state, delta_t, seed, call)
        self._drift.update(state)

    def fresh_drift(self) -> Buffers:
        """Return what drift remembers before its first call."""
        acting = self._hidden.get(PERSISTENT, self.live_weights())
        return {
            "current_t": torch.zeros(1, dtype=torch.float64),
            "t": torch.zeros(acting.shape, dtype=torch.float64),
            "w0": acting.detach().clone(),
            "previous_weights": acting.detach().clone(),
        }

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
        num_columns = check_index("num_columns", num_columns)
        if not 0 <= check_index("start_column_idx", start_column_idx) < self.spec.x_size:
            raise ArgumentError(
                f"start_column_idx: expected 0 to {self.spec.x_size - 1}, got {start_column_idx}"
            )
        reset_prob = check_probability("reset_prob", reset_prob)
        # Columns wrap around, so more than all of them are all of them.
        num_columns = min(num_columns, self.spec.x_size) if num_columns >= 0 else -1
        self._operate("reset_columns", int(start_column_idx), num_columns, reset_prob)

    def _operate(self, name: str, *arguments: float) -> None:
        """Run an operation of the core on the weights, where they are."""
        if self.resident is not None:
            self.resident.operate(name, *arguments)
            return
        operation = getattr(_core, name)
        weight, seed = self.live_weights(), self._seed()
        with self.numbered() as call:
            operation(self.spec, weight, self._hidden, *arguments, seed, call)
