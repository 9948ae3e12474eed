"""Changes of the weights of a compound that are no updates: each device on its own."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor

from mho import _core
from mho.exceptions import ArgumentError, ConfigError
from mho.simulator.devices.cells.custom import CustomCompound
from mho.simulator.parameters.arguments import (
    check_index,
    check_not_negative,
    check_parameters,
    check_probability,
)
from mho.simulator.parameters.enums import WeightClipType
from mho.simulator.parameters.inference import WeightClipParameter, WeightRemapParameter
from mho.simulator.raw_tiles.core.tile import AnalogTile as CoreTile
from mho.simulator.raw_tiles.custom_compound.device import DeviceTile
from mho.simulator.raw_tiles.custom_compound.rule_state import RuleState
from mho.simulator.raw_tiles.weight_limits import check_limits, check_weights


class Changing(Protocol):
    """What is changed: the raw tile."""

    cell: CustomCompound
    devices: list[DeviceTile]
    products: CoreTile
    rule: RuleState

    def changes(self) -> AbstractContextManager[None]:
        """Put everything back if the block raises."""

    def put_together(self) -> None:
        """Compute the weights of the tile from its devices."""


class CompoundMaintenance:
    """Writing, limiting and resetting the devices of a compound, and what time does to them."""

    def __init__(self, raw: Changing) -> None:
        """Work on a raw tile.

        Args:
            raw: Raw tile.
        """
        self._raw = raw

    def set_weights(self, weight: Tensor) -> None:
        """Write the weights of the tile into the last device, zero into all others.

        States and counters of the rule are forgotten.

        Args:
            weight: Shape `[out, x_size]`; any floating-point dtype and device.

        Raises:
            ArgumentError: A value is not finite in float32; nothing is changed.
            InputError: Wrong shape, or not real numbers.
        """
        spec = self._raw.products.spec
        new = check_weights(weight, (spec.d_size, spec.x_size))
        with self._raw.changes():
            self._write(new)

    def set_weights_uniform_random(self, bmin: float, bmax: float) -> None:
        """Draw the weights uniformly from `[bmin, bmax)` and write them as `set_weights` does.

        Args:
            bmin: Lower limit.
            bmax: Upper limit.

        Raises:
            ArgumentError: The limits are not finite or not in order.
        """
        bmin, bmax = check_limits(bmin, bmax)
        tensors = self._raw.products.tensors
        with self._raw.changes():
            new = torch.empty_like(tensors.weights)
            _core.uniform_weights(new, bmin, bmax, tensors.seed, tensors.calls)
            self._write(new)

    def _write(self, new: Tensor) -> None:
        raw = self._raw
        raw.rule.clear()
        for device in raw.devices[:-1]:
            device.raw.set_weights(torch.zeros_like(device.weights))
        raw.devices[-1].raw.set_weights(new / raw.cell.gammas()[-1])
        raw.put_together()

    def clip_weights(self, weight_clipper_params: WeightClipParameter) -> None:
        """Clip the weights of each device.

        Args:
            weight_clipper_params: Kind and limits; a fixed value only.

        Raises:
            ConfigError: Another kind, or a limit is impossible.
        """
        params = weight_clipper_params
        check_parameters("clip", params, WeightClipParameter)
        if params.type not in (WeightClipType.NONE, WeightClipType.FIXED_VALUE):
            raise ConfigError(
                f"clip.type: CustomCompound supports FIXED_VALUE only, got {params.type}"
            )
        self._each(lambda device: device.raw.clip_weights(params))

    def remap_weights(self, weight_remap_params: WeightRemapParameter, scales: Tensor) -> Tensor:
        """Refuse: weights of pulsed devices cannot be remapped.

        Args:
            weight_remap_params: Kind and limits.
            scales: Present scales.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            "remap.type: the weights of the devices of a CustomCompound cannot be remapped"
        )

    def decay_weights(self, alpha: float = 1.0) -> None:
        """Let the weights of each device decay.

        Args:
            alpha: Number of calls it stands for.

        Raises:
            ArgumentError: It is negative or not finite; nothing is changed.
        """
        alpha = check_not_negative("alpha", alpha)
        self._each(lambda device: device.raw.decay_weights(alpha))

    def diffuse_weights(self) -> None:
        """Add one step of the random walk of each device to its weights."""
        self._each(lambda device: device.raw.diffuse_weights())

    def drift_weights(self, delta_t: float = 1.0) -> None:
        """Let the weights of each device drift by its power law; without one nothing happens.

        Args:
            delta_t: Time since the last call, in the unit of `drift.t_0`.

        Raises:
            ArgumentError: It is negative or not finite; nothing is changed.
        """
        time = check_not_negative("delta_t", delta_t)
        self._each(lambda device: device.raw.drift_weights(time))

    def reset_columns(
        self, start_column_idx: int = 0, num_columns: int = 1, reset_prob: float = 1.0
    ) -> None:
        """Reset columns of each device to its reset value.

        Devices with another number of columns are reset with all columns only.

        Args:
            start_column_idx: First column.
            num_columns: Number of columns, wrapping around; a negative number means all.
            reset_prob: Probability of each crosspoint to be reset.

        Raises:
            ArgumentError: The column does not exist or the probability is outside `[0, 1]`.
        """
        columns = self._raw.products.spec.x_size
        start, count = start_column_idx, check_index("num_columns", num_columns)
        if not 0 <= check_index("start_column_idx", start) < columns:
            raise ArgumentError(f"start_column_idx: expected 0 to {columns - 1}, got {start}")
        probability = check_probability("reset_prob", reset_prob)
        whole = count < 0 or count >= columns

        def reset(device: DeviceTile) -> None:
            if whole:
                device.raw.reset_columns(0, -1, probability)
            elif device.shape[1] == columns:
                device.raw.reset_columns(start, count, probability)

        self._each(reset)

    def _each(self, change: Callable[[DeviceTile], None]) -> None:
        with self._raw.changes():
            for device in self._raw.devices:
                change(device)
            self._raw.put_together()
