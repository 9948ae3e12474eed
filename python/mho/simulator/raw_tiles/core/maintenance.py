"""Changes of the weights of a raw tile of the core that are no updates."""

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import ArgumentError, ConfigError
from mho.simulator.parameters.arguments import (
    check_index,
    check_not_negative,
    check_parameters,
    check_probability,
)
from mho.simulator.parameters.enums import WeightClipType
from mho.simulator.parameters.inference import WeightClipParameter, WeightRemapParameter
from mho.simulator.raw_tiles import weight_limits
from mho.simulator.raw_tiles.core.kernels import Kernels
from mho.simulator.raw_tiles.core.parsed import ParsedConfig
from mho.simulator.raw_tiles.core.tensors import CoreTensors
from mho.simulator.raw_tiles.weight_limits import check_limits, check_weights


class Maintenance:
    """Writing, limiting and resetting the weights, and what time does to them."""

    def __init__(self, tensors: CoreTensors, parsed: ParsedConfig, kernels: Kernels) -> None:
        """Work on the state of a raw tile.

        Args:
            tensors: Its tensors.
            parsed: Its configuration.
            kernels: Its kernels.
        """
        self._tensors, self._parsed, self._kernels = tensors, parsed, kernels

    def set_weights(self, weight: Tensor) -> None:
        """Write the raw weights; pulsed devices clip them to their bounds.

        Args:
            weight: Shape `[out, x_size]`; any floating-point dtype and device.

        Raises:
            ArgumentError: A value is not finite in float32; nothing is changed.
            InputError: Wrong shape, or not real numbers.
        """
        spec = self._parsed.spec
        new = check_weights(weight, (spec.d_size, spec.x_size))
        tensors = self._tensors
        with torch.no_grad(), self._kernels.on_host(replaces_all=True), tensors.undone_on_error():
            tensors.weights.copy_(new)
            self._clip_to_bounds()

    def set_weights_uniform_random(self, bmin: float, bmax: float) -> None:
        """Draw the weights uniformly from `[bmin, bmax)` and bring them into the device bounds.

        Args:
            bmin: Lower limit.
            bmax: Upper limit.

        Raises:
            ArgumentError: The limits are not finite or not in order.
        """
        bmin, bmax = check_limits(bmin, bmax)
        tensors = self._tensors
        with self._kernels.on_host(replaces_all=True), tensors.undone_on_error():
            _core.uniform_weights(tensors.weights, bmin, bmax, tensors.seed, tensors.calls)
            self._clip_to_bounds()

    def _clip_to_bounds(self) -> None:
        """Bring weights that were just written into the device bounds and redraw write noise."""
        tensors, spec = self._tensors, self._parsed.spec
        _core.clip_to_bounds(spec, tensors.weights, tensors.devices, tensors.seed, tensors.calls)
        tensors.count_write()

    def clip_weights(self, weight_clipper_params: WeightClipParameter) -> None:
        """Clip the weights.

        Args:
            weight_clipper_params: Kind and limits; pulsed devices support a fixed value only.

        Raises:
            ConfigError: The device does not support this kind, or a limit is impossible.
        """
        params = weight_clipper_params
        check_parameters("clip", params, WeightClipParameter)
        spec = self._parsed.spec
        if not spec.is_pulsed:
            self._clip_exact(params)
            return
        if params.type is WeightClipType.NONE:
            return
        if params.type is not WeightClipType.FIXED_VALUE:
            raise ConfigError(
                f"clip.type: {spec.device} supports FIXED_VALUE only, got {params.type}"
            )
        self._kernels.operate("clip_weights", params.fixed_value)

    def _clip_exact(self, params: WeightClipParameter) -> None:
        fixed = params.type is WeightClipType.FIXED_VALUE and params.fixed_value == 0.0
        # There, zero is no limit.
        if not (fixed and self._parsed.spec.device == "FloatingPoint"):
            with self._kernels.on_host():
                weight_limits.clip_(self._tensors.weights, params)

    def remap_weights(self, weight_remap_params: WeightRemapParameter, scales: Tensor) -> Tensor:
        """Rescale the weights; scales times weights stay what they are.

        Args:
            weight_remap_params: Kind and limits.
            scales: Present scales, shape `[out]`.

        Returns:
            New scales, shape `[out]`.

        Raises:
            ArgumentError: A scale is not finite.
            ConfigError: The device is pulsed, or the limits do not go together.
            InputError: `scales` has another shape.
        """
        spec = self._parsed.spec
        if spec.is_pulsed:
            raise ConfigError(
                f"remap.type: weights of the pulsed device {spec.device} cannot be remapped"
            )
        params = weight_remap_params
        weight_limits.check_remap(params)
        weight_limits.check_scales(scales, spec.d_size)
        with self._kernels.on_host():
            return weight_limits.remap_(self._tensors.weights, params, scales)

    def run_modifier(self, modifier: _core.WeightModifier, modified: Tensor) -> None:
        """Write what a modifier makes of the weights, which stay.

        Args:
            modifier: Modifier.
            modified: Written, float32, shape `[out, x_size]`.

        Raises:
            InputError: `modified` has another shape, or shares memory with the weights.
        """
        tensors, spec = self._tensors, self._parsed.spec
        self._kernels.sync_to_host()
        _core.modify_weights(spec, modifier, tensors.weights, modified, tensors.seed, tensors.calls)
        torch.autograd.graph.increment_version(modified)

    def decay_weights(self, alpha: float = 1.0) -> None:
        """Let the weights decay.

        Args:
            alpha: Number of calls it stands for.

        Raises:
            ArgumentError: It is negative or not finite; nothing is changed.
        """
        self._kernels.operate("decay", check_not_negative("alpha", alpha))

    def diffuse_weights(self) -> None:
        """Add one step of the random walk of the device to the weights."""
        self._kernels.operate("diffuse")

    def drift_weights(self, time_since_last_call: float = 1.0) -> None:
        """Let the weights drift by a power law; without drift in the device nothing happens.

        The clock of a weight starts at the first call, and again at the call that finds it changed
        by anything else.

        Args:
            time_since_last_call: Time since the last call, in the unit of `drift.t_0`.

        Raises:
            ArgumentError: It is negative or not finite; nothing is changed.
        """
        delta_t = check_not_negative("delta_t", time_since_last_call)
        tensors, spec = self._tensors, self._parsed.spec
        if not spec.drifting:
            return
        weight, seed, calls = tensors.weights, tensors.seed, tensors.calls
        with tensors.undone_on_error():
            if not tensors.drift:
                tensors.drift.update(tensors.fresh_drift(spec))
            state = dict(tensors.drift)
            _core.drift(spec, weight, tensors.devices, state, delta_t, seed, calls)
            tensors.count_write()

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
        columns = self._parsed.spec.x_size
        start, count = start_column_idx, check_index("num_columns", num_columns)
        if not 0 <= check_index("start_column_idx", start) < columns:
            raise ArgumentError(f"start_column_idx: expected 0 to {columns - 1}, got {start}")
        probability = check_probability("reset_prob", reset_prob)
        # Columns wrap around, so more than all of them are all of them.
        count = min(count, columns) if count >= 0 else -1
        self._kernels.operate("reset_columns", int(start), count, probability)
